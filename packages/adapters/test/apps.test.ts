import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { root, runCommand } from '../../../testing/program.ts';
import { HOOK } from './support.ts';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 });

/** What an application tells: see apps/main.mjs. */
interface Told {
  readonly result: unknown;
  readonly net: Record<string, { ours: number; node: number } | undefined>;
  readonly http: Record<string, { ours: number; node: number } | undefined>;
}

/** Runs an application as it is, with the hook. All of its connections have to go over the ring. */
async function runApplication(name: string, env: NodeJS.ProcessEnv = {}): Promise<Told> {
  const main = join(root, 'packages/adapters/test/apps/main.mjs');
  const { code, signal, stdout, stderr } = await runCommand([process.execPath, ...HOOK, main, name], {
    env: { OURO_ADAPTERS: 'net,http', ...env },
    limitMs: 120_000,
  });
  expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' });
  const told = JSON.parse(stdout) as Told;
  expect(told.net['Socket.connect']?.ours).toBeGreaterThan(0);
  expect(Object.values(told.net).filter((each) => each?.node !== 0)).toEqual([]);
  expect(told.net.read?.ours).toBeGreaterThan(0);
  expect(told.net.write?.ours).toBeGreaterThan(0);
  return told;
}

const served = (told: Told): void => {
  expect(told.net['Server.listen']?.ours).toBe(1);
  expect(told.net.accept?.ours).toBeGreaterThan(0);
};

describe('applications as they are, with the hook', () => {
  it('Express, asked by fetch', async () => {
    const told = await runApplication('express');
    expect(told.result).toEqual({ hello: 'hello ring', sum: 12_497_500, missing: 404 });
    served(told);
    expect(told.http['Server connection']?.ours).toBeGreaterThan(0);
  });

  it('Fastify, asked by fetch', async () => {
    const told = await runApplication('fastify');
    expect(told.result).toEqual({ answers: 50, length: 500_000 });
    served(told);
    expect(told.http['Server connection']?.ours).toBeGreaterThan(0);
  });

  it('ws, with messages from 1 byte to 5 MiB', async () => {
    const told = await runApplication('ws');
    expect(told.result).toEqual({
      echoed: { 1: true, 125: true, 126: true, 65535: true, 65536: true, 5242880: true },
    });
    served(told);
  });

  it('undici, many requests at a time', async () => {
    const told = await runApplication('undici');
    expect(told.result).toEqual({ echoed: 20, single: 'one' });
    served(told);
  });
});

const hasRedis = spawnSync('redis-server', ['--version']).status === 0;
if (!hasRedis) console.log('apps.test.ts: redis-server is not installed: ioredis is not tested');

/** A port that nobody listens on. */
async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return port;
}

/** Waits until somebody listens. */
async function waitForPort(port: number, server: ChildProcess): Promise<void> {
  for (;;) {
    if (server.exitCode !== null) throw new Error(`The server has ended with ${server.exitCode}`);
    const socket = net.connect(port, '127.0.0.1');
    const connected = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (connected) return;
    await pause(50);
  }
}

describe.skipIf(!hasRedis)('applications with servers of their own', () => {
  let redis: ChildProcess | undefined;
  const directory = mkdtempSync(join(tmpdir(), 'ouro-redis-'));
  afterAll(async () => {
    if (redis !== undefined && redis.exitCode === null) {
      redis.kill();
      await once(redis, 'exit');
    }
    rmSync(directory, { recursive: true, force: true });
  });

  it('ioredis, with a pipeline, a large value, a subscription and our connector', async () => {
    const port = await freePort();
    const settings = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--dir', directory];
    redis = spawn('redis-server', settings, { stdio: 'ignore' });
    await waitForPort(port, redis);
    const told = await runApplication('ioredis', { REDIS_PORT: `${port}` });
    expect(told.result).toEqual({
      value: 'value',
      count: 1000,
      large: true,
      heard: 'hello',
      connector: 'PONG',
    });
  });
});
