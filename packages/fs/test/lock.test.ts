import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { File } from '@ouro/fs';
import { describe, expect, it } from 'vitest';
import { startProgram } from '../../../testing/beside.ts';
import { begun, failure, submitted, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();
const path = join(dir, 'file');
writeFileSync(path, '');

describe('an exclusive lock', () => {
  it('excludes every other, until it is given back', async () => {
    await using one = await File.open(path);
    await using other = await File.open(path);
    await one.lock();
    expect(await other.tryLock()).toBe(false);
    expect(await other.tryLock({ exclusive: false })).toBe(false);
    await one.unlock();
    expect(await other.tryLock()).toBe(true);
    expect(await one.tryLock()).toBe(false);
  });

  it('is that of the opening: taking it again changes nothing', async () => {
    await using file = await File.open(path);
    expect(await file.tryLock()).toBe(true);
    expect(await file.tryLock()).toBe(true);
    await file.lock();
    await file.unlock();
    await file.unlock();
    await using other = await File.open(path);
    expect(await other.tryLock()).toBe(true);
  });

  it('is waited for', async () => {
    await using one = await File.open(path);
    await using other = await File.open(path);
    await one.lock();
    let locked = false;
    const waiting = other.lock().then(() => {
      locked = true;
    });
    for (let turn = 0; turn < 5; turn++) await submitted();
    expect(locked).toBe(false);
    await one.unlock();
    await waiting;
    expect(await one.tryLock()).toBe(false);
  });

  it('goes to all who wait, one after the other', async () => {
    const files = await Promise.all(Array.from({ length: 20 }, () => File.open(path, 'r+')));
    let holders = 0;
    let most = 0;
    await Promise.all(
      files.map(async (file) => {
        await file.lock();
        most = Math.max(most, ++holders);
        await submitted();
        holders--;
        await file.close();
      }),
    );
    expect(most).toBe(1);
  });

  it('ends with the file', async () => {
    const one = await File.open(path);
    await one.lock();
    await one.close();
    await using other = await File.open(path);
    expect(await other.tryLock()).toBe(true);
  });

  it('holds between processes, and ends with the one that has it', async () => {
    await using program = startProgram(`
      import { File } from '@ouro/fs';
      const file = await File.open(${JSON.stringify(path)});
      await file.lock();
      console.log('locked');
      setInterval(() => {}, 1000);`);
    expect(await program.line()).toBe('locked');
    await using file = await File.open(path);
    expect(await file.tryLock()).toBe(false);
    const waiting = file.lock();
    await submitted();
    program.kill('SIGKILL');
    await waiting;
  });

  it('is one that flock(1) knows', async () => {
    await using file = await File.open(path);
    const succeeds = (): boolean => {
      try {
        execFileSync('flock', ['--nonblock', path, 'true']);
        return true;
      } catch {
        return false;
      }
    };
    await file.lock();
    expect(succeeds()).toBe(false);
    await file.unlock();
    expect(succeeds()).toBe(true);
  });
});

describe('a shared lock', () => {
  it('is shared, and excludes exclusive ones', async () => {
    await using one = await File.open(path);
    await using other = await File.open(path);
    await using third = await File.open(path);
    await one.lock({ exclusive: false });
    expect(await other.tryLock({ exclusive: false })).toBe(true);
    expect(await third.tryLock()).toBe(false);
    await one.unlock();
    await other.unlock();
    expect(await third.tryLock()).toBe(true);
  });

  it('becomes an exclusive one, and the other way round', async () => {
    await using one = await File.open(path);
    await using other = await File.open(path);
    await one.lock({ exclusive: false });
    await one.lock();
    expect(await other.tryLock({ exclusive: false })).toBe(false);
    await one.lock({ exclusive: false });
    expect(await other.tryLock({ exclusive: false })).toBe(true);
  });
});

describe('waiting for a lock', () => {
  it('ends with an AbortError when it is cancelled, by itself, its signal or its file', async () => {
    await using one = await File.open(path);
    await using other = await File.open(path);
    await one.lock();
    const cancelled = other.lock();
    await submitted();
    cancelled.cancel('enough');
    await expect(cancelled).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'enough' });
    const controller = new AbortController();
    const aborted = failure(other.lock({ signal: controller.signal }));
    await submitted();
    controller.abort();
    expect(await aborted).toMatchObject({ code: 'ABORT_ERR' });
    const all = failure(other.lock());
    await submitted();
    other.cancel();
    expect(await all).toMatchObject({ code: 'ABORT_ERR' });
    await one.unlock();
    expect(await other.tryLock()).toBe(true);
  });

  it('ends with ETIMEDOUT when its time has run out', async () => {
    await using one = await File.open(path);
    await using other = await File.open(path);
    await one.lock();
    expect(await failure(other.lock({ timeout: 30 }))).toMatchObject({ code: 'ETIMEDOUT' });
    await one.unlock();
    await other.lock({ timeout: 10_000 });
  });

  it('ends with ECANCELED when the file is closed', async () => {
    await using one = await File.open(path);
    const other = await File.open(path);
    await one.lock();
    const waiting = failure(other.lock());
    await submitted();
    await other.close();
    expect(await waiting).toMatchObject({ code: 'ECANCELED', syscall: 'flock' });
  });

  it('takes no thread: others go on, however many wait', async () => {
    await using one = await File.open(path);
    await one.lock();
    const files = await Promise.all(Array.from({ length: 30 }, () => File.open(path)));
    const waiting = files.map((file) => file.lock());
    await submitted();
    for (let round = 0; round < 20; round++) expect((await one.stat()).size).toBe(0);
    await one.truncate().catch(() => {}); // not open for writing: what counts is that it is answered
    for (const each of waiting) each.cancel();
    await Promise.allSettled(waiting);
    await Promise.all(files.map((file) => file.close()));
  });
});

describe('a lock', () => {
  it('fails with EBADF of a file that is closed', async () => {
    const file = await File.open(path);
    await file.close();
    const expected = { message: 'EBADF: bad file descriptor, flock', code: 'EBADF', syscall: 'flock' };
    expect(await failure(file.lock())).toMatchObject(expected);
    expect(await failure(file.tryLock())).toMatchObject(expected);
    expect(await failure(file.unlock())).toMatchObject(expected);
  });

  it('is refused for bad options, and whoever has aborted before', async () => {
    await using file = await File.open(path);
    const before = begun();
    expect(thrown(() => file.lock({ exclusive: 1 as never })).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(thrown(() => file.tryLock('x' as never)).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(thrown(() => file.lock({ timeout: -1 })).code).toBe('ERR_OUT_OF_RANGE');
    const signal = AbortSignal.abort();
    expect(await failure(file.lock({ signal }))).toMatchObject({ code: 'ABORT_ERR' });
    expect(await failure(file.tryLock({ signal }))).toMatchObject({ code: 'ABORT_ERR' });
    expect(begun()).toBe(before);
  });
});
