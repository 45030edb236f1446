import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type FileEntry, readFiles, writeFiles } from '@ouro/fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { temporaryDirectory } from './support.ts';

// What `readFiles.stream` and `writeFiles` make of iterables that do not do as iterables should.

const dir = temporaryDirectory();
const a = join(dir, 'a');
const b = join(dir, 'b');
writeFileSync(a, 'aaa');
writeFileSync(b, 'bbb');

type Paths = Iterable<string> | AsyncIterable<string>;

/** What was read: contents, or the codes of errors. */
async function read(paths: unknown): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const { content, error } of readFiles.stream(paths as Paths)) {
    found.push(error === null ? content.toString() : (error as NodeJS.ErrnoException).code);
  }
  return found;
}

const written = async (entries: unknown, signal?: AbortSignal): Promise<unknown[]> =>
  (await writeFiles(entries as Iterable<FileEntry>, { signal })).map(
    ({ error }) => error && ((error as NodeJS.ErrnoException).code ?? error.message),
  );

/** Failures that nobody has been told. */
const lost: unknown[] = [];
const lose = (error: unknown): void => void lost.push(error);
beforeEach(() => {
  process.on('unhandledRejection', lose).on('uncaughtException', lose);
});
afterEach(() => {
  process.off('unhandledRejection', lose).off('uncaughtException', lose);
  expect(lost.splice(0)).toEqual([]);
});

/** Gives what it is given, in the place of promises of the language or not. */
function asynchronous(
  results: readonly unknown[],
  promise: (value: unknown) => unknown,
): AsyncIterable<never> {
  let at = 0;
  const next = (): unknown => promise(at < results.length ? results[at++] : { done: true });
  return { [Symbol.asyncIterator]: () => ({ next }) as never };
}

const later = (value: unknown): Promise<unknown> => Promise.resolve(value);
// biome-ignore lint/suspicious/noThenProperty: a promise of somebody else's
const thenable = (value: unknown): PromiseLike<unknown> => ({ then: (to) => later(value).then(to) });

describe('an iterable', () => {
  it.each([
    ['a set', new Set([undefined, a, null, b])],
    [
      'an async iterator',
      asynchronous([{ value: undefined }, { value: a }, { value: null }, { value: b }], later),
    ],
  ])('of which some items are nothing: %s', async (_name, paths) => {
    expect(await read(paths)).toEqual(['ERR_INVALID_ARG_TYPE', 'aaa', 'ERR_INVALID_ARG_TYPE', 'bbb']);
  });

  it('whose entries to write are nothing', async () => {
    const entries = [undefined, { path: join(dir, 'w'), data: 'w' }];
    expect(await written(new Set(entries))).toEqual(['ERR_INVALID_ARG_TYPE', null]);
    expect(readFileSync(join(dir, 'w'), 'utf8')).toBe('w');
  });

  it('whose promises are not those of the language', async () => {
    expect(await read(asynchronous([{ value: a }, { value: b }], thenable))).toEqual(['aaa', 'bbb']);
  });

  it.each([
    ['no object', undefined],
    [
      'an object that throws',
      {
        get done() {
          throw new TypeError('not done');
        },
      },
    ],
  ])('that brings %s', async (_name, result) => {
    await expect(read(asynchronous([result], later))).rejects.toThrow(TypeError);
    await expect(written(asynchronous([result], later))).rejects.toThrow(TypeError);
    const sync = { [Symbol.iterator]: () => ({ next: () => result }) };
    await expect(read(sync)).rejects.toThrow(TypeError);
    await expect(written(sync)).rejects.toThrow(TypeError);
  });

  it('that throws what no string can be made of', async () => {
    function* failing(): Generator<string> {
      yield a;
      throw Object.create(null);
    }
    await expect(read(failing())).rejects.toThrow('null prototype');
    await expect(written(failing())).rejects.toThrow('null prototype');
  });

  it('that fails when it is closed is closed all the same when the writing is cancelled', async () => {
    const controller = new AbortController();
    let asked = 0;
    const endless = {
      [Symbol.iterator]: () => ({
        next: () => ({
          done: false,
          value: { path: join(dir, `e${asked++ % 50}`), data: 'e'.repeat(100_000) },
        }),
        return: () => {
          throw new Error('not closed');
        },
      }),
    };
    const writing = written(endless, controller.signal);
    controller.abort();
    await expect(writing).rejects.toMatchObject({ code: 'ABORT_ERR' });
  });

  it('that cancels the writing has nothing more written', async () => {
    let cancel = (): void => {};
    async function* entries(): AsyncGenerator<FileEntry> {
      yield { path: join(dir, 'before'), data: '1' };
      cancel();
      yield { path: join(dir, 'behind'), data: '2' };
    }
    const writing = writeFiles(entries());
    cancel = () => writing.cancel();
    await expect(writing).rejects.toMatchObject({ code: 'ABORT_ERR' });
    expect(() => readFileSync(join(dir, 'behind'))).toThrow('ENOENT');
  });

  it('of entries whose path cannot be had does not keep the others from being written', async () => {
    function* entries(): Generator<FileEntry> {
      yield { path: join(dir, 'g1'), data: '1' };
      yield {
        data: '',
        get path(): string {
          throw new Error('no path');
        },
      };
      yield { path: join(dir, 'g2'), data: '2' };
    }
    expect(await written(entries())).toEqual([null, 'no path', null]);
    expect(readFileSync(join(dir, 'g2'), 'utf8')).toBe('2');
  });
});
