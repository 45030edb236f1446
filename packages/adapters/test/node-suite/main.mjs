// Node's own tests with the register hook: what passes without it has to pass with it.
//
//   node packages/adapters/test/node-suite/main.mjs [--only fs] [--verbose] [--bar 97] PATTERN …
//
// A PATTERN is a name with stars: 'test-fs-*'. OURO_DRIVER says on which engine; OURO_NODE_SOURCE where Node's source is, if it
// is here already. Only what fails is run again without the hook, to see whether it passes then: on most machines some tests fail
// either way. Failures that stand in `known.json` are told of and do not fail the run, as long as the bar is kept.

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
/** Of a test that is known to fail: some do so by never ending. */
const KNOWN_LIMIT_MS = 15_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string' },
    bar: { type: 'string', default: '0' },
    verbose: { type: 'boolean', default: false },
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

/** Runs tests, two at a time; those that fail beside others once more by themselves. What is known to fail has one try. */
async function runAll(root, names, hook) {
  const results = new Map();
  const waiting = [...names];
  const places = mkdtempSync(join(tmpdir(), 'nt-'));
  const isKnown = (name) => hook.length > 0 && reasonOf(name) !== undefined;
  const run = async (name, place, thread) => {
    const limitMs = isKnown(name) ? KNOWN_LIMIT_MS : LIMIT_MS;
    results.set(name, await runTest({ root, hook, name, place: join(places, place), thread, limitMs }));
  };
  const lane = async (thread) => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift())
      await run(name, String(thread), thread);
  };
  try {
    await Promise.all(Array.from({ length: JOBS }, (_, thread) => lane(thread)));
    for (const name of names) if (!results.get(name).passed && !isKnown(name)) await run(name, 'again', 0);
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

const results = await runAll(root, names, ['--import', pathToFileURL(register).href]);
const passed = names.filter((name) => results.get(name).passed && !results.get(name).skipped);
const failed = names.filter((name) => !results.get(name).passed);
const unknown = failed.filter((name) => reasonOf(name) === undefined);
const without = await runAll(root, unknown, []);
/** What the hook is to blame for. */
const ours = failed.filter((name) => without.get(name)?.passed !== false);
for (const name of ours) {
  const { ended, output } = results.get(name);
  const reason = reasonOf(name);
  console.log(`failed: ${name} (${ended}): ${reason ?? 'no reason known'}`);
  if (values.verbose || reason === undefined) console.log(output.replace(/^/gm, '  '));
}
for (const name of unknown) {
  if (!ours.includes(name)) console.log(`fails without the hook, too: ${name} (${without.get(name).ended})`);
}
for (const name of passed) {
  if (reasonOf(name) !== undefined) console.log(`passes, though known to fail: ${name}`);
}
const total = passed.length + ours.length;
const ratio = (100 * passed.length) / total;
console.log(
  `${positionals.join(' ')} on ${process.env.OURO_DRIVER ?? 'fusion'}, Node ${process.versions.node}: ${passed.length} of ${total} ` +
    `pass with the hook: ${ratio.toFixed(1)} %; ${names.length - total} are for other machines, or fail without it, too`,
);
if (ours.some((name) => reasonOf(name) === undefined) || ratio < Number(values.bar)) process.exitCode = 1;
