import { closeSync, openSync, readFileSync, readlinkSync } from 'node:fs';
import { files, submit } from '@ouro/runtime';
import { filesUpdate, fixedFdInstall } from '@ouro/runtime/ops';
import { describe, expect, it } from 'vitest';

const nameOf = (fd: number): string => readlinkSync(`/proc/self/fd/${fd}`);
const closesOnExec = (fd: number): boolean =>
  (Number.parseInt(/^flags:\s+(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '', 8) &
    0o2000000) !==
  0;

describe('filesUpdate and fixedFdInstall', () => {
  it('bring descriptors into the table and out again', async () => {
    const places = [files().allocate(), files().allocate()];
    const fds = [openSync('/dev/null', 'r'), openSync('/dev/zero', 'r')];
    const [first, second] = places;
    if (first === undefined || second === undefined) throw new Error('no places');
    expect(second.fd).toBe(first.fd + 1);
    expect(await submit(filesUpdate(first, fds))).toBe(2);
    for (const fd of fds) closeSync(fd);
    const null_ = await submit(fixedFdInstall(first));
    const zero = await submit(fixedFdInstall(second, { cloexec: false }));
    expect([nameOf(null_), closesOnExec(null_)]).toEqual(['/dev/null', true]);
    expect([nameOf(zero), closesOnExec(zero)]).toEqual(['/dev/zero', false]);
    closeSync(null_);
    closeSync(zero);
    await Promise.all(places.map((place) => place.close()));
  });

  it('empty a place with -1, and leave one as it is with -2', async () => {
    await using kept = await files().register(openSync('/dev/null', 'r'));
    expect(await submit(filesUpdate(kept, [-2]))).toBe(1);
    closeSync(await submit(fixedFdInstall(kept)));
    expect(await submit(filesUpdate(kept.fd, [-1]))).toBe(1);
    await expect(submit(fixedFdInstall(kept))).rejects.toMatchObject({ code: 'EBADF', syscall: 'install' });
  });

  it('fail for what is not open, and beyond the table', async () => {
    const { capacity } = files();
    await using place = files().allocate();
    await expect(submit(filesUpdate(place, [99_999]))).rejects.toMatchObject({
      code: 'EBADF',
      errno: -9,
      syscall: 'files_update',
    });
    await expect(submit(filesUpdate(capacity - 1, [-1, -1]))).rejects.toMatchObject({ code: 'EINVAL' });
  });

  it('are refused for what is no place and no descriptor', async () => {
    const place = files().allocate();
    expect(() => filesUpdate(place, [])).toThrow(/fds.length/);
    expect(() => filesUpdate(place, [-3])).toThrow(/fds\[0\]/);
    expect(() => filesUpdate(place, new Array(2))).toThrow(/fds\[0\]/);
    const update = filesUpdate(place, [-1]);
    expect(() => filesUpdate(files().capacity, [1])).toThrow(/first/);
    expect(() => fixedFdInstall(7 as never)).toThrow(TypeError);
    await place.close();
    await expect(submit(update)).rejects.toMatchObject({ code: 'EBADF' });
    expect(() => filesUpdate(place, [1])).toThrow(RangeError);
    await expect(submit(fixedFdInstall(place))).rejects.toMatchObject({ code: 'EBADF' });
  });
});
