import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { connected, runApplication } from './application.ts';
import { describeWith } from './servers.ts';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

describeWith('redis', (server) => {
  const environment = () => ({ REDIS_PORT: `${server.port}` });

  it('ioredis, with a pipeline, a large value, a subscription and our connector', async () => {
    const told = await runApplication('ioredis', environment());
    expect(told.result).toEqual({
      value: 'value',
      count: 1000,
      large: true,
      heard: 'hello',
      connector: 'PONG',
    });
    connected(told);
  });

  it('BullMQ, with 200 jobs of which one is tried twice', async () => {
    const told = await runApplication('bullmq', environment());
    expect(told.result).toEqual({
      jobs: 200,
      sum: 19_900,
      values: 39_800,
      tried: 1,
      counts: { completed: 200, failed: 0, waiting: 0 },
    });
    connected(told);
  });
});

describeWith('nats', (server) => {
  it('NATS, with subscriptions, requests and a large message', async () => {
    const told = await runApplication('nats', { NATS_PORT: `${server.port}` });
    expect(told.result).toEqual({
      heard: 1000,
      ordered: true,
      answer: '24 gnir',
      large: true,
      missing: 'RequestError',
    });
    connected(told);
  });
});

/** md5 of 50000, the last row of a large result. */
const LAST = '1017bfd4673955ffee4641ad3d481b1c';

describeWith('postgres', (server) => {
  const environment = () => ({
    POSTGRES_PORT: `${server.port}`,
    POSTGRES_CERTIFICATE: join(server.directory, 'data/server.crt'),
  });
  const expected = {
    inside: 10,
    beside: 20,
    page: 'page 7',
    body: true,
    rows: 50_000,
    last: LAST,
    failed: '42P01',
    heard: 'hello',
  };

  it('pg, with a pool, parameters, a transaction, a large result and notifications', async () => {
    const told = await runApplication('pg', environment());
    expect(told.result).toEqual(expected);
    connected(told);
  });

  it('pg over TLS', async () => {
    const told = await runApplication('pg-tls', environment());
    expect(told.result).toEqual(expected);
    connected(told);
    expect(told.tls.TLSSocket?.ours).toBeGreaterThan(1);
    expect(told.tls.TLSSocket?.node).toBe(0);
  });

  it('pg without the hook, with our stream', async () => {
    const told = await runApplication('pg-stream', environment(), []);
    expect(told.result).toEqual(expected);
    connected(told);
  });
});

describeWith('mariadb', (server) => {
  const environment = () => ({ MARIADB_PORT: `${server.port}` });
  const expected = {
    inside: 10,
    beside: 20,
    page: 'page 7',
    body: true,
    rows: 50_000,
    last: LAST,
    streamed: 50_005_000,
    failed: 'ER_NO_SUCH_TABLE',
  };

  it('mysql2, with a pool, prepared statements, a transaction and a large result', async () => {
    const told = await runApplication('mysql2', environment());
    expect(told.result).toEqual(expected);
    connected(told);
  });

  it('mysql2 without the hook, with our stream', async () => {
    const told = await runApplication('mysql2-stream', environment(), []);
    expect(told.result).toEqual(expected);
    connected(told);
  });
});
