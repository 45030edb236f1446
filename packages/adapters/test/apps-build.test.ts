import { describe, expect, it, vi } from 'vitest';
import { runApplication, servedHttp } from './application.ts';

vi.setConfig({ testTimeout: 180_000 });

describe('build tools as they are, with the hook', () => {
  it('the development server of Vite, which transforms modules and serves files', async () => {
    const told = await runApplication('vite', { OURO_ADAPTERS: '' });
    expect(told.result).toEqual({
      page: true,
      main: { imports: true, typed: false },
      double: { status: 200, typed: false },
      style: true,
      client: true,
      large: true,
    });
    servedHttp(told);
    for (const name of ['FileHandle open', 'open', 'read', 'lstat', 'access']) {
      expect(told.fs[name]?.ours).toBeGreaterThan(0);
    }
  });

  it('webpack, which bundles a server on Koa that runs', async () => {
    const told = await runApplication('webpack', { OURO_ADAPTERS: 'fs' });
    expect(told.result).toEqual({
      errors: [],
      many: true,
      emitted: ['bundle.js', 'bundle.js.map'],
      output: '{"hello":"ring"}',
    });
    expect(told.fs.readFile?.ours).toBeGreaterThan(50);
    expect(told.fs.writeFile?.ours).toBe(2);
    expect(told.fs.stat?.ours).toBeGreaterThan(50);
    expect(told.net).toEqual({});
  });
});
