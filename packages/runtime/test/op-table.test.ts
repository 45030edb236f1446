import { readFileSync } from 'node:fs';
import * as abi from '@ouro/native/abi';
import { OPCODE_NAMES, OPCODE_SINCE, OURO_OP_FIRST, OURO_OPCODE_NAMES } from '@ouro/native/abi';
import { describe, expect, it } from 'vitest';

const table = readFileSync(new URL('../../../docs/ops.md', import.meta.url), 'utf8');
const rows = table.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| ---'));
/** Names in the first column of all tables. */
const named = new Set(rows.flatMap((row) => row.split('|')[1].match(/[A-Z][A-Z0-9_]+/g) ?? []));

describe('docs/ops.md', () => {
  it.each(OPCODE_NAMES.map((name, opcode) => ({ name, since: OPCODE_SINCE[opcode] })))(
    'says what becomes of $name',
    ({ name, since }) => {
      expect(named).toContain(name);
      const own = rows.filter((row) => new RegExp(`\\b${name}\\b`).test(row.split('|')[1]));
      expect(
        own.some((row) => row.split('|')[2].includes(since)),
        `its kernel, ${since}`,
      ).toBe(true);
    },
  );

  it.each(OURO_OPCODE_NAMES.map((name, index) => ({ name, opcode: OURO_OP_FIRST + index })))(
    'says what becomes of $name, an op of our own',
    ({ name, opcode }) => {
      expect(named).toContain(name);
      expect(new Map(Object.entries(abi)).get(`OURO_OP_${name}`)).toBe(opcode);
    },
  );

  it('names only encoders that there are', async () => {
    for (const [heading, entry] of [
      ['Files', '@ouro/fs/ops'],
      ['Sockets', '@ouro/net/ops'],
      ['Everything else', '@ouro/runtime/ops'],
    ]) {
      const section = table.split(`\n## ${heading}`)[1]?.split('\n## ')[0] ?? '';
      const exported = Object.keys(await import(entry));
      const encoders = section
        .split('\n')
        .filter((line) => line.startsWith('| ') && !line.startsWith('| ---') && !line.startsWith('| op'))
        .flatMap((row) => [...row.split('|')[3].matchAll(/`([a-zA-Z0-9]+)\(/g)].map(([, name]) => name));
      expect(encoders.length, heading).toBeGreaterThan(0);
      for (const name of encoders) expect(exported, `${heading}: ${name}`).toContain(name);
    }
  });
});
