import { array, bulk, failure, integer, OK, simple } from './resp.ts';
import type { Store } from './store.ts';

/** What a command does: the reply, as the protocol has it. */
type Run = (store: Store, words: readonly string[]) => string;

/** What a client has done wrong. */
class CommandError extends Error {}

const NOT_INTEGER = 'ERR value is not an integer or out of range';
const SYNTAX = 'ERR syntax error';

function wholeNumber(text: string): number {
  const number = Number(text);
  if (!/^-?\d+$/.test(text) || !Number.isSafeInteger(number)) throw new CommandError(NOT_INTEGER);
  return number;
}

/** Adds to a value, which must be a whole number; a key that is not there is 0. */
function add(store: Store, key: string, amount: number): string {
  const sum = wholeNumber(store.get(key) ?? '0') + amount;
  if (!Number.isSafeInteger(sum)) throw new CommandError('ERR increment or decrement would overflow');
  store.put(key, String(sum));
  return integer(sum);
}

/** SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | KEEPTTL] */
function set(store: Store, [, key, value, ...options]: readonly string[]): string {
  let [end, when, keep, get] = [null as number | null, '', false, false];
  for (let i = 0; i < options.length; i++) {
    const option = options[i].toUpperCase();
    if ((option === 'NX' || option === 'XX') && when === '') when = option;
    else if (option === 'GET') get = true;
    else if (option === 'KEEPTTL' && end === null) keep = true;
    else if ((option === 'EX' || option === 'PX') && i + 1 < options.length && end === null && !keep)
      end = after(wholeNumber(options[++i]), option === 'EX' ? 1000 : 1, 'set');
    else throw new CommandError(SYNTAX);
  }
  const before = store.get(key);
  const applies = when === '' || (when === 'NX') === (before === undefined);
  if (applies) store.set(key, value, keep ? store.end(key) : end);
  if (get) return bulk(before);
  return applies ? OK : bulk(undefined);
}

function after(amount: number, unit: number, command: string): number {
  const ms = amount * unit;
  if (!(ms > 0 && Number.isSafeInteger(Date.now() + ms)))
    throw new CommandError(`ERR invalid expire time in '${command}' command`);
  return Date.now() + ms;
}

function expire(store: Store, key: string, ms: number): string {
  if (!store.has(key)) return integer(0);
  if (ms <= 0) store.delete(key);
  else store.setEnd(key, Date.now() + ms);
  return integer(1);
}

/** What is left, in `unit` milliseconds: -1 for ever, -2 for a key that is not there. */
function left(store: Store, key: string, unit: number): string {
  if (!store.has(key)) return integer(-2);
  const end = store.end(key);
  return integer(end === null ? -1 : Math.ceil((end - Date.now()) / unit));
}

function append(store: Store, key: string, value: string): string {
  const whole = (store.get(key) ?? '') + value;
  store.put(key, whole);
  return integer(whole.length);
}

function setMany(store: Store, pairs: readonly string[]): string {
  if (pairs.length % 2 !== 0) throw new CommandError("ERR wrong number of arguments for 'mset' command");
  for (let i = 0; i < pairs.length; i += 2) store.set(pairs[i], pairs[i + 1], null);
  return OK;
}

const clear: Run = (store) => {
  store.clear();
  return OK;
};

/** Each command with the words that it takes: exactly so many, or, below zero, at least; its own name is one. */
const COMMANDS: Readonly<Record<string, readonly [words: number, run: Run]>> = {
  PING: [-1, (_, [, text]) => (text === undefined ? simple('PONG') : bulk(text))],
  ECHO: [2, (_, [, text]) => bulk(text)],
  GET: [2, (store, [, key]) => bulk(store.get(key))],
  SET: [-3, set],
  MGET: [-2, (store, [, ...keys]) => array(keys.map((key) => bulk(store.get(key))))],
  MSET: [-3, (store, [, ...pairs]) => setMany(store, pairs)],
  APPEND: [3, (store, [, key, value]) => append(store, key, value)],
  STRLEN: [2, (store, [, key]) => integer(store.get(key)?.length ?? 0)],
  DEL: [-2, (store, [, ...keys]) => integer(keys.filter((key) => store.delete(key)).length)],
  EXISTS: [-2, (store, [, ...keys]) => integer(keys.filter((key) => store.has(key)).length)],
  TYPE: [2, (store, [, key]) => simple(store.has(key) ? 'string' : 'none')],
  INCR: [2, (store, [, key]) => add(store, key, 1)],
  DECR: [2, (store, [, key]) => add(store, key, -1)],
  INCRBY: [3, (store, [, key, amount]) => add(store, key, wholeNumber(amount))],
  DECRBY: [3, (store, [, key, amount]) => add(store, key, -wholeNumber(amount))],
  EXPIRE: [3, (store, [, key, seconds]) => expire(store, key, wholeNumber(seconds) * 1000)],
  PEXPIRE: [3, (store, [, key, ms]) => expire(store, key, wholeNumber(ms))],
  PERSIST: [2, persist],
  TTL: [2, (store, [, key]) => left(store, key, 1000)],
  PTTL: [2, (store, [, key]) => left(store, key, 1)],
  DBSIZE: [1, size],
  FLUSHDB: [-1, clear],
  FLUSHALL: [-1, clear],
  // What clients ask for when they come, and do without.
  HELLO: [-1, hello],
  COMMAND: [-1, () => array([])],
  CONFIG: [-2, config],
  CLIENT: [-2, () => OK],
  SELECT: [2, (_, [, index]) => (index === '0' ? OK : failure('ERR DB index is out of range'))],
  INFO: [-1, (store) => bulk(`# Server\r\nredis_version:7.0.0\r\n# Keyspace\r\ndb0:keys=${store.size}\r\n`)],
};

function persist(store: Store, [, key]: readonly string[]): string {
  const ends = store.has(key) && store.end(key) !== null;
  store.setEnd(key, null);
  return integer(ends ? 1 : 0);
}

/**
 * HELLO [version [AUTH user password] [SETNAME name]]: which protocol is to be spoken. This is version 2; whoever asks for 3 is told
 * so in the words that clients fall back on.
 */
function hello(_: Store, [, version, ...options]: readonly string[]): string {
  if (version !== undefined && !/^\d+$/.test(version))
    throw new CommandError('ERR Protocol version is not an integer or out of range');
  if (version !== undefined && version !== '2')
    throw new CommandError('NOPROTO unsupported protocol version');
  for (let i = 0; i < options.length; i += 2) {
    if (options[i].toUpperCase() === 'AUTH')
      throw new CommandError(
        'ERR AUTH <password> called without any password configured for the default user',
      );
    if (options[i].toUpperCase() !== 'SETNAME' || i + 1 >= options.length)
      throw new CommandError(`ERR Syntax error in HELLO option '${options[i].slice(0, 128).toLowerCase()}'`);
  }
  const told = { server: 'redis', version: '7.0.0', mode: 'standalone', role: 'master' };
  const pairs = Object.entries(told).flatMap(([name, value]) => [bulk(name), bulk(value)]);
  return array([...pairs, bulk('proto'), integer(2), bulk('modules'), array([])]);
}

/** Settings that clients ask for before they begin. */
const SETTINGS: Readonly<Record<string, string>> = { save: '', appendonly: 'no' };

function config(_: Store, [, verb, ...names]: readonly string[]): string {
  if (verb.toUpperCase() !== 'GET') throw new CommandError('ERR only CONFIG GET is known');
  const known = names.filter((name) => Object.hasOwn(SETTINGS, name));
  return array(known.flatMap((name) => [bulk(name), bulk(SETTINGS[name])]));
}

function size(store: Store): string {
  store.sweep();
  return integer(store.size);
}

/** Carries a request out. A client's mistake is a reply too. */
export function execute(store: Store, request: readonly string[]): string {
  const name = request[0].toUpperCase();
  if (!Object.hasOwn(COMMANDS, name)) return failure(`ERR unknown command '${request[0].slice(0, 128)}'`);
  const [words, run] = COMMANDS[name];
  if (words < 0 ? request.length < -words : request.length !== words)
    return failure(`ERR wrong number of arguments for '${name.toLowerCase()}' command`);
  try {
    return run(store, request);
  } catch (error) {
    if (error instanceof CommandError) return failure(error.message);
    throw error;
  }
}
