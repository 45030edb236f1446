import { AsyncResource } from 'node:async_hooks';
import { ECANCELED, EINTR, EINVAL, EOPNOTSUPP, IORING_OP_CLOSE } from '@ouro/native/abi';
import { type Completion, type Op, reactor, systemError } from '@ouro/runtime/driver';
import type { CallbackRequest } from './binding.ts';

/** Results after which Node's own code is asked: nothing has happened, and it may know another way, or says why not. */
const ASK_NODE: ReadonlySet<number> = new Set([ECANCELED, EINTR, EINVAL, EOPNOTSUPP]);

/** How an op of ours answers a call of Node's. */
export interface Answering {
  /** Its result made into what Node's code gets. @default what the op's kind makes of it */
  readonly value?: ((result: number, op: Op<unknown>, slot: number) => unknown) | undefined;
  /** Another result after which Node's own code is asked. */
  readonly alsoAsksNode?: number | undefined;
  /** Whether the memory of a call is still what it was. Else Node's code is not asked: it ends the process. */
  readonly stillThere?: ((args: readonly unknown[], op: Op<unknown>) => boolean) | undefined;
}

/** A call of Node's on its way through the ring. It keeps alive what the kernel uses, until the last CQE. */
abstract class Request implements Completion {
  readonly refed = true;
  readonly resultIsFd: boolean;
  readonly #op: Op<unknown>;
  readonly #answering: Answering;
  readonly #args: readonly unknown[];

  /** @param args those of the call, in case that Node's own code is to be asked */
  constructor(op: Op<unknown>, answering: Answering, args: readonly unknown[]) {
    this.#op = op;
    this.#answering = answering;
    this.#args = args;
    this.resultIsFd = op.kind.resultIsFd;
  }

  get name(): string {
    return this.#op.kind.syscall;
  }

  /** @throws if the kernel takes no more ops: nothing is queued then */
  start(): void {
    const op = this.#op;
    const r = reactor();
    const slot = r.take(this);
    op.place(slot);
    if ((op.head & 0xff) === IORING_OP_CLOSE) r.closes(slot);
    r.push(slot, op.head, op.fd, op.off, op.addr, op.len, op.opFlags, op.buf, 0);
    this.slot = slot;
  }

  slot = -1;

  complete(result: number, flags: number): void {
    const op = this.#op;
    const { value } = this.#answering;
    // A descriptor is whose program asked for it, not the thread's.
    if (result >= 0 && this.resultIsFd) reactor().disown(result);
    if (result < 0) {
      this.#failed(result);
      return;
    }
    let made: unknown;
    try {
      if (value !== undefined) made = value(result, op, this.slot);
      else made = op.kind.decode === null ? result : op.kind.decode(result, op, this.slot, flags);
    } catch (error) {
      this.fail(error as Error);
      return;
    }
    this.succeed(made);
  }

  #failed(errno: number): void {
    const { alsoAsksNode, stillThere } = this.#answering;
    const op = this.#op;
    // The descriptor is gone all the same, and its number may be somebody else's by now.
    if (errno === EINTR && (op.head & 0xff) === IORING_OP_CLOSE) this.succeed(undefined);
    else if (!ASK_NODE.has(errno) && errno !== alsoAsksNode) this.fail(bareError(errno, op));
    else if (stillThere?.(this.#args, op) === false) this.fail(bareError(errno, op));
    else this.askNode(this.#args);
  }

  protected abstract succeed(value: unknown): void;
  protected abstract fail(error: Error): void;
  protected abstract askNode(args: readonly unknown[]): void;
}

/**
 * An error as native code makes it: no function was at work whose stack it could have. (With promises Node's code has it take one where
 * somebody awaits it.) Taking one costs more than the op.
 */
function bareError(errno: number, { kind, detail }: Op<unknown>): Error {
  const { stackTraceLimit } = Error;
  // Not by assignment, which throws where a program has frozen what all share.
  Reflect.set(Error, 'stackTraceLimit', 0);
  try {
    return systemError(errno, kind.syscall, detail);
  } finally {
    Reflect.set(Error, 'stackTraceLimit', stackTraceLimit);
  }
}

/** Has Node's own code do a call. */
type AskNode = (args: readonly unknown[]) => unknown;

/** One that ends in a callback. Called in the context of the call, and as Node does: without a value if there is none. */
export class Called extends Request {
  readonly #request: CallbackRequest;
  readonly #context = new AsyncResource('OURO_FS');
  readonly #node: AskNode;

  constructor(
    op: Op<unknown>,
    answering: Answering,
    args: readonly unknown[],
    request: CallbackRequest,
    node: AskNode,
  ) {
    super(op, answering, args);
    this.#request = request;
    this.#node = node;
  }

  protected override succeed(value: unknown): void {
    const request = this.#request;
    const { oncomplete } = request;
    if (value === undefined) this.#context.runInAsyncScope(oncomplete, request, null);
    else this.#context.runInAsyncScope(oncomplete, request, null, value);
  }

  protected override fail(error: Error): void {
    const request = this.#request;
    this.#context.runInAsyncScope(request.oncomplete, request, error);
  }

  protected override askNode(args: readonly unknown[]): void {
    this.#context.runInAsyncScope(this.#node, undefined, args);
  }
}

/** One that ends in a promise. */
export class Promised extends Request {
  readonly promise: Promise<unknown>;
  #resolve: (value: unknown) => void = ignore;
  #reject: (error: Error) => void = ignore;
  readonly #node: AskNode;

  constructor(op: Op<unknown>, answering: Answering, args: readonly unknown[], node: AskNode) {
    super(op, answering, args);
    this.#node = node;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  protected override succeed(value: unknown): void {
    this.#resolve(value);
  }

  protected override fail(error: Error): void {
    this.#reject(error);
  }

  protected override askNode(args: readonly unknown[]): void {
    try {
      this.#resolve(this.#node(args));
    } catch (error) {
      this.#reject(error as Error);
    }
  }
}

function ignore(): void {}
