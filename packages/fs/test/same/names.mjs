// Names of what is in the trees, and of what is not, as they are to be said to both sides: functions of a tree's path.
import { ODD } from './trees.mjs';

const SHORT = [
  'a',
  'b',
  'c',
  'dir',
  'dir/a',
  'dir/sub',
  'dir/sub/a',
  'dir/c',
  'ünï€',
  'link',
  'linkdir',
  'linkdir/a',
  'dangling',
];
const WRONG = [
  'loop',
  'loop/x',
  'a/x',
  'none/x',
  'dangling/x',
  'private/a',
  'locked',
  'ro/a',
  'ro/x',
  'ro/dir',
  'dir/',
  'a/',
  'dir/../b',
];
/** For calls that change nothing: what is beyond the trees is not ours. */
const BEYOND = [
  '/proc/version',
  '/proc/self',
  '/proc/self/exe',
  '/proc/self/fd/999',
  '/proc/none',
  '/',
  '',
  '/proc/self/fd/0',
];

/** @param made names of what chance has put into the trees */
export function namesOf({ random, pick }, made) {
  const within = (path) =>
    pick([
      (tree) => `${tree}/${path}`,
      (tree) => Buffer.from(`${tree}/${path}`),
      (tree) => new URL(`file://${tree}/${path.split('/').map(encodeURIComponent).join('/')}`),
    ]);
  const long = (length, path) => (tree) => {
    const rest = length - Buffer.byteLength(`${tree}/${path}`);
    // Both trees' paths are equally long.
    return `${tree}/${rest % 2 === 1 ? '/' : ''}${'./'.repeat(rest / 2)}${path}`;
  };
  /** Of the trees only unless told otherwise. */
  const name = ({ beyond = false, lengthy = true } = {}) => {
    const chance = random();
    if (chance < 0.35) return within(pick(SHORT));
    if (chance < 0.55) return within(pick(made));
    if (chance < 0.8) return within(pick(WRONG));
    if (chance < 0.84) return (tree) => Buffer.concat([Buffer.from(`${tree}/`), ODD]);
    if (chance < 0.87) return within('oddlink');
    if (chance < 0.9) return within('x'.repeat(pick([255, 256])));
    if (chance < 0.95 && lengthy) return long(pick([4094, 4095, 4096, 5000]), pick(SHORT));
    if (!beyond) return within('d/e/f');
    const path = pick(BEYOND);
    return () => path;
  };
  return {
    name,
    within,
    // The ring takes both names before it looks for either, so that it finds one that is too long first.
    one: () => name({ lengthy: false }),
    any: () => name({ beyond: true }),
  };
}
