// Calls of what there is by path, but for contents: see contents.mjs.
import * as fs from 'node:fs';

const ids = [-1, 0, 1, 65534, 4_000_000_000, 4_294_967_295];
const modes = [0o000, 0o400, 0o600, 0o644, 0o755, 0o777, 0o4711, 0o1777, '600', '0755'];
const times = [
  0,
  1,
  1.5,
  12_345.678,
  1_700_000_000.123,
  -7,
  new Date(1_600_000_000_000),
  new Date(-1500),
  '17',
  2 ** 33,
];
export const encodings = [
  undefined,
  'utf8',
  'buffer',
  'latin1',
  'hex',
  { encoding: 'buffer' },
  { encoding: 'base64' },
  null,
];

const facts = (stats) => {
  const { mode, size, uid: owner, gid, nlink, rdev, blksize } = stats;
  // A directory's size and links depend on what else is there. (Not the blocks: copies of ours keep holes.)
  const plain = stats.isFile() ? { size, nlink } : {};
  const kinds = [stats.isDirectory(), stats.isFIFO(), stats.isSocket(), stats.isSymbolicLink()];
  return {
    mode,
    owner,
    gid,
    rdev,
    blksize,
    ...plain,
    kinds,
    type: typeof stats.mtimeMs,
    ns: typeof stats.mtimeNs,
  };
};

function shown({ tree }, args, result) {
  if (Buffer.isBuffer(result)) return result.toString('latin1').replaceAll(tree, '');
  if (typeof result !== 'string') return result;
  const { encoding = 'utf8' } = typeof args[1] === 'string' ? { encoding: args[1] } : (args[1] ?? {});
  return Buffer.from(result, encoding === null || encoding === 'buffer' ? 'utf8' : encoding)
    .toString('latin1')
    .replaceAll(tree, '');
}

/**
 * For each call, how its arguments are made (functions among them are given the tree's path), and if it is not just
 * called by its name and its result shown, how it is run.
 */
export function pathCalls({ random, pick, value }, { name, within, one, any }) {
  /** To ours, null is a time: the one that is there. */
  const time = () => value(times) ?? 'soon';
  const plain = (what, args) => ({
    args,
    run: async (side, ...given) => shown(side, given, await side.api[what](...given)),
  });
  const stats = (what, args) => ({
    args,
    run: async (side, ...given) => facts(await side.api[what](...given)),
  });
  const changesTimes = (what, look) => ({
    args: () => [name(), time(), time()],
    run: async ({ api }, ...given) => {
      await api[what](...given);
      const { atimeNs, mtimeNs } = look(given[0], { bigint: true });
      return [atimeNs, mtimeNs];
    },
  });
  /** What is a method of open files. */
  const ofFile = (what, args, show = (result) => result) => ({
    args,
    run: async ({ open }, path, ...given) => {
      const file = await open(path, 'r');
      try {
        return show(await file[what](...given), path);
      } finally {
        await file.close();
      }
    },
  });
  const timesOf = (_result, path) => {
    const { atimeNs, mtimeNs } = fs.statSync(path, { bigint: true });
    return [atimeNs, mtimeNs];
  };
  return {
    access: plain('access', () => [any(), pick([undefined, null, 0, 1, 2, 4, 5, 7, 8, -1, 'x'])]),
    chmod: plain('chmod', () => [name(), value(modes)]),
    chown: plain('chown', () => [name(), value(ids), value(ids)]),
    lchown: plain('lchown', () => [name(), value(ids), value(ids)]),
    utimes: changesTimes('utimes', fs.statSync),
    lutimes: changesTimes('lutimes', fs.lstatSync),
    readlink: plain('readlink', () => [any(), value(encodings)]),
    realpath: plain('realpath', () => [any(), value(encodings)]),
    stat: stats('stat', () => [any(), pick([undefined, { bigint: true }, { bigint: false }])]),
    lstat: stats('lstat', () => [any(), pick([undefined, { bigint: true }])]),
    statfs: {
      args: () => [any(), pick([undefined, { bigint: true }])],
      run: async ({ api }, ...given) => {
        const { type, bsize, blocks } = await api.statfs(...given);
        return { type, bsize, blocks };
      },
    },
    mkdir: plain('mkdir', () => {
      const recursive = random() < 0.7;
      const path = recursive
        ? pick([name(), within(pick(['p/q/r', 'p//q/./s/', 'dir/n/../m', 'dir/sub/t/u', 'a/b/c']))])
        : name();
      return [path, pick([undefined, { recursive }, { recursive, mode: value([0o700, '750']) }])];
    }),
    truncate: plain('truncate', () => [name(), value([undefined, 0, 3, 10_000])]),
    rename: plain('rename', () => [one(), one()]),
    link: plain('link', () => [one(), one()]),
    symlink: plain('symlink', () => [one(), one()]),
    unlink: plain('unlink', () => [name()]),
    rmdir: plain('rmdir', () => [name()]),
    'file.chmod': ofFile('chmod', () => [name(), value(modes)]),
    'file.chown': ofFile('chown', () => [name(), value(ids), value(ids)]),
    'file.utimes': ofFile('utimes', () => [name(), time(), time()], timesOf),
    'file.stat': ofFile('stat', () => [any(), pick([undefined, { bigint: true }])], facts),
  };
}
