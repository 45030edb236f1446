import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type FileResult, readFiles, writeFiles } from '@ouro/fs';
import { files, Scope } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { begun, failure, fifo, openDescriptors, submitted, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();

/** A file of `length` bytes in which each part differs from the others, and each file from the others. */
function fileOf(name: string, length: number): string {
  const path = join(dir, name);
  const content = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) {
    content.writeUInt32LE((Math.imul(at, 0x9e3779b1) + length) >>> 0, at);
  }
  writeFileSync(path, content);
  return path;
}

const SIZES = [
  0, 1, 100, 495, 496, 497, 4095, 4096, 4097, 65_536, 130_000, 131_071, 131_072, 131_073, 131_600,
];
const LARGE = [524_288, 1_000_003, 3 << 20];
const paths = [...SIZES, ...LARGE].map((size) => fileOf(`s${size}`, size));
const contents = paths.map((path) => readFileSync(path));
const small = Array.from({ length: 300 }, (_, index) => fileOf(`n${index}`, index * 7));

/** A pipe that `command` writes to, begun with the next one who reads it. */
function pipeFrom(name: string, command: string): string {
  const pipe = fifo(join(dir, name));
  execFileSync('sh', ['-c', `(${command}) >"$1" 2>/dev/null &`, 'sh', pipe], { stdio: 'ignore' });
  return pipe;
}

/** Somebody who has a pipe open for writing, and says nothing. */
function writerOf(pipe: string): ChildProcess {
  return spawn('sh', ['-c', 'exec sleep 60 <>"$1"', 'sh', pipe], { stdio: 'ignore' });
}

/** The content of a file that was read. */
function contentOf<C>(result: FileResult<C>): C {
  if (result.error !== null) throw result.error;
  return result.content;
}

describe('readFiles', () => {
  it('resolves to the content of each file, in the order of the paths', async () => {
    const results = await readFiles(paths);
    expect(results.map(({ path }) => path)).toEqual(paths);
    results.forEach((result, index) => {
      expect(contentOf(result).equals(contents[index])).toBe(true);
    });
  });

  it.each([1, 2, 7, 300, 1024])('does so with %i side by side', async (concurrency) => {
    const results = await readFiles(small, { concurrency });
    results.forEach((result, index) => {
      expect(contentOf(result).equals(readFileSync(small[index]))).toBe(true);
    });
  });

  it('of no paths is nothing', async () => {
    expect(await readFiles([])).toEqual([]);
  });

  it('gives Buffers that have nothing in common', async () => {
    const [one, two] = (await readFiles([small[100], small[100]])).map(contentOf);
    one.fill(0);
    expect(two.equals(readFileSync(small[100]))).toBe(true);
  });

  it('gives strings where an encoding is asked for', async () => {
    writeFileSync(join(dir, 'text'), 'Grüße, 𝄞!');
    const results = await readFiles([join(dir, 'text'), join(dir, 's1000003')], { encoding: 'utf8' });
    expect(contentOf(results[0])).toBe('Grüße, 𝄞!');
    expect(contentOf(results[1])).toBe(readFileSync(join(dir, 's1000003'), 'utf8'));
    const [hex] = await readFiles([join(dir, 'text')], { encoding: 'hex' });
    expect(hex.content).toBe(readFileSync(join(dir, 'text'), 'hex'));
  });

  it('takes strings, Buffers and URLs, long ones too', async () => {
    const deep = join(dir, ...Array.from({ length: 12 }, () => 'd'.repeat(200)));
    mkdirSync(deep, { recursive: true });
    const long = join(deep, 'file');
    writeFileSync(long, 'deep');
    const given = [Buffer.from(small[10]), pathToFileURL(small[20]), long];
    const results = await readFiles(given);
    expect(results.map(({ path }) => path)).toEqual(given);
    expect(contentOf(results[0]).equals(readFileSync(small[10]))).toBe(true);
    expect(contentOf(results[1]).equals(readFileSync(small[20]))).toBe(true);
    expect(contentOf(results[2]).toString()).toBe('deep');
  });

  it('has an error for each file that cannot be read, as readFile has it, and reads the others', async () => {
    const missing = join(dir, 'none');
    const loop = join(dir, 'loop');
    symlinkSync(loop, loop);
    const [first, none, directory, round, last] = await readFiles([small[5], missing, dir, loop, small[6]]);
    expect(contentOf(first).equals(readFileSync(small[5]))).toBe(true);
    expect(contentOf(last).equals(readFileSync(small[6]))).toBe(true);
    expect(none).toMatchObject({
      path: missing,
      content: null,
      error: { code: 'ENOENT', errno: -2, syscall: 'open', path: missing },
    });
    expect(none.error?.message).toBe(`ENOENT: no such file or directory, open '${missing}'`);
    expect(directory.error).toMatchObject({ code: 'EISDIR', syscall: 'read' });
    expect(round.error).toMatchObject({ code: 'ELOOP', syscall: 'open' });
  });

  it('reads what does not know its size: pipes, /proc, and devices', async () => {
    const much = pipeFrom('much', 'head -c 500000 /dev/zero; sleep 0.05; printf end');
    const little = pipeFrom('little', 'printf a; sleep 0.05; printf b');
    const nothing = pipeFrom('nothing', 'true');
    const results = await readFiles([much, '/proc/self/maps', little, '/dev/null', nothing, '/proc/version']);
    const [long, maps, ab, none, empty, version] = results.map(contentOf);
    expect(long.length).toBe(500_003);
    expect(long.subarray(500_000).toString()).toBe('end');
    expect(maps.toString()).toContain('[stack]');
    expect(maps.toString().endsWith('\n')).toBe(true);
    expect(ab.toString()).toBe('ab');
    expect(none.length + empty.length).toBe(0);
    expect(version.equals(readFileSync('/proc/version'))).toBe(true);
  });

  it('reads what is not in memory', async () => {
    const path = fileOf('cold', 400_000);
    const content = readFileSync(path);
    execFileSync('sync', [path]);
    execFileSync('dd', [`of=${path}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0'], {
      stdio: 'pipe',
    });
    const [result] = await readFiles([path]);
    expect(contentOf(result).equals(content)).toBe(true);
  });

  it('reads the same file many times', async () => {
    const results = await readFiles(Array<string>(500).fill(small[33]));
    for (const result of results) expect(contentOf(result).equals(readFileSync(small[33]))).toBe(true);
  });

  it('runs beside others of its kind', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, () => readFiles(small, { concurrency: 64 })));
    for (const results of all) {
      results.forEach((result, index) => {
        expect(contentOf(result).length).toBe(index * 7);
      });
    }
  });

  it('leaves nothing open', async () => {
    await readFiles(small);
    await submitted();
    const before = openDescriptors();
    const places = files().used;
    await readFiles(paths, { concurrency: 3 });
    await readFiles([...paths, join(dir, 'none')]);
    await submitted();
    expect(openDescriptors()).toBe(before);
    expect(files().used).toBe(places);
  });

  it('refuses what makes no sense before anything is begun', () => {
    const before = begun();
    // @ts-expect-error: an array
    expect(thrown(() => readFiles('path'))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    // @ts-expect-error: paths
    expect(thrown(() => readFiles(['ok', 1])).message).toContain('"paths[1]"');
    expect(thrown(() => readFiles(['a\0b']))).toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
    for (const concurrency of [0, 1025, 1.5]) {
      expect(thrown(() => readFiles([], { concurrency }))).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
    }
    expect(thrown(() => readFiles([], { encoding: 'utf9' as 'utf8' }))).toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
    });
    expect(thrown(() => readFiles([], { lease: true, encoding: 'utf8' }))).toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
    });
    // @ts-expect-error: a boolean
    expect(thrown(() => readFiles([], { lease: 1 }))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    // @ts-expect-error: an iterable
    expect(thrown(() => readFiles.stream(1))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    expect(begun()).toBe(before);
  });
});

describe('readFiles with leases', () => {
  it('lends memory that is used again', async () => {
    const results = await readFiles(paths, { lease: true });
    results.forEach((result, index) => {
      expect(contentOf(result).equals(contents[index])).toBe(true);
    });
    const memory = new Set(results.slice(0, SIZES.length).map((result) => contentOf(result).buffer));
    for (const result of results) result.release();
    const again = await readFiles(paths, { lease: true });
    again.forEach((result, index) => {
      expect(contentOf(result).equals(contents[index])).toBe(true);
    });
    expect(again.slice(0, SIZES.length).some((result) => memory.has(contentOf(result).buffer))).toBe(true);
    for (const result of again) result.release();
  });

  it('keeps what is lent as it is, whatever else is read', async () => {
    const held = await readFiles(small, { lease: true });
    await readFiles(paths, { lease: true });
    await readFiles(small.toReversed(), { lease: true });
    held.forEach((result, index) => {
      expect(contentOf(result).equals(readFileSync(small[index]))).toBe(true);
      result.release();
    });
  });

  it('shows nothing any more once released', async () => {
    const [file] = await readFiles([small[50]], { lease: true });
    file.release();
    file.release();
    expect(thrown(() => file.content)).toMatchObject({ code: 'ERR_INVALID_STATE' });
    const [missing] = await readFiles([join(dir, 'none')], { lease: true });
    expect(missing.content).toBeNull();
    expect(missing.error).toMatchObject({ code: 'ENOENT' });
    missing.release();
  });

  it('goes on when a script takes memory away', async () => {
    for (let round = 0; round < 5; round++) {
      const held = await readFiles(small, { lease: true });
      const { buffer } = contentOf(held[3]);
      try {
        if ('transfer' in buffer) (buffer as { transfer(): void }).transfer();
        else structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
      } catch {
        // Node 24 refuses.
      }
      for (const result of held) result.release();
      const results = await readFiles(small);
      results.forEach((result, index) => {
        expect(contentOf(result).equals(readFileSync(small[index]))).toBe(true);
      });
    }
  });
});

describe('readFiles.stream', () => {
  it('brings file after file, in the order of the paths', async () => {
    let count = 0;
    for await (const result of readFiles.stream(paths)) {
      expect(result.path).toBe(paths[count]);
      expect(contentOf(result).equals(contents[count])).toBe(true);
      count++;
    }
    expect(count).toBe(paths.length);
  });

  it('with leases holds no more than it reads side by side', async () => {
    const slabs = new Set<unknown>();
    let count = 0;
    for await (using file of readFiles.stream(Array<string>(5000).fill(small[200]), {
      lease: true,
      concurrency: 4,
    })) {
      slabs.add(contentOf(file).buffer);
      count++;
    }
    expect(count).toBe(5000);
    expect(slabs.size).toBeLessThanOrEqual(8);
  });

  it('takes paths as they are needed, from iterables of both kinds', async () => {
    let taken = 0;
    function* endless(): Generator<string> {
      for (;;) yield small[taken++ % small.length];
    }
    let count = 0;
    for await (const file of readFiles.stream(endless(), { concurrency: 8 })) {
      expect(contentOf(file).length).toBe((count % small.length) * 7);
      expect(taken).toBeLessThanOrEqual(count + 17);
      if (++count === 1000) break;
    }
    async function* later(): AsyncGenerator<string> {
      for (const path of small) {
        if (Math.random() < 0.1) await submitted();
        yield path;
      }
    }
    let at = 0;
    for await (const file of readFiles.stream(later())) expect(contentOf(file).length).toBe(at++ * 7);
    expect(at).toBe(small.length);
  });

  it('gives all that are there with one wait, as batches', async () => {
    let count = 0;
    let batches = 0;
    for await (const batch of readFiles.stream(small, { encoding: 'latin1' }).batches()) {
      batches++;
      for (const file of batch) expect(contentOf(file).length).toBe(count++ * 7);
    }
    expect(count).toBe(small.length);
    expect(batches).toBeLessThan(small.length);
  });

  it('has an error for each file that cannot be read, and goes on', async () => {
    const missing = join(dir, 'none');
    const codes: unknown[] = [];
    // @ts-expect-error: no path
    for await (const { error } of readFiles.stream([small[1], missing, 7, small[2]])) {
      codes.push((error as NodeJS.ErrnoException | null)?.code);
    }
    expect(codes).toEqual([undefined, 'ENOENT', 'ERR_INVALID_ARG_TYPE', undefined]);
  });

  it('ends with the error of its source, and ends its source when it is left', async () => {
    let ended = false;
    function* source(fails: boolean): Generator<string> {
      try {
        yield small[1];
        if (fails) throw new Error('no more');
        for (;;) yield small[2];
      } finally {
        ended = true;
      }
    }
    const all: unknown[] = [];
    await expect(
      (async () => {
        for await (const { content } of readFiles.stream(source(true))) all.push(content?.length);
      })(),
    ).rejects.toThrow('no more');
    expect(all).toEqual([7]);
    ended = false;
    for await (const { error } of readFiles.stream(source(false))) {
      expect(error).toBeNull();
      break;
    }
    expect(ended).toBe(true);
  });

  it('closes all when it is left', async () => {
    await submitted();
    const before = openDescriptors();
    const places = files().used;
    await using left = readFiles.stream(small, { lease: true });
    await left.next();
    await left.return();
    expect(await left.next()).toEqual({ done: true, value: undefined });
    await submitted();
    expect(openDescriptors()).toBe(before);
    expect(files().used).toBe(places);
  });
});

describe('a cancelled readFiles', () => {
  it('rejects with an AbortError, and closes what it had opened', async () => {
    await submitted();
    const before = openDescriptors();
    const reading = readFiles([...small, fifo(join(dir, 'silent')), ...small]);
    // A writer that says nothing: the read waits.
    const writer = writerOf(join(dir, 'silent'));
    await submitted();
    reading.cancel('enough');
    await expect(reading).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'enough' });
    writer.kill();
    await submitted();
    expect(openDescriptors()).toBe(before);
  });

  it.each(['signal', 'scope', 'timeout'] as const)('heeds its %s', async (by) => {
    const pipe = fifo(join(dir, `by-${by}`));
    const writer = writerOf(pipe);
    const abort = new AbortController();
    const scope = new Scope();
    const options = { signal: { signal: abort.signal }, scope: { scope }, timeout: { timeout: 30 } }[by];
    const reading = readFiles([small[1], pipe], options);
    const streaming = readFiles.stream([pipe], options).next();
    streaming.catch(() => {});
    await submitted();
    abort.abort();
    scope.cancel();
    const code = by === 'timeout' ? 'ETIMEDOUT' : 'ABORT_ERR';
    await expect(reading).rejects.toMatchObject({ code });
    await expect(streaming).rejects.toMatchObject({ code });
    writer.kill();
  });

  it('is not begun if it was cancelled before', async () => {
    const signal = AbortSignal.abort('no');
    expect(await failure(readFiles([small[1]], { signal }))).toMatchObject({ code: 'ABORT_ERR' });
    expect(await failure(readFiles.stream([small[1]], { signal }).next())).toMatchObject({
      code: 'ABORT_ERR',
    });
    expect(await failure(writeFiles([], { signal }))).toMatchObject({ code: 'ABORT_ERR' });
  });

  it('can be cancelled at any moment', async () => {
    for (let turns = 0; turns < 30; turns++) {
      const reading = readFiles(small, { lease: turns % 2 === 0 } as object);
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      if (turns > 15) await submitted();
      reading.cancel();
      await reading.catch((error: unknown) => expect(error).toMatchObject({ code: 'ABORT_ERR' }));
    }
    expect((await readFiles(small)).every(({ error }) => error === null)).toBe(true);
  });
});

describe('a stream of files that is forgotten', () => {
  it('gives back what it had of the table of direct descriptors', async () => {
    const source = `
      import { readFiles } from '@ouro/fs';
      import { files } from '@ouro/runtime';
      import { setTimeout as later } from 'node:timers/promises';
      const paths = Array.from({ length: 200 }, () => ${JSON.stringify(paths[0])});
      await readFiles(paths);
      const before = files().used;
      await (async () => {
        for (let i = 0; i < 4; i++) await readFiles.stream(paths)[Symbol.asyncIterator]().next();
      })();
      const during = files().used;
      for (let i = 0; i < 50 && files().used > before; i++) {
        gc();
        await later(10);
        await readFiles(paths.slice(0, 1));
      }
      console.log(during > before, files().used <= before);`;
    const { stdout, stderr } = await runProgram(source, { flags: ['--expose-gc'] });
    expect({ stdout, stderr }).toEqual({ stdout: 'true true\n', stderr: '' });
  });
});

describe('readFiles in want', () => {
  it('goes on without direct descriptors', async () => {
    const source = `
      import { readFiles } from '@ouro/fs';
      const results = await readFiles(Array(50).fill('/etc/passwd'));
      console.log(results.every(({ content }) => content?.includes('root')));`;
    const { stdout } = await runProgram(source, { env: { OURO_FIXED_FILES: '2' } });
    expect(stdout).toBe('true\n');
  });

  it('survives a process that may open nothing more', async () => {
    const source = `
      import { openSync } from 'node:fs';
      import { readFiles, writeFiles } from '@ouro/fs';
      import { nop } from '@ouro/runtime/driver';
      await nop();
      try { for (;;) openSync('/dev/null'); } catch {}
      const results = await readFiles(['/etc/passwd', '/etc/none']);
      const codes = results.map(({ error }) => error?.code ?? 'ok');
      const [{ error }] = await writeFiles([{ path: '/dev/null', data: 'x' }]);
      console.log(codes.join(), error?.code ?? 'ok');`;
    const { stdout, stderr } = await runProgram(source, { under: ['prlimit', '--nofile=128'] });
    expect(stderr).toBe('');
    // The ring has its own table, whose size the limit bounds.
    expect(['EMFILE,EMFILE EMFILE\n', 'ok,ENOENT EMFILE\n', 'ok,EMFILE EMFILE\n']).toContain(stdout);
  });

  it('survives a worker that is terminated, and a process that exits, in the middle of it', {
    timeout: 90_000,
  }, async () => {
    const source = `
      import { Worker } from 'node:worker_threads';
      const path = ${JSON.stringify(paths.at(-1))};
      const body = \`
        import { readFiles, writeFiles } from '@ouro/fs';
        import { parentPort } from 'node:worker_threads';
        const list = Array(400).fill(\${JSON.stringify(path)});
        parentPort.postMessage('on');
        for (;;) {
          const held = await readFiles(list.slice(0, 40), { lease: true });
          for (const each of held) each.release();
          await writeFiles(list.slice(0, 20).map((path) => ({ path: path + '.copy', data: Buffer.alloc(300000) })));
        }\`;
      for (let round = 0; round < 6; round++) {
        const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(
          body.replaceAll('@ouro/fs', import.meta.resolve('@ouro/fs')))));
        await new Promise((begun) => worker.once('message', begun));
        await new Promise((later) => setTimeout(later, 10 + 10 * round));
        await worker.terminate();
      }
      const { readFiles } = await import('@ouro/fs');
      readFiles(Array(400).fill(path), { lease: true });
      setImmediate(() => process.exit(7));`;
    const { code, signal, stderr } = await runProgram(source, { limitMs: 60_000 });
    expect({ code, signal, stderr }).toEqual({ code: 7, signal: null, stderr: '' });
  });

  it('reads a file of hundreds of megabytes', async () => {
    const path = join(dir, 'sparse');
    writeFileSync(path, '');
    truncateSync(path, 300 << 20);
    const [result] = await readFiles([path]);
    expect(contentOf(result).length).toBe(300 << 20);
  });
});
