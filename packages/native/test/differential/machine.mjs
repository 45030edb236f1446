/**
 * Runs one program on the engine of this process, and says all that can be seen of it. A program is a list of rounds, a
 * round a list of chains that are queued together, a chain a list of SQEs, each linked to the next. When a round has come
 * to rest the next one begins: so what a program does depends on no clock.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import * as abi from '@ouro/native/abi';
import { files, reactor, scratchOffset, WIDE_OPERANDS } from '@ouro/runtime/driver';

const OPCODES = new Map(abi.OPCODE_NAMES.map((name, opcode) => [name, opcode]));
const TWO_32 = 2 ** 32;
const MEMORY = 8 << 20;
/** A number that is no descriptor. */
const NOBODY = 99_999;
const DIRECT_PLACES = 16;
const FIXED_BYTES = 8192;
const SEEN_FLAGS =
  abi.IORING_CQE_F_BUFFER | abi.IORING_CQE_F_MORE | abi.IORING_CQE_F_NOTIF | abi.IORING_CQE_F_BUF_MORE;
/** Rings of provided buffers; a group of its own for PROVIDE_BUFFERS. */
const GROUPS = {
  plain: { id: 60_001, entries: 4, size: 64, flags: 0 },
  inc: { id: 60_002, entries: 2, size: 256, flags: abi.IOU_PBUF_RING_INC },
  legacy: { id: 60_003 },
};
const STUCK_MS = 3000;
const LONG_US = 20_000;

const WAITING = new Set([
  'SENDMSG',
  'RECVMSG',
  'ACCEPT',
  'POLL_ADD',
  'SEND',
  'RECV',
  'SEND_ZC',
  'SENDMSG_ZC',
  'READ_MULTISHOT',
  'SPLICE',
  'TEE',
  'EPOLL_WAIT',
  'LINK_TIMEOUT',
]);
const TRANSFERS = new Set([
  'READ',
  'READV',
  'READ_FIXED',
  'READV_FIXED',
  'WRITE',
  'WRITEV',
  'WRITE_FIXED',
  'WRITEV_FIXED',
]);
const OPENING = new Set(['OPENAT', 'OPENAT2', 'SOCKET', 'ACCEPT', 'FIXED_FD_INSTALL']);

const LENDS = new Set(['SEND_ZC', 'SENDMSG_ZC']);
const lent = ({ spec, cqes }) => LENDS.has(spec.op) && cqes.length > 0;

const digest = (bytes) => createHash('sha1').update(bytes).digest('base64').slice(0, 10);

/** Bytes that say where they come from. */
function pattern(length, fill) {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = (fill * 31 + i * 7 + (i >> 8)) & 0xff;
  return bytes;
}

/** One SQE in flight. */
class Flight {
  refed = true;
  name = 'differential';
  cqes = [];
  over = false;
  slot = -1;
  generation = 0;
  done = null;

  constructor(machine, spec, resultIsFd) {
    this.machine = machine;
    this.spec = spec;
    this.resultIsFd = resultIsFd;
  }

  complete(result, flags) {
    this.machine.arrivals++;
    this.cqes.push([result, flags]);
    if ((flags & abi.IORING_CQE_F_MORE) === 0) this.over = true;
    this.machine.arrived(this, result, flags);
    if (this.over) this.done?.();
  }
}

/** The memory and tables that all programs of a process use, one after the other. */
const LEAVE_NO_TRACE = new Set([
  'NOP',
  'TIMEOUT',
  'LINK_TIMEOUT',
  'TIMEOUT_REMOVE',
  'ASYNC_CANCEL',
  'POLL_ADD',
  'POLL_REMOVE',
]);

export class Machine {
  arrivals = 0;
  #r = reactor();
  #memory;
  #base;
  #top = 0;
  #fixedAt;
  #ringAt = new Map();
  #run = 0;

  constructor() {
    const { addon } = this.#r;
    const memory = addon.allocate(MEMORY);
    this.#memory = Buffer.from(memory);
    this.#base = addon.addressOf(this.#memory);
    files();
    // Two of them, so that the index matters.
    this.#fixedAt = this.#take(2 * FIXED_BYTES, 4096);
    const table = new Uint32Array(8);
    table[0] = 4;
    table[1] = abi.IORING_RSRC_REGISTER_SPARSE;
    this.#register(abi.IORING_REGISTER_BUFFERS2, table, 32);
    for (const index of [0, 1]) {
      const iov = this.#words(this.#fixedAt + index * FIXED_BYTES, FIXED_BYTES);
      const update = new BigUint64Array(4);
      update[0] = BigInt(index);
      update[1] = BigInt(iov);
      update[3] = 1n;
      this.#register(abi.IORING_REGISTER_BUFFERS_UPDATE, new Uint32Array(update.buffer), 32);
    }
    for (const [name, { entries, size }] of Object.entries(GROUPS)) {
      if (entries === undefined) continue;
      const ring = this.#take(entries * 16, 4096);
      this.#ringAt.set(name, { ring, bytes: this.#take(entries * size, 64), tail: 0 });
    }
    this.#low = this.#top;
  }

  #low = 0;

  #register(opcode, words, count) {
    const bytes = new Uint8Array(words.buffer);
    const result = this.#r.addon.register(opcode, this.#r.addon.addressOf(bytes), count);
    if (result < 0) throw new Error(`register ${opcode}: ${result}`);
  }

  /** An address in the memory of the process. */
  #take(bytes, align = 16) {
    this.#top = Math.ceil(this.#top / align) * align;
    const at = this.#top;
    this.#top += bytes;
    if (this.#top > MEMORY) throw new RangeError('The program needs more memory than there is');
    return this.#base + at;
  }

  #bytes(address, length) {
    return this.#memory.subarray(address - this.#base, address - this.#base + length);
  }

  #put(bytes, align) {
    const address = this.#take(Math.max(bytes.length, 1), align);
    this.#bytes(address, bytes.length).set(bytes);
    return address;
  }

  /** 64-bit words. */
  #words(...values) {
    return this.#put(Buffer.from(new BigInt64Array(values.map(BigInt)).buffer), 16);
  }

  // ---- one program

  async run(program, patient) {
    this.#top = this.#low;
    this.#run++;
    this.program = program;
    this.patient = patient;
    this.fds = new Map();
    this.owned = new Set();
    this.flights = new Map();
    this.pending = new Set();
    this.outs = new Map();
    this.extra = new Map();
    this.order = [];
    this.stuck = [];
    const parent = program.place === 'memory' ? '/dev/shm' : (process.env.OURO_DIFFERENTIAL_DIR ?? tmpdir());
    this.dir = mkdtempSync(join(parent, 'ouro-differential-'));
    try {
      await this.#setUp();
      for (const round of program.rounds) await this.#round(round);
      await this.#giveUp();
      const state = await this.#state();
      return {
        ops: this.#results(),
        ...state,
        ...(this.#isUnsettled() && { unsettled: true }),
        ...(this.stuck.length > 0 && { stuck: this.stuck }),
      };
    } finally {
      await this.#tearDown();
    }
  }

  #name(name, fd, direct = false) {
    this.fds.set(name, { fd, direct });
    if (!direct && this.program.owned) {
      this.owned.add(fd);
      this.#r.addon.own(fd);
    }
  }

  async #setUp() {
    const { dir } = this;
    writeFileSync(join(dir, 'a'), pattern(10_000, 1));
    writeFileSync(join(dir, 'b'), '');
    writeFileSync(join(dir, 'c'), pattern(3 * 4096, 2));
    writeFileSync(join(dir, 'e'), pattern(100, 3));
    mkdirSync(join(dir, 's'));
    writeFileSync(join(dir, 's', 'x'), pattern(33, 4));
    symlinkSync('a', join(dir, 'ln'));
    const { O_RDWR, O_RDONLY, O_WRONLY, O_APPEND, O_DIRECTORY } = constants;
    this.#name('f0', openSync(join(dir, 'a'), O_RDWR));
    this.#name('f1', openSync(join(dir, 'b'), O_RDWR));
    this.#name('f2', openSync(join(dir, 'c'), O_RDONLY));
    this.#name('f3', openSync(join(dir, 'e'), O_WRONLY | O_APPEND));
    this.#name('d0', openSync(dir, O_RDONLY | O_DIRECTORY));
    const uses = new Set(this.program.uses);
    for (const pipe of ['p0', 'p1']) {
      if (!uses.has(pipe)) continue;
      const ends = this.#take(8);
      await this.#now('PIPE', { addr: ends });
      this.#name(`${pipe}r`, this.#bytes(ends, 8).readInt32LE(0));
      this.#name(`${pipe}w`, this.#bytes(ends, 8).readInt32LE(4));
    }
    for (const [name, type] of [
      ['u0', 1],
      ['g0', 5],
    ]) {
      if (uses.has(name)) await this.#pair(name, abi.AF_UNIX, type);
    }
    if (uses.has('t0') || uses.has('l0')) await this.#pair('t0', abi.AF_INET, 1, 'l0');
    if (uses.has('x')) {
      // x0 and x1 are direct descriptors of what f0 and f1, u0a and p0r are too.
      const list = ['f0', 'f1', 'u0a', 'p0r'];
      for (const [index, name] of list.entries()) {
        const found = this.fds.get(name);
        if (found === undefined) continue;
        const words = Buffer.alloc(4);
        words.writeInt32LE(found.fd);
        await this.#now('FILES_UPDATE', { addr: this.#put(words), off: index, len: 1 });
        this.fds.set(`x${index}`, { fd: index, direct: true });
      }
    }
    this.spent = {};
    this.lent = {};
    for (const [name, { id, entries, size, flags }] of Object.entries(GROUPS)) {
      if (entries === undefined) continue;
      const { ring, bytes } = this.#ringAt.get(name);
      this.#bytes(ring, entries * 16).fill(0);
      this.#bytes(bytes, entries * size).fill(0);
      const request = new Uint32Array(10);
      request[0] = ring % TWO_32;
      request[1] = ring / TWO_32;
      request[2] = entries;
      request[3] = id | (flags << 16);
      this.#register(abi.IORING_REGISTER_PBUF_RING, request, 1);
      this.#ringAt.get(name).tail = 0;
      this.spent[name] = [];
      this.lent[name] = [];
      for (let bid = 0; bid < entries; bid++) this.#give(name, bid);
    }
    const range = new Uint32Array(4);
    range[0] = DIRECT_PLACES / 2;
    range[1] = DIRECT_PLACES / 2;
    this.#register(abi.IORING_REGISTER_FILE_ALLOC_RANGE, range, 0);
  }

  #sockaddr(where) {
    if (where.startsWith('unix:')) {
      const name = Buffer.from(
        `\0\0\0ouro-${String(process.pid).padStart(8)}-${String(this.#run).padStart(8)}-${where.slice(5)}`,
      );
      name.writeUInt16LE(abi.AF_UNIX);
      return name;
    }
    const bytes = Buffer.alloc(16);
    bytes.writeUInt16LE(abi.AF_INET);
    bytes.writeUInt16BE(where === 'l0' ? this.port : where === 'any' ? 0 : 1, 2);
    bytes.set([127, 0, 0, 1], 4);
    return where === 'short' ? bytes.subarray(0, 8) : bytes;
  }

  async #pair(name, family, type, keep) {
    const { addon } = this.#r;
    const listener = await this.#now('SOCKET', { fd: family, off: type | abi.SOCK_CLOEXEC });
    this.port = 0;
    const check = (result) => {
      if (result < 0) throw new Error(`setting up ${name}: ${result}`);
    };
    const where = family === abi.AF_UNIX ? `unix:${name}` : 'any';
    check(addon.bind(listener, new Uint8Array(this.#sockaddr(where))));
    check(addon.listen(listener, 4));
    if (family === abi.AF_INET) this.port = addon.getsockname(listener).port;
    const first = await this.#now('SOCKET', { fd: family, off: type | abi.SOCK_CLOEXEC });
    const address = this.#sockaddr(family === abi.AF_UNIX ? where : 'l0');
    check(await this.#now('CONNECT', { fd: first, addr: this.#put(address), off: address.length }));
    const second = await this.#now('ACCEPT', { fd: listener, flags: abi.SOCK_CLOEXEC });
    check(second);
    if (family === abi.AF_INET) {
      for (const fd of [first, second]) addon.setsockopt(fd, abi.IPPROTO_TCP, abi.TCP_NODELAY, 1);
    }
    this.#name(`${name}a`, first);
    this.#name(`${name}b`, second);
    if (keep === undefined) closeSync(listener);
    else this.#name(keep, listener);
  }

  /** Runs an SQE of the machine's own, and gives its result. */
  #now(op, fields = {}) {
    return new Promise((done) => {
      const flight = new Flight(this, null, false);
      flight.done = () => done(flight.cqes[0][0]);
      const slot = this.#r.take(flight);
      const { fd = 0, off = 0, addr = 0, len = 0, flags = 0, target } = fields;
      let head = OPCODES.get(op);
      if (target !== undefined) head |= this.#wide(slot, off, target);
      this.#r.push(slot, head, fd, off, addr, len, flags, 0, 0, 0);
    });
  }

  #wide(slot, off, { slot: low, generation }) {
    const { words } = this.#r.scratch(slot);
    const at = scratchOffset(slot) >> 2;
    words[at] = off;
    words[at + 1] = off / TWO_32;
    words[at + 2] = low;
    words[at + 3] = generation;
    return WIDE_OPERANDS << 8;
  }

  #give(name, bid) {
    const { entries, size } = GROUPS[name];
    const place = this.#ringAt.get(name);
    const entry = this.#bytes(place.ring + (place.tail & (entries - 1)) * 16, 16);
    entry.writeBigUInt64LE(BigInt(place.bytes + bid * size), 0);
    entry.writeUInt32LE(size, 8);
    entry.writeUInt16LE(bid, 12);
    place.tail++;
    this.#bytes(place.ring, 16).writeUInt16LE(place.tail & 0xffff, 14);
    this.lent[name].push(bid);
  }

  /** Gives all buffers back that have been used up. */
  #giveBack(name) {
    for (const bid of this.spent[name].splice(0)) this.#give(name, bid);
  }

  #used(name, result, flags) {
    const given = this.lent[name];
    if (given === undefined || result <= 0) return;
    let left = result;
    while (left > 0 && given.length > 0) {
      left -= GROUPS[name].size;
      if (left <= 0 && (flags & abi.IORING_CQE_F_BUF_MORE) !== 0) return;
      if (name === 'inc') {
        // How full it was before only the kernel knows: it says when it has done with it.
        this.spent[name].push(given.shift());
        return;
      }
      this.spent[name].push(given.shift());
    }
  }

  // ---- memory of one op

  /** The address that a field of an op is to have. */
  #place(spec, field) {
    const given = spec[field];
    if (given === undefined) return 0;
    if (typeof given === 'number') return given;
    const out = (address, length) => {
      const list = this.outs.get(spec.id) ?? [];
      list.push([address, length]);
      this.outs.set(spec.id, list);
    };
    switch (given.k) {
      case 'out': {
        const address = this.#take(Math.max(given.n, 1));
        this.#bytes(address, given.n).fill(0xee);
        out(address, given.n);
        return address;
      }
      case 'in':
        return this.#put(pattern(given.n, given.fill));
      case 'text':
        return this.#put(Buffer.from(`${given.s}\0`));
      case 'path':
        return this.#put(Buffer.from(`${given.s === '' ? '' : join(this.dir, given.s)}\0`));
      case 'fixed': {
        const address = this.#fixedAt + given.index * FIXED_BYTES + given.at;
        const inside = Math.min(given.n, (given.index + 1) * FIXED_BYTES - given.at);
        if (given.fill !== undefined) this.#bytes(address, inside).set(pattern(inside, given.fill));
        else {
          this.#bytes(address, inside).fill(0xee);
          out(address, inside);
        }
        return address;
      }
      case 'iov': {
        const parts = this.#parts(spec, given, out);
        return this.#words(...parts.flat());
      }
      case 'msg': {
        const parts = this.#parts(spec, given, out);
        const iov = this.#words(...parts.flat());
        const name = given.name === undefined ? 0 : this.#take(128);
        const control = given.control === undefined ? 0 : this.#take(given.control);
        if (control !== 0) this.#bytes(control, given.control).fill(0);
        const header = this.#words(name, given.name ?? 0, iov, parts.length, control, given.control ?? 0, 0);
        if (!given.fills) this.extra.set(spec.id, () => this.#header(header));
        return header;
      }
      case 'time':
        return this.#words(...this.#time(given));
      case 'sockaddr': {
        const bytes = this.#sockaddr(given.a);
        spec.sizeOfName = bytes.length;
        return this.#put(bytes);
      }
      case 'room': {
        const address = this.#take(Math.max(given.n, 16));
        this.#bytes(address, 16).fill(0);
        // The port is of the system's choice.
        this.extra.set(spec.id, () => `family ${this.#bytes(address, 2).readUInt16LE()}`);
        return address;
      }
      case 'size': {
        const bytes = Buffer.alloc(4);
        bytes.writeInt32LE(given.v);
        const address = this.#put(bytes);
        out(address, 4);
        return address;
      }
      case 'how':
        return this.#words(given.flags, given.mode, given.resolve);
      case 'statx': {
        const address = this.#take(256);
        this.#bytes(address, 256).fill(0);
        this.extra.set(spec.id, () => {
          const bytes = this.#bytes(address, 256);
          const directory = (bytes.readUInt16LE(28) & 0o170000) === 0o040000;
          return {
            mask: bytes.readUInt32LE(0),
            nlink: bytes.readUInt32LE(16),
            mode: bytes.readUInt16LE(28),
            size: directory ? 0 : Number(bytes.readBigUInt64LE(40)),
          };
        });
        return address;
      }
      case 'fds': {
        const bytes = Buffer.alloc(4 * given.names.length);
        for (const [i, name] of given.names.entries()) {
          bytes.writeInt32LE(typeof name === 'number' ? name : (this.fds.get(name)?.fd ?? NOBODY), i * 4);
        }
        const address = this.#put(bytes);
        if (given.out) out(address, bytes.length);
        return address;
      }
      case 'pair':
        return this.#take(8);
      case 'buffers':
        return this.#take(given.n);
      case 'bad':
        return 1;
      default:
        throw new Error(`Unknown memory ${JSON.stringify(given)}`);
    }
  }

  #parts(_spec, given, out) {
    return given.parts.map((n, i) => {
      const address =
        given.index === undefined
          ? this.#take(Math.max(n, 1))
          : this.#fixedAt + given.index * FIXED_BYTES + i * 600 + (given.at ?? 0);
      const inside = given.index === undefined ? n : Math.min(n, 600);
      if (given.fills) this.#bytes(address, inside).set(pattern(inside, given.fill + i));
      else {
        this.#bytes(address, inside).fill(0xee);
        out(address, inside);
      }
      return [address, n];
    });
  }

  #header(address) {
    const bytes = this.#bytes(address, 56);
    return {
      namelen: bytes.readInt32LE(8),
      control: Number(bytes.readBigUInt64LE(40)),
      flags: bytes.readUInt32LE(48),
    };
  }

  #time({ us, abs }) {
    if (us < 0) return [-1, 0];
    let ns = BigInt(us) * 1000n;
    if (abs === 'monotonic') ns += process.hrtime.bigint();
    else if (abs === 'realtime') ns += BigInt(Date.now()) * 1_000_000n;
    return [ns / 1_000_000_000n, ns % 1_000_000_000n];
  }

  // ---- rounds

  async #round(round) {
    const chains = [];
    let count = 0;
    for (const chain of round) count += chain.length;
    this.#r.reserve(Math.min(count + 1, this.#r.config.sqEntries));
    for (const chain of round) {
      const flights = [];
      for (const [index, spec] of chain.entries()) {
        if (spec.op === 'GIVE') {
          this.#giveBack(spec.group);
          continue;
        }
        const last = chain.slice(index + 1).every(({ op }) => op === 'GIVE');
        const flight = this.#push(spec, flights.length === 0 && last, !last);
        flight.limited = false;
        if (spec.op === 'LINK_TIMEOUT' && spec.addr?.us <= LONG_US && flights.length > 0)
          flights.at(-1).limited = true;
        flights.push(flight);
      }
      chains.push(flights);
    }
    await this.#rest(chains);
  }

  /** Whether an op may wait for something for ever. */
  #waits(spec) {
    if (spec.op === 'TIMEOUT') return !(spec.addr?.us <= LONG_US);
    if (TRANSFERS.has(spec.op)) return !this.#isFile(spec.fd);
    return WAITING.has(spec.op);
  }

  #isFile(name) {
    if (/^(f\d|d0|x0|x1)$/.test(name) || typeof name === 'number') return true;
    return /^OPEN/.test(this.flights.get(Number(/^n(\d+)/.exec(name)?.[1]))?.spec.op);
  }

  /** Whether an op of these chains, in which all before it have ended, is one that must end. */
  #owes(chains) {
    return chains.some((chain) => {
      const next = chain.find((flight) => !flight.over && !lent(flight));
      return next !== undefined && (next.limited || !this.#waits(next.spec));
    });
  }

  /** Whether threads that work for this process are at it: the kernel's, or those of libuv. */
  #works() {
    return readdirSync('/proc/self/task').some((id) => {
      if (Number(id) === process.pid) return false;
      try {
        return /^\d+ \((iou-wrk|node|libuv).*\) [RD]/.test(
          readFileSync(`/proc/self/task/${id}/stat`, 'latin1'),
        );
      } catch {
        return false;
      }
    });
  }

  #push(spec, alone, linked) {
    const r = this.#r;
    const opens = OPENING.has(spec.op) && !spec.file;
    const flight = new Flight(this, spec, opens && this.program.owned === true);
    const slot = r.take(flight);
    flight.slot = slot;
    const opcode = OPCODES.get(spec.op) ?? spec.opcode;
    let sqeFlags = spec.sqe ?? 0;
    if (linked) sqeFlags |= spec.hard ? abi.IOSQE_IO_HARDLINK : abi.IOSQE_IO_LINK;
    const addr = this.#place(spec, 'addr');
    let off = this.#place(spec, 'off');
    const addr3 = this.#place(spec, 'addr3');
    let file = spec.file ?? 0;
    let fd = -1;
    const found = typeof spec.fd === 'string' ? (this.fds.get(spec.fd) ?? { fd: NOBODY }) : undefined;
    if (found !== undefined) {
      fd = found.fd;
      if (found.direct && spec.op === 'CLOSE') {
        fd = 0;
        file = found.fd + 1;
      } else if (found.direct) sqeFlags |= abi.IOSQE_FIXED_FILE;
    } else if (spec.fd !== undefined) fd = spec.fd;
    let opFlags = spec.flags ?? 0;
    if (spec.from !== undefined) {
      const from = this.fds.get(spec.from) ?? { fd: NOBODY };
      file = from.fd;
      if (from.direct) opFlags = (opFlags | abi.SPLICE_F_FD_IN_FIXED) >>> 0;
    }
    if (spec.op === 'CONNECT' || spec.op === 'BIND') off = spec.sizeOfName ?? 0;
    let head = opcode | (sqeFlags << 8) | ((spec.ioprio ?? 0) << 16);
    if (spec.target !== undefined) {
      const target = this.flights.get(spec.target) ?? { slot: 0x7fff_fff0, generation: 1 };
      head |= this.#wide(slot, off, target);
    }
    if (spec.op === 'CLOSE' && file === 0 && this.owned.has(fd)) {
      if (alone) {
        r.closes(slot);
        this.owned.delete(fd);
      } else r.mayClose(slot);
    }
    const buf = spec.group === undefined ? (spec.buf ?? 0) : GROUPS[spec.group].id;
    this.flights.set(spec.id, flight);
    this.pending.add(flight);
    flight.fd = fd;
    flight.closesPlace = spec.op === 'CLOSE' && file !== 0;
    r.push(slot, head, fd, off, addr, spec.len ?? 0, opFlags, buf, file, addr3);
    flight.generation = r.slots.generations[slot];
    return flight;
  }

  arrived(flight, result, flags) {
    const { spec } = flight;
    if (spec === null) return;
    if ((flags & abi.IORING_CQE_F_BUFFER) !== 0 && spec.group !== undefined) {
      this.#used(spec.group, result, flags);
    }
    if (OPENING.has(spec.op) && result >= 0) {
      const shot = flight.cqes.length - 1;
      const name = shot === 0 ? `n${spec.id}` : `n${spec.id}.${shot}`;
      if (!spec.file) {
        this.#name(name, result);
        flight.cqes[shot][0] = 'fd';
      } else {
        const place = spec.file === abi.IORING_FILE_INDEX_ALLOC ? result : spec.file - 1;
        this.fds.set(name, { fd: place, direct: true });
      }
    }
    if (spec.op === 'CLOSE' && result === 0) {
      for (const [name, each] of this.fds) {
        if (each.fd === (flight.closesPlace ? this.fds.get(spec.fd)?.fd : flight.fd)) {
          if (each.direct === flight.closesPlace) {
            this.fds.delete(name);
            if (!each.direct) this.owned.delete(each.fd);
          }
        }
      }
    }
    // The second completion of a zero-copy send comes whenever the network has done with the memory.
    if (LENDS.has(spec.op) ? flight.cqes.length === 1 : flight.over) this.order.push(spec.id);
    if (flight.over) this.pending.delete(flight);
  }

  async #rest(chains) {
    const until = Date.now() + STUCK_MS;
    const onThread = (chain) =>
      chain.some(({ over }) => !over) &&
      chain.some(
        ({ spec }) => spec.op === 'SPLICE' || spec.op === 'TEE' || (spec.sqe & abi.IOSQE_ASYNC) !== 0,
      );
    let quiet = 0;
    const enough = this.patient ? 5 : 3;
    for (let turns = 0; quiet < enough; turns++) {
      const before = this.arrivals;
      await this.#now('NOP');
      await turn();
      if (this.patient && quiet > 0) await sleep(10);
      else if (quiet > 0 && chains.some(onThread)) await sleep(1);
      if (this.#owes(chains) || (quiet + 1 >= enough && chains.some(onThread) && this.#works())) {
        quiet = 0;
        if (Date.now() > until) {
          if (this.#owes(chains)) this.stuck.push('owes');
          return;
        }
        if (turns > 5) await sleep(1);
        continue;
      }
      quiet = this.arrivals === before + 1 ? quiet + 1 : 0;
    }
  }

  /** Cancels what still waits. */
  async #giveUp() {
    // (A zero-copy send that has ended may wait for the network to let go of the memory.)
    this.given = new Set([...this.pending].filter((each) => !lent(each)).map(({ spec }) => spec.id));
    // What is linked behind them is begun when they end, and may be quicker than its own cancel.
    this.behind = new Set();
    for (const chain of this.program.rounds.flat()) {
      const waiting = chain.filter(({ id }) => this.given.has(id));
      for (const { id } of waiting.slice(1)) this.behind.add(id);
    }
    // At once, so that the end of one wakes no other.
    await Promise.all([...this.pending].map((target) => this.#now('ASYNC_CANCEL', { target })));
    for (const flight of [...this.pending]) {
      for (let tries = 0; !flight.over; tries++) {
        await this.#now('ASYNC_CANCEL', { target: flight });
        if (!flight.over) await turn();
        if (tries > 5) await sleep(2);
        if (tries > 500) {
          this.stuck.push(flight.spec.id);
          this.broken = true;
          break;
        }
      }
    }
  }

  /** Whether something that was cancelled behind what it is linked to may have been done all the same, or not. */
  #isUnsettled() {
    return [...this.behind].some((id) => !LEAVE_NO_TRACE.has(this.flights.get(id)?.spec.op));
  }

  // ---- what has become of it

  #results() {
    const results = {};
    for (const [id, { cqes }] of this.flights) {
      const result = { c: cqes.map(([res, flags]) => [res, this.#flags(flags)]) };
      const outs = this.outs.get(id);
      if (outs !== undefined) {
        result.m = digest(Buffer.concat(outs.map(([at, length]) => this.#bytes(at, length))));
      }
      const extra = this.extra.get(id);
      if (extra !== undefined) result.x = extra();
      if (this.given.has(id)) result.waits = true;
      results[id] = this.behind.has(id) ? { c: [], waits: true } : result;
    }
    return results;
  }

  #flags(flags) {
    const seen = flags & SEEN_FLAGS;
    return (flags & abi.IORING_CQE_F_BUFFER) === 0 ? seen : seen | ((flags >>> 16) << 16);
  }

  async #state() {
    const left = {};
    const room = this.#take(65_536);
    for (const [name, { fd, direct }] of [...this.fds]) {
      if (direct) continue;
      if (/^[ugt]0[ab]$/.test(name)) {
        const hash = createHash('sha1');
        let total = 0;
        let result = 0;
        for (let i = 0; i < 64; i++) {
          result = await this.#now('RECV', { fd, addr: room, len: 65_536, flags: abi.MSG_DONTWAIT });
          if (result <= 0) break;
          total += result;
          hash.update(this.#bytes(room, result));
        }
        left[name] = [total, result, total === 0 ? '' : hash.digest('base64').slice(0, 10)];
      } else if (/^p\dr$/.test(name)) {
        const result = await this.#now('READ', {
          fd,
          addr: room,
          len: 65_536,
          off: -1,
          flags: abi.RWF_NOWAIT,
        });
        left[name] = [result, result > 0 ? digest(this.#bytes(room, result)) : ''];
      } else if (/^f\d$/.test(name)) {
        const [, position] = /^pos:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'));
        left[name] = Number(position);
      }
    }
    const rings = {};
    for (const [name, { entries, size }] of Object.entries(GROUPS)) {
      if (entries !== undefined) {
        rings[name] = digest(this.#bytes(this.#ringAt.get(name).bytes, entries * size));
      }
    }
    return { left, rings, tree: this.#tree(this.dir), order: this.#order() };
  }

  /** The order in which the ops of each chain have ended, where it is not that of the chain. */
  #order() {
    const odd = [];
    for (const chain of this.program.rounds.flat()) {
      if (chain.length < 2 || chain.some(({ id }) => this.behind.has(id))) continue;
      const ids = new Set(chain.map(({ id }) => id));
      odd.push(this.order.filter((id) => ids.has(id)).join(' '));
    }
    return odd;
  }

  #tree(dir) {
    const entries = [];
    for (const name of readdirSync(dir).sort()) {
      const path = join(dir, name);
      const about = lstatSync(path);
      const mode = about.mode.toString(8);
      if (about.isDirectory()) entries.push([name, mode, this.#tree(path)]);
      else if (about.isSymbolicLink()) entries.push([name, mode, readlinkSync(path).replace(this.dir, '')]);
      else if (about.size > 4 << 20) entries.push([name, mode, about.size, 'large']);
      else entries.push([name, mode, about.nlink, about.size, digest(readFileSync(path))]);
    }
    return entries;
  }

  async #tearDown() {
    for (const [name, { fd, direct }] of this.fds) {
      if (direct) continue;
      if (this.owned.has(fd)) this.#r.discard(fd);
      else {
        try {
          closeSync(fd);
        } catch (error) {
          this.stuck.push(`${name}: ${error.code}`);
        }
      }
    }
    const none = Buffer.alloc(4 * DIRECT_PLACES, 0xff);
    await this.#now('FILES_UPDATE', { addr: this.#put(none), off: 0, len: DIRECT_PLACES });
    for (const { id, entries } of Object.values(GROUPS)) {
      if (entries === undefined) {
        await this.#clearLegacy(id);
        continue;
      }
      const request = new Uint32Array(10);
      request[3] = id;
      this.#register(abi.IORING_UNREGISTER_PBUF_RING, request, 1);
    }
    rmSync(this.dir, { recursive: true, force: true });
  }

  #clearLegacy(group) {
    return new Promise((done) => {
      const flight = new Flight(this, null, false);
      flight.done = () => done();
      const slot = this.#r.take(flight);
      this.#r.push(slot, abi.IORING_OP_REMOVE_BUFFERS, 1000, 0, 0, 0, 0, group, 0, 0);
    });
  }
}
