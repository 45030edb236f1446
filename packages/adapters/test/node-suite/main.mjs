// Node's own tests, first as they are and then with the register hook: what passed without it has to pass with it.
//
//   node packages/adapters/test/node-suite/main.mjs [--only fs] [--verbose] [--bar 97] PATTERN …
//
// A PATTERN is a name with stars: 'test-fs-*'. OURO_DRIVER says on which engine; OURO_NODE_SOURCE where Node's source is, if it
// is here already. Failures that stand in `known.json` are told of and do not fail the run, as long as the bar is kept.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { runTest } from './run-test.mjs';
import { testSource } from './source.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const repository = resolve(here, '../../../..');
const JOBS = Math.min(2, availableParallelism());
const LIMIT_MS = 120_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string' },
    bar: { type: 'string', default: '0' },
    verbose: { type: 'boolean', default: false },
    'with-only': { type: 'boolean', default: false },
  },
});
const patterns = positionals.map((pattern) => {
  const words = pattern.split('*').map((word) => word.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${words.join('.*')}\\.m?js$`);
});

/** Why a test fails with the hook, if that is known: by name, for all versions of Node or some, all engines or one. */
function reasonOf(name) {
  const entry = known[name.replace(/\.m?js$/, '')];
  if (entry === undefined) return undefined;
  const [major] = process.versions.node.split('.').map(Number);
  if (entry.node !== undefined && !entry.node.includes(major)) return undefined;
  if (entry.driver !== undefined && entry.driver !== process.env.OURO_DRIVER) return undefined;
  return entry.reason;
}

async function runAll(root, names, hook) {
  const results = new Map();
  const waiting = [...names];
  const places = mkdtempSync(join(tmpdir(), 'nt-'));
  const options = { root, hook, limitMs: LIMIT_MS, env: {} };
  const lane = async (thread) => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      const place = join(places, String(thread));
      results.set(name, await runTest({ ...options, name, place, thread }));
    }
  };
  try {
    await Promise.all(Array.from({ length: JOBS }, (_, thread) => lane(thread)));
    // What failed beside others is run again by itself.
    for (const [name, { passed }] of results) {
      if (passed || (hook.length > 0 && reasonOf(name) !== undefined)) continue;
      results.set(name, await runTest({ ...options, name, place: join(places, 'again'), thread: 0 }));
    }
  } finally {
    rmSync(places, { recursive: true, force: true });
  }
  return results;
}

function source() {
  if (process.env.OURO_NODE_SOURCE !== undefined) return process.env.OURO_NODE_SOURCE;
  try {
    return testSource(join(repository, 'tmp', 'node-tests'));
  } catch (error) {
    console.log(`skipped: Node's tests cannot be had here (${error.message})`);
    process.exit(0);
  }
}

const known = JSON.parse(readFileSync(join(here, 'known.json'), 'utf8'));
const register = join(repository, 'packages/adapters/dist/register.js');
if (!existsSync(register)) throw new Error('packages/adapters is not built: npm run build');
if (values.only !== undefined) process.env.OURO_ADAPTERS = values.only;

const root = source();
const names = readdirSync(join(root, 'test', 'parallel'))
  .filter((name) => patterns.some((pattern) => pattern.test(name)))
  .sort();
if (names.length === 0) throw new Error('no test has such a name');

let candidates = names;
if (!values['with-only']) {
  const without = await runAll(root, names, []);
  candidates = names.filter((name) => without.get(name).passed && !without.get(name).skipped);
}
const results = await runAll(root, candidates, ['--import', pathToFileURL(register).href]);
const failed = candidates.filter((name) => !results.get(name).passed);
const unknown = failed.filter((name) => reasonOf(name) === undefined);
for (const name of failed) {
  const { ended, output } = results.get(name);
  console.log(`failed: ${name} (${ended}): ${reasonOf(name) ?? 'no reason known'}`);
  if (values.verbose || unknown.includes(name)) console.log(output.replace(/^/gm, '  '));
}
for (const name of candidates) {
  if (reasonOf(name) !== undefined && results.get(name).passed)
    console.log(`passes, though known to fail: ${name}`);
}
const passed = candidates.length - failed.length;
const ratio = (100 * passed) / candidates.length;
console.log(
  `${positionals.join(' ')} on ${process.env.OURO_DRIVER ?? 'fusion'}, Node ${process.versions.node}: of ${names.length} tests ` +
    `${candidates.length} pass without the hook, ${passed} with it: ${ratio.toFixed(1)} %`,
);
if (unknown.length > 0 || ratio < Number(values.bar)) process.exitCode = 1;
