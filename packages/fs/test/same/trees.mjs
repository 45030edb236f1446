// The two trees that are worked on, and what is in one.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';

/** A name that is no UTF-8. */
export const ODD = Buffer.from([0x6e, 0xff, 0xfe, 0x80]);
const SIZES = [0, 1, 100, 4095, 4096, 4097, 70_000, 131_072, 131_073];
const RANDOM_ENTRIES = 40;

export const digest = (bytes) => `${bytes.length} ${createHash('sha1').update(bytes).digest('hex')}`;

/** Makes both, alike. Returns names of what chance has put there. */
export function makeTrees(trees, chance, readOnly) {
  const { pick, random } = chance;
  // What is to be in both, and where.
  const made = [];
  const directories = ['', 'dir/', 'dir/sub/'];
  for (let i = 0; i < RANDOM_ENTRIES; i++) {
    const path = `${pick(directories)}${pick(['n', 'é', '€ ', '.', '*'])}${i}`;
    const kind = random();
    if (kind < 0.25) directories.push(`${path}/`);
    if (kind < 0.25) made.push([path, (at) => fs.mkdirSync(at)]);
    else if (kind < 0.4) {
      // Never out of the tree: what is there is not ours to write to.
      const leads = pick(['a', '.', 'nowhere', `n${i - 1}`]);
      made.push([path, (at) => fs.symlinkSync(leads, at)]);
    } else if (kind < 0.5) {
      made.push([
        path,
        (at) => {
          fs.writeFileSync(at, 'head');
          fs.truncateSync(at, 1_000_000 + i); // the rest of it is a hole
        },
      ]);
    } else {
      const size = pick(SIZES);
      const mode = pick([0o644, 0o600, 0o755, 0o444]);
      made.push([path, (at) => fs.writeFileSync(at, Buffer.alloc(size, `${i} `), { mode })]);
    }
  }
  for (const tree of Object.values(trees)) {
    fs.mkdirSync(join(tree, 'dir/sub'), { recursive: true });
    fs.chmodSync(tree, 0o777);
    for (const name of ['a', 'b', 'dir/a', 'dir/sub/a', 'ünï€']) fs.writeFileSync(join(tree, name), name);
    fs.writeFileSync(Buffer.concat([Buffer.from(`${tree}/`), ODD]), 'odd');
    fs.symlinkSync('a', join(tree, 'link'));
    fs.symlinkSync('dir', join(tree, 'linkdir'));
    fs.symlinkSync('nowhere', join(tree, 'dangling'));
    fs.symlinkSync('loop', join(tree, 'loop'));
    fs.symlinkSync(ODD, join(tree, 'oddlink'));
    fs.mkdirSync(join(tree, 'private'), { mode: 0o700 });
    fs.writeFileSync(join(tree, 'private/a'), 'secret', { mode: 0o600 });
    fs.writeFileSync(join(tree, 'locked'), 'locked', { mode: 0o600 });
    fs.mkdirSync(join(tree, 'ro'));
    for (const [path, make] of made) make(join(tree, path));
    if (readOnly) {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', join(tree, 'ro')]);
      fs.writeFileSync(join(tree, 'ro/a'), 'a');
      fs.mkdirSync(join(tree, 'ro/dir'));
      execFileSync('mount', ['-o', 'remount,ro', join(tree, 'ro')]);
    }
  }
  return made.map(([path]) => path);
}

/** All that is in a tree: names, owners, modes, contents, what links say. */
export function listed(tree) {
  const found = [];
  const walk = (path, shownPath) => {
    let entries;
    try {
      entries = fs.readdirSync(path, { encoding: 'buffer' }).sort(Buffer.compare);
    } catch {
      return;
    }
    for (const entry of entries) {
      const at = Buffer.concat([path, Buffer.from('/'), entry]);
      const name = `${shownPath}/${entry.toString('latin1')}`;
      try {
        const about = fs.lstatSync(at);
        found.push([name, about.mode.toString(8), about.uid, about.gid, content(at, about, tree)].join(' '));
        if (about.isDirectory()) walk(at, name);
      } catch {
        found.push(name); // in a directory whose names may be read, but not what they are
      }
    }
  };
  walk(Buffer.from(tree), '');
  return found.join('\n');
}

function content(at, about, tree) {
  if (about.isSymbolicLink()) return fs.readlinkSync(at, 'latin1').replaceAll(tree, '');
  if (!about.isFile()) return '';
  try {
    return digest(fs.readFileSync(at));
  } catch {
    return `${about.size}`; // that may not be read
  }
}
