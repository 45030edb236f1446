import { once } from 'node:events';
import { readSync, writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { files, Inbox, type InboxAddress, metrics, Scope, sleep, submit } from '@ouro/runtime';
import { asyncCancel, msgRing, msgRingFd, nop, post } from '@ouro/runtime/ops';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { namedPipe } from './named-pipe.ts';

/** A thread with an inbox, which runs `body`; `first` is what it told its parent first. */
async function thread(
  body: string,
  workerData?: unknown,
): Promise<{ readonly worker: Worker; readonly first: unknown; readonly exited: Promise<unknown> }> {
  const worker = new Worker(
    `
      const { parentPort, workerData } = require('node:worker_threads');
      (async () => {
        const { files, Inbox, sleep, submit } = await import('@ouro/runtime');
        const { close } = await import('@ouro/runtime/driver');
        const { fixedFdInstall, post } = await import('@ouro/runtime/ops');
        ${body}
      })();
    `,
    { eval: true, workerData },
  );
  const exited = once(worker, 'exit');
  const [first] = (await once(worker, 'message')) as [unknown];
  return { worker, first, exited };
}

/** Takes numbers, and tells them all when a 0 has come. */
const COLLECTING = `
  const inbox = new Inbox();
  parentPort.postMessage(inbox.address);
  const values = [];
  for await (const value of inbox) {
    if (value === 0) break;
    values.push(value);
  }
  parentPort.postMessage(values);
`;

describe('an inbox', () => {
  it('takes numbers from another thread, in order', async () => {
    const { worker, first, exited } = await thread(COLLECTING);
    const address = first as InboxAddress;
    const told = once(worker, 'message');
    const sent = Array.from({ length: 5000 }, (_, at) => at + 1);
    await Promise.all(sent.map((value) => submit(post(address, value))));
    await submit(post(address, 0));
    expect(await told).toEqual([sent]);
    await exited; // nothing keeps it
  });

  it('wakes a thread that sleeps in its ring, and answers', async () => {
    await using inbox = new Inbox();
    const { first, exited } = await thread(
      `
        const inbox = new Inbox();
        parentPort.postMessage(inbox.address);
        for await (const value of inbox) {
          await submit(post(workerData, value * 2));
          if (value === 50) break;
        }
      `,
      inbox.address,
    );
    for (let value = 1; value <= 50; value++) {
      const answer = inbox.next();
      await submit(post(first as InboxAddress, value));
      expect(await answer).toEqual({ done: false, value: value * 2 });
    }
    await exited;
  });

  it('wakes this thread beside everything that Node waits for', async () => {
    await using inbox = new Inbox();
    const { exited } = await thread(
      `
        parentPort.postMessage('ready');
        await sleep(20);
        await submit(post(workerData, 7));
      `,
      inbox.address,
    );
    const timer = setTimeout(() => {}, 1_000_000);
    expect((await inbox.next()).value).toBe(7);
    clearTimeout(timer);
    await exited;
  });

  it('takes numbers from its own thread, of any size that there is', async () => {
    await using inbox = new Inbox();
    for (const value of [0, 1, 0x7fff_ffff]) {
      await submit(post(inbox.address, value));
      expect((await inbox.next()).value).toBe(value);
    }
    expect(() => post(inbox.address, -1)).toThrow(/value/);
    expect(() => post(inbox.address, 2 ** 31)).toThrow(/value/);
    expect(() => post({} as never, 1)).toThrow(/address.ring/);
    expect(() => post(null as never, 1)).toThrow(TypeError);
  });

  it('has an address that is read once', async () => {
    await using inbox = new Inbox();
    const { address } = inbox;
    const asked: string[] = [];
    const noting = new Proxy(address, {
      get: (target, name) => {
        asked.push(String(name));
        return Reflect.get(target, name);
      },
    });
    await submit(post(noting, 3));
    expect((await inbox.next()).value).toBe(3);
    expect(asked.sort()).toEqual(['generation', 'ring', 'slot']);
  });

  it('that is closed ends its loop, when what has come is taken', async () => {
    const inbox = new Inbox();
    await submit(post(inbox.address, 1));
    await submit(post(inbox.address, 2));
    await submit(nop());
    await inbox.close();
    const values: number[] = [];
    for await (const value of inbox) values.push(value);
    expect(values).toEqual([1, 2]);
    expect(await inbox.next()).toEqual({ done: true, value: undefined });
  });

  it('that is closed is sent nothing, nor is whoever has its place now', async () => {
    const inbox = new Inbox();
    await inbox.close();
    const { stale } = metrics();
    const next = new Inbox();
    expect(next.address.slot).toBe(inbox.address.slot);
    await submit(post(inbox.address, 1));
    await submit(post(next.address, 2));
    expect((await next.next()).value).toBe(2);
    expect(metrics().stale).toBe(stale + 1);
    await next.close();
  });

  it('ends with its signal, its scope, and when everything is cancelled', async () => {
    const controller = new AbortController();
    const followed = new Inbox({ signal: controller.signal });
    const first = followed.next();
    controller.abort('over');
    await expect(first).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'over' });

    const scope = new Scope();
    const scoped = new Inbox({ scope });
    const second = scoped.next();
    scope.cancel();
    await expect(second).rejects.toMatchObject({ code: 'ABORT_ERR' });
    expect(() => new Inbox({ scope })).toThrow(expect.objectContaining({ code: 'ABORT_ERR' }));

    const swept = new Inbox();
    const third = swept.next();
    await submit(asyncCancel({ target: 'any' }));
    await expect(third).rejects.toMatchObject({ code: 'ECANCELED', syscall: 'inbox' });
    await Promise.all([followed.close(), scoped.close(), swept.close()]);
    expect(metrics().inFlight).toBe(0);
  });

  it('keeps the process alive, if it is not unref’d', async () => {
    const { stdout, code } = await runProgram(`
      import { Inbox, submit } from '@ouro/runtime';
      import { post } from '@ouro/runtime/ops';
      const inbox = new Inbox();
      setTimeout(() => submit(post(inbox.address, 5)), 20).unref();
      console.log((await inbox.next()).value);
      inbox.unref();
    `);
    expect([stdout, code]).toEqual(['5\n', 0]);
  });

  it('whose thread has ended is an error to send to', async () => {
    const { worker, first } = await thread(COLLECTING);
    const address = first as InboxAddress;
    await submit(post(address, 1));
    await worker.terminate();
    await expect(submit(post(address, 2))).rejects.toMatchObject({
      code: expect.stringMatching(/^EBADFD?$/),
      syscall: 'msg_ring',
    });
  });

  it('can be sent to while its thread is terminated', async () => {
    for (let i = 0; i < 10; i++) {
      const { worker, first } = await thread(COLLECTING);
      const ending = worker.terminate();
      const sent = await Promise.allSettled(
        Array.from({ length: 200 }, (_, value) => submit(post(first as InboxAddress, value + 1))),
      );
      await ending;
      for (const each of sent) {
        if (each.status === 'rejected') {
          expect(each.reason.code).toMatch(/^(EBADFD?|EOWNERDEAD|ECANCELED|EOVERFLOW)$/);
        }
      }
    }
    await sleep(0);
    expect(metrics().pending).toBe(0);
  });
});

describe('msgRingFd', () => {
  it('hands a direct descriptor to the ring of another thread', async () => {
    using pipe = namedPipe();
    await using direct = await files().register(pipe.writer);
    const { first, exited } = await thread(`
      const registry = files();
      const inbox = new Inbox();
      parentPort.postMessage(inbox.address);
      const { value } = await inbox.next();
      const direct = registry.adopt(value);
      const fd = await submit(fixedFdInstall(direct));
      require('node:fs').writeSync(fd, 'from the worker');
      await close(fd);
      await direct.close();
      await inbox.close();
    `);
    const address = first as InboxAddress;
    const place = await submit(msgRingFd(address, direct));
    await submit(post(address, place));
    await exited;
    const bytes = Buffer.alloc(100);
    expect(bytes.toString('utf8', 0, readSync(pipe.reader, bytes))).toBe('from the worker');
    writeSync(pipe.writer, 'x'); // ours is still open
  });

  it('puts it into the place that is asked for', async () => {
    using pipe = namedPipe();
    await using direct = await files().register(pipe.writer);
    const { worker, first, exited } = await thread(`
      const place = files().allocate();
      const inbox = new Inbox();
      parentPort.postMessage({ address: inbox.address, place: place.fd });
      await inbox.next();
      const fd = await submit(fixedFdInstall(place));
      parentPort.postMessage(require('node:fs').readlinkSync('/proc/self/fd/' + fd));
      await place.close();
      await inbox.close();
    `);
    const { address, place } = first as { address: InboxAddress; place: number };
    await submit(msgRingFd(address, direct, place));
    const told = once(worker, 'message');
    await submit(post(address, 1));
    expect(String(await told)).toContain('pipe');
    await exited;
  });

  it('fails to our own ring, for an empty place, and where there is no table', async () => {
    using pipe = namedPipe();
    await using inbox = new Inbox();
    await using direct = await files().register(pipe.writer);
    await using empty = files().allocate();
    const failed = (code: string) => ({ code, syscall: 'msg_ring' });
    await expect(submit(msgRingFd(inbox.address, direct))).rejects.toMatchObject(failed('EINVAL'));
    const { first, exited } = await thread(COLLECTING);
    const address = first as InboxAddress;
    await expect(submit(msgRingFd(address, empty))).rejects.toMatchObject(failed('EBADF'));
    await expect(submit(msgRingFd(address, direct))).rejects.toMatchObject(failed('ENFILE'));
    await expect(submit(msgRingFd(address, direct, 0))).rejects.toMatchObject(failed('ENXIO'));
    await submit(post(address, 0));
    await exited;
    expect(() => msgRingFd(address, {} as never)).toThrow(TypeError);
    expect(() => msgRingFd(address, direct, -1)).toThrow(/place/);
  });
});

describe('msgRing', () => {
  it('posts a completion as the kernel has it', async () => {
    // An inbox understands what `post` would send.
    await using inbox = new Inbox();
    const { ring, slot, generation } = inbox.address;
    const data = (BigInt(generation) << 32n) | BigInt(slot);
    await submit(msgRing({ ringFd: ring, data, result: 42, flags: 2 }));
    expect((await inbox.next()).value).toBe(42);
  });

  it('fails for what is no ring', async () => {
    using pipe = namedPipe();
    await expect(submit(msgRing({ ringFd: pipe.reader, data: 1n, result: 1 }))).rejects.toMatchObject({
      code: 'EBADFD',
      errno: -77,
      message: 'EBADFD: file descriptor in bad state, msg_ring',
    });
    await expect(submit(msgRing({ ringFd: 99_999, data: 1n, result: 1 }))).rejects.toMatchObject({
      code: 'EBADF',
    });
    expect(() => msgRing({ ringFd: 1, data: 1 as never, result: 1 })).toThrow(/data/);
  });
});
