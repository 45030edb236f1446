import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { root, runCommand, runProgram } from '../../../testing/program.ts';
import { HOOK, PRELUDE, temporaryDirectory, told } from './support.ts';

// Each test starts a program or two, which takes seconds on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

const directory = temporaryDirectory();
// Node's own loader of ES modules reads files, too: so it is the difference that counts.
const READS = `${PRELUDE}
  const before = served('readFile', 'fs/promises').ours;
  await fsp.readFile(process.execPath + '.none').catch(() => {});
  tell(served('readFile', 'fs/promises').ours - before);`;

describe('the register hook', () => {
  it('serves a program of ES modules that knows nothing of it', async () => {
    expect(await told(READS)).toBe(1);
  });

  it('serves nothing where it is not asked for', async () => {
    expect(await told(READS, { flags: [] })).toBe(0);
    expect(await told(READS, { env: { OURO_ADAPTERS: 'none' } })).toBe(0);
    expect(await told(READS, { env: { OURO_ADAPTERS: 'net' } })).toBe(0);
  });

  it('refuses a name that is none', async () => {
    const { code, stderr } = await runProgram('', { flags: HOOK, env: { OURO_ADAPTERS: 'fs,nat' } });
    expect(code).toBe(1);
    expect(stderr).toContain("OURO_ADAPTERS knows fs, net, http, dgram and none, not 'nat'");
  });

  it('refuses a driver that is none, with which all would be Node\u2019s and nobody would know', async () => {
    const { code, stderr } = await runProgram('', { flags: HOOK, env: { OURO_DRIVER: 'urnig' } });
    expect(code).toBe(1);
    expect(stderr).toContain("OURO_DRIVER knows uring, poll and fusion, not 'urnig'");
  });

  it.each([
    ['--require', { args: ['--require', '@ouro/adapters/register'], env: {} }],
    ['--import', { args: [...HOOK], env: {} }],
    ['NODE_OPTIONS', { args: [], env: { NODE_OPTIONS: '--import=@ouro/adapters/register' } }],
  ])('works by %s, in CommonJS', async (_name, { args, env }) => {
    const program = join(directory, 'program.cjs');
    writeFileSync(
      program,
      `require('fs').readFile(__filename, 'utf8', (error, text) => {
        const { promises } = require('fs');
        promises.stat(__filename).then(() => console.log(text.length > 10));
      });`,
    );
    const { stdout, stderr, code } = await runCommand([process.execPath, ...args, program], {
      env: { ...env, OURO_ADAPTERS_STATS: '1', OURO_ADAPTERS: 'fs' },
    });
    expect({ stdout, code }).toEqual({ stdout: 'true\n', code: 0 });
    expect(stderr).toMatch(/^fs\.readFile +1 +0$/m);
    expect(stderr).toMatch(/^fs\.stat +1 +0$/m);
  });

  it('is inherited by workers and forks', async () => {
    const program = join(directory, 'worker.mjs');
    writeFileSync(
      program,
      `import { readFile } from 'node:fs/promises';
       import { parentPort } from 'node:worker_threads';
       const { stats } = await import(${JSON.stringify(join(root, 'packages/adapters/dist/index.js'))});
       const served = () => stats()['fs/promises']?.readFile?.ours > 0;
       for (let i = 0; i < 10_000 && !served(); i++) await readFile(new URL(import.meta.url));
       if (parentPort === null) process.send(served()); else parentPort.postMessage(served());`,
    );
    const starter = join(directory, 'starter.mjs');
    writeFileSync(
      starter,
      `import { Worker } from 'node:worker_threads';
       import { fork } from 'node:child_process';
       import { once } from 'node:events';
       const worker = new Worker(${JSON.stringify(program)});
       const child = fork(${JSON.stringify(program)});
       const [[ofWorker], [ofFork]] = await Promise.all([once(worker, 'message'), once(child, 'message')]);
       console.log(JSON.stringify([ofWorker, ofFork]));`,
    );
    const { stdout } = await runCommand([process.execPath, ...HOOK, starter], {
      env: { OURO_ADAPTERS: 'fs' },
      limitMs: 60_000,
    });
    expect(stdout).toBe('[true,true]\n');
  });

  it('leaves files to Node where the permission model is in force', async () => {
    const source = `${PRELUDE}
      await fsp.stat('/');
      const denied = await fsp.readFile('/etc/hostname').catch((error) => error.code);
      tell([denied, served('stat'), served('readFile', 'fs/promises')]);`;
    const flags = ['--experimental-permission', `--allow-fs-read=${root}/*`, '--allow-fs-read=/', ...HOOK];
    const { stdout } = await runProgram(source, { flags, env: { OURO_ADAPTERS: 'fs' } });
    expect(stdout === '' ? 'not to be loaded at all' : stdout).not.toContain('"ours":1');
  });

  it('leaves files to Node where there is no engine to be had', async () => {
    const source = `${PRELUDE}
      const { length } = await fsp.readFile('/proc/self/stat');
      tell([length > 0, served('readFile', 'fs/promises').ours, served('read').ours]);`;
    expect(await told(source, { env: { OURO_NATIVE_PATH: '/nowhere/ouro.node' } })).toEqual([true, 0, 0]);
  });

  it('says in the end what it has served, if it is asked', async () => {
    const { stderr } = await runProgram(`await (await import('node:fs/promises')).stat('/');`, {
      flags: HOOK,
      env: { OURO_ADAPTERS: 'fs', OURO_ADAPTERS_STATS: '1' },
    });
    expect(stderr).toMatch(/^function +ouro +node\n/);
    expect(stderr).toMatch(/^fs\.stat +1 +0$/m);
  });
});

describe('ouro run', () => {
  const ouro = (...args: string[]) =>
    runCommand([process.execPath, 'packages/cli/bin/ouro.js', 'run', ...args]);
  const program = join(directory, 'app.mjs');
  writeFileSync(
    program,
    `import { stat } from 'node:fs/promises';
     await stat('/');
     console.log(JSON.stringify([process.argv.slice(2), process.env.OURO_DRIVER ?? null, process.title]));
     process.exitCode = 7;`,
  );

  it('runs a program with its arguments, and ends as it does', async () => {
    const { code, stdout } = await ouro('--driver', 'poll', '--title=named', program, '--driver', 'x');
    expect({ code, stdout }).toEqual({ code: 7, stdout: '[["--driver","x"],"poll","named"]\n' });
  });

  it('--stats tells what was served, --only of what', async () => {
    expect((await ouro('--stats', '--only', 'fs', program)).stderr).toMatch(/^fs\.stat +1 +0$/m);
    expect((await ouro('--stats', '--only=net', program)).stderr).not.toContain('fs.stat');
  });

  it.each([
    [[], 'no program is named'],
    [['--only', 'fs,nat', 'x'], "--only takes fs, net, http, dgram, with commas between them, not 'fs,nat'"],
    [['--driver', 'epoll', 'x'], "--driver takes uring, poll, fusion, not 'epoll'"],
    [['--driver'], "option '--driver' needs a value"],
  ])('%j: %s', async (args, problem) => {
    const { code, stderr } = await ouro(...args);
    expect({ code, stderr }).toEqual({ code: 2, stderr: `ouro run: ${problem}\nTry 'ouro run --help'\n` });
  });

  it('ends by the signal that it is told to end by', async () => {
    const waiting = join(directory, 'waiting.mjs');
    writeFileSync(waiting, `process.kill(process.ppid, 'SIGTERM'); setInterval(() => {}, 1000);`);
    expect((await ouro(waiting)).code).toBe(128 + 15);
  });
});
