/**
 * `node:fs`, with files on the ring: the same exports, shapes and errors, for who imports it from here. What we do not serve is Node's
 * own function. See docs/adapters.md for which is which.
 */
import type fs from 'node:fs';
import { fsFace } from './fs/face.ts';

export * from 'node:fs';
export default fsFace;

export const access: typeof fs.access = fsFace.access;
export const appendFile: typeof fs.appendFile = fsFace.appendFile;
export const close: typeof fs.close = fsFace.close;
export const createReadStream: typeof fs.createReadStream = fsFace.createReadStream;
export const createWriteStream: typeof fs.createWriteStream = fsFace.createWriteStream;
export const exists: typeof fs.exists = fsFace.exists;
export const fdatasync: typeof fs.fdatasync = fsFace.fdatasync;
export const fstat: typeof fs.fstat = fsFace.fstat;
export const fsync: typeof fs.fsync = fsFace.fsync;
export const lstat: typeof fs.lstat = fsFace.lstat;
export const open: typeof fs.open = fsFace.open;
export const promises: typeof fs.promises = fsFace.promises;
export const read: typeof fs.read = fsFace.read;
export const readFile: typeof fs.readFile = fsFace.readFile;
export const readlink: typeof fs.readlink = fsFace.readlink;
export const realpath: typeof fs.realpath = fsFace.realpath;
export const stat: typeof fs.stat = fsFace.stat;
export const write: typeof fs.write = fsFace.write;
export const writeFile: typeof fs.writeFile = fsFace.writeFile;
export const writev: typeof fs.writev = fsFace.writev;
