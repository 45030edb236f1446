import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { canTrace, runCommand } from '../../../testing/program.ts';
import { HOOK, temporaryDirectory, told } from './support.ts';

vi.setConfig({ testTimeout: 120_000 });

const directory = temporaryDirectory();

/** Which packages of ours a program opens modules of, when it runs with the hook. */
async function loads(name: string, source: string): Promise<string[]> {
  const program = join(directory, name);
  const trace = join(directory, `${name}.trace`);
  writeFileSync(program, source);
  const strace = ['strace', '-f', '-e', 'trace=open,openat', '-o', trace];
  const { code, stderr } = await runCommand([...strace, process.execPath, ...HOOK, program], {
    limitMs: 60_000,
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const opened = readFileSync(trace, 'utf8').matchAll(/packages\/(\w+)\/dist\/[\w./-]+\.js/g);
  return [...new Set([...opened].map(([, from = '']) => from))].sort();
}

describe.skipIf(!(await canTrace()))('what the hook loads', () => {
  writeFileSync(join(directory, 'imported.mjs'), 'export default 1;');

  it.each([
    ['nothing.cjs', ''],
    ['nothing.mjs', ''],
    // Node's loader reads it as programs read files.
    ['imports.mjs', `import './imported.mjs'; await import('./imported.mjs?again');`],
    [
      'sync.mjs',
      `import fs from 'node:fs'; fs.readFileSync('/proc/self/stat'); fs.statSync('/'); fs.readdirSync('/');`,
    ],
    [
      'classes.cjs',
      `new (require('net').Socket)(); require('net').createServer(); require('http').createServer();`,
    ],
  ])('is nothing but itself for a program that has nothing to serve (%s)', async (name, source) => {
    expect(await loads(name, source)).toEqual(['adapters']);
  });

  it('is nothing of sockets for one that reads files', async () => {
    expect(await loads('reads.cjs', `require('fs').readFile(__filename, () => {});`)).toEqual([
      'adapters',
      'fs',
      'native',
      'runtime',
    ]);
  });

  it('is nothing of files for one that listens', async () => {
    const listens = `const server = require('net').createServer().listen(0, () => server.close());`;
    expect(await loads('listens.cjs', listens)).toEqual(['adapters', 'native', 'net', 'runtime']);
  });
});

describe('the first call', () => {
  // (By require, which reads files synchronously.)
  const STATS = `const { stats } = createRequire(process.cwd() + '/')('@ouro/adapters'); console.log(JSON.stringify(stats()));`;
  const once = { ours: 1, node: 0 };

  it.each([
    ['stat', `await fsp.stat('/');`, { fs: { stat: once } }],
    ['a callback', `await new Promise((done) => fs.lstat('/', done));`, { fs: { lstat: once } }],
    ['readFile', `await new Promise((done) => readFile('/dev/null', done));`, { fs: { readFile: once } }],
    [
      'a descriptor that was opened synchronously',
      `await new Promise((done) => fs.read(fs.openSync('/dev/zero'), done));`,
      {
        fs: { read: once },
      },
    ],
    [
      'open',
      `await (await fsp.open('/dev/null')).stat();`,
      {
        fs: { 'FileHandle open': once, fstat: once },
      },
    ],
    [
      'listen',
      `await new Promise((done) => { const server = net.createServer().listen(0, () => server.close(done)); });`,
      {
        net: { 'Server.listen': once },
      },
    ],
    [
      'connect',
      `await new Promise((done) => net.connect(1, '127.0.0.1').on('error', done));`,
      {
        net: { 'Socket.connect': once },
      },
    ],
    [
      'bind',
      `await new Promise((done) => { const socket = dgram.createSocket('udp4').bind(0, () => socket.close(done)); });`,
      {
        dgram: { bind: once },
      },
    ],
  ])('is ours: %s', async (_name, call, expected) => {
    const source = `
      import dgram from 'node:dgram';
      import fs, { readFile } from 'node:fs';
      import fsp from 'node:fs/promises';
      import { createRequire } from 'node:module';
      import net from 'node:net';
      ${call}
      ${STATS}`;
    expect(await told(source, { env: { OURO_ADAPTERS: '' } })).toMatchObject(expected);
  });

  it('by import is ours as well, step by step', async () => {
    const source = `
      import { createRequire } from 'node:module';
      import { readFile } from '@ouro/adapters/fs/promises';
      const { length } = await readFile('/proc/self/stat');
      const { stats } = createRequire(process.cwd() + '/')('@ouro/adapters');
      const { 'FileHandle open': opens, read } = stats().fs;
      console.log(JSON.stringify([length > 0, opens.ours, read.ours > 0, read.node]));`;
    expect(await told(source, { flags: [] })).toEqual([true, 1, true, 0]);
  });

  it('is the same whatever it was taken by, and keeps its name and length', async () => {
    const source = `
      import fs, { readFile, promises } from 'node:fs';
      import * as fsp from 'node:fs/promises';
      import net from 'node:net';
      await fsp.readFile('/dev/null');
      await new Promise((done) => readFile('/dev/null', done));
      console.log(JSON.stringify([
        fs.readFile === readFile, promises.readFile === fsp.readFile, fs.promises.writeFile === fsp.writeFile,
        readFile.name, readFile.length, fsp.readFile.name, fsp.readFile.length,
        fsp.readFile.constructor.name, fsp.writeFile.constructor.name, readFile.constructor.name,
        net.Socket.prototype.connect.name, net.Server.prototype._listen2.length,
      ]));`;
    const without = (await told(source, { flags: [] })) as unknown[];
    expect(await told(source)).toEqual(without);
  });

  it('finds what a program has put in the place of a function, and leaves it there', async () => {
    const source = `
      import fs from 'node:fs';
      import fsp from 'node:fs/promises';
      import net from 'node:net';
      let mine = 0;
      const { readFile } = fs;
      const { connect } = net.Socket.prototype;
      fs.readFile = function (...args) { mine++; return readFile.apply(this, args); };
      net.Socket.prototype.connect = function (...args) { mine++; return connect.apply(this, args); };
      await fsp.stat('/');
      await new Promise((done) => fs.readFile('/dev/null', done));
      await new Promise((done) => net.connect(1, '127.0.0.1').on('error', done));
      console.log(mine);`;
    expect(await told(source, { env: { OURO_ADAPTERS: 'fs,net' } })).toBe(2);
  });

  it.each([
    ['throw', `throw new Error('no stack today');`],
    ['give something strange', 'return Object.create(null);'],
    ['count', 'return String(++asked);'],
  ])('is made without the stacks of the program, which may %s', async (_what, prepare) => {
    const source = `
      import fsp from 'node:fs/promises';
      let asked = 0;
      const mine = () => { ${prepare} };
      Error.prepareStackTrace = mine;
      const { length } = await fsp.readFile('/dev/null');
      const first = (await (await fsp.open('/')).stat()).isDirectory();
      Error.stackTraceLimit = 0;
      await fsp.stat('/');
      console.log(JSON.stringify([length, first, asked, Error.prepareStackTrace === mine, Error.stackTraceLimit]));`;
    expect(await told(source)).toEqual([0, true, 0, true, 0]);
  });

  it('is ours although the program has names with # and a resolver of its own', async () => {
    const own = join(directory, 'own.cjs');
    writeFileSync(own, 'module.exports = { mine: true, part: "mine" };');
    const program = join(directory, 'aliases.cjs');
    writeFileSync(
      program,
      `const Module = require('node:module');
       const resolve = Module._resolveFilename;
       Module._resolveFilename = function (name, ...rest) {
         return resolve.call(this, name.startsWith('#') ? ${JSON.stringify(own)} : name, ...rest);
       };
       const { mine } = require('#fs');
       require('fs').readFile('/dev/null', (error, data) => console.log(mine, error, data.length));`,
    );
    const { stdout, stderr } = await runCommand([process.execPath, ...HOOK, program], {
      env: { OURO_ADAPTERS: 'fs', OURO_ADAPTERS_STATS: '1' },
    });
    expect(stdout).toBe('true null 0\n');
    expect(stderr).toMatch(/^fs\.readFile +1 +0$/m);
  });

  it('of a binding that somebody mocks goes through the mock, step by step', async () => {
    const source = `
      import fs from 'node:fs';
      const binding = process.binding('fs');
      const { read } = binding;
      let reads = 0;
      binding.read = function (...args) { reads++; return read.apply(this, args); };
      await new Promise((done) => fs.readFile('/proc/self/stat', done));
      console.log(reads > 0);`;
    expect(await told(source)).toBe(true);
  });
});

describe('a part that cannot be had at once', () => {
  it('is loaded beside the program, whose calls are Node\u2019s until then', async () => {
    const source = `
      import fsp from 'node:fs/promises';
      import { setTimeout } from 'node:timers/promises';
      const { stats } = await import('@ouro/adapters');
      const isDirectory = (await fsp.stat('/')).isDirectory();
      while (stats().fs?.stat === undefined) { await setTimeout(1); await fsp.stat('/'); }
      console.log(isDirectory);`;
    const flags = ['--no-experimental-require-module', ...HOOK];
    expect(await told(source, { flags })).toBe(true);
  });

  it('does no harm to a program that is importing our packages at that moment', async () => {
    const source = (delay: number) => `
      import fsp from 'node:fs/promises';
      import net from 'node:net';
      import { setTimeout } from 'node:timers/promises';
      const packages = Promise.all([import('@ouro/fs'), import('@ouro/net')]);
      await setTimeout(${delay});
      const stat = await fsp.stat('/');
      await new Promise((done) => { const server = net.createServer().listen(0, () => server.close(done)); });
      const [{ readFile }, { TcpListener }] = await packages;
      console.log(JSON.stringify([stat.isDirectory(), typeof readFile, typeof TcpListener]));`;
    for (const delay of [0, 1, 2, 4, 8, 16]) {
      const result = await told(source(delay), { env: { OURO_ADAPTERS: 'fs,net' } });
      expect(result).toEqual([true, 'function', 'function']);
    }
  });
});
