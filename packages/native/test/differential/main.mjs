/**
 * Runs programs on the ring and on the poll engine, and tells where they differ:
 *
 *   node main.mjs [--count 300] [--seed N] [--kept] [--program FILE] [--failures 5] [--no-shrink]
 *
 * `--kept` runs those in kept/ first, `--program` only the one in a file. Ends with 1 if there is a difference.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { difference } from './compare.mjs';
import { EngineProcess } from './engine.mjs';
import { generate } from './generate.mjs';
import { shrink } from './shrink.mjs';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '300' },
    seed: { type: 'string', default: process.env.OURO_SEED ?? String(Math.floor(Math.random() * 1e9)) },
    kept: { type: 'boolean', default: false },
    program: { type: 'string' },
    failures: { type: 'string', default: '5' },
    'no-shrink': { type: 'boolean', default: false },
  },
});
/** Runs on each engine before a difference is believed. */
const TRIES = 6;
const KEPT = fileURLToPath(new URL('kept/', import.meta.url));
const kernel = new EngineProcess('uring');
const poll = new EngineProcess('poll');
let slow = 0;

/**
 * What differs. The kernel itself may end a program in more than one way, as packets and threads of its own come early or
 * late: what is believed is a difference in which no two of several runs agree, all but the first with more patience.
 */
async function check(program, request = { program }) {
  const seen = { kernel: [], poll: [] };
  let found = null;
  for (let tries = 0; tries < TRIES; tries++) {
    const patient = tries > 0;
    if (tries === 1) slow++;
    const [a, b] = await Promise.all([
      kernel.run({ ...request, patient }),
      poll.run({ ...request, patient }),
    ]);
    seen.kernel.push(a);
    seen.poll.push(b);
    found = difference(program, a, b);
    const agrees = (each) => difference(program, each, b) === null;
    if (seen.kernel.some(agrees) || seen.poll.some((each) => difference(program, a, each) === null))
      return null;
  }
  return found;
}

async function report(title, program, found) {
  process.stdout.write(`\n${title}: ${found}\n`);
  if (values['no-shrink']) return;
  const small = await shrink(program, check);
  process.stdout.write(`${JSON.stringify({ what: await check(small), ...small })}\n`);
}

let failures = 0;
let ops = 0;
const began = Date.now();
const files = values.kept ? readdirSync(KEPT).filter((name) => name.endsWith('.json')) : [];
const kept = values.program === undefined ? files.map((name) => `${KEPT}${name}`) : [values.program];
for (const path of kept) {
  const program = JSON.parse(readFileSync(path, 'utf8'));
  const found = await check(program);
  if (found === null) continue;
  failures++;
  process.stdout.write(`\n${path}: ${found}\n`);
}
const count = values.program === undefined ? Number(values.count) : 0;
const first = Number(values.seed);
let done = 0;
for (; done < count && failures < Number(values.failures); done++) {
  const seed = first + done;
  const program = generate(seed);
  ops += program.rounds.flat(2).length;
  const found = await check(program, { seed });
  if (found !== null) {
    failures++;
    await report(`seed ${seed}`, program, found);
  }
  if (done % 1000 === 999)
    process.stdout.write(`${done + 1} programs, ${ops} ops, ${Date.now() - began} ms\n`);
}
kernel.close();
poll.close();
process.stdout.write(
  `${JSON.stringify({ seed: first, kept: kept.length, programs: done, ops, failures, again: slow, ms: Date.now() - began })}\n`,
);
process.exitCode = failures > 0 ? 1 : 0;
