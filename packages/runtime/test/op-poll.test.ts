import { openSync, writeSync } from 'node:fs';
import { AbortError, files, stream, submit } from '@ouro/runtime';
import {
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  epollCtl,
  epollWait,
  POLLHUP,
  POLLIN,
  POLLOUT,
  pollAdd,
  pollRemove,
  pollUpdate,
  timeout,
} from '@ouro/runtime/ops';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { namedPipe } from './named-pipe.ts';

describe('pollAdd', () => {
  it('tells when something can be read', async () => {
    using pipe = namedPipe();
    const ready = submit(pollAdd(pipe.reader, POLLIN));
    writeSync(pipe.writer, 'x');
    expect(await ready).toBe(POLLIN);
    expect(await submit(pollAdd(pipe.writer, POLLIN | POLLOUT))).toBe(POLLOUT);
  });

  it('tells of the other end without being asked', async () => {
    using pipe = namedPipe();
    const hungUp = submit(pollAdd(pipe.reader, 0));
    pipe.closeWriter();
    expect(await hungUp).toBe(POLLHUP);
  });

  it('waits on a direct descriptor, until that is closed', async () => {
    using pipe = namedPipe();
    const direct = await files().register(pipe.reader);
    const waiting = submit(pollAdd(direct, POLLIN));
    const closing = direct.close();
    await expect(waiting).rejects.toMatchObject({ code: 'ECANCELED' });
    await closing;
    await expect(submit(pollAdd(direct, POLLIN))).rejects.toMatchObject({ code: 'EBADF', syscall: 'poll' });
  });

  it('tells of each write as a stream', async () => {
    using pipe = namedPipe();
    const ready = stream(pollAdd(pipe.reader, POLLIN, { multishot: true }));
    for (let i = 0; i < 3; i++) {
      const next = ready.next();
      writeSync(pipe.writer, 'x');
      expect(await next).toEqual({ done: false, value: POLLIN });
    }
    await ready.return();
  });

  it('can be cancelled, and has timeouts', async () => {
    using pipe = namedPipe();
    const waiting = submit(pollAdd(pipe.reader, POLLIN));
    waiting.cancel();
    await expect(waiting).rejects.toThrow(AbortError);
    await expect(submit(pollAdd(pipe.reader, POLLIN), { timeout: 5 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      syscall: 'poll',
    });
  });

  it('fails for what is not open', async () => {
    await expect(submit(pollAdd(99_999, POLLIN))).rejects.toMatchObject({
      code: 'EBADF',
      errno: -9,
      syscall: 'poll',
    });
    expect(() => pollAdd(-1, POLLIN)).toThrow(RangeError);
    expect(() => pollAdd(0, -1)).toThrow(/events/);
  });
});

describe('pollUpdate', () => {
  it('has a poll wait for other events', async () => {
    using pipe = namedPipe();
    const waiting = submit(pollAdd(pipe.writer, POLLIN)); // never
    await submit(pollUpdate(waiting, POLLOUT));
    expect(await waiting).toBe(POLLOUT);
  });

  it('has a stream wait for other events', async () => {
    using pipe = namedPipe();
    const ready = stream(pollAdd(pipe.writer, POLLIN, { multishot: true }));
    const next = ready.next();
    await submit(pollUpdate(ready, POLLOUT));
    expect((await next).value).toBe(POLLOUT);
    await ready.return();
  });
});

describe('pollRemove', () => {
  it('ends a poll: it rejects with ECANCELED', async () => {
    using pipe = namedPipe();
    const waiting = submit(pollAdd(pipe.reader, POLLIN));
    const removing = submit(pollRemove(waiting));
    await expect(waiting).rejects.toMatchObject({ code: 'ECANCELED', errno: -125, syscall: 'poll' });
    await removing;
  });

  it('fails, as pollUpdate does, for an op that is no poll', async () => {
    const waiting = submit(timeout(1_000_000));
    await expect(submit(pollRemove(waiting))).rejects.toMatchObject({
      code: 'ENOENT',
      syscall: 'poll_remove',
    });
    await expect(submit(pollUpdate(waiting, POLLIN))).rejects.toMatchObject({
      code: 'ENOENT',
      syscall: 'poll_update',
    });
    waiting.cancel();
    await expect(waiting).rejects.toThrow(AbortError);
    expect(() => pollRemove(waiting)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_STATE' }));
  });
});

/** Node makes no epoll descriptors for programs: the program gets number 9 from the one that starts it. */
const WITH_EPOLL = [
  'python3',
  '-c',
  'import os,select,sys; e=select.epoll(); os.dup2(e.fileno(),9,inheritable=True); os.execvp(sys.argv[1],sys.argv[1:])',
];

describe('epollCtl and epollWait', () => {
  it('watch pipes for a loop of somebody else', async () => {
    const { stdout, stderr } = await runProgram(
      `
        import { execFileSync } from 'node:child_process';
        import { constants, mkdtempSync, openSync, writeSync } from 'node:fs';
        import { AbortError, submit } from '@ouro/runtime';
        import * as ops from '@ouro/runtime/ops';
        const { EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, epollCtl, epollWait, POLLIN, POLLOUT } = ops;
        const path = mkdtempSync('/tmp/ouro-epoll-') + '/pipe';
        execFileSync('mkfifo', [path]);
        const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
        const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
        await submit(epollCtl(9, EPOLL_CTL_ADD, reader, POLLIN, 2 ** 40 + 7));
        const waiting = submit(epollWait(9));
        writeSync(writer, 'x');
        console.log(JSON.stringify(await waiting));
        await submit(epollCtl(9, EPOLL_CTL_ADD, writer, POLLOUT, 8));
        const both = await submit(epollWait(9));
        console.log(both.map(({ events, data }) => events + ':' + data).sort().join(' '));
        console.log((await submit(epollWait(9, 1))).length);
        await submit(epollCtl(9, EPOLL_CTL_MOD, writer, POLLOUT, 0));
        await submit(epollCtl(9, EPOLL_CTL_DEL, reader, 0, 0));
        console.log(JSON.stringify(await submit(epollWait(9))));
        await submit(epollCtl(9, EPOLL_CTL_DEL, writer, 0, 0));
        const told = ({ code, syscall }) => console.log(code, syscall);
        await submit(epollCtl(9, EPOLL_CTL_DEL, writer, 0, 0)).catch(told);
        const cancelled = submit(epollWait(9));
        cancelled.cancel();
        await cancelled.catch((error) => console.log(error instanceof AbortError));
        await submit(epollWait(9), { timeout: 5 }).catch(told);
      `,
      { under: WITH_EPOLL },
    );
    expect(stderr).toBe('');
    expect(stdout.split('\n')).toEqual([
      '[{"events":1,"data":1099511627783}]',
      '1:1099511627783 4:8',
      '1',
      '[{"events":4,"data":0}]',
      'ENOENT epoll_ctl',
      'true',
      'ETIMEDOUT epoll_wait',
      '',
    ]);
  });

  it('fail for what is no epoll descriptor', async () => {
    using pipe = namedPipe();
    await expect(submit(epollWait(pipe.reader))).rejects.toMatchObject({
      code: 'EINVAL',
      errno: -22,
      syscall: 'epoll_wait',
    });
    await expect(submit(epollCtl(pipe.reader, EPOLL_CTL_ADD, pipe.writer, POLLIN, 0))).rejects.toMatchObject({
      code: 'EINVAL',
      syscall: 'epoll_ctl',
    });
    await expect(submit(epollCtl(99_999, EPOLL_CTL_MOD, 0, POLLIN, 0))).rejects.toMatchObject({
      code: 'EBADF',
    });
  });

  it('are refused for what makes no sense', async () => {
    expect(() => epollWait(9, 0)).toThrow(/maxEvents/);
    expect(() => epollCtl(9, 4, 0, 0, 0)).toThrow(/operation/);
    expect(() => epollCtl(9, EPOLL_CTL_DEL, -1, 0, 0)).toThrow(/fd/);
    expect(() => epollCtl(9, EPOLL_CTL_ADD, 0, POLLIN, 2 ** 60)).toThrow(/data/);
    await using direct = await files().register(openSync('/dev/null', 'r'));
    expect(() => epollCtl(9, EPOLL_CTL_ADD, direct, POLLIN, 0)).toThrow(TypeError);
  });
});
