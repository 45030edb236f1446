import { AsyncResource } from 'node:async_hooks';

/**
 * The async context of a handle, as Node's own handles have one: what its callbacks do belongs to whoever made it. Made with the
 * names that Node's handles have in `async_hooks`.
 */
export class Scope {
  #resource: AsyncResource;
  readonly #type: string;

  constructor(type: string, triggerAsyncId?: number) {
    this.#type = type;
    this.#resource = new AsyncResource(type, {
      requireManualDestroy: true,
      ...(triggerAsyncId === undefined ? {} : { triggerAsyncId }),
    });
  }

  get asyncId(): number {
    return this.#resource.asyncId();
  }

  run<This, Args extends unknown[], Result>(
    call: (this: This, ...args: Args) => Result,
    self: This,
    ...args: Args
  ): Result {
    return this.#resource.runInAsyncScope(call, self, ...args);
  }

  /** Begins anew: the handle goes on in somebody else's service. */
  reset(): void {
    this.#resource.emitDestroy();
    this.#resource = new AsyncResource(this.#type, { requireManualDestroy: true });
  }

  end(): void {
    this.#resource.emitDestroy();
  }
}
