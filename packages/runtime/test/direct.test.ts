import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { File } from '@ouro/fs';
import { IOSQE_ASYNC } from '@ouro/native/abi';
import { batch, chain, DirectDescriptor, files, type Op, submit } from '@ouro/runtime';
import { close, fixedFdInstall, nop } from '@ouro/runtime/ops';
import { describe, expect, it } from 'vitest';
import { itOnRing } from '../../../testing/engine.ts';
import { runProgram } from '../../../testing/program.ts';
import {
  failure,
  failures,
  fifo,
  leavesNothing,
  open,
  openDescriptors,
  openInto,
  pause,
  read,
  submitted,
  temporaryDirectory,
  write,
} from './support.ts';

const dir = temporaryDirectory();
const path = join(dir, 'file');
const other = join(dir, 'other');
writeFileSync(path, 'content');
writeFileSync(other, 'something else');

/** What is open in a place. */
async function contentOf(place: DirectDescriptor): Promise<string> {
  const buffer = Buffer.alloc(100);
  return buffer.toString('utf8', 0, await submit(read(place, buffer, 0)));
}

/** An open that waits for a pipe's writer, in a thread of the kernel's. */
function waitingOpen(name: string, place: DirectDescriptor): Op<DirectDescriptor> {
  const op = openInto(name, place);
  op.flags |= IOSQE_ASYNC;
  return op;
}

describe('a direct descriptor', () => {
  itOnRing('direct')('has no number in the process', async () => {
    await leavesNothing(async () => {
      const before = openDescriptors().length;
      const place = files().allocate();
      expect(await submit(openInto(path, place))).toBe(place);
      expect(openDescriptors()).toHaveLength(before);
      expect(await contentOf(place)).toBe('content');
      expect(place).toMatchObject({ direct: true, closed: false });
      await place.close();
      expect(place).toMatchObject({ closed: true, fd: -1 });
    });
  });

  it("may be of the kernel's choice", async () => {
    await leavesNothing(async () => {
      const place = await submit(openInto(path, 'any'));
      expect(place).toBeInstanceOf(DirectDescriptor);
      expect(await contentOf(place)).toBe('content');
      await place.close();
      await place.close();
    });
  });

  it('is registered for an ordinary one, and the other way round', async () => {
    await leavesNothing(async () => {
      const fd = openSync(path, 'r');
      const place = await files().register(fd);
      closeSync(fd);
      expect(await contentOf(place)).toBe('content');
      const installed = await files().install(place);
      await place.close();
      expect(readFileSync(installed, 'utf8')).toBe('content');
      closeSync(installed);
    });
  });

  it('that cannot be registered takes no place', async () => {
    await leavesNothing(async () => {
      await expect(files().register(4_000_000)).rejects.toMatchObject({
        code: 'EBADF',
        syscall: 'files_update',
      });
      await expect(files().register(0, { signal: AbortSignal.abort() })).rejects.toMatchObject({
        code: 'ABORT_ERR',
      });
      for (const fd of [-1, 1.5, Number.NaN]) expect(() => files().register(fd)).toThrow(RangeError);
      for (const fd of [undefined, '0', null]) expect(() => files().register(fd as never)).toThrow(TypeError);
      expect(() => files().register(0, { timeout: -1 })).toThrow(RangeError);
    });
  });

  it('that is none cannot be installed', async () => {
    await using file = await File.open(path);
    expect(() => files().install(file as never)).toThrow(TypeError);
    expect(() => files().install(5 as never)).toThrow(TypeError);
    expect(() => fixedFdInstall(file as never)).toThrow(TypeError);
    const place = files().allocate();
    await expect(files().install(place)).rejects.toMatchObject({ code: 'EBADF', syscall: 'install' });
    await place.close();
    await expect(files().install(place)).rejects.toMatchObject({ code: 'EBADF', syscall: 'install' });
  });

  it('of a place where nothing was opened closes as well', async () => {
    await leavesNothing(async () => {
      const place = files().allocate();
      await place.close();
      await using disposed = files().allocate();
      expect(disposed.closed).toBe(false);
    });
  });

  it('are as many as half of the table has places: ENFILE says so', async () => {
    await leavesNothing(async () => {
      const places: DirectDescriptor[] = [];
      const fill = (): void => {
        for (;;) places.push(files().allocate());
      };
      expect(fill).toThrow(
        expect.objectContaining({
          code: 'ENFILE',
          message: expect.stringMatching(
            /^ENFILE: all 512 places .*fixedFiles is 1024\), io_uring_register$/,
          ),
        }) as Error,
      );
      expect(places).toHaveLength(files().capacity / 2);
      await expect(files().register(0)).rejects.toMatchObject({ code: 'ENFILE' });
      await Promise.all(places.map((place) => place.close()));
    });
  });

  it('whose place is taken again is another one: what was of the first fails with EBADF', async () => {
    await leavesNothing(async () => {
      const first = files().allocate();
      await submit(openInto(path, first));
      const stale = {
        read: read(first, Buffer.alloc(1), 0),
        open: openInto(other, first),
        close: close(first),
      };
      const { fd } = first;
      await first.close();
      const second = files().allocate();
      expect(second.fd).toBe(fd);
      await submit(openInto(path, second));
      for (const op of Object.values(stale)) {
        await expect(submit<unknown>(op)).rejects.toMatchObject({ code: 'EBADF' });
        await expect(chain([op])).rejects.toMatchObject({ code: 'EBADF' });
        await expect(batch([op])).rejects.toMatchObject({ code: 'EBADF' });
      }
      expect(() => openInto(other, first)).toThrow(expect.objectContaining({ code: 'EBADF' }) as Error);
      expect(() => close(first)).toThrow(expect.objectContaining({ code: 'EBADF' }) as Error);
      expect(await contentOf(second)).toBe('content');
      await second.close();
    });
  });

  it('closes what a second open into it replaces', async () => {
    await leavesNothing(async () => {
      const place = files().allocate();
      await submit(openInto(path, place));
      await submit(openInto(other, place));
      expect(await contentOf(place)).toBe('something else');
      await place.close();
    });
  });

  it('is empty after an open that was cancelled or has failed, and can be used again', async () => {
    await leavesNothing(async () => {
      const place = files().allocate();
      const opening = submit(openInto(path, place));
      opening.cancel();
      await expect(opening).rejects.toMatchObject({ code: 'ABORT_ERR' });
      await expect(submit(openInto(join(dir, 'nowhere'), place))).rejects.toMatchObject({ code: 'ENOENT' });
      await expect(submit(read(place, Buffer.alloc(1), 0))).rejects.toMatchObject({ code: 'EBADF' });
      await submit(openInto(path, place));
      expect(await contentOf(place)).toBe('content');
      await place.close();
    });
  });
});

describe('closing a direct descriptor', () => {
  it('cancels what reads from it, and finishes what writes', async () => {
    await leavesNothing(async () => {
      const place = files().allocate();
      await submit(openInto(fifo(dir), place, 2));
      const reading = submit(read(place, Buffer.alloc(1)));
      await submitted();
      const closing = place.close();
      await expect(reading).rejects.toMatchObject({ code: 'ECANCELED' });
      await closing;
    });
  });

  it('cancels an open into it that is in flight', async () => {
    await leavesNothing(async () => {
      const place = files().allocate();
      const opening = submit(waitingOpen(fifo(dir), place));
      await submitted();
      const [error] = await Promise.all([failure(opening), place.close()]);
      expect(error).toMatchObject({ code: 'ECANCELED', syscall: 'open' });
    });
  });

  it('cancels an open of a chain or a batch that is in flight', async () => {
    await leavesNothing(async () => {
      const one = files().allocate();
      const two = files().allocate();
      const running = chain([nop(), waitingOpen(fifo(dir), one), read(one, Buffer.alloc(1))]);
      const beside = batch([nop(), waitingOpen(fifo(dir), two)]);
      await submitted();
      const errors = failures([running, beside]);
      await Promise.all([one.close(), two.close()]);
      expect(await errors).toMatchObject([{ code: 'ECANCELED', index: 1 }, { code: 'ECANCELED' }]);
    });
  });

  it('waits for a chain that is going to close it', async () => {
    await leavesNothing(async () => {
      const place = files().allocate();
      const running = chain([openInto(path, place), pause(20), close(place)]);
      await submitted();
      await place.close();
      const next = files().allocate();
      await submit(openInto(other, next));
      await running;
      expect(await contentOf(next)).toBe('something else');
      await next.close();
    });
  });

  it('by two chains closes nothing of whoever has the place next', async () => {
    await leavesNothing(async () => {
      const place = files().allocate();
      await submit(openInto(path, place));
      const later = chain([pause(20), close(place)]);
      const sooner = submit(close(place));
      await sooner;
      expect(place.closed).toBe(true);
      const next = files().allocate();
      await submit(openInto(other, next));
      await expect(later).rejects.toMatchObject({ index: 1, code: 'EBADF' });
      expect(await contentOf(next)).toBe('something else');
      await next.close();
    });
  });

  it('by an op beside an open that comes later leaves nothing in the place', async () => {
    await leavesNothing(async () => {
      const place = files().allocate();
      await submit(openInto(path, place));
      const late = chain([pause(20), openInto(other, place)]);
      await submit(close(place));
      const next = files().allocate();
      await submit(openInto(path, next));
      await late;
      await submitted();
      expect(await contentOf(next)).toBe('content');
      await next.close();
      // The place is given on only when nothing can get there any more.
      const again = files().allocate();
      await expect(submit(read(again, Buffer.alloc(1), 0))).rejects.toMatchObject({ code: 'EBADF' });
      await again.close();
    });
  });

  it('is one closing, however often', async () => {
    await leavesNothing(async () => {
      const place = files().allocate();
      await submit(openInto(path, place));
      await Promise.all([place.close(), place.close(), place.close()]);
    });
  });

  it('never touches descriptor 0', async () => {
    const { stdout, code } = await runProgram(
      `
        import { fstatSync, openSync, closeSync } from 'node:fs';
        import { chain, batch, files, submit, Op, opKind } from '@ouro/runtime';
        import { directKind, openInto, reactor, scratchOffset } from '@ouro/runtime/driver';
        import { nop } from '@ouro/runtime/ops';
        class Open extends Op {
          constructor() { super(directKind(opKind('open', { resultIsFd: true })), 18); this.fd = -100; }
          place(slot) { const r = reactor(); r.scratch(slot).bytes.write('/dev/null\\0', scratchOffset(slot)); this.addr = r.scratchAddress(slot); }
        }
        for (let round = 0; round < 50; round++) {
          for (const run of [(op) => submit(op), (op) => chain([op, nop(-5)]), (op) => batch([op, nop(-5)])]) {
            const place = files().allocate();
            const future = run(openInto(new Open(), place));
            const closing = place.close();
            if (round % 2) future.cancel();
            await future.catch(() => {});
            await closing;
          }
        }
        await submit(nop());
        console.log(fstatSync(0).isFIFO() || fstatSync(0).isSocket() || fstatSync(0).isFile(), files().used);
      `,
    );
    expect([stdout, code]).toEqual(['true 0\n', 0]);
  });
});

describe('close, as an op', () => {
  it('closes a number', async () => {
    await leavesNothing(async () => {
      const fd = await submit(open(path));
      await submit(close(fd));
      await expect(submit(close(fd))).rejects.toMatchObject({ code: 'EBADF', syscall: 'close' });
      const target = openSync(join(dir, 'written'), 'w');
      await chain([write(target, 'x', 0), close(target)]);
    });
  });

  it('closes a number with flags of its own once', async () => {
    await leavesNothing(async () => {
      const op = close(await submit(open(path)));
      op.flags |= IOSQE_ASYNC;
      await submit(op);
    });
  });

  it.each([
    [-1, RangeError],
    ['5', TypeError],
    [undefined, TypeError],
    [{}, TypeError],
  ])('refuses %s', (target, kind) => {
    expect(() => close(target as never)).toThrow(kind);
  });
});
