import { reactor } from '../engine/thread.ts';

export type { TracedOp } from '../engine/tracer.ts';

/**
 * Publishes each op of this thread on Node's `diagnostics_channel`, as `tracingChannel` names them: `tracing:ouro.read:start`
 * when a read is queued, `tracing:ouro.read:asyncEnd` at its last completion, `tracing:ouro.read:error` before that if it
 * failed; the message of all three is one and the same `TracedOp`. `start` is told in the async context of whoever
 * submitted the op, before any completion; the others after all completions of the batch and before anybody
 * who awaits one of them goes on.
 *
 * Node tells nobody that somebody has subscribed, and asking some hundred channels for each op would cost more than most
 * ops do. So it is asked for: here, or with `OURO_TRACE=1` in the environment, which traces from the first op of each
 * thread. While nobody traces, an op pays one look at a field that is null. Makes this thread's ring if there is none.
 *
 * ```js
 * subscribe('tracing:ouro.read:asyncEnd', ({ fd, result }) => console.log(fd, result));
 * const tracing = trace();
 * try {
 *   await work();
 * } finally {
 *   tracing[Symbol.dispose]();
 * }
 * ```
 *
 * @returns what ends it, unless others trace too
 * @throws UringUnavailableError where io_uring is denied
 */
export function trace(): Disposable {
  const r = reactor();
  const { tracer } = r;
  if (tracer.users++ === 0) r.observe(tracer);
  let ended = false;
  return {
    [Symbol.dispose]: () => {
      if (ended) return;
      ended = true;
      if (--tracer.users > 0) return;
      r.unobserve(tracer);
      tracer.forget();
    },
  };
}
