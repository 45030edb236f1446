// Random calls of `@ouro/fs` and of `node:fs/promises`, each on a tree of its own: what one does and says the other must do and say.
// Prints what differs, one line each, and how many calls were compared.
//
//   unshare -m node packages/fs/test/same/main.mjs DIRECTORY SEED COUNT [UID]
//
// In the directory, which must be empty, is what is worked on. With OURO_SAME_MOUNTS=1 something is mounted there, which goes with
// the namespace. With a user's number the calls are that user's.
import * as fs from 'node:fs';
import { join } from 'node:path';
import * as ouro from '@ouro/fs';
import { addon } from '@ouro/native';
import { chanceOf } from './chance.mjs';
import { contentCalls } from './contents.mjs';
import { namesOf } from './names.mjs';
import { pathCalls } from './paths.mjs';
import { listed, makeTrees } from './trees.mjs';

const [root, ...numbers] = process.argv.slice(2);
const [seed, count, uid = 0] = numbers.map(Number);

const chance = chanceOf(seed);
const trees = { ouro: join(root, 'ouro'), node: join(root, 'node') };
const made = makeTrees(trees, chance, process.env.OURO_SAME_MOUNTS === '1');
if (uid !== 0) {
  addon(); // the user may not be allowed where it lies
  process.setgroups([]);
  process.setgid(uid);
  process.setuid(uid);
}

const remove = (path) => fs.rmdirSync(path);
const sides = {
  ouro: {
    api: ouro,
    tree: trees.ouro,
    isOurs: true,
    open: (path, flags, mode) => ouro.File.open(path, flags, { mode }),
    remove,
  },
  node: { api: fs.promises, tree: trees.node, isOurs: false, open: fs.promises.open, remove },
};
const names = namesOf(chance, made);
const calls = { ...pathCalls(chance, names), ...contentCalls(chance, names) };

async function call(side, what, given) {
  const { tree } = side;
  const args = given.map((arg) => (typeof arg === 'function' ? arg(tree) : arg));
  try {
    return { value: await calls[what].run(side, ...args) };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const { code, syscall, path, dest } = error;
    // Node names the wrong argument otherwise, and its promises know less of paths that are not UTF-8.
    const plain = (at) => (at === undefined ? undefined : String(at).replaceAll(tree, ''));
    const shown = what === 'mkdtemp' ? plain(path)?.slice(0, -6) : plain(path);
    return { error: { code, syscall, path: what === 'mkdir' ? '' : shown, dest: plain(dest) } };
  }
}

const text = (all) => JSON.stringify(all, (_key, each) => (typeof each === 'bigint' ? `${each}n` : each));
const REFUSED = new Set(['ERR_INVALID_ARG_TYPE', 'ERR_INVALID_ARG_VALUE', 'ERR_OUT_OF_RANGE']);
const NOW_NS = 60_000_000_000n;

function same(what, one, other) {
  if (/utimes$/.test(what) && Array.isArray(one.value) && Array.isArray(other.value)) {
    // Times: Node cuts off to microseconds after it has lost some; what is in the present is not the same for both.
    return one.value.every((time, at) => {
      const off = time - other.value[at];
      const present =
        BigInt(Date.now()) * 1_000_000n - time < NOW_NS && time < BigInt(Date.now()) * 1_000_000n + NOW_NS;
      return (off >= 0n && off <= (present ? NOW_NS : 1000n)) || (present && off >= -NOW_NS && off < 0n);
    });
  }
  if (text(one) === text(other)) return true;
  if (one.error === undefined || other.error === undefined) return false;
  // Ours looks at all arguments before it begins. Node's mkdir looks for what it could not make, and says that it is not there.
  const { code, syscall } = one.error;
  return REFUSED.has(code) || (code === 'EROFS' && syscall === 'mkdir' && other.error.code === 'ENOENT');
}

let failures = 0;
let errors = 0;
for (let i = 0; i < count && failures < 10; i++) {
  const what = chance.pick(Object.keys(calls));
  const given = calls[what].args();
  const theirs = await call(sides.node, what, given);
  const ours = await call(sides.ouro, what, given);
  if (theirs.error !== undefined) errors++;
  if (!same(what, ours, theirs)) {
    failures++;
    const args = given.map((arg) => (typeof arg === 'function' ? String(arg('')) : arg));
    console.log(`${i}: ${what}(${text(args).slice(0, 300)}): ${text(ours)}, node ${text(theirs)}`);
  }
  if (i % 20 === 0 || i === count - 1) {
    const [one, other] = [listed(trees.ouro), listed(trees.node)];
    if (one !== other) {
      const [ours, theirs] = [one.split('\n'), other.split('\n')];
      for (const line of ours)
        if (!theirs.includes(line)) console.log(`${i}: ${what}: only in ours: ${line}`);
      for (const line of theirs)
        if (!ours.includes(line)) console.log(`${i}: ${what}: only in node's: ${line}`);
      break;
    }
  }
}
console.log(errors > count / 10 && errors < count ? 'done' : `${errors} of ${count} calls have failed`);
