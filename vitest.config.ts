import { defineConfig } from 'vitest/config';

const report = process.env.OURO_REPORT;

export default defineConfig({
  test: {
    include: ['packages/*/test/**/*.test.ts', 'examples/test/**/*.test.ts'],
    // One process for each file: a ring belongs to a thread, and what a test file leaves in flight is its own.
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 30_000,
    reporters: report === undefined ? ['default'] : ['default', ['json', { outputFile: report }]],
  },
});
