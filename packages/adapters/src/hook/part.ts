import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/**
 * A part of this package that is loaded when there is something for it to do: a program that opens no socket has nothing of sockets
 * to read, and starts sooner.
 */
export class Part<T> {
  readonly #specifier: string;
  #loaded: T | null = null;
  #loading = false;

  /** @param specifier a name of the package's own `imports` */
  constructor(specifier: string) {
    this.#specifier = specifier;
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
      this.#loaded = require(this.#specifier) as T;
    } catch {
      // Where `require` knows no ES modules, or the program is importing one of them right now.
      this.#loadLater();
      return;
    }
    this.#loading = false;
  }

  #loadLater(): void {
    import(this.#specifier).then(
      (loaded: T) => {
        this.#loaded = loaded;
      },
      () => {
        // All stays Node's.
      },
    );
  }
}
