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

/**
 * A server of a Debian package, as the tests use it: with a directory and a port of its own, and nothing left behind. Commands are words with
 * spaces between them; in these, `DIRECTORY` and `PORT` are its own.
 */
interface ServerKind {
  /** The Debian package. */
  readonly package: string;
  /** Directories in which its programs may be, beside those of `PATH`. */
  readonly places: readonly string[];
  /** Whom it runs as where the tests run as root, if it refuses to be root. */
  readonly user?: string;
  /** What has to be run before. */
  readonly prepare: readonly string[];
  readonly command: string;
  /** What ends it soon and in order. */
  readonly stop: NodeJS.Signals;
}

const isRoot = process.getuid?.() === 0;

/** PostgreSQL's programs are in no `PATH`: several versions may be there. */
function postgresPlaces(): string[] {
  const versions = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql') : [];
  return versions.sort((a, b) => Number(b) - Number(a)).map((each) => `/usr/lib/postgresql/${each}/bin`);
}

const asRoot = isRoot ? ' --user=root' : '';

const SERVERS = {
  redis: {
    package: 'redis-server',
    places: [],
    prepare: [],
    command: 'redis-server --bind 127.0.0.1 --port PORT --dir DIRECTORY',
    stop: 'SIGTERM',
  },
  nats: {
    package: 'nats-server',
    places: ['/usr/sbin'],
    prepare: [],
    command: 'nats-server --addr 127.0.0.1 --port PORT',
    stop: 'SIGTERM',
  },
  postgres: {
    package: 'postgresql',
    places: postgresPlaces(),
    user: 'postgres',
    prepare: [
      'initdb --pgdata DIRECTORY/data --username postgres --auth trust --no-sync --encoding UTF8 --no-locale',
      // The names of its key and certificate are those that it looks for.
      'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost ' +
        '-keyout DIRECTORY/data/server.key -out DIRECTORY/data/server.crt',
    ],
    command: 'postgres -D DIRECTORY/data -h 127.0.0.1 -p PORT -k DIRECTORY -c fsync=off -c ssl=on',
    stop: 'SIGINT',
  },
  mariadb: {
    package: 'mariadb-server',
    places: ['/usr/sbin'],
    prepare: [
      `mariadb-install-db --no-defaults --datadir=DIRECTORY/data --auth-root-authentication-method=normal${asRoot}`,
    ],
    command:
      'mariadbd --no-defaults --datadir=DIRECTORY/data --socket=DIRECTORY/socket --pid-file=DIRECTORY/pid ' +
      `--bind-address=127.0.0.1 --port=PORT --innodb-flush-log-at-trx-commit=0${asRoot}`,
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
  const installed = [...kind.prepare, kind.command].every((command) => findProgram(kind, command) !== null);
  if (!installed)
    console.log(`${kind.package} is not installed: the applications that need it are not tested`);
  describe.skipIf(!installed)(`with ${kind.package}`, () => {
    const server = { port: 0, directory: '' };
    let running: ChildProcess | undefined;
    beforeAll(async () => {
      server.port = await freePort();
      server.directory = mkdtempSync(join(tmpdir(), `ouro-${name}-`));
      running = await start(kind, server);
    });
    afterAll(async () => {
      if (running?.kill(kind.stop)) await once(running, 'exit');
      rmSync(server.directory, { recursive: true, force: true });
    });
    tests(server);
  });
}

/** The path of a command's program. */
function findProgram(kind: ServerKind, command: string): string | null {
  const [program = ''] = command.split(' ');
  const places = [...kind.places, ...(process.env.PATH ?? '').split(':')];
  return places.map((place) => join(place, program)).find((path) => existsSync(path)) ?? null;
}

/** Prepares a server's directory, starts it and waits until it is ready. @throws with what it has written, if it ends instead. */
async function start(kind: ServerKind, { port, directory }: TestServer): Promise<ChildProcess> {
  const identity = kind.user !== undefined && isRoot ? identityOf(kind.user) : undefined;
  if (identity !== undefined) chownSync(directory, identity.uid, identity.gid);
  // No sanitizer of ours, and messages in the language that we wait for.
  const options = { ...identity, cwd: directory, env: { ...process.env, LD_PRELOAD: '', LC_ALL: 'C' } };
  const words = (command: string): [string, string[]] => [
    findProgram(kind, command) ?? '',
    command
      .split(' ')
      .slice(1)
      .map((word) => word.replace('DIRECTORY', directory).replace('PORT', `${port}`)),
  ];
  for (const command of kind.prepare) {
    const { status, stderr } = spawnSync(...words(command), { ...options, encoding: 'utf8' });
    if (status !== 0) throw new Error(`${command} has failed: ${stderr}`);
  }
  const log = join(directory, 'log');
  const fd = openSync(log, 'a');
  const child = spawn(...words(kind.command), { ...options, stdio: ['ignore', fd, fd] });
  closeSync(fd);
  for (;;) {
    const written = readFileSync(log, 'utf8');
    if (READY.test(written)) return child;
    if (child.exitCode !== null) throw new Error(`${kind.package} has ended: ${written}`);
    await pause(50);
  }
}

/** The numbers of a user of this system. */
function identityOf(user: string): { uid: number; gid: number } {
  const [uid = NaN, gid = NaN] = ['-u', '-g'].map((flag) =>
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
