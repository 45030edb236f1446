import { writeSync } from 'node:fs';
import { type AdapterStats, stats } from './stats.ts';

/** The stats as a table: a line for each function, the busiest first. */
export function statsTable(from: AdapterStats): string {
  const rows: [name: string, ours: number, node: number][] = [];
  for (const [module, functions] of Object.entries(from)) {
    for (const [name, { ours, node }] of Object.entries(functions))
      rows.push([`${module}.${name}`, ours, node]);
  }
  rows.sort(([, ours, node], [, otherOurs, otherNode]) => otherOurs + otherNode - ours - node);
  const width = Math.max(8, ...rows.map(([name]) => name.length));
  const line = (name: string, ours: string, node: string): string =>
    `${name.padEnd(width)} ${ours.padStart(10)} ${node.padStart(10)}\n`;
  return rows.reduce(
    (text, [name, ours, node]) => text + line(name, `${ours}`, `${node}`),
    line('function', 'ouro', 'node'),
  );
}

/** Writes the stats to standard error, synchronously: for the end of a process. */
export function writeStats(): void {
  try {
    writeSync(2, statsTable(stats()));
  } catch {
    // Nobody reads it any more.
  }
}
