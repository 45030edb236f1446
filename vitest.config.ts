import { writeFileSync } from 'node:fs';
import { defineConfig } from 'vitest/config';
import { sanitized } from './testing/sanitized.ts';

const report = process.env.OURO_REPORT;
/** With the sanitizers a program takes a second to start, and all that it does takes several times as long. */
const LIMIT_MS = sanitized ? 180_000 : 30_000;

/** Vitest's report has no room for errors outside of all tests. */
const outside = {
  onTestRunEnd(_modules: unknown, errors: readonly unknown[]): void {
    if (errors.length === 0) return;
    const told = errors.map((error) => (error as Error | null)?.stack ?? JSON.stringify(error));
    writeFileSync(`${report}.errors`, JSON.stringify(told));
  },
};

export default defineConfig({
  test: {
    include: ['packages/*/test/**/*.test.ts', 'examples/test/**/*.test.ts'],
    // One process for each file: a ring belongs to a thread, and what a test file leaves in flight is its own.
    pool: 'forks',
    testTimeout: LIMIT_MS,
    hookTimeout: LIMIT_MS,
    reporters: report === undefined ? ['default'] : ['default', ['json', { outputFile: report }], outside],
  },
});
