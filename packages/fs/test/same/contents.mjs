// Calls that read and write what is in files and directories.
import { constants, statSync } from 'node:fs';
import { encodings } from './paths.mjs';
import { digest } from './trees.mjs';

const FLAGS = [
  'r',
  'r+',
  'rs+',
  'w',
  'w+',
  'wx',
  'wx+',
  'a',
  'a+',
  'ax',
  'as',
  constants.O_RDWR | constants.O_CREAT,
  constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL,
  constants.O_WRONLY | constants.O_TRUNC,
  constants.O_RDONLY | constants.O_DIRECTORY,
  constants.O_RDWR | constants.O_NOFOLLOW,
];
const SIZES = [1, 10, 4096, 5000, 70_000, 131_073];
/** Positions beyond 4 GiB as well: what is left there is cut off at the end. */
const POSITIONS = [null, null, null, undefined, 0, 1, 4095, 4096n, 100_000, 2 ** 32 + 5, 5n << 30n];
const MOST_LEFT = 500_000;

/** Node takes bigints for the current position. */
const number = (at) => (typeof at === 'bigint' ? Number(at) : at);

/** One step on an open file: how it is chosen, and what it is on each side. */
function stepsOf({ below, pick }) {
  const bytes = () => Buffer.alloc(pick(SIZES), `${below(1000)} `);
  const position = () => pick(POSITIONS);
  const several = (make) => Array.from({ length: 1 + below(4) }, make);
  return {
    read: {
      args: () => [pick([0, ...SIZES]), position()],
      ouro: async (file, length, at) => {
        const buffer = Buffer.alloc(length);
        return [await file.read(buffer, at), digest(buffer)];
      },
      node: async (file, length, at) => {
        const buffer = Buffer.alloc(length);
        return [(await file.read(buffer, 0, length, number(at))).bytesRead, digest(buffer)];
      },
    },
    readv: {
      args: () => [several(() => pick(SIZES)), position()],
      ouro: async (file, lengths, at) => {
        const buffers = lengths.map((length) => Buffer.alloc(length));
        return [await file.readv(buffers, at), digest(Buffer.concat(buffers))];
      },
      node: async (file, lengths, at) => {
        const buffers = lengths.map((length) => Buffer.alloc(length));
        const { bytesRead } = await file.readv(buffers, number(at));
        return [bytesRead, digest(Buffer.concat(buffers))];
      },
    },
    write: {
      args: () => [pick([bytes(), 'ünï€ text', new Uint16Array(pick(SIZES)).fill(0x4142)]), position()],
      ouro: async (file, data, at) => file.write(data, at),
      node: async (file, data, at) => {
        const { bytesWritten } = await (typeof data === 'string'
          ? file.write(data, number(at))
          : file.write(data, 0, data.byteLength, number(at)));
        return bytesWritten;
      },
    },
    writev: {
      args: () => [several(bytes), position()],
      ouro: async (file, buffers, at) => file.writev(buffers, at),
      node: async (file, buffers, at) => (await file.writev(buffers, number(at))).bytesWritten,
    },
    truncate: both(
      () => [pick([undefined, 0, 5, 4096, 200_000])],
      (file, length) => file.truncate(length),
    ),
    size: both(
      () => [],
      async (file) => {
        const about = await file.stat();
        return about.isFile() ? about.size : about.mode;
      },
    ),
    sync: both(
      () => [],
      (file) => file.sync(),
    ),
    datasync: both(
      () => [],
      (file) => file.datasync(),
    ),
    writeFile: both(
      () => [pick([bytes(), 'text', ['pieces ', 'of it']])],
      (file, data) => file.writeFile(data),
    ),
  };
}

function both(args, run) {
  return { args, ouro: async (...given) => run(...given), node: async (...given) => run(...given) };
}

/** What one step has come to. */
async function outcome(step) {
  try {
    return await step();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { code: error.code, syscall: error.syscall };
  }
}

/** As `pathCalls`. */
export function contentCalls(chance, { name, one, within }) {
  const { below, pick, random, value } = chance;
  const steps = stepsOf(chance);
  const data = () => {
    const size = pick([0, ...SIZES]);
    return pick([
      Buffer.alloc(size, `${below(1000)} `),
      'ünï€'.repeat(below(50)),
      new Uint16Array(size).fill(0x4142),
      new DataView(new ArrayBuffer(size)),
      ['some ', 'pieces'],
    ]);
  };
  const how = () =>
    pick([
      undefined,
      undefined,
      null,
      'latin1',
      { mode: value([0o600, '640']) },
      {
        flag: value(['w', 'wx', 'a', 'ax', 'r+', 'r', 'w+', 'as']),
        encoding: pick(['utf8', 'utf16le', null]),
      },
    ]);
  const write = (what) => ({
    args: () => [name(), data(), how()],
    run: async ({ api }, ...given) => api[what](...given),
  });
  return {
    readFile: {
      args: () => {
        const beyond = pick(['/proc/version', '/proc/self', '/proc/self/fd/999', '/proc/none', '/']);
        const path = random() < 0.1 ? () => beyond : name();
        return [path, pick([...encodings, { flag: 'r+' }, { flag: 'rs', encoding: 'utf16le' }])];
      },
      run: async ({ api }, ...given) => {
        const content = await api.readFile(...given);
        return [typeof content, digest(Buffer.from(content))];
      },
    },
    writeFile: write('writeFile'),
    appendFile: write('appendFile'),
    copyFile: {
      args: () => [
        one(),
        one(),
        pick([undefined, 0, constants.COPYFILE_EXCL, constants.COPYFILE_FICLONE, 8, 'x']),
      ],
      // Node looks at the target before it finds that the source is a directory, and removes it then, as it was.
      run: async ({ api }, from, ...given) =>
        statSync(from, { throwIfNoEntry: false })?.isDirectory()
          ? 'a directory'
          : api.copyFile(from, ...given),
    },
    readdir: {
      args: () => [
        name(),
        // Node follows links where it reads recursively, and knows no names there that are not UTF-8.
        pick([
          undefined,
          'latin1',
          'buffer',
          { withFileTypes: true },
          { withFileTypes: true, recursive: true },
        ]),
      ],
      run: async ({ api, tree }, ...given) => {
        const entries = await api.readdir(...given);
        return entries
          .map((entry) =>
            typeof entry === 'string' || Buffer.isBuffer(entry)
              ? entry.toString('latin1')
              : [String(entry.parentPath).replaceAll(tree, ''), entry.name, kindOf(entry)].join(' '),
          )
          .sort();
      },
    },
    opendir: {
      args: () => [name()],
      run: async ({ api }, path) => {
        const names = [];
        const dir = await api.opendir(path);
        for (let entry = await dir.read(); entry !== null; entry = await dir.read()) {
          names.push(`${entry.name} ${kindOf(entry)}`);
        }
        await dir.close();
        return names.sort();
      },
    },
    mkdtemp: {
      args: () => [within(pick(['t-', 'dir/t-', 'none/t-', 'a/t-', 'ro/t-', `${'x'.repeat(250)}`]))],
      run: async ({ api, tree, remove }, prefix) => {
        const made = await api.mkdtemp(prefix);
        const path = String(made?.path ?? made);
        remove(path);
        return path.replaceAll(tree, '').slice(0, -6);
      },
    },
    rm: {
      args: () => [
        within(
          pick(['c', 'dir/c', 'dir/sub', 'd', 'p', 'none', 'a/x', 'ro/a', 'ro/dir', 'linkdir', 'dangling']),
        ),
        pick([undefined, {}, { recursive: true }, { force: true }, { recursive: true, force: true }]),
      ],
      run: async ({ api }, ...given) => api.rm(...given),
    },
    file: {
      args: () => {
        const program = Array.from({ length: 1 + below(8) }, () => {
          const what = pick(Object.keys(steps));
          return [what, ...steps[what].args()];
        });
        return [name(), pick(FLAGS), program, pick([undefined, 0o600, '644'])];
      },
      run: async ({ open, isOurs }, path, flags, program, mode) => {
        const file = await open(path, flags, mode);
        const found = [];
        try {
          for (const [what, ...given] of program) {
            found.push(await outcome(() => steps[what][isOurs ? 'ouro' : 'node'](file, ...given)));
          }
          // All of it, from where it stands.
          const about = await file.stat();
          if (about.size > MOST_LEFT) found.push(await outcome(() => file.truncate(MOST_LEFT)));
          found.push(await outcome(async () => digest(await file.readFile())));
        } finally {
          await file.close();
        }
        return { found };
      },
    },
  };
}

const kindOf = (entry) =>
  ['isFile', 'isDirectory', 'isSymbolicLink', 'isFIFO', 'isSocket'].find((kind) => entry[kind]());
