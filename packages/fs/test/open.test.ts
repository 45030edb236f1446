import {
  chmodSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { File, type OpenFlags } from '@ouro/fs';
import { nop } from '@ouro/runtime/driver';
import { beforeAll, describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import {
  begun,
  descriptorInfo,
  failure,
  fifo,
  openDescriptors,
  temporaryDirectory,
  thrown,
} from './support.ts';

const dir = temporaryDirectory();
const file = join(dir, 'file');

beforeAll(() => {
  writeFileSync(file, 'content');
  symlinkSync('loop', join(dir, 'loop'));
  symlinkSync('file', join(dir, 'link'));
  mkdirSync(join(dir, 'directory'));
});

const flags: readonly OpenFlags[] = [
  ...(['r', 'rs', 'sr', 'r+', 'rs+', 'sr+', 'w', 'wx', 'xw', 'w+', 'wx+', 'xw+'] as const),
  ...(['a', 'ax', 'xa', 'as', 'sa', 'a+', 'ax+', 'xa+', 'as+', 'sa+'] as const),
];

describe('open', () => {
  it('resolves to a file with a descriptor and the path it was given', async () => {
    const opened = await File.open(file);
    expect(opened).toBeInstanceOf(File);
    expect(opened.fd).toBeGreaterThan(2);
    expect(opened.path).toBe(file);
    await opened.close();
  });

  it.each(flags)("with '%s' does to a file that is there what node:fs does", async (flag) => {
    const [ours, theirs] = [join(dir, `ours-${flag}`), join(dir, `theirs-${flag}`)];
    writeFileSync(ours, 'content');
    writeFileSync(theirs, 'content');
    if (flag.includes('x')) {
      const error = await failure(File.open(ours, flag));
      expect(error).toEqual(thrown(() => openSync(ours, flag)));
      expect(error.code).toBe('EEXIST');
      return;
    }
    const opened = await File.open(ours, flag);
    const fd = openSync(theirs, flag);
    expect(descriptorInfo(opened.fd)).toEqual(descriptorInfo(fd));
    expect(readFileSync(ours)).toEqual(readFileSync(theirs));
    closeSync(fd);
    await opened.close();
  });

  it.each(flags)("with '%s' does where no file is what node:fs does", async (flag) => {
    const [ours, theirs] = [join(dir, `new-ours-${flag}`), join(dir, `new-theirs-${flag}`)];
    if (flag.includes('r')) {
      const error = await failure(File.open(ours, flag));
      expect(error).toEqual(thrown(() => openSync(ours, flag)));
      expect(error.code).toBe('ENOENT');
      return;
    }
    const opened = await File.open(ours, flag);
    const fd = openSync(theirs, flag);
    expect(descriptorInfo(opened.fd)).toEqual(descriptorInfo(fd));
    expect(statSync(ours).mode).toBe(statSync(theirs).mode);
    closeSync(fd);
    await opened.close();
  });

  it('takes O_* bits', async () => {
    const opened = await File.open(file, constants.O_RDWR | constants.O_NONBLOCK);
    const fd = openSync(file, constants.O_RDWR | constants.O_NONBLOCK);
    expect(descriptorInfo(opened.fd)).toEqual(descriptorInfo(fd));
    closeSync(fd);
    await opened.close();
  });

  it('makes descriptors that child programs do not inherit', async () => {
    const opened = await File.open(file);
    expect(Number.parseInt(descriptorInfo(opened.fd).flags, 8) & 0o2000000).not.toBe(0);
    await opened.close();
  });

  it.each([undefined, 0o600, 0o751, '640', '0444', 0o4755, 0])(
    'creates with mode %s as node:fs does',
    async (mode) => {
      const [ours, theirs] = [join(dir, `mode-ours-${mode}`), join(dir, `mode-theirs-${mode}`)];
      const opened = await File.open(ours, 'w', { mode });
      const fd = openSync(theirs, 'w', mode);
      expect(statSync(ours).mode).toBe(statSync(theirs).mode);
      closeSync(fd);
      await opened.close();
    },
  );

  it('of a pipe for writing waits for a reader', async () => {
    const pipe = fifo(join(dir, 'written'));
    for (const flag of ['w', 'a', constants.O_WRONLY, constants.O_WRONLY | constants.O_APPEND] as const) {
      let open = false;
      const opening = File.open(pipe, flag).then((opened) => {
        open = true;
        return opened.close();
      });
      for (let turn = 0; turn < 5; turn++) await nop();
      expect(open).toBe(false);
      const reader = await File.open(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
      await opening;
      await reader.close();
    }
  });

  it('of a pipe for writing, told not to wait, fails with ENXIO as in node:fs', async () => {
    const pipe = fifo(join(dir, 'unread'));
    const flags = constants.O_WRONLY | constants.O_NONBLOCK;
    expect(await failure(File.open(pipe, flags))).toEqual(thrown(() => openSync(pipe, flags)));
  });

  it('of a pipe for reading may come before its writer: the first read waits then', async () => {
    const pipe = fifo(join(dir, 'read'));
    const reading = File.open(pipe).then(async (opened) => {
      const buffer = Buffer.alloc(10);
      const count = await opened.read(buffer);
      await opened.close();
      return buffer.toString('utf8', 0, count);
    });
    for (let turn = 0; turn < 5; turn++) await nop();
    const writer = await File.open(pipe, 'w');
    await writer.write('hello');
    await writer.close();
    expect(await reading).toBe('hello');
  });

  it('create makes a file for writing, or empties the one that is there', async () => {
    const path = join(dir, 'created');
    for (const content of ['first and longer', 'second']) {
      const created = await File.create(path);
      await created.write(content);
      await created.close();
      expect(readFileSync(path, 'utf8')).toBe(content);
    }
  });
});

describe('a failed open', () => {
  const cases: readonly (readonly [code: string, name: string, flags: OpenFlags])[] = [
    ['ENOENT', 'missing', 'r'],
    ['ENOENT', 'missing/file', 'w'],
    ['ENOENT', '', 'r'],
    ['EEXIST', 'file', 'wx'],
    ['EEXIST', 'link', 'ax'],
    ['EISDIR', 'directory', 'w'],
    ['EISDIR', 'directory', 'r+'],
    ['EISDIR', 'directory/', 'a'],
    ['ENOTDIR', 'file/below', 'r'],
    ['ENOTDIR', 'file/', 'r'],
    ['ELOOP', 'loop', 'r'],
    ['ENAMETOOLONG', 'x'.repeat(256), 'w'],
    ['ENAMETOOLONG', './'.repeat(2048), 'r'],
  ];
  it.each(cases)('%s rejects with the error of node:fs', async (code, name, flag) => {
    const path = name === '' ? '' : `${dir}/${name}`;
    const error = await failure(File.open(path, flag));
    expect(error).toEqual(thrown(() => openSync(path, flag)));
    expect(error).toMatchObject({ code, syscall: 'open', path });
  });

  it('EACCES rejects with the error of node:fs', async ({ skip }) => {
    chmodSync(dir, 0o755);
    const secret = join(dir, 'secret');
    writeFileSync(secret, 'x', { mode: 0o600 });
    const source = `
      import { openSync } from 'node:fs';
      import { File } from '@ouro/fs';
      const shape = ({ message, code, errno, syscall, path }) => ({ message, code, errno, syscall, path });
      const ours = await File.open(process.argv[1]).catch(shape);
      try { openSync(process.argv[1]) } catch (error) { console.log(JSON.stringify([ours, shape(error)])) }`;
    if (process.getuid?.() !== 0) skip('needs root, to make a file that another user cannot read');
    const under = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
    const { stdout, stderr } = await runProgram(source, { under, args: [secret] });
    expect(stderr).toBe('');
    const [ours, theirs] = JSON.parse(stdout);
    expect(ours).toEqual(theirs);
    expect(ours).toMatchObject({ code: 'EACCES', syscall: 'open', path: secret });
  });

  it('leaves no descriptor behind', async () => {
    await nop();
    const before = openDescriptors();
    for (let i = 0; i < 100; i++) await failure(File.open(join(dir, 'missing')));
    expect(openDescriptors()).toBe(before);
  });
});

describe('open refuses, before anything is submitted,', () => {
  const same: readonly (readonly [string, unknown, unknown, unknown])[] = [
    ['a path with a NUL character', 'a\0b', 'r', undefined],
    ['a Buffer with a NUL byte', Buffer.from('a\0b'), 'r', undefined],
    ['a URL with a NUL character', new URL('file:///a%00b'), 'r', undefined],
    ['a URL that is no file URL', new URL('http://example.org/'), 'r', undefined],
    ['a file URL of another host', new URL('file://host/path'), 'r', undefined],
    ['a number for a path', 5, 'r', undefined],
    ['an object for a path', {}, 'r', undefined],
    ['null for a path', null, 'r', undefined],
    ['nothing for a path', undefined, 'r', undefined],
    ['flags that do not exist', file, 'rw', undefined],
    ['flags that are a property of objects', file, 'constructor', undefined],
    ['flags that are not an integer', file, 1.5, undefined],
    ['a mode that is not octal', file, 'r', '9'],
    ['an empty mode', file, 'r', ''],
    ['a negative mode', file, 'r', -1],
    ['a mode that is not an integer', file, 'r', 1.5],
    ['a mode of another type', file, 'r', {}],
  ];
  it.each(same)('%s, with the error of node:fs', async (_, path, flag, mode) => {
    await nop();
    const before = begun();
    const error = thrown(() => File.open(path as string, flag as OpenFlags, { mode: mode as number }));
    expect(begun()).toBe(before);
    expect(error).toEqual(thrown(() => openSync(path as string, flag as string, mode as number)));
  });

  const more: readonly (readonly [string, () => unknown, string])[] = [
    ['flags below zero', () => File.open(file, -1), 'ERR_OUT_OF_RANGE'],
    ['flags of another type', () => File.open(file, true as never), 'ERR_INVALID_ARG_TYPE'],
    [
      'a signal that is none',
      () => File.open(file, 'r', { signal: {} as AbortSignal }),
      'ERR_INVALID_ARG_TYPE',
    ],
  ];
  it.each(more)('%s', async (_, open, code) => {
    await nop();
    const before = begun();
    expect(thrown(open).code).toBe(code);
    expect(begun()).toBe(before);
  });
});

describe('fromFd', () => {
  it('makes a file of a descriptor that is open already', async () => {
    const fd = openSync(file, 'r');
    const wrapped = File.fromFd(fd, file);
    expect([wrapped.fd, wrapped.path]).toEqual([fd, file]);
    const buffer = Buffer.alloc(20);
    expect(await wrapped.read(buffer)).toBe(7);
    await wrapped.close();
  });

  it('takes the descriptor over: close closes it', async () => {
    const fd = openSync(file, 'r');
    await File.fromFd(fd).close();
    expect(thrown(() => closeSync(fd)).code).toBe('EBADF');
  });

  it('goes on where the descriptor stands', async () => {
    const fd = openSync(file, 'r+');
    const wrapped = File.fromFd(fd);
    await wrapped.read(Buffer.alloc(3));
    expect(descriptorInfo(fd).pos).toBe(3);
    await wrapped.close();
  });

  it('of a descriptor that is not open gives a file whose ops fail', async () => {
    const wrapped = File.fromFd(1_000_000);
    expect(await failure(wrapped.read(Buffer.alloc(1)))).toMatchObject({ code: 'EBADF', syscall: 'read' });
    expect(await failure(wrapped.close())).toMatchObject({ code: 'EBADF', syscall: 'close' });
  });

  it('refuses what is no descriptor', () => {
    expect(thrown(() => File.fromFd(-1)).code).toBe('ERR_OUT_OF_RANGE');
    expect(thrown(() => File.fromFd(1.5)).code).toBe('ERR_OUT_OF_RANGE');
    expect(thrown(() => File.fromFd('1' as never)).code).toBe('ERR_INVALID_ARG_TYPE');
  });
});
