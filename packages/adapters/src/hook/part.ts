import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/**
 * A part of this package that is loaded when there is something for it to do: a program that opens no socket has nothing of sockets
 * to read, and starts sooner.
 */
export class Part<T> {
  readonly #specifier: string;
  readonly #onLoad: (loaded: T) => void;
  #loaded: T | null = null;
  #loading = false;

  /**
   * @param specifier a name of the package's own `imports`
   * @param onLoad called once, before anybody gets it
   */
  constructor(specifier: string, onLoad: (loaded: T) => void = () => {}) {
    this.#specifier = specifier;
    this.#onLoad = onLoad;
  }

  /** The part, or null where it cannot be had at once: then what is to be done now is Node's. */
  get(): T | null {
    if (this.#loaded === null && !this.#loading) this.#load();
    return this.#loaded;
  }

  /** The part if it has been loaded. */
  get loaded(): T | null {
    return this.#loaded;
  }

  #load(): void {
    this.#loading = true;
    try {
      this.#take(require(this.#specifier) as T);
    } catch {
      // Where `require` knows no ES modules, or the program is importing one of them right now.
      this.#loadLater();
      return;
    }
    this.#loading = false;
  }

  #loadLater(): void {
    import(this.#specifier)
      .then((loaded: T) => this.#take(loaded))
      .catch(() => {
        // All stays Node's.
      });
  }

  #take(loaded: T): void {
    this.#onLoad(loaded);
    this.#loaded = loaded;
  }
}
