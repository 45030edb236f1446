import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { readdir } from '@ouro/fs';

/** Numbers from a seed: the same each time. */
export function numbers(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const NOT_UTF8 = [Buffer.from([0xff, 0xfe, 0x61]), Buffer.from([0xc3]), Buffer.from([0x61, 0x80, 0x62])];
const ODD = ['ä'.repeat(127), 'x'.repeat(255), '.hidden', ' ', '\n', '*', '-rf', '😀', '\ufffd', 'a\\b'];

const below = (path: Buffer, name: Buffer): Buffer => Buffer.concat([path, Buffer.from('/'), name]);

/** Makes a tree of files, directories and links whose names are as bad as names can be. Returns how many names it has. */
export function randomTree(root: string, seed: number, most = 200): number {
  const random = numbers(seed);
  rmSync(root, { recursive: true, force: true });
  mkdirSync(root);
  const directories: Buffer[] = [Buffer.from(root)];
  const files: Buffer[] = [];
  const used = new Set<string>();
  let count = 0;
  for (let i = 0; i < most; i++) {
    const parent = directories[random(directories.length)] ?? Buffer.from(root);
    const odd = random(4);
    const name =
      odd === 0
        ? (NOT_UTF8[random(NOT_UTF8.length)] ?? Buffer.from('x'))
        : Buffer.from(odd === 1 ? (ODD[random(ODD.length)] ?? 'x') : `n${i}`);
    const path = below(parent, name);
    if (path.length > 4000 || used.has(path.toString('latin1'))) continue;
    used.add(path.toString('latin1'));
    count++;
    const what = random(8);
    const file = files[random(Math.max(files.length, 1))];
    if (what < 3) {
      mkdirSync(path);
      directories.push(path);
    } else if (what === 3) symlinkSync('.', path);
    else if (what === 4) symlinkSync('nowhere', path);
    else if (what === 5 && file !== undefined) linkSync(file, path);
    else {
      writeFileSync(path, 'x'.repeat(random(100)));
      files.push(path);
    }
  }
  return count;
}

/** How many names are below a directory; 0 if it is not there. */
export function countNames(path: string | Buffer): number {
  if (!existsSync(path)) return 0;
  let count = 0;
  for (const name of readdirSync(path, 'buffer')) {
    const at = below(Buffer.from(path), name);
    count += 1 + (lstatSync(at).isDirectory() ? countNames(at) : 0);
  }
  return count;
}

/** Both engines have begun, which have descriptors too. */
export async function begunWith(): Promise<void> {
  await readdir('.');
}
