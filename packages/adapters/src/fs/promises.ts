/**
 * `node:fs/promises`, with files on the ring: the same exports, shapes and errors, for who imports it from here. What we do not serve is
 * Node's own function. See docs/adapters.md for which is which.
 */
import type promises from 'node:fs/promises';
import { promisesFace } from './face.ts';

export * from 'node:fs/promises';
export default promisesFace;

export const access: typeof promises.access = promisesFace.access;
export const appendFile: typeof promises.appendFile = promisesFace.appendFile;
export const lstat: typeof promises.lstat = promisesFace.lstat;
export const open: typeof promises.open = promisesFace.open;
export const readFile: typeof promises.readFile = promisesFace.readFile;
export const readlink: typeof promises.readlink = promisesFace.readlink;
export const realpath: typeof promises.realpath = promisesFace.realpath;
export const stat: typeof promises.stat = promisesFace.stat;
export const writeFile: typeof promises.writeFile = promisesFace.writeFile;
