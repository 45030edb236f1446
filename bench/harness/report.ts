import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Machine } from './machine.ts';

/** One contender in one cell: medians over the rounds. Each family adds its own figures; undefined was not measured. */
export interface Row {
  readonly contender: string;
}

/** What was measured under one set of conditions, the summary and every single round. */
export interface Cell {
  readonly cell: Readonly<Record<string, string | number>>;
  readonly rows: readonly Row[];
  readonly rounds: Readonly<Record<string, readonly object[]>>;
}

/** One family's results. */
export interface Report {
  readonly family: string;
  readonly conditions: Readonly<Record<string, string | number>>;
  readonly cells: readonly Cell[];
}

export function writeReports(path: string, machine: Machine, reports: readonly Report[]): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify({ machine, reports }, null, 2)}\n`);
  console.log(`\nwritten to ${path}`);
}
