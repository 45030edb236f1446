import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chownSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe } from 'vitest';

/** A server of a Debian package, as the tests use it: with a directory and a port of its own, and nothing left behind. */
interface ServerKind {
  /** The Debian package. */
  readonly package: string;
  /** Directories in which its programs may be, beside those of `PATH`. */
  readonly places: readonly string[];
  readonly program: string;
  /** Whom it runs as where the tests run as root, if it refuses to be root. */
  readonly user?: string;
  /** Commands that have to be run before. A program is found as the server is. */
  readonly prepare?: (directory: string) => readonly (readonly string[])[];
  readonly args: (directory: string, port: number) => readonly string[];
  /** What ends it soon and in order. */
  readonly stop: NodeJS.Signals;
}

const isRoot = process.getuid?.() === 0;

/** PostgreSQL's programs are in no `PATH`: several versions may be there. */
function postgresPlaces(): string[] {
  const versions = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql') : [];
  return versions.sort((a, b) => Number(b) - Number(a)).map((each) => `/usr/lib/postgresql/${each}/bin`);
}

const SERVERS = {
  redis: {
    package: 'redis-server',
    places: [],
    program: 'redis-server',
    args: (directory, port) => ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--dir', directory],
    stop: 'SIGTERM',
  },
  nats: {
    package: 'nats-server',
    places: ['/usr/sbin'],
    program: 'nats-server',
    args: (_directory, port) => ['--addr', '127.0.0.1', '--port', `${port}`],
    stop: 'SIGTERM',
  },
  postgres: {
    package: 'postgresql',
    places: postgresPlaces(),
    program: 'postgres',
    user: 'postgres',
    prepare: (directory) => [
      [
        'initdb',
        '--pgdata',
        join(directory, 'data'),
        '--username=postgres',
        '--auth=trust',
        '--no-sync',
        '--encoding=UTF8',
        '--no-locale',
      ],
      // The names are PostgreSQL's own: it finds them.
      [
        'openssl',
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
        '-subj',
        '/CN=localhost',
        '-keyout',
        join(directory, 'data/server.key'),
        '-out',
        join(directory, 'data/server.crt'),
      ],
    ],
    args: (directory, port) => [
      '-D',
      join(directory, 'data'),
      '-p',
      `${port}`,
      '-h',
      '127.0.0.1',
      '-k',
      directory,
      '-c',
      'fsync=off',
      '-c',
      'ssl=on',
    ],
    stop: 'SIGINT',
  },
  mariadb: {
    package: 'mariadb-server',
    places: ['/usr/sbin'],
    program: 'mariadbd',
    prepare: (directory) => [
      [
        'mariadb-install-db',
        '--no-defaults',
        '--auth-root-authentication-method=normal',
        `--datadir=${join(directory, 'data')}`,
        ...(isRoot ? ['--user=root'] : []),
      ],
    ],
    args: (directory, port) => [
      '--no-defaults',
      `--datadir=${join(directory, 'data')}`,
      `--socket=${join(directory, 'socket')}`,
      `--pid-file=${join(directory, 'pid')}`,
      '--bind-address=127.0.0.1',
      `--port=${port}`,
      '--innodb-flush-log-at-trx-commit=0',
      ...(isRoot ? ['--user=root'] : []),
    ],
    stop: 'SIGTERM',
  },
} as const satisfies Record<string, ServerKind>;

/** What all of them write when clients may come. */
const READY = /server is ready|ready (to accept|for) connections/i;

/** A server that runs. */
export interface TestServer {
  /** On 127.0.0.1. Known as soon as the tests begin. */
  readonly port: number;
  /** Its own directory. */
  readonly directory: string;
}

/**
 * Tests with a server, which is started for them and stopped when they are done. Where it is not installed they are skipped, with
 * one line that says so.
 */
export function describeWith(name: keyof typeof SERVERS, tests: (server: TestServer) => void): void {
  const kind: ServerKind = SERVERS[name];
  const program = findProgram(kind, kind.program);
  if (program === null) {
    console.log(`${kind.package} is not installed: the applications that need it are not tested`);
    describe.skip(`with ${kind.package}`, () => tests({ port: 0, directory: '' }));
    return;
  }
  describe(`with ${kind.package}`, () => {
    const directory = mkdtempSync(join(tmpdir(), `ouro-${name}-`));
    const server = { port: 0, directory };
    let running: ChildProcess | undefined;
    beforeAll(async () => {
      server.port = await freePort();
      running = await start(kind, program, server);
    });
    afterAll(async () => {
      if (running?.kill(kind.stop)) await once(running, 'exit');
      rmSync(directory, { recursive: true, force: true });
    });
    tests(server);
  });
}

function findProgram(kind: ServerKind, program: string): string | null {
  const places = [...kind.places, ...(process.env.PATH ?? '').split(':')];
  return places.map((place) => join(place, program)).find((path) => existsSync(path)) ?? null;
}

/** Prepares a server's directory, starts it and waits until it is ready. @throws with what it has written, if it ends instead. */
async function start(
  kind: ServerKind,
  program: string,
  { port, directory }: TestServer,
): Promise<ChildProcess> {
  const identity = kind.user !== undefined && isRoot ? identityOf(kind.user) : {};
  if (identity.uid !== undefined) chownSync(directory, identity.uid, identity.gid);
  // No sanitizer of ours, and messages in the language that we wait for.
  const env = { ...process.env, LD_PRELOAD: '', LC_ALL: 'C' };
  const options = { ...identity, cwd: directory, env };
  for (const [command = '', ...args] of kind.prepare?.(directory) ?? []) {
    const { status, stderr, error } = spawnSync(findProgram(kind, command) ?? command, args, {
      ...options,
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`${command} has failed: ${error?.message ?? stderr}`);
  }
  const log = join(directory, 'log');
  const fd = openSync(log, 'a');
  const child = spawn(program, kind.args(directory, port), { ...options, stdio: ['ignore', fd, fd] });
  closeSync(fd);
  for (;;) {
    const written = readFileSync(log, 'utf8');
    if (READY.test(written)) return child;
    if (child.exitCode !== null) throw new Error(`${kind.program} has ended: ${written}`);
    await pause(50);
  }
}

function identityOf(user: string): { uid?: number; gid?: number } {
  const [uid, gid] = ['-u', '-g'].map((flag) =>
    Number(spawnSync('id', [flag, user], { encoding: 'utf8' }).stdout),
  );
  return { uid, gid };
}

/** A port that nobody listens on, below those that the kernel gives to who asks for any. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const server = net.createServer().listen(port, '127.0.0.1');
    const free = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    if (!free) continue;
    await new Promise((closed) => server.close(closed));
    return port;
  }
}
