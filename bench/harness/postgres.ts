import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child } from './child.ts';
import { asLoad, type Command } from './pinning.ts';

/** Where Debian and its like put it: a directory for each version. */
const VERSIONS = '/usr/lib/postgresql';
const MOST_CONNECTIONS = 500;

/** The directory of its programs, of the newest version that is installed. */
function programs(): string | undefined {
  const versions = existsSync(VERSIONS) ? readdirSync(VERSIONS).map(Number) : [];
  const newest = Math.max(...versions.filter((version) => version > 0));
  const directory = join(VERSIONS, `${newest}`, 'bin');
  return existsSync(join(directory, 'initdb')) ? directory : undefined;
}

/** It refuses to run as root; then it runs as the user that its package has made. */
const asItsUser = (command: Command): Command =>
  process.getuid?.() === 0
    ? {
        file: 'setpriv',
        args: ['--reuid=postgres', '--regid=postgres', '--clear-groups', command.file, ...command.args],
      }
    : command;

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

/**
 * Calls `body` with the port of a PostgreSQL that runs only for it: a new database in a temporary directory, on 127.0.0.1, that trusts
 * everybody and syncs nothing, pinned as a load is. Undefined, with a note, where PostgreSQL is not installed.
 */
export async function withPostgres<T>(body: (port: number) => Promise<T>): Promise<T | undefined> {
  const bin = programs();
  if (bin === undefined) {
    console.log(`note: pg is left out: there is no PostgreSQL in ${VERSIONS} (apt-get install postgresql)`);
    return undefined;
  }
  const directory = mkdtempSync(join(tmpdir(), 'ouro-bench-pg-'));
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  process.on('exit', remove);
  try {
    if (process.getuid?.() === 0) chownSync(directory, ...idsOfPostgres());
    const data = join(directory, 'data');
    const options = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-locale', '--no-sync'];
    const { file, args } = asItsUser({ file: join(bin, 'initdb'), args: options });
    execFileSync(file, args, { stdio: ['ignore', 'ignore', 'inherit'], cwd: directory });
    const port = await freePort();
    const settings = { unix_socket_directories: directory, max_connections: MOST_CONNECTIONS, fsync: 'off' };
    const set = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const serve = ['-D', data, '-h', '127.0.0.1', '-p', `${port}`, ...set];
    const server = await Child.start(
      'postgres',
      asLoad(asItsUser({ file: join(bin, 'postgres'), args: serve })),
    );
    try {
      await server.waitFor(/ready to accept connections/, 30_000);
      return await body(port);
    } finally {
      // "Fast": it ends the connections that are left.
      await server.stop('SIGINT');
    }
  } finally {
    process.off('exit', remove);
    remove();
  }
}

function idsOfPostgres(): [user: number, group: number] {
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return [id('-u'), id('-g')];
}
