import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect } from 'vitest';
import { type ProgramOptions, runProgram } from '../../../testing/program.ts';

/** What puts the adapters in place. */
export const HOOK: readonly string[] = ['--import', '@ouro/adapters/register'];

/** A directory of the test file's own, removed when its tests are done. */
export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'ouro-adapters-'));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** What a program prints as JSON, and nothing on standard error. With the hook, unless it is told otherwise. */
export async function told(source: string, options: ProgramOptions = {}): Promise<unknown> {
  const { code, signal, stdout, stderr } = await runProgram(source, {
    flags: HOOK,
    limitMs: 60_000,
    ...options,
    env: { OURO_ADAPTERS: 'fs', ...options.env },
  });
  expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' });
  return JSON.parse(stdout);
}

/** The beginning of a program: `stats()`, a file to read, and what counts the calls of a function. */
export const PRELUDE: string = `
  import fs from 'node:fs';
  import fsp from 'node:fs/promises';
  import { stats } from '@ouro/adapters';
  const served = (name, module = 'fs') => stats()[module]?.[name] ?? { ours: 0, node: 0 };
  const called = (fn, ...args) => new Promise((done) => fn(...args, (error, ...values) => done(error ?? values)));
  const tell = (value) => fs.writeSync(1, JSON.stringify(value));
  // What a FileHandle is like is found out in the pool, beside the first calls, which Node does step by step.
  for (let i = 0; i < 10_000 && !stats()['fs/promises']?.readFile?.ours; i++) await fsp.readFile('/dev/null');
  const atFirst = stats();
  /** Calls that were served since. */
  const since = (name, module = 'fs') => served(name, module).ours - (atFirst[module]?.[name]?.ours ?? 0);
`;
