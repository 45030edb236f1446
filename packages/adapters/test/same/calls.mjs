// Calls of node:fs and node:fs/promises whose results, errors and callbacks are to be the same with the hook and without. Prints all
// that they come to, as JSON, without what is another thing each time.
import fs from 'node:fs';
import fsp from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { inspect, promisify } from 'node:util';

const directory = process.argv[2];
process.chdir(directory);
const seen = [];

const shown = (value) =>
  inspect(value, { depth: 4, breakLength: Number.POSITIVE_INFINITY, maxArrayLength: 20, sorted: false });

function ofError(error) {
  const { name, message, code, errno, syscall, path, dest } = error;
  return { name, message, code, errno, syscall, path, dest, keys: Object.keys(error) };
}

/** What a value is, without inode numbers and times. */
function ofValue(value) {
  if (value instanceof fs.Stats || value?.constructor?.name === 'BigIntStats') {
    const { mode, size, nlink, uid, gid } = value;
    const same = fs.statSync('text', { bigint: typeof mode === 'bigint' });
    const times = [
      'atimeMs',
      'mtimeMs',
      'ctimeMs',
      'birthtimeMs',
      'ino',
      'dev',
      'mtimeNs',
      'birthtimeNs',
      'blocks',
      'blksize',
      'rdev',
    ];
    const alike =
      value.ino !== same.ino || times.every((name) => name.startsWith('atime') || value[name] === same[name]);
    const kinds = [
      value.isFile(),
      value.isDirectory(),
      value.isSymbolicLink(),
      value.isFIFO(),
      value.isCharacterDevice(),
    ];
    const dates = [value.mtime instanceof Date, Number.isFinite(value.birthtime.getTime())];
    return {
      class: value.constructor.name,
      mode,
      size,
      nlink,
      uid,
      gid,
      alike,
      kinds,
      dates,
      keys: Object.keys(value),
    };
  }
  return value;
}

async function call(label, run) {
  let result;
  try {
    result = { value: shown(ofValue(await run())) };
  } catch (error) {
    const stack = error.stack.split('\n')[0];
    result = { error: shown(ofError(error)), stack };
  }
  seen.push({ label, ...result });
}

/** A function with a callback: also how it is called back. */
function back(label, fn, ...args) {
  return new Promise((done) => {
    const callback = (...given) => {
      const [error, ...values] = given;
      const told =
        error instanceof Error
          ? {
              error: shown(ofError(error)),
              stack: error.errno === undefined ? error.stack.split('\n')[0] : error.stack,
            }
          : { error: shown(error) };
      seen.push({
        label,
        count: given.length,
        ...told,
        values: shown(values.map(ofValue)),
      });
      done();
    };
    try {
      fn(...args, callback);
    } catch (error) {
      seen.push({ label, thrown: shown(ofError(error)), stack: error.stack.split('\n')[0] });
      done();
    }
  });
}

fs.writeFileSync('text', 'first line\nsecond line: äöü\n');
fs.writeFileSync('empty', '');
fs.writeFileSync('long', Buffer.alloc(300_000, 'long'));
fs.mkdirSync('folder');
fs.symlinkSync('text', 'link');
fs.symlinkSync('nowhere', 'dangling');
fs.writeFileSync(Buffer.from('odd-\xff\xfe', 'latin1'), 'odd');

const PATHS = {
  text: 'text',
  empty: 'empty',
  long: 'long',
  folder: 'folder',
  link: 'link',
  dangling: 'dangling',
  missing: 'missing',
  'below a file': 'text/below',
  buffer: Buffer.from('text'),
  odd: Buffer.from('odd-\xff\xfe', 'latin1'),
  url: pathToFileURL(`${directory}/text`),
  'other url': new URL('http://example.org/text'),
  proc: '/proc/version',
  null: 'te\0xt',
  nothing: '',
  'too long': 'x'.repeat(5000),
  number: 5.5,
  undefined: undefined,
  object: {},
};

for (const [label, path] of Object.entries(PATHS)) {
  await call(`fsp.readFile ${label}`, () => fsp.readFile(path));
  await call(`fsp.readFile utf8 ${label}`, () => fsp.readFile(path, 'utf8'));
  await call(`fsp.stat ${label}`, () => fsp.stat(path));
  await call(`fsp.lstat ${label}`, () => fsp.lstat(path, { bigint: true }));
  await call(`fsp.access ${label}`, () => fsp.access(path));
  await call(`fsp.access W ${label}`, () => fsp.access(path, fs.constants.W_OK));
  await call(`fsp.readlink ${label}`, () => fsp.readlink(path));
  await call(`fsp.realpath ${label}`, () => fsp.realpath(path));
  await back(`fs.readFile ${label}`, fs.readFile, path);
  await back(`fs.readFile latin1 ${label}`, fs.readFile, path, { encoding: 'latin1' });
  await back(`fs.stat ${label}`, fs.stat, path);
  await back(`fs.lstat ${label}`, fs.lstat, path, { bigint: true });
  await back(`fs.access ${label}`, fs.access, path);
  await back(`fs.readlink ${label}`, fs.readlink, path, 'buffer');
  await back(`fs.realpath.native ${label}`, fs.realpath.native, path, 'hex');
  await back(`fs.realpath ${label}`, fs.realpath, path);
  await new Promise((done) => {
    try {
      fs.exists(path, (there) => done(seen.push({ label: `fs.exists ${label}`, there })));
    } catch (error) {
      done(seen.push({ label: `fs.exists ${label}`, thrown: shown(ofError(error)) }));
    }
  });
  await call(`fsp.open ${label}`, async () => {
    const handle = await fsp.open(path);
    const { fd } = handle;
    const result = [
      typeof fd,
      handle.constructor.name,
      shown(await handle.read({ buffer: Buffer.alloc(8) }).catch(ofError)),
    ];
    await handle.close();
    return [...result, handle.fd];
  });
}

const OPTIONS = [
  undefined,
  null,
  'utf8',
  'hex',
  'base64url',
  'buffer',
  'nonsense',
  5,
  {},
  { encoding: 'ucs2' },
  { encoding: 'no' },
  { flag: 'r+' },
  { flag: 'wx' },
  { flag: 'nonsense' },
  { signal: AbortSignal.abort('why') },
  { signal: {} },
  { encoding: null },
  [],
];
for (const [i, options] of OPTIONS.entries()) {
  await call(`fsp.readFile options ${i}`, () => fsp.readFile('text', options));
  await back(`fs.readFile options ${i}`, fs.readFile, 'text', options);
  await call(`fsp.writeFile options ${i}`, () => fsp.writeFile(`written${i}`, 'c0ffee', options));
  await back(`fs.writeFile options ${i}`, fs.writeFile, `written${i}`, 'c0ffee', options);
  if (fs.existsSync(`written${i}`))
    seen.push([i, fs.readFileSync(`written${i}`, 'latin1'), fs.statSync(`written${i}`).mode]);
}

const DATA = {
  text: 'some text',
  bytes: Buffer.from('bytes'),
  floats: new Float64Array([1, 2]),
  view: new DataView(new ArrayBuffer(3)),
  none: '',
  long: 'x'.repeat(100_000),
  number: 5,
  nothing: null,
  object: { toString: () => 'x' },
  lines: ['a', 'b'],
  buffer: new ArrayBuffer(3),
};
for (const [label, data] of Object.entries(DATA)) {
  for (const target of ['target', 'target', 'folder', 'missing/target', '/dev/null']) {
    await call(`fsp.writeFile ${label} to ${target}`, () => fsp.writeFile(target, data));
    await back(`fs.writeFile ${label} to ${target}`, fs.writeFile, target, data);
    await call(`fsp.appendFile ${label} to ${target}`, () => fsp.appendFile(target, data));
    if (fs.existsSync('target')) seen.push(fs.readFileSync('target', 'latin1').length);
  }
  fs.rmSync('target', { force: true });
}
await call('mode', async () => {
  await fsp.writeFile('moded', 'x', { mode: 0o640 });
  return fs.statSync('moded').mode.toString(8);
});
await call('shorter over longer', async () => {
  await fsp.writeFile('text2', 'a long text');
  await fsp.writeFile('text2', 'short');
  return fs.readFileSync('text2', 'utf8');
});

const fd = fs.openSync('text', 'r+');
const bad = fs.openSync('text');
fs.closeSync(bad);
const buffer = Buffer.alloc(10);
for (const [i, args] of [
  [fd, buffer, 0, 10, 0],
  [fd, buffer, 2, 5, 3],
  [fd, buffer, 0, 10, null],
  [fd, buffer, 0, 10, -1],
  [fd, buffer, 0, 10, 3n],
  [fd, buffer],
  [fd, { buffer, position: 1 }],
  [fd],
  [fd, buffer, { length: 3 }],
  [fd, buffer, 0, 0, 0],
  [fd, buffer, 0, 20, 0],
  [fd, buffer, 5, 10, 0],
  [fd, Buffer.alloc(0), 0, 1, 0],
  [fd, 'text'],
  [fd, buffer, 0, 10, 1000],
  [fd, buffer, 0, 10, -2],
  [fd, buffer, 0, 10, 2 ** 60],
  [bad, buffer, 0, 10, 0],
  [-1, buffer, 0, 10, 0],
  ['x', buffer, 0, 10, 0],
  [fd, new Uint16Array(4), 0, 8, 0],
  [fd, buffer, 0.5, 1, 0],
].entries()) {
  buffer.fill(0);
  await back(`fs.read ${i}`, fs.read, ...args);
}
for (const [i, args] of [
  [fd, 'text', 0],
  [fd, 'text', 0, 'latin1'],
  [fd, 'text', 0, 'nonsense'],
  [fd, 'abc', 0, 'hex'],
  [fd, 'text'],
  [fd, buffer, 0, 3, 0],
  [fd, buffer, 1],
  [fd, buffer, 0, 20],
  [fd, buffer, 0, 3, -1],
  [fd, buffer, 0, 3, 'x'],
  [fd, Buffer.alloc(0)],
  [fd, ''],
  [fd, {}],
  [bad, 'text'],
  [fd, buffer, { position: 5, length: 2 }],
  [2.5, 'x'],
  [fd, new DataView(new ArrayBuffer(3)), 1, 2, 0],
].entries()) {
  await back(`fs.write ${i}`, fs.write, ...args);
}
for (const [i, args] of [
  [fd, [buffer, Buffer.from('x')], 0],
  [fd, []],
  [fd, [buffer]],
  [fd, 'x'],
  [bad, [buffer]],
  [fd, [1]],
].entries()) {
  await back(`fs.writev ${i}`, fs.writev, ...args);
  await back(`fs.readv ${i}`, fs.readv, ...args);
}
for (const name of ['fstat', 'fsync', 'fdatasync']) {
  await back(`fs.${name}`, fs[name], fd);
  await back(`fs.${name} bad`, fs[name], bad);
  await back(`fs.${name} text`, fs[name], 'x');
}
seen.push(fs.readFileSync('text', 'latin1'));
await back('fs.close', fs.close, fd);
await back('fs.close again', fs.close, fd);
await back('fs.close text', fs.close, 'x');
for (const args of [
  ['text'],
  ['text', 'r+'],
  ['missing'],
  ['new', 'wx'],
  ['new', 'wx'],
  ['folder', 'w'],
  ['text', 'nonsense'],
  ['new2', 'w', 0o600],
  ['new3', 'w', 'no'],
]) {
  await new Promise((done) => {
    try {
      fs.open(...args, (error, opened) => {
        seen.push({ open: shown(args), error: error && shown(ofError(error)), type: typeof opened });
        if (error) done();
        else fs.close(opened, done);
      });
    } catch (error) {
      done(seen.push({ open: shown(args), thrown: shown(ofError(error)) }));
    }
  });
}
await call('promisified read', async () => {
  const opened = await promisify(fs.open)('text');
  const result = await promisify(fs.read)(opened, Buffer.alloc(4), 0, 4, 0);
  await promisify(fs.close)(opened);
  return result;
});
await call('promisified exists', () => promisify(fs.exists)('text'));
await call('a handle', async () => {
  const handle = await fsp.open('handled', 'w+');
  const results = [
    await handle.write('hello '),
    await handle.write(Buffer.from('world'), 0, 5),
    await handle.writev([Buffer.from('!'), Buffer.from('\n')]),
    await handle.appendFile('more\n'),
    (await handle.stat()).size,
    await handle.sync(),
    await handle.datasync(),
    await handle.truncate(15),
    await handle.read(Buffer.alloc(20), 0, 20, 0),
    await handle.readv([Buffer.alloc(3), Buffer.alloc(3)], 0),
    await handle.write('x', -1).catch(ofError),
    await handle.read(Buffer.alloc(2), 0, 5).catch(ofError),
  ];
  const lines = [];
  for await (const line of handle.readLines({ start: 0 })) lines.push(line);
  const closed = [
    await handle.close(),
    await handle.close(),
    await handle.read(Buffer.alloc(1)).catch(ofError),
  ];
  return [results, lines, closed];
});
await call('streams', async () => {
  const { pipeline } = await import('node:stream/promises');
  await pipeline(fs.createReadStream('long', { start: 5, end: 200_004 }), fs.createWriteStream('copied'));
  const chunks = [];
  for await (const chunk of fs.createReadStream('copied', { highWaterMark: 100_000, encoding: 'latin1' }))
    chunks.push(chunk.length);
  const failed = await new Promise((done) =>
    fs.createReadStream('missing').on('error', (error) => done(ofError(error))),
  );
  return [chunks, failed, fs.readFileSync('copied').equals(fs.readFileSync('long').subarray(5, 200_005))];
});
process.stdout.write(JSON.stringify(seen));
