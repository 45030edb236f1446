import { IORING_SETUP_SQPOLL } from '@ouro/native/abi';
import { describe, expect, it } from 'vitest';
import { itOnRing } from '../../../testing/engine.ts';
import { runProgram } from '../../../testing/program.ts';
import { type RunOptions, ringConfig } from '../src/base/options.ts';

/** What `'auto'` makes of spinning here. */
const auto = ringConfig({ spin: 'auto' }, {}).spinMax > 0 ? { spinMax: 50, spinShare: 0.1 } : {};
const off = { spinMax: 0, spinShare: 0 };

const defaults = {
  wanted: 'fusion',
  sqEntries: 256,
  cqEntries: 4096,
  modeFlags: 0,
  sqIdle: 1000,
  sqCpu: 0,
  ...off,
  ...auto,
  minWaitCompletions: 0,
  minWaitUs: 0,
  fixedFiles: 1024,
  receiveMemory: 4096,
  boundedWorkers: 0,
  unboundedWorkers: 0,
};

describe('the options of a ring', () => {
  it('have defaults', () => {
    expect(ringConfig({}, {})).toEqual(defaults);
    expect(ringConfig(undefined, {})).toEqual(defaults);
  });

  it.each<[RunOptions, Partial<typeof defaults>]>([
    [{ driver: 'fusion' }, {}],
    [{ driver: 'uring' }, { wanted: 'uring' }],
    [{ driver: 'poll' }, { wanted: 'poll' }],
    [
      { driver: 'uring', sqpoll: true },
      { wanted: 'uring', modeFlags: 2 },
    ],
    [{ entries: 8 }, { sqEntries: 8 }],
    [{ entries: 8192 }, { sqEntries: 8192, cqEntries: 8192 }],
    [{ cqEntries: 65_536 }, { cqEntries: 65_536 }],
    [{ sqpoll: true }, { modeFlags: 2 }],
    [{ sqpoll: {} }, { modeFlags: 2 }],
    [{ sqpoll: false }, {}],
    [{ sqpoll: { idle: 20, cpu: 0 } }, { modeFlags: 2 | 4, sqIdle: 20, sqCpu: 0 }],
    [{ sqpoll: { cpu: 3 } }, { modeFlags: 2 | 4, sqCpu: 3 }],
    [{ iopoll: true }, { modeFlags: 1 }],
    [{ iopoll: 'hybrid' }, { modeFlags: 0x2_0001 }],
    [{ iopoll: true, sqpoll: true }, { modeFlags: 3 }],
    [{ spin: true }, { spinMax: 50, spinShare: 0.1 }],
    [{ spin: 'auto' }, auto],
    [{ spin: false }, off],
    [{ spin: { max: 7 } }, { spinMax: 7, spinShare: 0.1 }],
    [{ spin: { share: 1 } }, { spinMax: 50, spinShare: 1 }],
    [{ spin: { max: 7, share: 0 } }, off],
    [{ minWait: { completions: 4, us: 50 } }, { minWaitCompletions: 4, minWaitUs: 50 }],
    [{ fixedFiles: 1_048_576 }, { fixedFiles: 1_048_576 }],
    [{ receiveMemory: 64 }, { receiveMemory: 64 }],
    [{ workers: { bounded: 4 } }, { boundedWorkers: 4 }],
    [{ workers: { bounded: 4, unbounded: 5 } }, { boundedWorkers: 4, unboundedWorkers: 5 }],
  ])('%j are taken', (options, expected) => {
    expect(ringConfig(options, {})).toEqual({ ...defaults, ...expected });
  });

  it.each<[object | null | number, 'TypeError' | 'RangeError', string]>([
    [null, 'TypeError', 'options'],
    [7, 'TypeError', 'options'],
    [{ driver: 'epoll' }, 'RangeError', 'options.driver'],
    [{ driver: true }, 'TypeError', 'options.driver'],
    [{ driver: null }, 'TypeError', 'options.driver'],
    [{ driver: 'poll', sqpoll: true }, 'RangeError', 'options.sqpoll'],
    [{ driver: 'poll', iopoll: 'hybrid' }, 'RangeError', 'options.iopoll'],
    [{ entries: 63 }, 'RangeError', 'options.entries'],
    [{ entries: '64' }, 'TypeError', 'options.entries'],
    [{ entries: null }, 'TypeError', 'options.entries'],
    [{ entries: 64, cqEntries: 32 }, 'RangeError', 'options.cqEntries'],
    [{ sqpoll: 1 }, 'TypeError', 'options.sqpoll'],
    [{ sqpoll: null }, 'TypeError', 'options.sqpoll'],
    [{ sqpoll: { idle: 0 } }, 'RangeError', 'options.sqpoll.idle'],
    [{ sqpoll: { idle: '5' } }, 'TypeError', 'options.sqpoll.idle'],
    [{ sqpoll: { cpu: -1 } }, 'RangeError', 'options.sqpoll.cpu'],
    [{ iopoll: 'yes' }, 'RangeError', 'options.iopoll'],
    [{ iopoll: {} }, 'TypeError', 'options.iopoll'],
    [{ spin: 'always' }, 'RangeError', 'options.spin'],
    [{ spin: 5 }, 'TypeError', 'options.spin'],
    [{ spin: { max: 0 } }, 'RangeError', 'options.spin.max'],
    [{ spin: { max: 1.5 } }, 'RangeError', 'options.spin.max'],
    [{ spin: { share: 1.1 } }, 'RangeError', 'options.spin.share'],
    [{ spin: { share: Number.NaN } }, 'RangeError', 'options.spin.share'],
    [{ spin: { share: '1' } }, 'TypeError', 'options.spin.share'],
    [{ minWait: 5 }, 'TypeError', 'options.minWait'],
    [{ minWait: { completions: 1, us: 5 } }, 'RangeError', 'options.minWait.completions'],
    [{ minWait: { completions: 4 } }, 'TypeError', 'options.minWait.us'],
    [{ fixedFiles: 0 }, 'RangeError', 'options.fixedFiles'],
    [{ receiveMemory: 32 }, 'RangeError', 'options.receiveMemory'],
    [{ receiveMemory: 96 }, 'RangeError', 'options.receiveMemory'],
    [{ fixedFiles: '1' }, 'TypeError', 'options.fixedFiles'],
    [{ workers: 4 }, 'TypeError', 'options.workers'],
    [{ workers: [] }, 'TypeError', 'options.workers'],
    [[], 'TypeError', 'options'],
    [{ workers: { bounded: 0 } }, 'RangeError', 'options.workers.bounded'],
    [{ workers: { unbounded: 1e6 } }, 'RangeError', 'options.workers.unbounded'],
  ])('%j are refused with a %s that names %s', (options, name, option) => {
    expect(() => ringConfig(options as RunOptions, {})).toThrow(
      expect.objectContaining({ name, message: expect.stringContaining(`"${option}"`) as string }) as Error,
    );
  });
});

describe('the environment', () => {
  it.each<[string, string, Partial<typeof defaults>]>([
    ['OURO_DRIVER', 'fusion', {}],
    ['OURO_DRIVER', 'uring', { wanted: 'uring' }],
    ['OURO_DRIVER', 'poll', { wanted: 'poll' }],
    ['OURO_ENTRIES', '64', { sqEntries: 64 }],
    ['OURO_CQ_ENTRIES', '512', { cqEntries: 512 }],
    ['OURO_SQPOLL', '0', {}],
    ['OURO_SQPOLL', '1', { modeFlags: 2 }],
    ['OURO_SQPOLL', '250', { modeFlags: 2, sqIdle: 250 }],
    ['OURO_IOPOLL', '1', { modeFlags: 1 }],
    ['OURO_IOPOLL', 'hybrid', { modeFlags: 0x2_0001 }],
    ['OURO_SPIN', '0', off],
    ['OURO_SPIN', '1', { spinMax: 50, spinShare: 0.1 }],
    ['OURO_SPIN', 'auto', auto],
    ['OURO_SPIN', '20', { spinMax: 20, spinShare: 0.1 }],
    ['OURO_MIN_WAIT', '8:100', { minWaitCompletions: 8, minWaitUs: 100 }],
    ['OURO_FIXED_FILES', '4096', { fixedFiles: 4096 }],
    ['OURO_RECEIVE_MEMORY', '65536', { receiveMemory: 65_536 }],
    ['OURO_WORKERS', '4:0', { boundedWorkers: 4 }],
    ['OURO_WORKERS', '4:5', { boundedWorkers: 4, unboundedWorkers: 5 }],
    ['OURO_ENTRIES', '', {}],
  ])('%s=%s', (name, text, expected) => {
    expect(ringConfig({}, { [name]: text })).toEqual({ ...defaults, ...expected });
  });

  it.each([
    ['OURO_DRIVER', 'Poll'],
    ['OURO_ENTRIES', '63'],
    ['OURO_ENTRIES', '0x40'],
    ['OURO_CQ_ENTRIES', '128'],
    ['OURO_SQPOLL', 'yes'],
    ['OURO_SQPOLL', '60001'],
    ['OURO_IOPOLL', '2'],
    ['OURO_SPIN', '-1'],
    ['OURO_SPIN', '1e3'],
    ['OURO_MIN_WAIT', '8'],
    ['OURO_MIN_WAIT', '1:5'],
    ['OURO_FIXED_FILES', '0'],
    ['OURO_WORKERS', '4'],
    ['OURO_WORKERS', '4:x'],
    ['OURO_WORKERS', '4:65536'],
  ])('%s=%s is refused by name', (name, text) => {
    expect(() => ringConfig({}, { [name]: text })).toThrow(
      expect.objectContaining({
        name: 'RangeError',
        message: expect.stringMatching(new RegExp(`"${name}".*Received ${text}$`)) as string,
      }) as Error,
    );
  });

  it.each<RunOptions>([{}, { driver: 'fusion' }, { driver: 'poll' }, { spin: true }])(
    'OURO_DRIVER=poll holds whatever the program says: %j',
    (options) => {
      expect(ringConfig(options, { OURO_DRIVER: 'poll' }).wanted).toBe('poll');
    },
  );

  it.each<RunOptions>([
    { driver: 'uring' },
    { sqpoll: true },
    { iopoll: true },
    { driver: 'fusion', sqpoll: {} },
  ])('OURO_DRIVER=poll refuses a program that insists on the ring: %j', (options) => {
    expect(() => ringConfig(options, { OURO_DRIVER: 'poll' })).toThrow(
      expect.objectContaining({
        code: 'ERR_OURO_URING_UNAVAILABLE',
        reason: 'switch',
        message: expect.stringContaining('OURO_DRIVER=poll') as string,
      }) as Error,
    );
  });

  it.each(['OURO_SQPOLL', 'OURO_IOPOLL'])('OURO_DRIVER=poll and %s=1 contradict each other', (name) => {
    expect(() => ringConfig({}, { OURO_DRIVER: 'poll', [name]: '1' })).toThrow(
      expect.objectContaining({
        name: 'RangeError',
        message: expect.stringContaining(`"${name}"`) as string,
      }) as Error,
    );
  });

  it('gives way to what the program says', () => {
    const env = {
      OURO_DRIVER: 'fusion',
      OURO_ENTRIES: '63',
      OURO_SQPOLL: '1',
      OURO_IOPOLL: '1',
      OURO_SPIN: '1',
      OURO_MIN_WAIT: '8:100',
      OURO_FIXED_FILES: '9',
      OURO_WORKERS: '1:1',
    };
    const said: RunOptions = {
      driver: 'uring',
      entries: 128,
      sqpoll: false,
      iopoll: false,
      spin: false,
      minWait: { completions: 2, us: 1 },
      fixedFiles: 2048,
      workers: { bounded: 2 },
    };
    expect(ringConfig(said, env)).toEqual({
      ...defaults,
      ...off,
      wanted: 'uring',
      sqEntries: 128,
      minWaitCompletions: 2,
      minWaitUs: 1,
      fixedFiles: 2048,
      boundedWorkers: 2,
    });
  });

  it('does not make a process of one CPU spin by itself', async () => {
    const { stdout } = await runProgram(
      `
        import { run } from '@ouro/runtime';
        import { reactor } from '@ouro/runtime/driver';
        await run(() => console.log(reactor().config.spinMax));
      `,
      { under: ['taskset', '-c', '0'], env: { OURO_SPIN: 'auto' } },
    );
    expect(stdout).toBe('0\n');
  });

  itOnRing('sqpoll')('reaches the ring of a program that says nothing', async () => {
    const { stdout } = await runProgram(
      `
        import { nop, reactor } from '@ouro/runtime/driver';
        await nop();
        console.log(reactor().ring.sqEntries, reactor().ring.setupFlags & ${IORING_SETUP_SQPOLL});
      `,
      { env: { OURO_ENTRIES: '16', OURO_SQPOLL: '5' } },
    );
    expect(stdout).toBe('16 2\n');
  });

  it('that is wrong fails the first op, clearly', async () => {
    const { stdout } = await runProgram(
      `
        import { run } from '@ouro/runtime';
        await run(() => {}).catch((error) => console.log(error.name, error.message));
      `,
      { env: { OURO_SPIN: 'often' } },
    );
    expect(stdout).toBe(
      'RangeError The value of "OURO_SPIN" is out of range. It must be 0, 1, auto or microseconds up to 10000. Received often\n',
    );
  });
});

describe('options once the ring runs', () => {
  it('may be said again, and not be changed: the error names each change', async () => {
    const { stdout } = await runProgram(
      `
      import { run } from '@ouro/runtime';
      await run(() => {}, { entries: 64, spin: { max: 20 } });
      await run(() => {}, { entries: 64, spin: { max: 20 } });
      try {
        run(() => {}, { entries: 64, fixedFiles: 9 });
      } catch (error) {
        console.log(error.code, error.message);
      }
`,
      { env: { OURO_SQPOLL: '' } },
    );
    expect(stdout).toContain('ERR_OURO_RING_ACTIVE');
    expect(stdout).toContain('spin.max from 20 to ');
    expect(stdout).toContain('fixedFiles from 1024 to 9');
    expect(stdout).not.toContain('sqEntries');
  });
});
