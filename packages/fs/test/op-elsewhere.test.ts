import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';

/** What the ops do in a program whose kernel lacks them: the value, or the code of the failure. */
async function without(opcodes: string, body: string): Promise<unknown> {
  const dir = mkdtempSync(join(tmpdir(), 'ouro-without-'));
  try {
    const { stdout, stderr } = await runProgram(
      `
      import * as fs from 'node:fs';
      import { submit, files } from '@ouro/runtime';
      import { close } from '@ouro/runtime/driver';
      import { File } from '@ouro/fs';
      import * as ops from '@ouro/fs/ops';
      const path = ${JSON.stringify(dir)} + '/file';
      fs.writeFileSync(path, '0123456789');
      const fd = fs.openSync(path, 'r+');
      const content = () => fs.readFileSync(path, 'utf8');
      const code = async (op) => { try { return await submit(op); } catch ({ code, syscall }) { return [code, syscall]; } };
      ${body}
      console.log(JSON.stringify(result));
    `,
      { env: { OURO_WITHOUT: opcodes, OURO_DRIVER: 'uring' } },
    );
    expect(stderr).toBe('');
    return JSON.parse(stdout);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

describe('on a kernel without the ops', () => {
  it('names are changed through Node', async () => {
    const body = `
      await submit(ops.renameat(path, path + 'b'));
      await submit(ops.linkat(path + 'b', path + 'c'));
      await submit(ops.symlinkat('fileb', path + 'd'));
      await submit(ops.mkdirat(path + 'e', 0o700));
      await submit(ops.mkdirat(path + 'f'));
      await submit(ops.unlinkat(path + 'f', { flags: ops.AT_REMOVEDIR }));
      await submit(ops.unlinkat(path + 'b'));
      const left = fs.readdirSync(path.slice(0, -4));
      const result = [left, fs.statSync(path + 'e').mode & 0o777,
        await code(ops.renameat(path, 'x')), await code(ops.linkat(path, 'x')), await code(ops.symlinkat('x', path + 'c')),
        await code(ops.mkdirat(path + 'e')), await code(ops.unlinkat(path)),
        await code(ops.renameat(path, 'x', { flags: 1 })), await code(ops.unlinkat('file', { dirfd: fd }))];`;
    expect(await without('RENAMEAT,LINKAT,SYMLINKAT,MKDIRAT,UNLINKAT', body)).toEqual([
      ['filec', 'filed', 'filee'],
      0o700,
      ['ENOENT', 'rename'],
      ['ENOENT', 'link'],
      ['EEXIST', 'symlink'],
      ['EEXIST', 'mkdir'],
      ['ENOENT', 'unlink'],
      ['ERR_OURO_UNSUPPORTED', 'rename'],
      ['ERR_OURO_UNSUPPORTED', 'unlink'],
    ]);
  });

  it('bytes are moved through Node', async () => {
    const body = `
      const a = Buffer.alloc(2), b = Buffer.alloc(3), c = new Uint8Array(new ArrayBuffer(2, { maxByteLength: 4 }));
      const result = [
        await submit(ops.write(fd, Buffer.from('ab'), 1)), await submit(ops.read(fd, a, 1)), String(a),
        await submit(ops.writev(fd, [Buffer.from('c'), Buffer.from('d')])), content(),
        await submit(ops.readv(fd, [a, c, b], 1)), String(a), String(Buffer.from(c)), String(b),
        await submit(ops.read(fd, c)), String(Buffer.from(c)),
        await code(ops.read(99999, a)), await code(ops.writev(99999, [a])), await code(ops.read(fd, a, 0, { flags: 8 })),
      ];`;
    expect(await without('READ,WRITE,READV,WRITEV', body)).toEqual([
      ...[2, 2, 'ab', 2, 'cdb3456789', 7, 'db', '34', '567', 2, 'b3'],
      ['EBADF', 'read'],
      ['EBADF', 'write'],
      ['ERR_OURO_UNSUPPORTED', 'read'],
    ]);
  });

  it('files are opened, looked at, synced and cut through Node', async () => {
    const body = `
      const opened = await submit(ops.openat(path, 'r+'));
      await submit(ops.ftruncate(opened, 5));
      await submit(ops.fsync(opened));
      await submit(ops.fdatasync(opened));
      const stats = await submit(ops.statx(path)), open = await submit(ops.statx(opened)), node = fs.statSync(path);
      fs.symlinkSync('file', path + 'l');
      const file = await File.open(path);
      const same = ['dev', 'ino', 'mode', 'nlink', 'uid', 'gid', 'rdev', 'size', 'blksize', 'blocks', 'atimeMs', 'mtimeMs',
        'ctimeMs'].filter((key) => stats[key] !== node[key] || open[key] !== node[key]);
      const dev = (await submit(ops.statx('/dev/null'))).rdev === fs.statSync('/dev/null').rdev;
      const result = [content(), same, dev, file.fd > 2, await submit(ops.openat2(path)) > 2,
        (await submit(ops.statx(path + 'l', { flags: ops.AT_SYMLINK_NOFOLLOW }))).isSymbolicLink(),
        await code(ops.openat(path + 'x')), await code(ops.statx(path + 'x')), await code(ops.statx(99999)),
        await code(ops.fsync(99999)), await code(ops.openat(path, 'r', 0, { into: 'any' })),
        await code(ops.openat2(path, { resolve: 8 }))];
      await close(opened);
      await file.close();`;
    expect(await without('OPENAT,OPENAT2,STATX,FSYNC,FTRUNCATE', body)).toEqual([
      ...['01234', [], true, true, true, true],
      ['ENOENT', 'open'],
      ['ENOENT', 'stat'],
      ['EBADF', 'fstat'],
      ['EBADF', 'fsync'],
      ['ERR_OURO_UNSUPPORTED', 'open'],
      ['ERR_OURO_UNSUPPORTED', 'openat2'],
    ]);
  });

  it('a direct descriptor is not taken for one of the process', async () => {
    const body = `
      const direct = await submit(ops.openat(path, 'r+', 0, { into: 'any' }));
      const result = [];
      for (const op of [ops.ftruncate(direct, 0), ops.fsync(direct), ops.read(direct, Buffer.alloc(1)), ops.statx(direct)]) {
        result.push((await code(op))[0]);
      }`;
    const refused = 'ERR_OURO_UNSUPPORTED';
    expect(await without('FTRUNCATE,FSYNC,READ,STATX', body)).toEqual([refused, refused, refused, refused]);
  });

  it('the others are refused, with the name of the op and of its kernel', async () => {
    const opcodes = 'FALLOCATE,FADVISE,SYNC_FILE_RANGE,SPLICE,TEE,PIPE,SETXATTR,FSETXATTR,GETXATTR,FGETXATTR';
    const body = `
      const result = [];
      for (const op of [ops.fallocate(fd, 0, 0, 1), ops.fadvise(fd, 0, 0, 0), ops.syncFileRange(fd, 0, 0), ops.splice(0, 0, 0, 0, 1),
        ops.tee(0, 0, 1), ops.pipe(), ops.setxattr(path, 'a', ''), ops.fsetxattr(fd, 'a', ''), ops.getxattr(path, 'a'),
        ops.fgetxattr(fd, 'a')]) {
        try { await submit(op); } catch ({ code, message }) { result.push(code + ' ' + message); }
      }`;
    const messages = await without(opcodes, body);
    expect(messages).toHaveLength(10);
    for (const message of messages as string[])
      expect(message).toMatch(/^ERR_OURO_UNSUPPORTED .*IORING_OP_\w+ \(Linux \d/);
  });
});
