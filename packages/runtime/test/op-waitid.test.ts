import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { AbortError, submit } from '@ouro/runtime';
import { P_ALL, P_PID, WCONTINUED, WEXITED, WNOHANG, WNOWAIT, WSTOPPED, waitid } from '@ouro/runtime/ops';
import { afterEach, describe, expect, it } from 'vitest';

const children: ChildProcess[] = [];

/** A child that Node knows of. */
function child(...command: string[]): { readonly process: ChildProcess; readonly pid: number } {
  const [file = '', ...args] = command;
  const process = spawn(file, args, { stdio: 'ignore' });
  children.push(process);
  if (process.pid === undefined) throw new Error(`cannot start ${file}`);
  return { process, pid: process.pid };
}

/** Keeps Node from its loop, where it would wait for the child itself, until that has ended. */
async function untilEnded(pid: number): Promise<void> {
  await new Promise(setImmediate); // what comes next is the turn of the ring, before Node polls
  while (!/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')));
}

afterEach(async () => {
  for (const each of children.splice(0)) {
    if (each.exitCode !== null || each.signalCode !== null) continue;
    each.kill('SIGKILL');
    await once(each, 'exit');
  }
});

describe('waitid', () => {
  it('tells how a child has ended, and leaves Node to hear of it', async () => {
    const { process: ended, pid } = child('sh', '-c', 'exit 7');
    const exit = once(ended, 'exit');
    await untilEnded(pid);
    expect(await submit(waitid(P_PID, pid, WEXITED | WNOWAIT))).toEqual({
      pid,
      uid: process.getuid?.(),
      event: 'exited',
      exitCode: 7,
      signal: null,
    });
    expect(await exit).toEqual([7, null]);
  });

  it('tells what has killed a child', async () => {
    const { process: killed, pid } = child('sleep', '100');
    const exit = once(killed, 'exit');
    killed.kill('SIGKILL');
    await untilEnded(pid);
    expect(await submit(waitid(P_PID, pid, WEXITED | WNOWAIT))).toMatchObject({
      event: 'killed',
      exitCode: null,
      signal: 'SIGKILL',
    });
    expect(await exit).toEqual([null, 'SIGKILL']);
  });

  it('waits until a child stops, and until it goes on', async () => {
    const { process: sleeping, pid } = child('sleep', '100');
    const stopped = submit(waitid(P_ALL, 0, WSTOPPED));
    sleeping.kill('SIGSTOP');
    expect(await stopped).toMatchObject({ pid, event: 'stopped', signal: 'SIGSTOP' });
    const continued = submit(waitid(P_PID, pid, WCONTINUED));
    sleeping.kill('SIGCONT');
    expect(await continued).toMatchObject({ pid, event: 'continued', signal: 'SIGCONT' });
  });

  it('does not wait with WNOHANG', async () => {
    const { pid } = child('sleep', '100');
    expect(await submit(waitid(P_PID, pid, WEXITED | WNOWAIT | WNOHANG))).toBe(null);
  });

  it('can be cancelled, and has timeouts', async () => {
    const { pid } = child('sleep', '100');
    const waiting = submit(waitid(P_PID, pid, WSTOPPED));
    waiting.cancel();
    await expect(waiting).rejects.toThrow(AbortError);
    await expect(submit(waitid(P_PID, pid, WSTOPPED), { timeout: 5 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      syscall: 'waitid',
    });
  });

  it('fails for what is no child, and for options that make no sense', async () => {
    await expect(submit(waitid(P_PID, 1, WEXITED))).rejects.toMatchObject({
      code: 'ECHILD',
      errno: -10,
      syscall: 'waitid',
      message: 'ECHILD: no child processes, waitid',
    });
    await expect(submit(waitid(P_PID, 1, WNOHANG))).rejects.toMatchObject({ code: 'EINVAL' });
    expect(() => waitid(9, 1, WEXITED)).toThrow(/idType/);
    expect(() => waitid(P_PID, -1, WEXITED)).toThrow(/id/);
  });
});
