import nodeFs from 'node:fs';
import nodePromises from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { stats } from '@ouro/adapters';
import * as fsModule from '@ouro/adapters/fs';
import * as promisesModule from '@ouro/adapters/fs/promises';
import { describe, expect, it, vi } from 'vitest';
import { temporaryDirectory } from './support.ts';

const { default: fs } = fsModule;
const { default: fsp } = promisesModule;
const text = join(temporaryDirectory(), 'text');
nodeFs.writeFileSync(text, 'some text');
const ours = (name: string, module = 'fs'): number => stats()[module]?.[name]?.ours ?? 0;

describe('@ouro/adapters/fs and /fs/promises', () => {
  it('export what Node exports, by the same names and with as many arguments', () => {
    const described = (module: object): unknown =>
      Object.entries(module).map(([name, value]) => [name, typeof value, value?.name, value?.length]);
    const { F_OK, R_OK, W_OK, X_OK, ...others } = { ...nodeFs } as Record<string, unknown>;
    const { F_OK: f, R_OK: r, W_OK: w, X_OK: x, ...same } = { ...fs } as Record<string, unknown>;
    expect(described(same)).toEqual(described(others));
    expect(described(fsp)).toEqual(described(nodePromises));
    expect(Object.keys(fsModule)).toEqual(expect.arrayContaining(Object.keys(nodeFs)));
    expect(Object.keys(promisesModule)).toEqual(expect.arrayContaining(Object.keys(nodePromises)));
  });

  it('serve who imports them', async () => {
    // What a FileHandle is like is found out in the pool, beside the first calls, which Node does step by step.
    await vi.waitUntil(async () => {
      expect(await promisesModule.readFile(text, 'utf8')).toBe('some text');
      return ours('readFile', 'fs/promises') > 0;
    }, 20_000);
    expect((await promisify(fsModule.stat)(text)).size).toBe(9);
    expect(ours('stat')).toBe(1);
    expect(await promisify(fs.exists)(text)).toBe(true);
    expect(await fsp.realpath(text)).toBe(nodeFs.realpathSync(text));
  });

  it('serve a FileHandle and streams that they have opened', async () => {
    const before = ours('read');
    const handle = await promisesModule.open(text);
    expect((await handle.read(Buffer.alloc(4), 0, 4, 0)).bytesRead).toBe(4);
    await handle.close();
    expect(ours('read')).toBe(before + 1);
    const chunks: unknown[] = [];
    for await (const chunk of fsModule.createReadStream(text, 'utf8')) chunks.push(chunk);
    expect(chunks).toEqual(['some text']);
    expect(ours('read')).toBeGreaterThan(before + 1);
  });

  it('leave those alone who import node:fs', async () => {
    const before = { stat: ours('stat'), read: ours('read'), open: ours('FileHandle open') };
    await nodePromises.stat(text);
    const handle = await nodePromises.open(text);
    await handle.read(Buffer.alloc(4), 0, 4, 0);
    await handle.close();
    expect({ stat: ours('stat'), read: ours('read'), open: ours('FileHandle open') }).toEqual(before);
    expect(nodeFs.readFile).not.toBe(fs.readFile);
  });
});
