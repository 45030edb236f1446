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
  'node:net': {
    Server: 'listened(new net.Server())',
    Socket: "ended(new net.Socket().connect(port, '127.0.0.1'))",
    Stream: "ended(new net.Stream().connect(port, '127.0.0.1'))",
    connect: "ended(net.connect(port, '127.0.0.1'))",
    createConnection: "ended(net.createConnection({ port, host: '127.0.0.1' }))",
    createServer: 'listened(net.createServer())',
  },
  'node:http': {
    Agent: 'answered(http.request(url, { agent: new http.Agent() }))',
    ClientRequest: 'answered(new http.ClientRequest(url))',
    Server: 'listened(new http.Server())',
    WebSocket: `new Promise((done) => Object.assign(new http.WebSocket('ws://' + host), { onerror: done, onclose: done }))`,
    createServer: 'listened(http.createServer())',
    get: 'answered(http.get(url))',
    globalAgent: 'answered(http.request(url, { agent: http.globalAgent }))',
    request: 'answered(http.request(url))',
  },
  'node:dgram': {
    Socket: "bound(new dgram.Socket('udp4'))",
    createSocket: "bound(dgram.createSocket('udp4'))",
  },
};

/** Which part of the hook serves a module, and what its calls need. */
const NEEDS: Readonly<Record<string, { readonly face: string; readonly before: string }>> = {
  'node:net': {
    face: 'net',
    before: `import net from 'node:net';
      const server = net.createServer((socket) => socket.end()).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address();
      const ended = (socket) => once(socket.resume(), 'close');
      const listened = (made) => once(made.listen(0, '127.0.0.1'), 'listening');`,
  },
  'node:http': {
    face: 'http',
    before: `import http from 'node:http';
      const server = http.createServer((_, answer) => answer.end('text')).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const host = '127.0.0.1:' + server.address().port;
      const url = 'http://' + host;
      const answered = async (request) => {
        const [answer] = await once(request.end(), 'response');
        await once(answer.resume(), 'end');
      };
      const listened = (made) => once(made.listen(0, '127.0.0.1'), 'listening');`,
  },
  'node:dgram': {
    face: 'dgram',
    before: `import dgram from 'node:dgram';
      const bound = (socket) => once(socket.bind(0, '127.0.0.1'), 'listening');`,
  },
};
const OF_FILES = {
  face: 'fs',
  before: `const text = ${JSON.stringify(text)};
      const fd = fs.openSync(text, 'r+');
      const handle = await fsp.open(text, 'r+');`,
};

const [major] = process.versions.node.split('.').map(Number);
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
    async ({ module, served, exports }) => {
      const calls = CALLS[module];
      expect(Object.keys(calls).sort()).toEqual(Object.keys(served).sort());
      const { face, before } = NEEDS[module] ?? OF_FILES;
      const here = Object.entries(calls).filter(([name]) => exports[name]?.includes(major));
      const source = `${PRELUDE}
      import { once } from 'node:events';
      ${before}
      const count = () => Object.values(stats()).flatMap(Object.values).reduce((sum, { ours }) => sum + ours, 0);
      const idle = [];
      for (const [name, call] of Object.entries({ ${here
        .map(([name, call]) => `${name}: () => ${call}`)
        .join(',\n')} })) {
        const before = count();
        await call();
        if (count() === before) idle.push(name);
      }
      tell(idle);
      process.exit();`;
      expect(await told(source, { env: { OURO_ADAPTERS: face } })).toEqual([]);
    },
  );
});
