/** Keys, values and when they end. What has ended is forgotten when somebody asks for it, or by `sweep`. */
export class Store {
  readonly #values = new Map<string, string>();
  /** Of keys that end: when, in milliseconds since 1970. */
  readonly #ends = new Map<string, number>();

  /** Keys, those that have ended and have not been swept included. */
  get size(): number {
    return this.#values.size;
  }

  get(key: string): string | undefined {
    this.#expire(key);
    return this.#values.get(key);
  }

  has(key: string): boolean {
    this.#expire(key);
    return this.#values.has(key);
  }

  /** Sets a value and leaves alone when it ends. */
  put(key: string, value: string): void {
    this.#expire(key);
    this.#values.set(key, value);
  }

  /** Sets a value that ends at `end`, or never. */
  set(key: string, value: string, end: number | null): void {
    this.#values.set(key, value);
    if (end === null) this.#ends.delete(key);
    else this.#ends.set(key, end);
  }

  delete(key: string): boolean {
    this.#expire(key);
    this.#ends.delete(key);
    return this.#values.delete(key);
  }

  /** When a key ends; null if it does not. */
  end(key: string): number | null {
    return this.#ends.get(key) ?? null;
  }

  /** Has a key end at `end`, or never. */
  setEnd(key: string, end: number | null): void {
    if (end === null) this.#ends.delete(key);
    else this.#ends.set(key, end);
  }

  clear(): void {
    this.#values.clear();
    this.#ends.clear();
  }

  /** Forgets all that has ended. */
  sweep(): void {
    for (const key of this.#ends.keys()) this.#expire(key);
  }

  #expire(key: string): void {
    const end = this.#ends.get(key);
    if (end === undefined || end > Date.now()) return;
    this.#ends.delete(key);
    this.#values.delete(key);
  }
}
