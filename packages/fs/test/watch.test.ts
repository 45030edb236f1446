import fs from 'node:fs';
import { join } from 'node:path';
import { type WatchEvent, type WatchOptions, watch } from '@ouro/fs';
import { sleep } from '@ouro/runtime';
import { beforeAll, describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { begunWith } from './odd-trees.ts';
import { failure, openDescriptors, temporaryDirectory, thrown } from './support.ts';

const root = temporaryDirectory();
beforeAll(begunWith);

let made = 0;
function fresh(): string {
  const path = join(root, `w${made++}`);
  fs.mkdirSync(path);
  return path;
}

const told = ({ kind, filename, directory }: WatchEvent): string =>
  `${kind} ${filename}${directory ? '/' : ''}`;

/** What a watcher tells of what `act` does, up to the file `end` that is written then. */
async function during(
  path: string,
  options: WatchOptions,
  act: () => void | Promise<void>,
): Promise<string[]> {
  await using watcher = watch(path, options as WatchOptions & { encoding?: 'utf8' });
  await watcher.ready();
  await act();
  fs.writeFileSync(join(path, 'end'), '');
  const events: string[] = [];
  for await (const event of watcher) {
    if (event.filename === 'end') break;
    events.push(told(event));
  }
  return events;
}

describe('watch tells', () => {
  it('what comes, changes and goes in a directory', async () => {
    const path = fresh();
    const file = join(path, 'file');
    const events = await during(path, {}, () => {
      fs.writeFileSync(file, 'content');
      fs.chmodSync(file, 0o600);
      fs.renameSync(file, `${file}2`);
      fs.rmSync(`${file}2`);
      fs.mkdirSync(join(path, 'sub'));
      fs.writeFileSync(join(path, 'sub/below'), '');
    });
    expect(events).toEqual([
      ...['created file', 'modified file', 'attributes file', 'moved-from file', 'moved-to file2'],
      ...['deleted file2', 'created sub/'],
    ]);
  });

  it('what fs.promises.watch tells', async () => {
    for (const recursive of [false]) {
      const path = fresh();
      const controller = new AbortController();
      const theirs: unknown[] = [];
      const node = (async () => {
        for await (const { eventType, filename } of fs.promises.watch(path, {
          recursive,
          signal: controller.signal,
        }))
          theirs.push([eventType, filename]);
      })();
      const ours: unknown[] = [];
      await using watcher = watch(path, { recursive });
      await watcher.ready();
      fs.writeFileSync(join(path, 'a'), 'x');
      fs.chmodSync(join(path, 'a'), 0o600);
      fs.renameSync(join(path, 'a'), join(path, 'b'));
      fs.rmSync(join(path, 'b'));
      fs.writeFileSync(join(path, 'end'), '');
      for await (const { eventType, filename } of watcher) {
        ours.push([eventType, filename]);
        if (filename === 'end') break;
      }
      while (theirs.length < ours.length) await sleep(5);
      controller.abort();
      await node.catch(() => {});
      expect(ours).toEqual(theirs.slice(0, ours.length));
    }
  });

  it('of a file what happens to that, under its name', async () => {
    const path = fresh();
    const file = join(path, 'file');
    fs.writeFileSync(file, '');
    await using watcher = watch(file);
    await watcher.ready();
    fs.appendFileSync(file, 'x');
    expect(told((await watcher.next()).value as WatchEvent)).toBe('modified file');
  });

  it('names as bytes', async () => {
    const path = fresh();
    await using watcher = watch(path, 'buffer');
    await watcher.ready();
    fs.mkdirSync(Buffer.concat([Buffer.from(`${path}/`), Buffer.of(0xff, 0xfe)]));
    expect((await watcher.next()).value?.filename).toEqual(Buffer.of(0xff, 0xfe));
  });

  it('the end of what is watched, and ends', async () => {
    const path = fresh();
    const watcher = watch(path);
    await watcher.ready();
    fs.rmdirSync(path);
    const events: string[] = [];
    for await (const event of watcher) events.push(event.kind);
    expect(events).toEqual(['self']);
  });
});

describe('watch, recursive, tells', () => {
  const recursive = { recursive: true };

  it('what happens below', async () => {
    const path = fresh();
    fs.mkdirSync(join(path, 'a/b'), { recursive: true });
    expect(await during(path, recursive, () => fs.writeFileSync(join(path, 'a/b/c'), ''))).toEqual([
      'created a/b/c',
    ]);
  });

  it('all that comes with new directories, once each, however quickly', async () => {
    const path = fresh();
    const wanted = new Set<string>();
    const events = await during(path, recursive, async () => {
      for (let i = 0; i < 20; i++) {
        fs.mkdirSync(join(path, `${i}/x/y`), { recursive: true });
        for (const name of ['1', 'x/2', 'x/y/3']) fs.writeFileSync(join(path, `${i}`, name), '');
        for (const name of ['/', '/1', '/x/', '/x/2', '/x/y/', '/x/y/3']) wanted.add(`created ${i}${name}`);
        if (i % 3 === 0) await sleep(i % 2);
      }
      await sleep(50);
    });
    const created = events.filter((event) => event.startsWith('created'));
    expect(new Set(created)).toEqual(wanted);
    expect(created.length).toBe(wanted.size);
  });

  it('of trees that are moved within, out and in', async () => {
    const path = fresh();
    const outside = fresh();
    fs.mkdirSync(join(path, 'a/b'), { recursive: true });
    const events = await during(path, recursive, async () => {
      fs.renameSync(join(path, 'a'), join(path, 'c'));
      await sleep(20);
      fs.writeFileSync(join(path, 'c/b/within'), '');
      await sleep(20);
      fs.renameSync(join(path, 'c'), join(outside, 'd'));
      await sleep(20);
      fs.writeFileSync(join(outside, 'd/b/unheard'), '');
      fs.mkdirSync(join(outside, 'd/e'));
      await sleep(20);
      fs.renameSync(join(outside, 'd'), join(path, 'f'));
      await sleep(20);
      fs.writeFileSync(join(path, 'f/e/heard'), '');
      await sleep(20);
    });
    expect(events.slice(0, 5)).toEqual([
      ...['moved-from a/', 'moved-to c/', 'created c/b/within', 'moved-from c/', 'moved-to f/'],
    ]);
    expect(events.slice(5).sort()).toEqual([
      ...['created f/b/', 'created f/b/unheard', 'created f/b/within', 'created f/e/', 'created f/e/heard'],
    ]);
  });

  it('nothing of what links lead to', async () => {
    const path = fresh();
    const outside = fresh();
    fs.symlinkSync(outside, join(path, 'link'));
    expect(await during(path, recursive, () => fs.writeFileSync(join(outside, 'x'), ''))).toEqual([]);
  });
});

describe('watch, when more happens than is taken,', () => {
  /** Much happens, and another watcher has heard of all of it. */
  async function storm(path: string): Promise<void> {
    await using other = watch(path);
    await other.ready();
    for (let i = 0; i < 200; i++) fs.mkdirSync(join(path, `${i}`));
    for (let name = ''; name !== '199'; ) name = (await other.next()).value?.filename ?? '';
    await sleep(50);
  }

  it('says that events were lost', async () => {
    const path = fresh();
    await using watcher = watch(path, { maxQueue: 10 });
    await watcher.ready();
    await storm(path);
    const events: WatchEvent[] = [];
    for await (const event of watcher) {
      events.push(event);
      if (event.kind === 'overflow') break;
    }
    expect(events.length).toBe(11);
    expect(events.at(-1)).toEqual({
      eventType: 'rename',
      filename: null,
      kind: 'overflow',
      directory: false,
    });
  });

  it('fails if it is to', async () => {
    const path = fresh();
    const watcher = watch(path, { maxQueue: 10, overflow: 'throw' });
    await watcher.ready();
    await storm(path);
    const all = (async () => {
      for await (const _ of watcher);
    })();
    expect((await failure(all)).code).toBe('ERR_FS_WATCH_QUEUE_OVERFLOW');
  });

  it('than the kernel keeps, says so, and goes on with directories that it has not heard of', async () => {
    const limit = Number(fs.readFileSync('/proc/sys/fs/inotify/max_queued_events', 'utf8'));
    const path = fs.mkdtempSync('/dev/shm/ouro-watch-');
    const files = ['a', 'b'].map((name) => join(path, name));
    for (const file of files) fs.writeFileSync(file, '');
    await using watcher = watch(path, { recursive: true, maxQueue: 1_000_000 });
    await watcher.ready();
    // Nobody reads meanwhile: this thread is busy. In turns, or the kernel would make one event of them.
    for (let i = 0; i <= limit; i++) fs.utimesSync(files[i % 2] ?? '', i, i);
    fs.mkdirSync(join(path, 'unheard'));
    while ((await watcher.next()).value?.kind !== 'overflow');
    fs.writeFileSync(join(path, 'unheard/file'), '');
    let event = (await watcher.next()).value;
    while (event !== undefined && event.filename !== 'unheard/file') event = (await watcher.next()).value;
    expect(event && told(event)).toBe('created unheard/file');
    fs.rmSync(path, { recursive: true });
  });
});

describe('watch fails as fs.promises.watch', () => {
  it('where there is nothing', async () => {
    const gone = join(root, 'gone');
    const theirs = await failure(fs.promises.watch(gone)[Symbol.asyncIterator]().next());
    expect(await failure(watch(gone).next())).toEqual(theirs);
    expect(await failure(watch(gone, { recursive: true }).ready())).toEqual(theirs);
  });

  it('where there are no watches or instances left', async () => {
    const path = fresh();
    for (let i = 0; i < 30; i++) fs.mkdirSync(join(path, `${i}`));
    // In a user namespace of its own, which may have its own limits.
    const program = `
      import { watch } from '@ouro/fs'; import fs from 'node:fs';
      const set = (name, value) => fs.writeFileSync('/proc/sys/user/max_inotify_' + name, String(value));
      const outcome = async (options) => { const w = watch(process.argv[1], options); const r = await w.ready().then(() => 'ready', ({ code, syscall }) => [code, syscall]); await w.return(); return r; };
      const result = [];
      try { set('watches', 10); } catch { console.log('null'); process.exit(); }
      result.push(await outcome({}), await outcome({ recursive: true }));
      set('instances', 0);
      result.push(await outcome({}));
      console.log(JSON.stringify(result));`;
    const { stdout } = await runProgram(program, {
      args: [path],
      under: ['unshare', '--user', '--map-root-user'],
    });
    const result: unknown = stdout === '' ? null : JSON.parse(stdout);
    if (result !== null) expect(result).toEqual(['ready', ['ENOSPC', 'watch'], ['EMFILE', 'watch']]);
  });

  it('where its options make no sense', () => {
    expect(thrown(() => watch(7 as never)).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(thrown(() => watch('.', { recursive: 1 as never })).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(thrown(() => watch('.', { persistent: 1 as never })).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(thrown(() => watch('.', { maxQueue: 0 })).code).toBe('ERR_OUT_OF_RANGE');
    expect(thrown(() => watch('.', { overflow: 'x' as never })).code).toBe('ERR_INVALID_ARG_VALUE');
    expect(thrown(() => watch('.', { encoding: 'x' as never })).code).toBe('ERR_INVALID_ARG_VALUE');
  });
});

describe('watch ends', () => {
  it('by its signal, by break, by return, and leaves nothing open', async () => {
    const path = fresh();
    fs.mkdirSync(join(path, 'a/b/c'), { recursive: true });
    const before = openDescriptors();
    for (let turns = 0; turns < 12; turns++) {
      const controller = new AbortController();
      const watcher = watch(path, { recursive: true, signal: controller.signal });
      const next = watcher.next();
      for (let i = 0; i < turns; i++) await sleep(0);
      controller.abort('why');
      expect(await failure(next)).toMatchObject({ name: 'AbortError' });
      expect((await watcher.next()).done).toBe(true);
      const other = watch(path, { recursive: true });
      const waiting = other.next();
      for (let i = 0; i < turns; i++) await sleep(0);
      await other.return();
      expect((await waiting).done).toBe(true);
    }
    const never = watch(path);
    await never.return();
    expect((await never.next()).done).toBe(true);
    const aborted = watch(path, { signal: AbortSignal.abort() });
    expect((await failure(aborted.next())).name).toBe('AbortError');
    await sleep(20);
    expect(openDescriptors()).toBe(before);
  });

  it('with the process, if it is not persistent', async () => {
    const program = `
      import { watch } from '@ouro/fs';
      const watcher = watch(process.argv[1], { persistent: false });
      await watcher.ready();
      watcher.next();`;
    expect(await runProgram(program, { args: [fresh()] })).toMatchObject({ code: 0, stderr: '' });
  });
});
