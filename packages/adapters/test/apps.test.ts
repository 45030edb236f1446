import { describe, expect, it, vi } from 'vitest';
import { runApplication, served, servedHttp } from './application.ts';

vi.setConfig({ testTimeout: 180_000 });

describe('applications as they are, with the hook', () => {
  it('Express, asked by fetch', async () => {
    const told = await runApplication('express');
    expect(told.result).toEqual({ hello: 'hello ring', sum: 12_497_500, missing: 404 });
    servedHttp(told);
  });

  it('Fastify, asked by fetch', async () => {
    const told = await runApplication('fastify');
    expect(told.result).toEqual({ answers: 50, length: 500_000 });
    servedHttp(told);
  });

  it('Koa, with bodies both ways, a stream and an error', async () => {
    const told = await runApplication('koa');
    expect(told.result).toEqual({ upper: true, length: '200012', stream: 800_000, thrown: [418, 'teapot'] });
    servedHttp(told);
  });

  it('Hono on its Node server, with events', async () => {
    const told = await runApplication('hono');
    expect(told.result).toEqual({ hello: 'hello ring', sum: 12_497_500, events: 20, missing: 404 });
    servedHttp(told);
  });

  it('Socket.IO by WebSocket and by polling, with binary data, answers and a room', async () => {
    const told = await runApplication('socket.io');
    const talk = { sum: 4950, large: true };
    expect(told.result).toEqual({
      talks: [
        { transport: 'websocket', ...talk },
        { transport: 'polling', ...talk },
      ],
      news: ['hello', 'hello'],
    });
    servedHttp(told);
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
