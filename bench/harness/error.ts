/** Something the user can act on: printed without a stack, exit code 1. */
export class BenchError extends Error {
  override readonly name = 'BenchError';
}
