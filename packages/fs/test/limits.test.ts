import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { File, writeFile, writeFiles } from '@ouro/fs';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import {
  descriptorInfo,
  failure,
  openDescriptors,
  submitted,
  temporaryDirectory,
  thrown,
} from './support.ts';

const dir = temporaryDirectory();

describe('a file system that is full', () => {
  const mount = join(dir, 'small');
  mkdirSync(mount);

  /** Runs `body` with 64 KiB of room at `mount`, or gives the reason why that cannot be had. */
  async function withSmallFileSystem(body: () => Promise<void>): Promise<string | undefined> {
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', mount], { stdio: 'pipe' });
    } catch (error) {
      return `mounting a tmpfs is not permitted here: ${String(error)}`;
    }
    try {
      await body();
    } finally {
      execFileSync('umount', [mount]);
    }
    return undefined;
  }

  it('fails a write with ENOSPC, and says how much was written', async ({ skip }) => {
    const reason = await withSmallFileSystem(async () => {
      await using file = await File.create(join(mount, 'file'));
      await expect(file.write(Buffer.alloc(100_000, 'x'))).rejects.toMatchObject({
        message: 'ENOSPC: no space left on device, write',
        code: 'ENOSPC',
        errno: -28,
        syscall: 'write',
        bytesTransferred: 65_536,
      });
      expect((await file.stat()).size).toBe(65_536);
      expect(descriptorInfo(file.fd).pos).toBe(65_536);
    });
    if (reason !== undefined) skip(reason);
  });

  it('keeps what was written before it was full', async ({ skip }) => {
    const reason = await withSmallFileSystem(async () => {
      await using file = await File.create(join(mount, 'file'));
      const parts = Array.from({ length: 7 }, (_, i) => Buffer.alloc(10_000, i + 1));
      const written: unknown[] = [];
      for (const part of parts) {
        written.push(await file.write(part).catch(({ code, bytesTransferred }) => [code, bytesTransferred]));
      }
      expect(written).toEqual([...Array(6).fill(10_000), ['ENOSPC', 5536]]);
      expect(readFileSync(file.path).equals(Buffer.concat(parts).subarray(0, 65_536))).toBe(true);
    });
    if (reason !== undefined) skip(reason);
  });

  it('keeps what was there when writeFile and writeFiles need more room than there is', async ({ skip }) => {
    const reason = await withSmallFileSystem(async () => {
      const path = join(mount, 'old');
      const old = Buffer.alloc(20_000, 'old');
      writeFileSync(path, old);
      const data = Buffer.alloc(100_000, 'new');
      expect(await failure(writeFile(path, data))).toMatchObject({ code: 'ENOSPC', syscall: 'write' });
      expect(readFileSync(path).equals(old)).toBe(true);
      const [{ error }] = await writeFiles([{ path, data }]);
      expect(error).toMatchObject({ code: 'ENOSPC', syscall: 'write' });
      expect(readFileSync(path).equals(old)).toBe(true);
    });
    if (reason !== undefined) skip(reason);
  });

  it('fails writeFile with the error of node:fs, and closes the file', async ({ skip }) => {
    const reason = await withSmallFileSystem(async () => {
      await writeFile('/dev/null', ''); // what stands beside the ring has descriptors of its own
      await submitted();
      const before = openDescriptors();
      const path = join(mount, 'file');
      const ours = await failure(writeFile(path, Buffer.alloc(100_000)));
      expect(ours).toEqual(thrown(() => writeFileSync(join(mount, 'theirs'), Buffer.alloc(100_000))));
      expect(openDescriptors()).toBe(before);
      expect(statSync(path).size).toBe(0);
    });
    if (reason !== undefined) skip(reason);
  });
});

describe('a process that has no descriptor left', () => {
  const under = ['prlimit', '--nofile=128:128'];

  it('sees open fail as in node:fs, and can go on once it has closed a file', async () => {
    const source = `
      import { openSync, closeSync } from 'node:fs';
      import { File, readFile } from '@ouro/fs';
      const shape = ({ message, code, errno, syscall, path }) => ({ message, code, errno, syscall, path });
      const files = [];
      let error;
      while (error === undefined) {
        try { files.push(await File.open('/etc/passwd')); } catch (caught) { error = shape(caught); }
      }
      let theirs;
      try { openSync('/etc/passwd'); } catch (caught) { theirs = shape(caught); }
      const whole = shape(await readFile('/etc/passwd').catch((caught) => caught));
      await files.pop().close();
      const { length } = await readFile('/etc/passwd');
      files.push(await File.open('/etc/passwd'));
      for (const file of files) await file.close();
      console.log(JSON.stringify({ error, theirs, whole, length, opened: files.length }));`;
    const { stdout, stderr } = await runProgram(source, { under });
    expect(stderr).toBe('');
    const { error, theirs, whole, length, opened } = JSON.parse(stdout);
    expect(theirs).toMatchObject({ code: 'EMFILE', errno: -24, syscall: 'open', path: '/etc/passwd' });
    expect([error, whole]).toEqual([theirs, theirs]);
    expect(length).toBe(statSync('/etc/passwd').size);
    expect(opened).toBeGreaterThan(20);
  });

  it('loses none of them to opens that fail together', async () => {
    const source = `
      import { readdirSync } from 'node:fs';
      import { File, readFile, writeFile } from '@ouro/fs';
      import { nop } from '@ouro/runtime/driver';
      await writeFile('/dev/null', '');
      await nop();
      const before = readdirSync('/proc/self/fd').length;
      const codes = {};
      for (let round = 0; round < 5; round++) {
        const work = Array.from({ length: 300 }, (_, i) =>
          i % 3 === 0 ? readFile('/etc/passwd')
          : i % 3 === 1 ? writeFile('/dev/null', 'x')
          : File.open('/etc/passwd').then((file) => file.close()));
        for (const { reason } of await Promise.allSettled(work)) {
          if (reason !== undefined) codes[reason.code] = (codes[reason.code] ?? 0) + 1;
        }
      }
      await nop();
      console.log(Object.keys(codes).join(), readdirSync('/proc/self/fd').length - before);`;
    const { stdout, stderr } = await runProgram(source, { under });
    expect({ stdout, stderr }).toEqual({ stdout: 'EMFILE 0\n', stderr: '' });
  });
});
