/** Something the user can act on: printed without a stack, exit code 1. */
export class BenchError extends Error {
  override readonly name: string = 'BenchError';
}

/** A command line that makes no sense: exit code 2. */
export class UsageError extends BenchError {
  override readonly name: string = 'UsageError';
}
