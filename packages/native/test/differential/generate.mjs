/**
 * Writes programs. What a program does is to follow from the program alone, so within a round no two chains touch the
 * same thing, and nobody waits for bytes for which somebody else waits already.
 */
import * as abi from '@ouro/native/abi';
import { Random } from './random.mjs';

const MSG_OOB = 1;
const CURRENT = -1;
const SIZES = [0, 1, 2, 63, 64, 65, 100, 127, 255, 256, 257, 511, 1000, 4095, 4096, 4097, 8191, 8192, 10_000];
const EVEN_SIZES = [0, 64, 128, 192, 256, 320, 512, 1024, 4096, 8192, 9984];
const OFFSETS = [0, 1, 63, 100, 4095, 4096, 9_990, 9_999, 10_000, 10_001, 12_288, 20_000];
const NAMES = ['a', 'b', 'c', 'e', 's', 's/x', 's/y', 'ln', 'new1', 'new2', 'nodir/x', 'a/x', ''];
const NEW = ['new1', 'new2', 's/y', 'new3'];
const FILES = ['f0', 'f1', 'f2', 'f3'];
const ALL_FILES = [...FILES, 'tree'];
const ENDS = { p0: ['p0w', 'p0r'], p1: ['p1w', 'p1r'] };
const { POLLIN, POLLOUT, POLLRDHUP } = abi;

const waitsFirst = ({ op, ioprio = 0 }) =>
  /SEND|RECV/.test(op) && (ioprio & abi.IORING_RECVSEND_POLL_FIRST) !== 0;

/** One program in the making. */
class Writer {
  constructor(seed) {
    this.random = new Random(seed);
    this.nextId = 1;
    this.rounds = [];
    this.uses = new Set();
    /** Ops that may still wait, from earlier rounds. */
    this.waiting = [];
    /** By channel: whether somebody waits for bytes, and how many may lie there. */
    this.channels = new Map();
    /** Things that a thread of the kernel may move bytes between, some time. */
    this.tied = [];
    this.claimed = new Set();
    this.opened = [];
  }

  program(seed) {
    const { random } = this;
    const themes = [
      [3, ['files']],
      [2, ['paths', 'files']],
      [3, ['streams']],
      [2, ['pipes']],
      [2, ['time', 'polls', 'streams']],
      [2, ['streams', 'pipes', 'polls', 'time']],
      [2, ['rings', 'streams']],
      [2, ['descriptors', 'files', 'streams', 'paths']],
      [1, ['odd', 'files', 'streams', 'time']],
      [2, ['files', 'paths', 'streams', 'pipes', 'polls', 'time', 'rings', 'descriptors', 'odd', 'accepts']],
      [1, ['accepts', 'streams', 'polls']],
    ];
    this.families = random.weighted(themes);
    /** With bundles the kernel leaves one byte in the socket, or not, as its caches are: nothing is to be odd. */
    this.even = this.families.includes('rings') && random.chance(0.3);
    const socket = random.pick(['u0', 't0', 'g0', 'u0', 't0']);
    const direct = random.chance(0.4);
    if (this.families.some((name) => ['streams', 'polls', 'rings', 'descriptors', 'odd'].includes(name))) {
      this.uses.add(socket);
      if (random.chance(0.2)) this.uses.add(random.pick(['u0', 't0', 'g0']));
    }
    if (this.families.includes('accepts')) this.uses.add('t0');
    if (this.families.some((name) => ['pipes', 'polls', 'rings', 'odd'].includes(name))) {
      this.uses.add('p0');
      if (random.chance(0.6)) this.uses.add('p1');
    }
    if (direct) this.uses.add('x');
    const rounds = 1 + random.below(7);
    for (let i = 0; i < rounds; i++) this.rounds.push(this.round());
    return {
      seed,
      place: random.chance(0.5) ? 'memory' : 'disk',
      owned: random.chance(0.5),
      uses: [...this.uses],
      rounds: this.rounds.filter((round) => round.length > 0),
    };
  }

  round() {
    const { random } = this;
    this.touched = new Set();
    this.fresh = [];
    this.freshOpened = [];
    const chains = [];
    const count = random.weighted([
      [5, 1],
      [3, 2],
      [2, 4],
    ]);
    for (let i = 0; i < count; i++) {
      const chain = this.chain();
      if (chain.length > 0) chains.push(chain);
    }
    this.waiting.push(...this.fresh);
    this.opened.push(...this.freshOpened);
    return chains;
  }

  chain() {
    const { random } = this;
    const length = random.weighted([
      [6, 1],
      [3, 2],
      [2, 3],
      [1, 5],
    ]);
    const mine = new Set();
    const family = random.pick(this.families);
    const chain = [];
    const others = this.touched;
    for (let i = 0; i < length; i++) {
      this.isFirst = chain.length === 0;
      const channels = structuredClone(this.channels);
      const before = new Set(mine);
      const op = this.op(random.chance(0.8) ? family : random.pick(this.families), length > 1, mine);
      const keys = op === null ? [] : this.keysOf(op);
      const taken = keys.some((key) => others.has(key) || this.claimed.has(key));
      if (op === null || taken || !this.isOrdered(op, keys, chain, before)) {
        // As if it had never been thought of.
        this.channels = channels;
        for (const key of mine) if (!before.has(key)) mine.delete(key);
        continue;
      }
      op.keys = keys;
      if (waitsFirst(op) && this.fresh.some(({ sqe = 0 }) => (sqe & abi.IOSQE_ASYNC) !== 0)) {
        op.ioprio &= ~abi.IORING_RECVSEND_POLL_FIRST;
      }
      // One that waits for bytes remembers how much room there was in the buffer that it has seen.
      if (op.group === 'inc' && this.mayWait(op)) this.claimed.add('inc');
      for (const key of keys) mine.add(key);
      op.id = this.nextId++;
      // (At the end of a program all that waits is cancelled: nothing is to go on from there.)
      if (random.chance(0.15) && !this.mayWait(op)) op.hard = true;
      if (
        random.chance(0.06) &&
        chain.at(-1)?.op !== 'CLOSE' &&
        !this.mayWait(op) &&
        op.op !== 'LINK_TIMEOUT' &&
        op.op !== 'GIVE' &&
        this.mayGoElsewhere(op) &&
        // (Who waits first does so for a moment: which of the two is first then?)
        ![...this.fresh, op].some(waitsFirst) &&
        // (Whom it wakes from a thread is not in time for the buffers that others take in the meantime.)
        ![...this.waiting, ...this.fresh].some((each) => each.group !== undefined && this.mayWait(each))
      ) {
        op.sqe = (op.sqe ?? 0) | abi.IOSQE_ASYNC;
      }
      chain.push(op);
      this.fresh.push(op);
      if (op.opens) this.freshOpened.push({ name: `n${op.id}`, kind: op.opens });
      if (random.chance(0.08)) {
        const slow = this.mayWait(op) && !/SPLICE|TEE/.test(op.op);
        chain.push(
          this.id({
            op: 'LINK_TIMEOUT',
            len: random.chance(0.95) ? 1 : 0,
            addr: { k: 'time', us: slow && random.chance(0.5) ? 1000 : 100_000_000 },
          }),
        );
      }
    }
    for (const key of mine) others.add(key);
    // What is linked behind one that waits comes some time, with whatever else is going on then.
    if (chain.slice(0, -1).some((op) => this.mayWait(op)))
      this.tied.push([...mine].filter((key) => !/ /.test(key)));
    return chain;
  }

  /** What an op touches: that of the op it is about, too. */
  keysOf({ op, keys = [], target = 0, addr, opens, file }) {
    const all = addr?.index === undefined ? [...keys] : [...keys, `buffer ${addr.index}`];
    // (The poll engine has a number for a direct descriptor: that of what has been closed, perhaps.)
    if (op === 'CLOSE' || (opens !== undefined && file !== undefined)) all.push('numbers');
    if (target === 0) return all;
    const about = this.waiting.find(({ id }) => id === target);
    return [...all, `op ${target}`, ...(about?.keys ?? [])];
  }

  /** Whether it is certain what comes first, where ops of one chain meet threads of the kernel, or late closes. */
  isOrdered(op, keys, chain, mine) {
    const taken = (key) => mine.has(key) || this.touched.has(key);
    if (this.tied.some((tied) => keys.some((key) => tied.includes(key)) && tied.some(taken))) return false;
    const tail = chain.at(-1);
    const closed = chain.findLast(({ op }) => op === 'CLOSE');
    if (closed?.keys.some((key) => keys.includes(key))) {
      if (chain.length > 1 || tail !== closed || closed.sqe || /SPLICE|TEE|SHUTDOWN/.test(op.op) || op.ioprio)
        return false;
    }
    // Waits on a thread, perhaps, until somebody writes.
    if (/SPLICE|TEE/.test(op.op)) this.tied.push(keys);
    return true;
  }

  id(op) {
    return { ...op, id: this.nextId++ };
  }

  /** On a thread of the kernel multishot ops, bundles and those that must not wait behave in other ways. */
  mayGoElsewhere({ ioprio = 0, flags = 0, sqe = 0, op }) {
    if ((sqe & abi.IOSQE_BUFFER_SELECT) !== 0 || /ACCEPT|POLL|TIMEOUT|CANCEL/.test(op)) return false;
    return ioprio === 0 && (!/SEND|RECV/.test(op) || (flags & (abi.MSG_DONTWAIT | abi.MSG_WAITALL)) === 0);
  }

  mayWait({ op, fd }) {
    return (
      /RECV|ACCEPT|POLL_ADD|READ_MULTISHOT|SPLICE|TEE/.test(op) ||
      (/^READ/.test(op) && !/^(f|d|n|x0|x1)/.test(String(fd)))
    );
  }

  op(family, linked, mine) {
    return this[family](linked, mine);
  }

  size() {
    const { random } = this;
    if (this.even) return random.pick(EVEN_SIZES);
    return random.chance(0.8) ? random.pick(SIZES) : random.below(5000);
  }

  // ---- files

  file() {
    const { random } = this;
    const files = this.opened.filter(({ kind }) => kind === 'file');
    if (files.length > 0 && random.chance(0.3)) return [random.pick(files).name, ALL_FILES];
    if (this.uses.has('x') && random.chance(0.2)) {
      const place = random.pick([0, 1]);
      return [`x${place}`, [`f${place}`]];
    }
    if (random.chance(0.03)) return ['d0', ['tree']];
    const name = random.pick(FILES);
    return [name, [name]];
  }

  offset() {
    const { random } = this;
    if (random.chance(0.25)) return CURRENT;
    if (random.chance(0.02)) return -2 - random.below(5);
    return random.chance(0.8) ? random.pick(OFFSETS) : random.below(12_000);
  }

  rwFlags() {
    const { random } = this;
    if (random.chance(0.85)) return 0;
    return random.pick([
      abi.RWF_DSYNC,
      abi.RWF_SYNC,
      abi.RWF_APPEND,
      abi.RWF_HIPRI,
      0x8000,
      abi.RWF_NOAPPEND,
    ]);
  }

  transfer(fd, keys, reads, off) {
    const { random } = this;
    const fill = random.below(200);
    const form = random.weighted([
      [5, 'plain'],
      [3, 'vector'],
      [2, 'fixed'],
      [1, 'fixed vector'],
    ]);
    const flags = this.rwFlags();
    const base = { fd, keys, off, flags };
    switch (form) {
      case 'vector': {
        const parts = Array.from({ length: random.below(5) }, () => this.size());
        const addr = reads ? { k: 'iov', parts } : { k: 'iov', parts, fills: true, fill };
        return { ...base, op: reads ? 'READV' : 'WRITEV', addr, len: parts.length };
      }
      case 'fixed': {
        const at = random.pick(this.even ? [0, 4096] : [0, 1, 4096, 8000]);
        const n = random.chance(0.9) ? Math.min(this.size(), 8192 - at) : this.size();
        const addr = { k: 'fixed', index: random.below(2), at, n, ...(!reads && { fill }) };
        const buf = random.chance(0.9) ? addr.index : random.below(6);
        return { ...base, op: reads ? 'READ_FIXED' : 'WRITE_FIXED', addr, len: n, buf };
      }
      case 'fixed vector': {
        const parts = Array.from({ length: 1 + random.below(4) }, () =>
          random.pick(this.even ? [0, 64, 512] : [0, 1, 64, 599, 600]),
        );
        const index = random.below(2);
        const addr = { k: 'iov', parts, index, at: 8, ...(!reads && { fills: true, fill }) };
        const buf = random.chance(0.95) ? index : random.below(6);
        return { ...base, op: reads ? 'READV_FIXED' : 'WRITEV_FIXED', addr, len: parts.length, buf };
      }
      default: {
        const n = this.size();
        if (n > 0 && /^[fd]/.test(fd) && random.chance(0.06)) {
          return { ...base, op: reads ? 'READ' : 'WRITE', addr: { k: 'bad' }, len: n };
        }
        const addr = reads ? { k: 'out', n } : { k: 'in', n, fill };
        return { ...base, op: reads ? 'READ' : 'WRITE', addr, len: n };
      }
    }
  }

  files() {
    const { random } = this;
    const [fd, keys] = this.file();
    switch (
      random.weighted([
        [10, 'transfer'],
        [1, 'truncate'],
        [1.5, 'allocate'],
        [1, 'sync'],
        [1, 'stat'],
        [0.5, 'advise'],
        [0.5, 'range'],
        [1, 'attribute'],
        [0.4, 'select'],
      ])
    ) {
      case 'truncate': {
        const off = random.chance(0.9) ? random.pick(OFFSETS) : -5;
        return {
          op: 'FTRUNCATE',
          fd,
          keys,
          off,
          ...(random.chance(0.05) && { len: 1 }),
          ...(random.chance(0.05) && { flags: 1 }),
        };
      }
      case 'allocate': {
        const mode = random.pick([0, 0, 1, 1 | 2, 2, 0x08, 0x10, 0x11, 0x20, 0x4000]);
        return {
          op: 'FALLOCATE',
          fd,
          keys,
          off: this.offset(),
          addr: random.pick([0, 1, 4096, 8192, 100]),
          len: mode,
        };
      }
      case 'sync':
        return {
          op: 'FSYNC',
          fd,
          keys,
          flags: random.pick([0, 1, 0, 1, 2]),
          ...(random.chance(0.1) && { off: 5, len: 10 }),
        };
      case 'stat':
        return {
          op: 'STATX',
          fd,
          keys,
          addr: { k: 'path', s: '' },
          flags: random.chance(0.9) ? abi.AT_EMPTY_PATH : 0,
          len: random.pick([abi.STATX_BASIC_STATS, abi.STATX_SIZE, abi.STATX_TYPE | abi.STATX_MODE]),
          off: { k: 'statx' },
        };
      case 'advise':
        return {
          op: 'FADVISE',
          fd,
          keys,
          off: random.pick(OFFSETS),
          len: this.size(),
          flags: random.below(8),
        };
      case 'range':
        return {
          op: 'SYNC_FILE_RANGE',
          fd,
          keys,
          off: random.pick(OFFSETS),
          len: this.size(),
          flags: random.pick([0, 1, 2, 4, 7, 8]),
        };
      case 'attribute':
        return this.attribute({ fd, keys }, '');
      case 'select': {
        const group = random.pick(['plain', 'inc']);
        return {
          op: random.pick(['READ', 'READ', 'READV', 'READ_MULTISHOT']),
          fd,
          keys: [...keys, group],
          off: random.pick([0, 100, CURRENT]),
          len: random.pick([0, 10, 64, 100]),
          sqe: abi.IOSQE_BUFFER_SELECT,
          group,
        };
      }
      default:
        return this.transfer(fd, keys, random.chance(0.5), this.offset());
    }
  }

  attribute(base, path) {
    const { random } = this;
    const name = { k: 'text', s: random.pick(['user.one', 'user.two', 'user.one', 'bad', 'user.']) };
    const prefix = path === '' ? 'F' : '';
    const where = path === '' ? {} : { addr3: { k: 'path', s: path } };
    if (random.chance(0.5)) {
      const n = random.pick([0, 1, 5, 100]);
      const value = { k: 'in', n, fill: random.below(100) };
      const flags = random.pick([0, 0, 1, 2, 4]);
      return { ...base, ...where, op: `${prefix}SETXATTR`, addr: name, off: value, len: n, flags };
    }
    const n = random.pick([0, 1, 5, 100, 200]);
    return { ...base, ...where, op: `${prefix}GETXATTR`, addr: name, off: { k: 'out', n }, len: n };
  }

  // ---- paths

  path(names = NAMES) {
    return { k: 'path', s: this.random.pick(names) };
  }

  paths() {
    const { random } = this;
    const keys = ALL_FILES;
    const fd = abi.AT_FDCWD;
    switch (
      random.weighted([
        [5, 'open'],
        [2, 'stat'],
        [2, 'rename'],
        [2, 'unlink'],
        [1, 'mkdir'],
        [1, 'symlink'],
        [1, 'link'],
        [1, 'attribute'],
        [1, 'at'],
      ])
    ) {
      case 'stat':
        return {
          op: 'STATX',
          fd: random.chance(0.95) ? fd : 12_345,
          keys,
          addr: this.path(),
          flags: random.pick([0, abi.AT_SYMLINK_NOFOLLOW, abi.AT_STATX_DONT_SYNC, 1]),
          len: random.pick([abi.STATX_BASIC_STATS, abi.STATX_SIZE, 0]),
          off: { k: 'statx' },
        };
      case 'rename':
        return {
          op: 'RENAMEAT',
          fd,
          keys,
          addr: this.path(),
          off: this.path(),
          len: fd,
          flags: random.pick([0, 0, 0, 1, 2, 3, 8]),
        };
      case 'unlink':
        return {
          op: 'UNLINKAT',
          fd,
          keys,
          addr: this.path(),
          flags: random.pick([0, 0, 0, abi.AT_REMOVEDIR, 1]),
        };
      case 'mkdir':
        return { op: 'MKDIRAT', fd, keys, addr: this.path(), len: random.pick([0o700, 0o755]) };
      case 'symlink':
        return { op: 'SYMLINKAT', fd, keys, addr: { k: 'text', s: 'a' }, off: this.path() };
      case 'link':
        return {
          op: 'LINKAT',
          fd,
          keys,
          addr: this.path(),
          off: this.path(),
          len: fd,
          flags: random.pick([0, 0, abi.AT_SYMLINK_FOLLOW, 8]),
        };
      case 'attribute':
        return this.attribute({ keys }, random.pick(['a', 'b', 's', 'new1']));
      case 'at':
        return random.pick([
          { op: 'MKDIRAT', fd: 'd0', keys, addr: { k: 'text', s: random.pick(NEW) }, len: 0o700 },
          { op: 'UNLINKAT', fd: 'd0', keys, addr: { k: 'text', s: random.pick(NAMES) } },
          {
            op: 'OPENAT',
            fd: 'd0',
            keys,
            addr: { k: 'text', s: random.pick(NAMES) },
            flags: 0,
            opens: 'file',
          },
        ]);
      default:
        return this.open(keys, fd);
    }
  }

  into() {
    const { random } = this;
    if (random.chance(0.75)) return {};
    if (random.chance(0.4)) return { file: abi.IORING_FILE_INDEX_ALLOC };
    return { file: 1 + random.pick([0, 1, 4, 5, 6, 20]) };
  }

  open(keys, fd) {
    const { random } = this;
    const O_CREAT = 0o100;
    const O_EXCL = 0o200;
    const O_TRUNC = 0o1000;
    const O_APPEND = 0o2000;
    const O_DIRECTORY = 0o200000;
    const O_PATH = 0o10000000;
    const flags =
      random.pick([0, 1, 2, 2, 3]) |
      random.pick([0, 0, O_CREAT, O_CREAT | O_EXCL, O_CREAT | O_TRUNC, O_TRUNC]) |
      random.pick([0, 0, 0, O_APPEND, O_DIRECTORY, 0o400000, 0o2000000, abi.O_TMPFILE, O_PATH]);
    const into = (flags & O_PATH) === 0 ? this.into() : {};
    const mode = (flags & (O_CREAT | 0o20000000)) !== 0 || random.chance(0.1) ? 0o640 : 0;
    const addr = this.path();
    if (random.chance(0.3)) {
      const resolve = random.pick([
        0,
        0,
        abi.RESOLVE_NO_SYMLINKS,
        abi.RESOLVE_BENEATH,
        abi.RESOLVE_CACHED,
        0x4000,
      ]);
      const how = { k: 'how', flags, mode, resolve };
      return {
        op: 'OPENAT2',
        fd,
        keys,
        addr,
        off: how,
        len: random.pick([24, 24, 24, 16]),
        ...into,
        opens: 'file',
      };
    }
    return { op: 'OPENAT', fd, keys, addr, flags, len: mode, ...into, opens: 'file' };
  }

  // ---- what has two ends

  channel(name) {
    let state = this.channels.get(name);
    if (state === undefined) {
      state = { waits: false, blocked: false, lying: 0 };
      this.channels.set(name, state);
    }
    return state;
  }

  /** A direction of one of the connections or pipes that there are: [key, sender, receiver, kind]. */
  direction(kinds = ['u0', 't0', 'g0']) {
    const { random } = this;
    const there = [...this.uses].filter((name) => kinds.includes(name));
    if (there.length === 0) return null;
    const name = random.pick(there);
    const pipe = ENDS[name];
    if (pipe !== undefined) {
      const reader = name === 'p0' && this.uses.has('x') && random.chance(0.3) ? 'x3' : pipe[1];
      return { key: `${name}>`, from: pipe[0], to: reader, kind: 'pipe' };
    }
    const back = random.chance(0.4);
    const direct = name === 'u0' && this.uses.has('x') && random.chance(0.4);
    const a = direct ? 'x2' : `${name}a`;
    return {
      key: `${name}${back ? '<' : '>'}`,
      from: back ? `${name}b` : a,
      to: back ? a : `${name}b`,
      kind: name,
      back: `${name}${back ? '>' : '<'}`,
    };
  }

  /** Notes a send in this round; false if there must not be one. `certain`: unless it is cancelled it sends something. */
  maySend(key, bytes, mine, certain = true) {
    const state = this.channel(key);
    if (state.waits && mine.has(`${key} sent`)) return false;
    if (state.blocked) return false;
    mine.add(`${key} sent`);
    state.lying += bytes;
    if (bytes > 0 && certain && this.isFirst && state.waits === 'once') state.waits = 'woken';
    if (state.lying > 50_000) state.blocked = true;
    return true;
  }

  /** Notes a receive; false if somebody waits already. */
  mayReceive(key, how, mine) {
    const state = this.channel(key);
    if (state.waits === 'woken' && !mine.has(`${key} sent`)) state.waits = false;
    if (state.waits) return false;
    if (state.blocked && mine.has(`${key} received`)) return false;
    mine.add(`${key} received`);
    state.waits = how;
    if (how === false) state.lying = Math.max(0, state.lying - 1000);
    return true;
  }

  streams(_linked, mine) {
    const { random } = this;
    const way = this.direction();
    if (way === null) return null;
    const { key, from, to, kind } = way;
    const keys = [key];
    switch (
      random.weighted([
        [7, 'send'],
        [6, 'receive'],
        [0.7, 'shutdown'],
        [0.5, 'close'],
        [0.7, 'command'],
        [1, 'cancel'],
      ])
    ) {
      case 'shutdown':
        this.channel(key).waits = this.channel(key).waits === false ? false : 'many';
        return {
          op: 'SHUTDOWN',
          fd: from,
          keys: [`${kind}>`, `${kind}<`],
          len: random.pick([0, 1, 1, 2, 5]),
        };
      case 'close':
        if (/^x/.test(from) && random.chance(0.5)) return null;
        return { op: 'CLOSE', fd: from, keys: [`${kind}>`, `${kind}<`] };
      case 'command':
        return this.command(from, [`${kind}>`, `${kind}<`]);
      case 'cancel':
        return this.cancel(to, [`${kind}>`, `${kind}<`]);
      case 'send':
        return this.send(from, key, kind, keys, mine);
      default:
        return this.receive(to, key, kind, keys, mine);
    }
  }

  sendFlags() {
    return this.random.weighted([
      [8, 0],
      [2, abi.MSG_WAITALL],
      [1, abi.MSG_DONTWAIT],
      [1, abi.MSG_NOSIGNAL],
      [0.2, MSG_OOB],
    ]);
  }

  send(fd, key, kind, keys, mine) {
    const { random } = this;
    const fill = random.below(200);
    const form = random.weighted([
      [5, 'SEND'],
      [3, 'SENDMSG'],
      [2, 'SEND_ZC'],
      [1, 'SENDMSG_ZC'],
      [2, 'WRITE'],
      [0.7, 'bundle'],
    ]);
    let flags = this.sendFlags();
    if (flags === MSG_OOB && kind === 't0') flags = 0;
    if (form === 'SENDMSG' || form === 'SENDMSG_ZC') {
      const parts = Array.from({ length: random.below(4) }, () => this.size());
      const ioprio = random.chance(0.1) ? 1 : form === 'SENDMSG_ZC' && random.chance(0.4) ? 8 : 0;
      const bytes = parts.reduce((sum, each) => sum + each, 0);
      const certain = form === 'SENDMSG' && flags !== MSG_OOB && ioprio === 0;
      if (!this.maySend(key, bytes, mine, certain)) return null;
      return { op: form, fd, keys, addr: { k: 'msg', parts, fills: true, fill }, len: 1, flags, ioprio };
    }
    if (form === 'WRITE') {
      const op = this.transfer(fd, keys, false, random.pick([0, CURRENT, 5]));
      const certain = op.op === 'WRITE' && op.len > 0 && op.off !== 5 && op.flags === 0 && op.addr.k === 'in';
      if (!this.maySend(key, op.len > 1000 ? 10_000 : 20_000, mine, certain)) return null;
      return op;
    }
    if (form === 'bundle') {
      const group = random.pick(['plain', 'inc']);
      if (!this.maySend(key, 256, mine, false)) return null;
      return {
        op: 'SEND',
        fd,
        keys: [...keys, group],
        len: 0,
        flags: 0,
        ioprio: random.pick([0, abi.IORING_RECVSEND_BUNDLE]),
        sqe: abi.IOSQE_BUFFER_SELECT,
        group,
      };
    }
    const n = random.chance(0.03) && kind === 'u0' ? 300_000 : this.size();
    if (!this.maySend(key, n, mine, false)) return null;
    if (form === 'SEND_ZC') {
      const report = random.pick([0, abi.IORING_SEND_ZC_REPORT_USAGE]);
      if (random.chance(0.3)) {
        const addr = { k: 'fixed', index: 0, at: 0, n: Math.min(n, 8192), fill };
        return {
          op: form,
          fd,
          keys,
          addr,
          len: addr.n,
          flags,
          ioprio: report | abi.IORING_RECVSEND_FIXED_BUF,
          buf: random.pick([0, 0, 0, 1, 3]),
        };
      }
      return { op: form, fd, keys, addr: { k: 'in', n, fill }, len: n, flags, ioprio: report };
    }
    const ioprio = random.weighted([
      [10, 0],
      [1, abi.IORING_RECVSEND_POLL_FIRST],
      [0.3, 0x40],
    ]);
    const addr = n > 0 && random.chance(0.02) ? { k: 'bad' } : { k: 'in', n, fill };
    return { op: form, fd, keys, addr, len: n, flags, ioprio };
  }

  receiveFlags() {
    return this.random.weighted([
      [7, 0],
      [2, abi.MSG_WAITALL],
      [2, abi.MSG_DONTWAIT],
      [1, abi.MSG_PEEK],
      [0.5, abi.MSG_PEEK | abi.MSG_DONTWAIT],
      [0.5, abi.MSG_TRUNC],
    ]);
  }

  receive(fd, key, kind, keys, mine) {
    const { random } = this;
    const flags = this.receiveFlags();
    const how = (flags & abi.MSG_DONTWAIT) !== 0 ? false : (flags & abi.MSG_WAITALL) !== 0 ? 'many' : 'once';
    const form = random.weighted([
      [6, 'RECV'],
      [3, 'RECVMSG'],
      [2, 'READ'],
      [1, 'POLL_ADD'],
    ]);
    if (!this.mayReceive(key, form === 'POLL_ADD' ? 'once' : how, mine)) return null;
    const ioprio = random.weighted([
      [10, 0],
      [1, abi.IORING_RECVSEND_POLL_FIRST],
      [0.2, 0x80],
    ]);
    switch (form) {
      case 'RECVMSG': {
        const parts = Array.from({ length: random.below(4) }, () => this.size());
        const more = { ...(random.chance(0.3) && { name: 64 }), ...(random.chance(0.2) && { control: 64 }) };
        return { op: form, fd, keys, addr: { k: 'msg', parts, ...more }, len: 1, flags, ioprio };
      }
      case 'READ':
        return this.transfer(fd, keys, true, random.pick([0, CURRENT, 7]));
      case 'POLL_ADD':
        return { op: form, fd, keys, flags: random.pick([POLLIN, POLLIN | POLLRDHUP, POLLIN]) };
      default: {
        const n = this.size();
        const trunc = (flags & abi.MSG_TRUNC) !== 0 && kind === 't0';
        return { op: form, fd, keys, addr: { k: 'out', n }, len: n, flags: trunc ? 0 : flags, ioprio };
      }
    }
  }

  command(fd, keys) {
    const { random } = this;
    const { SOCKET_URING_OP_GETSOCKOPT: get, SOCKET_URING_OP_SETSOCKOPT: set } = abi;
    const SO_TYPE = 3;
    const SO_ERROR = 4;
    const SO_DOMAIN = 39;
    const name = random.pick([SO_TYPE, SO_ERROR, SO_DOMAIN, abi.SO_KEEPALIVE, 999]);
    const level = random.chance(0.9) ? abi.SOL_SOCKET : abi.IPPROTO_TCP;
    const addr = level + name * 2 ** 32;
    switch (random.below(4)) {
      case 0:
        return {
          op: 'URING_CMD',
          fd,
          keys,
          off: get,
          addr,
          addr3: { k: 'out', n: 4 },
          file: random.pick([4, 4, 2, 0]),
        };
      case 1:
        return {
          op: 'URING_CMD',
          fd,
          keys,
          off: set,
          addr: abi.SOL_SOCKET + random.pick([abi.SO_KEEPALIVE, abi.SO_REUSEADDR, 999]) * 2 ** 32,
          addr3: { k: 'in', n: 4, fill: 1 },
          file: random.pick([4, 4, 2]),
        };
      case 2:
        return { op: 'URING_CMD', fd, keys, off: random.pick([0, 1]) };
      default:
        return { op: 'URING_CMD', fd, keys, off: 77 };
    }
  }

  pipes(_linked, mine) {
    const { random } = this;
    const way = this.direction(['p0', 'p1']);
    if (way === null) return null;
    const { key, from, to } = way;
    switch (
      random.weighted([
        [5, 'write'],
        [4, 'read'],
        [2, 'splice'],
        [1, 'tee'],
        [0.5, 'close'],
        [0.5, 'wrong'],
        [1, 'multishot'],
      ])
    ) {
      case 'read': {
        if (!this.mayReceive(key, 'once', mine)) return null;
        return this.transfer(to, [key], true, random.pick([0, CURRENT, 100]));
      }
      case 'write': {
        const big = random.chance(0.05);
        if (!this.maySend(key, big ? 60_000 : 5000, mine, false)) return null;
        const op = this.transfer(from, [key], false, random.pick([0, CURRENT]));
        if (!big) return op;
        const n = random.pick([65_536, 70_000, 100_000]);
        return { op: 'WRITE', fd: from, keys: [key], addr: { k: 'in', n, fill: 5 }, len: n, off: CURRENT };
      }
      case 'splice': {
        const flags = random.pick([0, 0, abi.SPLICE_F_NONBLOCK, abi.SPLICE_F_MOVE, 0x10]);
        const n = random.pick(this.even ? [0, 64, 4096] : [0, 1, 64, 5000, 70_000]);
        const file = random.pick(FILES);
        if (random.chance(0.5)) {
          // Out of a file into the pipe.
          if (!this.maySend(key, n, mine)) return null;
          const at = random.pick([0, 100, 9_000, 20_000, -1]);
          return { op: 'SPLICE', fd: from, from: file, keys: [key, file], off: -1, addr: at, len: n, flags };
        }
        if (!this.mayReceive(key, 'once', mine)) return null;
        if (random.chance(0.5)) {
          const at = random.pick([0, 100, 20_000, -1]);
          return { op: 'SPLICE', fd: file, from: to, keys: [key, file], off: at, addr: -1, len: n, flags };
        }
        const other = this.direction(['p0', 'p1', 'u0', 't0']);
        if (other === null || !this.maySend(other.key, n, mine)) return null;
        return {
          op: 'SPLICE',
          fd: other.from,
          from: to,
          keys: [key, other.key],
          off: -1,
          addr: -1,
          len: n,
          flags,
        };
      }
      case 'tee': {
        const other = this.direction(['p0', 'p1']);
        if (other === null || !this.mayReceive(key, 'once', mine) || !this.maySend(other.key, 500, mine))
          return null;
        const flags = random.pick([0, abi.SPLICE_F_NONBLOCK]);
        return {
          op: 'TEE',
          fd: other.from,
          from: to,
          keys: [key, other.key],
          len: random.pick([0, 1, 300]),
          flags,
        };
      }
      case 'close':
        return { op: 'CLOSE', fd: random.pick([from, to]), keys: [key] };
      case 'wrong':
        return random.chance(0.5) ? this.transfer(from, [key], true, 0) : this.transfer(to, [key], false, 0);
      default: {
        const group = random.pick(['plain', 'inc']);
        if (!this.mayReceive(key, 'many', mine)) return null;
        const op = random.pick(['READ_MULTISHOT', 'READ']);
        return {
          op,
          fd: to,
          keys: [key, group],
          off: random.pick([0, CURRENT]),
          len: op === 'READ' ? random.pick([10, 64, 100]) : random.pick([0, 0, 30]),
          sqe: abi.IOSQE_BUFFER_SELECT,
          group,
        };
      }
    }
  }

  rings(_linked, mine) {
    const { random } = this;
    const way = this.direction();
    if (way === null) return null;
    const { key, from, to, kind } = way;
    const choice = random.weighted([
      [4, 'receive'],
      [4, 'send'],
      [1, 'give'],
      [1, 'legacy'],
      [1, 'cancel'],
    ]);
    if (choice === 'send') return this.send(from, key, kind, [key], mine);
    if (choice === 'give') {
      const group = random.pick(['plain', 'inc']);
      return { op: 'GIVE', group, keys: [group] };
    }
    if (choice === 'cancel') return this.cancel(to, [`${kind}>`, `${kind}<`]);
    if (choice === 'legacy' && random.chance(0.6)) {
      if (random.chance(0.3)) {
        return { op: 'REMOVE_BUFFERS', fd: random.pick([0, 1, 2, 10]), group: 'legacy', keys: ['legacy'] };
      }
      const count = random.pick([0, 1, 3]);
      const n = random.pick([0, 16, 64]);
      return {
        op: 'PROVIDE_BUFFERS',
        fd: count,
        addr: { k: 'buffers', n: count * n },
        len: n,
        off: random.pick([0, 5, 65_535, 70_000]),
        group: 'legacy',
        keys: ['legacy'],
      };
    }
    const group = choice === 'legacy' ? 'legacy' : random.pick(['plain', 'inc']);
    if (!this.mayReceive(key, 'many', mine)) return null;
    const asked =
      random.weighted([
        [1, 0],
        [2, abi.IORING_RECV_MULTISHOT],
        // (Not both: whether a bundle is the last of a multishot depends on what the kernel has in its caches.)
        [this.even && group !== 'legacy' && kind !== 'g0' ? 2 : 0, abi.IORING_RECVSEND_BUNDLE],
      ]) | (random.chance(0.1) ? abi.IORING_RECVSEND_POLL_FIRST : 0);
    const many = (asked & abi.IORING_RECV_MULTISHOT) !== 0;
    // (Woken for nothing, as by a shutdown, the kernel has waited and misses a buffer.)
    const ioprio = many ? asked : asked & ~abi.IORING_RECVSEND_POLL_FIRST;
    // How much a bundle takes whose length is limited depends on what the kernel remembers of the socket.
    const bundles = (ioprio & abi.IORING_RECVSEND_BUNDLE) !== 0;
    if (many && random.chance(0.3)) {
      // (What follows in a name is not the same in two processes.)
      const rooms = {
        ...(random.chance(0.4) && { name: random.pick(kind === 't0' ? [16, 64, 200] : [1, 4, 8]) }),
      };
      const parts = random.weighted([
        [6, []],
        [2, [random.pick([0, 10, 20, 40, 100])]],
        [0.5, [10, 10]],
      ]);
      return {
        op: 'RECVMSG',
        fd: to,
        keys: [key, group],
        addr: { k: 'msg', parts, ...rooms, ...(random.chance(0.3) && { control: random.pick([8, 24, 64]) }) },
        len: 1,
        flags: random.pick([0, 0, abi.MSG_DONTWAIT, abi.MSG_WAITALL, kind === 'g0' ? abi.MSG_TRUNC : 0]),
        ioprio,
        sqe: abi.IOSQE_BUFFER_SELECT,
        group,
      };
    }
    const len =
      (many && random.chance(0.8)) || bundles
        ? 0
        : random.pick(this.even ? [0, 64, 128] : [0, 10, 64, 100, 300]);
    // (Of a buffer that is filled in parts the kernel forgets what it has used. And one that is not to wait it tries 33 times.)
    const flags = [0, 0, 0, many && len > 0 ? 0 : abi.MSG_DONTWAIT, group === 'inc' ? 0 : abi.MSG_WAITALL];
    return {
      op: 'RECV',
      fd: to,
      keys: [key, group],
      len,
      flags: bundles ? 0 : random.pick(flags),
      ioprio,
      sqe: abi.IOSQE_BUFFER_SELECT,
      group,
    };
  }

  // ---- polls, time, cancels

  polls(_linked, mine) {
    const { random } = this;
    const way = this.direction(['u0', 't0', 'g0', 'p0', 'p1']);
    if (way === null) return null;
    const { key, from, to } = way;
    switch (
      random.weighted([
        [3, 'read'],
        [2, 'write'],
        [1, 'file'],
        [1, 'remove'],
        [1, 'update'],
      ])
    ) {
      case 'write':
        return {
          op: 'POLL_ADD',
          fd: from,
          keys: [key, way.back ?? key],
          flags: random.pick([POLLOUT, POLLOUT | POLLIN, 0]),
        };
      case 'file':
        return {
          op: 'POLL_ADD',
          fd: 'f0',
          keys: ['f0'],
          flags: random.pick([POLLIN, POLLOUT, POLLIN | POLLOUT]),
        };
      case 'remove':
        return { op: 'POLL_REMOVE', fd: -1, target: this.target('POLL_ADD'), keys: [key] };
      case 'update':
        return {
          op: 'POLL_REMOVE',
          fd: -1,
          target: this.target('POLL_ADD'),
          keys: [key],
          len: abi.IORING_POLL_UPDATE_EVENTS | random.pick([0, 0, 8]),
          flags: random.pick([POLLIN, POLLOUT, POLLIN]),
        };
      default: {
        const many = random.chance(0.4);
        if (!this.mayReceive(key, many ? 'many' : 'once', mine)) return null;
        return {
          op: 'POLL_ADD',
          fd: to,
          keys: [key],
          flags: random.pick([POLLIN, POLLIN, POLLIN | POLLRDHUP, POLLIN]),
          len: many
            ? 1
            : random.weighted([
                [20, 0],
                [1, 0x40],
              ]),
        };
      }
    }
  }

  /** The id of an op of an earlier round, of one that may wait if there is one. */
  target(opcode) {
    const { random } = this;
    // (What a thread of the kernel is at is counted by a cancel, or not.)
    const fit = this.waiting.filter(({ op }) =>
      opcode === undefined ? !/SPLICE|TEE/.test(op) : op === opcode,
    );
    const likely = fit.filter((op) => this.mayWait(op) || op.op === 'TIMEOUT');
    if (likely.length > 0 && random.chance(0.85)) return random.pick(likely).id;
    if (fit.length > 0 && random.chance(0.8)) return random.pick(fit).id;
    return 0;
  }

  cancel(fd, keys) {
    const { random } = this;
    const all = random.chance(0.5) ? abi.IORING_ASYNC_CANCEL_ALL : 0;
    switch (random.below(4)) {
      case 0:
        return { op: 'ASYNC_CANCEL', fd, keys, flags: abi.IORING_ASYNC_CANCEL_FD | all };
      case 1:
        return {
          op: 'ASYNC_CANCEL',
          fd: -1,
          keys: [...keys, 'p0>', 'p1>', 'u0>', 'u0<', 't0>', 't0<', 'g0>', 'g0<'],
          flags: abi.IORING_ASYNC_CANCEL_OP | abi.IORING_ASYNC_CANCEL_ALL,
          len: random.pick([
            abi.IORING_OP_RECV,
            abi.IORING_OP_READ,
            abi.IORING_OP_RECVMSG,
            abi.IORING_OP_ACCEPT,
          ]),
        };
      case 2:
        return {
          op: 'ASYNC_CANCEL',
          fd,
          keys,
          flags: abi.IORING_ASYNC_CANCEL_FD | abi.IORING_ASYNC_CANCEL_OP | all,
          len: random.pick([abi.IORING_OP_RECV, abi.IORING_OP_POLL_ADD]),
        };
      default:
        return {
          op: 'ASYNC_CANCEL',
          fd: -1,
          keys,
          target: this.target(),
          flags: random.pick([0, 0, 0, 1, 16, 0x40]),
        };
    }
  }

  time() {
    const { random } = this;
    const keys = ['time'];
    switch (
      random.weighted([
        [3, 'short'],
        [2, 'long'],
        [1, 'count'],
        [1, 'many'],
        [1, 'abs'],
        [1, 'remove'],
        [1, 'update'],
        [1, 'wrong'],
        [2, 'cancel'],
        [1, 'nop'],
      ])
    ) {
      case 'short':
        return {
          op: 'TIMEOUT',
          keys: [],
          len: 1,
          addr: { k: 'time', us: random.pick([0, 1, 1000, 2000]) },
          flags: random.pick([0, 0, abi.IORING_TIMEOUT_ETIME_SUCCESS, abi.IORING_TIMEOUT_BOOTTIME]),
        };
      case 'count':
        return {
          op: 'TIMEOUT',
          keys,
          len: 1,
          off: 1 + random.below(3),
          addr: { k: 'time', us: 100_000_000 },
        };
      case 'many':
        return {
          op: 'TIMEOUT',
          keys,
          len: 1,
          off: 1 + random.below(3),
          addr: { k: 'time', us: 500 },
          flags: abi.IORING_TIMEOUT_MULTISHOT,
        };
      case 'abs': {
        const clock = random.pick(['monotonic', 'realtime']);
        return {
          op: 'TIMEOUT',
          keys: [],
          len: 1,
          addr: { k: 'time', us: 1500, abs: clock },
          flags: abi.IORING_TIMEOUT_ABS | (clock === 'realtime' ? abi.IORING_TIMEOUT_REALTIME : 0),
        };
      }
      case 'remove':
        return {
          op: 'TIMEOUT_REMOVE',
          fd: -1,
          keys,
          target: this.target('TIMEOUT'),
          flags: random.pick([0, 0, 0, 1]),
        };
      case 'update':
        return {
          op: 'TIMEOUT_REMOVE',
          fd: -1,
          keys,
          target: this.target(random.pick(['TIMEOUT', 'TIMEOUT', 'LINK_TIMEOUT'])),
          off: { k: 'time', us: random.pick([1000, 100_000_000, -1]) },
          flags: random.pick([
            abi.IORING_TIMEOUT_UPDATE,
            abi.IORING_LINK_TIMEOUT_UPDATE,
            abi.IORING_TIMEOUT_UPDATE,
          ]),
        };
      case 'wrong':
        return random.pick([
          { op: 'TIMEOUT', keys, len: 2, addr: { k: 'time', us: 1 } },
          { op: 'TIMEOUT', keys, len: 1, addr: { k: 'time', us: -1 } },
          { op: 'TIMEOUT', keys, len: 1, addr: { k: 'time', us: 1 }, flags: 0x100 },
          { op: 'TIMEOUT', keys, len: 1, addr: { k: 'time', us: 1 }, flags: 4 | 8 },
          { op: 'LINK_TIMEOUT', keys, len: 1, addr: { k: 'time', us: 100_000_000 } },
        ]);
      case 'cancel':
        return { op: 'ASYNC_CANCEL', fd: -1, keys, target: this.target(), flags: random.pick([0, 0, 1]) };
      case 'nop':
        return {
          op: 'NOP',
          keys: [],
          len: random.pick([0, 5, -5, -125]),
          flags: random.pick([0, abi.IORING_NOP_INJECT_RESULT, abi.IORING_NOP_INJECT_RESULT, 0x80]),
        };
      default:
        return { op: 'TIMEOUT', keys, len: 1, addr: { k: 'time', us: 100_000_000 } };
    }
  }

  // ---- listeners

  accepts(_linked, mine) {
    const { random } = this;
    const keys = ['l0'];
    const accepted = this.opened.filter(({ kind }) => kind === 'accepted');
    switch (
      random.weighted([
        [3, 'accept'],
        [3, 'connect'],
        [1, 'socket'],
        [1, 'bind'],
        [1, 'listen'],
        [1, 'use'],
        [0.3, 'close'],
      ])
    ) {
      case 'accept': {
        if (!this.mayReceive('l0', 'many', mine)) return null;
        const many = random.chance(0.3);
        const into = many && random.chance(0.3) ? { file: abi.IORING_FILE_INDEX_ALLOC } : this.into();
        return {
          op: 'ACCEPT',
          fd: 'l0',
          keys,
          ...(random.chance(0.5) && !many && { addr: { k: 'room', n: 32 }, off: { k: 'size', v: 32 } }),
          flags: into.file === undefined ? abi.SOCK_CLOEXEC : random.pick([0, 0, abi.SOCK_CLOEXEC]),
          ioprio: (many ? 1 : 0) | random.pick([0, 0, 0, 2, 4, 0x10]),
          ...into,
          opens: 'accepted',
        };
      }
      case 'connect': {
        const fresh = this.opened.filter(({ kind }) => kind === 'socket');
        const fd = fresh.length > 0 ? random.pick(fresh).name : random.pick(['t0a', 'f0', 'l0']);
        const a = random.pick(['l0', 'l0', 'l0', 'refused', 'short', 'unix:nobody']);
        return { op: 'CONNECT', fd, keys: ['l0', 't0>', 't0<', fd], addr: { k: 'sockaddr', a } };
      }
      case 'bind':
      case 'listen': {
        const fresh = this.opened.filter(({ kind }) => kind === 'socket');
        if (fresh.length === 0) return null;
        const fd = random.pick(fresh).name;
        if (random.chance(0.5))
          return { op: 'LISTEN', fd, keys: [fd], len: 3, ...(random.chance(0.1) && { flags: 1 }) };
        return { op: 'BIND', fd, keys: [fd], addr: { k: 'sockaddr', a: random.pick(['any', 'short']) } };
      }
      case 'use': {
        if (accepted.length === 0) return null;
        const fd = random.pick(accepted).name;
        return { op: 'SEND', fd, keys: [fd, 'l0'], addr: { k: 'in', n: 10, fill: 1 }, len: 10 };
      }
      case 'close': {
        const any = this.opened.filter(({ kind }) => kind !== 'file');
        const fd = any.length > 0 ? random.pick(any).name : 'l0';
        return { op: 'CLOSE', fd, keys: [fd, 'l0'] };
      }
      default:
        return {
          op: 'SOCKET',
          fd: random.pick([abi.AF_INET, abi.AF_INET, abi.AF_UNIX, 99]),
          keys: ['sockets'],
          off: random.pick([1, 1, 1 | abi.SOCK_CLOEXEC, 2, 77]),
          len: 0,
          ...(random.chance(0.1) && { flags: 1 }),
          ...this.into(),
          opens: 'socket',
        };
    }
  }

  // ---- the tables

  descriptors() {
    const { random } = this;
    const keys = [...ALL_FILES, 'table', 'u0>', 'u0<', 't0>', 't0<', 'g0>', 'g0<', 'p0>', 'p1>'];
    const names = [...this.opened.map(({ name }) => name), 'f0', 'f1', 'f2', 'f3', 'x0', 'x1', 'x2'];
    switch (
      random.weighted([
        [3, 'open'],
        [2, 'close'],
        [1, 'install'],
        [2, 'update'],
        [1, 'pipe'],
        [1, 'bad'],
      ])
    ) {
      case 'close':
        return { op: 'CLOSE', fd: random.chance(0.9) ? random.pick(names) : NOBODY_OF(random), keys };
      case 'install':
        return {
          op: 'FIXED_FD_INSTALL',
          fd: random.pick(names),
          keys,
          flags: random.pick([0, 0, 1, 2]),
          opens: 'file',
        };
      case 'update': {
        const list = Array.from({ length: random.below(4) }, () =>
          random.pick(['f0', 'f2', 'f3', -1, -1, -2, 12_345, -7]),
        );
        const off = random.chance(0.3) ? abi.IORING_FILE_INDEX_ALLOC : random.pick([0, 1, 3, 5, 9, 14, 20]);
        return {
          op: 'FILES_UPDATE',
          fd: -1,
          keys,
          addr: { k: 'fds', names: list },
          len: list.length,
          off,
          ...(random.chance(0.05) && { flags: 1 }),
        };
      }
      case 'pipe':
        return {
          op: 'PIPE',
          keys,
          addr: { k: 'pair' },
          flags: random.pick([0, 0o2000000, 0o4000, 1]),
          file: random.pick([1, 2, 5, abi.IORING_FILE_INDEX_ALLOC, 20]),
        };
      case 'bad':
        return this.transfer(random.pick([-1, 12_345]), keys, random.chance(0.5), 0);
      default:
        return this.open(keys, abi.AT_FDCWD);
    }
  }

  // ---- what makes no sense

  odd() {
    const { random } = this;
    const keys = [...ALL_FILES, 'u0>', 'u0<', 't0>', 't0<', 'g0>', 'g0<', 'p0>', 'p1>', 'time', 'table'];
    const fd = random.pick(['f0', 'p0r', 'p0w', -1, 12_345, 'd0', 'u0a']);
    return random.pick([
      { op: 'SEND', fd: 'f0', keys, addr: { k: 'in', n: 5, fill: 1 }, len: 5 },
      { op: 'RECV', fd: 'f0', keys, addr: { k: 'out', n: 5 }, len: 5 },
      { op: 'ACCEPT', fd, keys },
      { op: 'SHUTDOWN', fd, keys, len: 1 },
      { op: 'LISTEN', fd, keys, len: 1 },
      { op: 'FSYNC', fd, keys },
      { op: 'FTRUNCATE', fd, keys, off: 5 },
      { op: 'FALLOCATE', fd, keys, off: 0, addr: 100 },
      { op: 'FADVISE', fd, keys, off: 0, len: 100, flags: 1 },
      { op: 'SYNC_FILE_RANGE', fd, keys, len: 5 },
      { op: 'CLOSE', fd: -1, keys },
      { op: 'CLOSE', fd: 12_345, keys },
      { op: 'POLL_ADD', fd: -1, keys, flags: POLLIN },
      { op: 'TEE', fd, from: 'f0', keys, len: 5 },
      { op: 'SPLICE', fd: 'f1', from: 'f0', keys, off: -1, addr: -1, len: 5 },
      { op: 'URING_CMD', fd, keys, off: 0 },
      { op: 'EPOLL_CTL', fd: 'f0', keys, off: 0, len: 1, addr: { k: 'size', v: 0 } },
      { op: 'WRITE', fd: 'f0', keys, addr: { k: 'in', n: 5, fill: 1 }, len: 5, sqe: abi.IOSQE_BUFFER_SELECT },
      { op: 'READ', fd: 'f0', keys, off: 0, len: 5, sqe: abi.IOSQE_BUFFER_SELECT, buf: 4444 },
      { op: 'MADVISE', keys, addr: 0, len: 4096, flags: 0 },
      { op: 'READ_MULTISHOT', fd: 'p0r', keys, len: 5 },
      {
        op: 'STATX',
        fd: -1,
        keys,
        addr: { k: 'path', s: '' },
        flags: abi.AT_EMPTY_PATH,
        off: { k: 'statx' },
      },
      { op: 'MKDIRAT', fd: -1, keys, addr: { k: 'text', s: 'x' }, len: 0o700 },
      { op: 'FIXED_FD_INSTALL', fd: 'f0', keys },
      { op: 'READ', fd: 'f0', keys, addr: { k: 'out', n: 5 }, len: 5, buf: 5 },
      { op: 'READV', fd: 'f0', keys, addr: { k: 'iov', parts: [] }, len: 2000 },
      { op: 'MSG_RING', fd: 'f0', keys, addr: 0 },
      { op: 'REMOVE_BUFFERS', fd: 0, group: 'legacy', keys },
      { op: 'PROVIDE_BUFFERS', fd: 70_000, addr: { k: 'buffers', n: 10 }, len: 1, group: 'legacy', keys },
    ]);
  }
}

const NOBODY_OF = (random) => random.pick([-1, 12_345]);

/** The program of a seed. */
export function generate(seed) {
  const writer = new Writer(seed);
  const program = writer.program(seed);
  // What only the writer needs.
  for (const round of program.rounds) {
    for (const chain of round) {
      for (const op of chain) {
        delete op.opens;
        delete op.keys;
      }
    }
  }
  return program;
}
