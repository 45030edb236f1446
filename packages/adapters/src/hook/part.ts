import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);

/** What is loaded says which part it is. */
interface Named {
  readonly part: string;
}

/**
 * A part of this package that is loaded when there is something for it to do: a program that opens no socket has nothing of sockets
 * to read, and starts sooner.
 */
export class Part<T extends Named> {
  readonly #name: T['part'];
  readonly #onLoad: (loaded: T) => void;
  #loaded: T | null = null;
  /** It is tried once. */
  #asked = false;

  /**
   * @param name its name in the package's own `imports`, behind the `#`
   * @param onLoad called once, before anybody gets it
   */
  constructor(name: T['part'], onLoad: (loaded: T) => void = () => {}) {
    this.#name = name;
    this.#onLoad = onLoad;
  }

  /** The part if it has been loaded. */
  get loaded(): T | null {
    return this.#loaded;
  }

  /** The part, or null where it cannot be had at once: then what is to be done now is Node's. */
  get(): T | null {
    if (!this.#asked) this.#load();
    return this.#loaded;
  }

  #load(): void {
    this.#asked = true;
    let url: string;
    try {
      url = import.meta.resolve(`#${this.#name}`);
    } catch {
      return; // by a resolver of the program's
    }
    try {
      // By its path: the names that begin with `#` may be the program's own, for a resolver that it has put under `require`.
      this.#take(require(fileURLToPath(url)) as T);
    } catch {
      // Where `require` knows no ES modules, or the program is importing one of them right now.
      this.#loadLater(url);
    }
  }

  #loadLater(url: string): void {
    import(url)
      .then((loaded: T) => this.#take(loaded))
      .catch(() => {
        // All stays Node's: no descriptor was left for it, say. (A module that could not be loaded once never is.)
      });
  }

  #take(loaded: T): void {
    if (loaded.part !== this.#name) throw new Error(`not the part '${this.#name}' of @ouro/adapters`);
    this.#onLoad(loaded);
    this.#loaded = loaded;
  }
}
