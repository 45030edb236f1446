// The table of docs/adapters.md: each export of each module, and whose it is. Made of packages/adapters/test/compatibility/*.json.
//
//   node scripts/adapters-table.mjs             writes it
//   node scripts/adapters-table.mjs --check     exits with 1 if it is not what it should be
//   node scripts/adapters-table.mjs --collect   notes what this Node's modules export; to be run with each version, then without
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './lib.mjs';

const folder = join(root, 'packages/adapters/test/compatibility');
const document = join(root, 'docs/adapters.md');
const BEGIN = '<!-- table: made by scripts/adapters-table.mjs -->';
const END = '<!-- end of the table -->';
const [major] = process.versions.node.split('.').map(Number);

export function modules() {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((name) => ({ file: join(folder, name), ...JSON.parse(readFileSync(join(folder, name), 'utf8')) }));
}

/** What a module of the running Node exports. `of` is an expression where it is no module: a class's prototype. */
export async function exportsOf({ module, of }) {
  if (of === undefined) return Object.keys((await import(module)).default).sort();
  const fs = await import('node:fs/promises');
  const handle = await fs.open('/dev/null');
  try {
    return Object.getOwnPropertyNames(Object.getPrototypeOf(handle))
      .concat('close')
      .filter((name, i, all) => /^[a-z]/i.test(name) && name !== 'constructor' && all.indexOf(name) === i)
      .sort();
  } finally {
    await handle.close();
  }
}

/** Versions of Node, where an export is not of all of them. */
function versions(list, all) {
  if (list.length === all.length) return '';
  const missing = all.filter((version) => !list.includes(version));
  if (Math.max(...missing) < Math.min(...list)) return `, from ${Math.min(...list)} on`;
  return `, ${list.join(', ')}`;
}

function tableOf({ module, exports, served, note = '' }) {
  const all = [...new Set(Object.values(exports).flat())].sort();
  const rows = Object.entries(served).map(([name, how]) => {
    const list = exports[name] ?? [];
    return `| \`${name}\`${versions(list, all)} | ours | ${how} |`;
  });
  const others = Object.entries(exports)
    .filter(([name]) => served[name] === undefined)
    .map(([name, list]) => `\`${name}\`${versions(list, all).replace(/^, (.*)$/, ' ($1)')}`);
  return [
    `### ${module}`,
    '',
    ...(note === '' ? [] : [note, '']),
    '| export | whose | how it differs |',
    '| --- | --- | --- |',
    ...rows,
    ...(others.length === 0 ? [] : [`| ${others.join(', ')} | Node's own | |`]),
    '',
  ].join('\n');
}

export function documentWithTable(text) {
  const [before, rest] = text.split(BEGIN);
  const [, after] = (rest ?? '').split(END);
  if (after === undefined) throw new Error(`${document} has no place for the table`);
  return `${before}${BEGIN}\n\n${modules().map(tableOf).join('\n')}\n${END}${after}`;
}

async function collect() {
  for (const { file, ...module } of modules()) {
    for (const name of await exportsOf(module)) {
      const list = new Set(module.exports[name]).add(major);
      module.exports[name] = [...list].sort((a, b) => a - b);
    }
    const sorted = Object.entries(module.exports).sort(([a], [b]) => (a < b ? -1 : 1));
    const text = { ...module, exports: Object.fromEntries(sorted) };
    const compact = JSON.stringify(text, null, 2).replace(
      /\[\s+([\d,\s]+?)\s+\]/g,
      (_all, list) => `[${list.replace(/\s+/g, ' ')}]`,
    );
    writeFileSync(file, `${compact}\n`);
  }
}

async function main([option]) {
  if (option === '--collect') return collect();
  const text = readFileSync(document, 'utf8');
  const wanted = documentWithTable(text);
  if (option === '--check') {
    if (text === wanted) return undefined;
    console.error('docs/adapters.md is not up to date: node scripts/adapters-table.mjs');
    process.exitCode = 1;
    return undefined;
  }
  writeFileSync(document, wanted);
  return undefined;
}

if (process.argv[1] === import.meta.filename) await main(process.argv.slice(2));
