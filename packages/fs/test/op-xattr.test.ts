import { execFileSync } from 'node:child_process';
import { closeSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fgetxattr, fsetxattr, getxattr, openat, setxattr, XATTR_CREATE, XATTR_REPLACE } from '@ouro/fs/ops';
import { type Op, submit } from '@ouro/runtime';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failure, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();
const path = join(dir, 'file');
let fd = -1;

beforeEach(() => {
  rmSync(path, { force: true });
  writeFileSync(path, '');
  fd = openSync(path, 'r+');
});
afterEach(() => closeSync(fd));

/** What somebody else sees: Python has calls for attributes. */
function seen(name: string): string {
  return execFileSync('python3', [
    '-c',
    `import os;print(os.getxattr(${JSON.stringify(path)}, '${name}').decode())`,
  ])
    .toString()
    .trimEnd();
}

describe.each([
  [
    'of a path',
    (name: string, value: Buffer | string, flags?: number) => setxattr(path, name, value, flags),
    (name: string): Op<Buffer> => getxattr(path, name),
    (name: string, buffer: NodeJS.ArrayBufferView): Op<number> => getxattr(path, name, buffer),
    { set: 'setxattr', get: 'getxattr', path },
  ],
  [
    'of an open file',
    (name: string, value: Buffer | string, flags?: number) => fsetxattr(fd, name, value, flags),
    (name: string): Op<Buffer> => fgetxattr(fd, name),
    (name: string, buffer: NodeJS.ArrayBufferView): Op<number> => fgetxattr(fd, name, buffer),
    { set: 'fsetxattr', get: 'fgetxattr', path: undefined },
  ],
] as const)('extended attributes %s', (_of, set, get, getInto, names) => {
  it('are set and read', async () => {
    await submit(set('user.a', 'value'));
    expect(seen('user.a')).toBe('value');
    expect((await submit(get('user.a'))).toString()).toBe('value');
  });

  it('may be empty', async () => {
    await submit(set('user.a', ''));
    expect((await submit(get('user.a'))).length).toBe(0);
  });

  it('come into a buffer of the caller, or tell how long they are', async () => {
    await submit(set('user.a', Buffer.from([1, 2, 3])));
    const buffer = Buffer.alloc(5);
    expect(await submit(getInto('user.a', buffer))).toBe(3);
    expect([...buffer]).toEqual([1, 2, 3, 0, 0]);
    expect(await submit(getInto('user.a', new Uint8Array(0)))).toBe(3);
  });

  it('come into a buffer that may be resized', async () => {
    await submit(set('user.a', 'abc'));
    const Resizable = ArrayBuffer as unknown as new (length: number, options: object) => ArrayBuffer;
    const view = new Uint8Array(new Resizable(4, { maxByteLength: 8 }));
    expect(await submit(getInto('user.a', view))).toBe(3);
    expect(Buffer.from(view).toString()).toBe('abc\0');
    expect(await submit(getInto('user.a', new Uint8Array(new Resizable(0, { maxByteLength: 8 }))))).toBe(3);
  });

  it('do not fit a buffer that is too short: ERANGE', async () => {
    await submit(set('user.a', 'value'));
    expect(await failure(submit(getInto('user.a', Buffer.alloc(4))))).toMatchObject({
      code: 'ERANGE',
      syscall: names.get,
      path: names.path,
    });
  });

  it('that are not there fail with ENODATA', async () => {
    expect(await failure(submit(get('user.none')))).toMatchObject({ code: 'ENODATA', syscall: names.get });
  });

  it('are created or replaced only, on demand', async () => {
    expect(await failure(submit(set('user.a', 'x', XATTR_REPLACE)))).toMatchObject({
      code: 'ENODATA',
      syscall: names.set,
      path: names.path,
    });
    await submit(set('user.a', 'x', XATTR_CREATE));
    expect((await failure(submit(set('user.a', 'y', XATTR_CREATE)))).code).toBe('EEXIST');
  });

  it('have names of up to 255 bytes', async () => {
    const name = `user.${'n'.repeat(250)}`;
    await submit(set(name, 'long'));
    expect((await submit(get(name))).toString()).toBe('long');
    expect((await failure(submit(set(`${name}n`, '')))).code).toBe('ERANGE');
  });

  it('take no more than 64 KiB, and no name space that there is not', async () => {
    expect((await failure(submit(set('user.a', Buffer.alloc(65_537))))).code).toBe('E2BIG');
    expect((await failure(submit(set('nobody.a', 'x')))).code).toBe('ENOTSUP');
  });

  it('are refused with names and values that are none', () => {
    expect(thrown(() => set(1 as unknown as string, 'x'))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    expect(thrown(() => get('a\0b'))).toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
    expect(thrown(() => set('user.a', 1 as unknown as string)).message).toMatch(/"value"/);
    expect(thrown(() => getInto('user.a', 'x' as unknown as Buffer)).message).toMatch(/"buffer"/);
  });
});

describe('extended attributes', () => {
  it('of a direct descriptor work as well', async () => {
    await using direct = await submit(openat(path, 'r+', undefined, { into: 'any' }));
    await submit(fsetxattr(direct, 'user.a', 'direct'));
    expect((await submit(fgetxattr(direct, 'user.a'))).toString()).toBe('direct');
  });

  it('of long paths work as well, and of files that are not there fail with ENOENT', async () => {
    const long = `${dir}/${'./'.repeat(1000)}file`;
    await submit(setxattr(long, 'user.a', 'x'));
    expect((await submit(getxattr(long, 'user.a'))).toString()).toBe('x');
    const none = join(dir, 'none');
    expect(await failure(submit(getxattr(none, 'user.a')))).toMatchObject({ code: 'ENOENT', path: none });
    expect(await failure(submit(setxattr(none, 'user.a', '')))).toMatchObject({ code: 'ENOENT', path: none });
  });
});
