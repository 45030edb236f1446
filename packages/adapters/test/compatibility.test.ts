import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { documentWithTable, exportsOf, modules } from '../../../scripts/adapters-table.mjs';
import { PRELUDE, temporaryDirectory, told } from './support.ts';

vi.setConfig({ testTimeout: 120_000 });

const text = join(temporaryDirectory(), 'text');
writeFileSync(text, 'some text');

/** Calls that are said to be served, by what the table calls them. */
const CALLS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'node:fs': {
    access: 'called(fs.access, text)',
    appendFile: "called(fs.appendFile, text, 'x')",
    close: 'called(fs.close, fs.openSync(text))',
    createReadStream: "once(fs.createReadStream(text).resume(), 'close')",
    createWriteStream: "once(fs.createWriteStream(text + '2').end('x'), 'close')",
    exists: 'new Promise((done) => fs.exists(text, done))',
    fdatasync: 'called(fs.fdatasync, fd)',
    fstat: 'called(fs.fstat, fd)',
    fsync: 'called(fs.fsync, fd)',
    lstat: 'called(fs.lstat, text)',
    open: 'called(fs.open, text)',
    read: 'called(fs.read, fd, Buffer.alloc(1))',
    readFile: 'called(fs.readFile, text)',
    readlink: 'called(fs.readlink, text)',
    realpath: 'called(fs.realpath, text)',
    stat: 'called(fs.stat, text)',
    write: "called(fs.write, fd, 'x')",
    writeFile: "called(fs.writeFile, text + '2', 'x')",
    writev: "called(fs.writev, fd, [Buffer.from('x')])",
    promises: 'fs.promises.stat(text)',
  },
  'node:fs/promises': {
    access: 'fsp.access(text)',
    appendFile: "fsp.appendFile(text, 'x')",
    lstat: 'fsp.lstat(text)',
    open: 'fsp.open(text).then((opened) => opened.close())',
    readFile: 'fsp.readFile(text)',
    readlink: 'fsp.readlink(text).catch(() => {})',
    realpath: 'fsp.realpath(text)',
    stat: 'fsp.stat(text)',
    writeFile: "fsp.writeFile(text + '2', 'x')",
  },
  FileHandle: {
    appendFile: "handle.appendFile('x')",
    close: 'fsp.open(text).then((opened) => opened.close())',
    createReadStream: "once(handle.createReadStream({ autoClose: false, start: 0 }).resume(), 'end')",
    createWriteStream: "once(handle.createWriteStream({ autoClose: false, start: 0 }).end('x'), 'finish')",
    datasync: 'handle.datasync()',
    read: 'handle.read()',
    readFile: 'handle.readFile()',
    readLines: '(async () => { for await (const _ of handle.readLines({ autoClose: false, start: 0 })); })()',
    stat: 'handle.stat()',
    sync: 'handle.sync()',
    write: "handle.write('x')",
    writeFile: "handle.writeFile('x')",
    writev: "handle.writev([Buffer.from('x')])",
  },
};

const LISTS = modules().filter(({ module }) => CALLS[module] !== undefined);

describe('the table of docs/adapters.md', () => {
  it('is what scripts/adapters-table.mjs makes of what is known', () => {
    const written = readFileSync('docs/adapters.md', 'utf8');
    expect(written).toBe(documentWithTable(written));
  });

  it.each(modules())('knows each export of $module', async (module) => {
    expect(Object.keys(module.exports)).toEqual(expect.arrayContaining(await exportsOf(module)));
    expect(Object.keys(module.exports)).toEqual(expect.arrayContaining(Object.keys(module.served)));
  });

  it.each(LISTS)(
    'says of $module what is true: what is called ours is served',
    async ({ module, served }) => {
      const calls = CALLS[module];
      expect(Object.keys(calls).sort()).toEqual(Object.keys(served).sort());
      const source = `${PRELUDE}
      import { once } from 'node:events';
      const text = ${JSON.stringify(text)};
      const fd = fs.openSync(text, 'r+');
      const handle = await fsp.open(text, 'r+');
      const count = () => Object.values(stats()).flatMap(Object.values).reduce((sum, { ours }) => sum + ours, 0);
      const idle = [];
      for (const [name, call] of Object.entries({ ${Object.entries(calls)
        .map(([name, call]) => `${name}: () => ${call}`)
        .join(',\n')} })) {
        const before = count();
        await call();
        if (count() === before) idle.push(name);
      }
      tell(idle);`;
      expect(await told(source)).toEqual([]);
    },
  );
});
