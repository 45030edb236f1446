import { release } from 'node:os';
import { capabilities, type Trait } from '@ouro/runtime';
import { reactor } from '@ouro/runtime/driver';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { itOnRing, polls } from '../../../testing/engine.ts';
import { runProgram } from '../../../testing/program.ts';
import { buildSeccompLauncher, type SeccompLauncher } from '../../../testing/seccomp.ts';

const SOURCE = `
  import { capabilities } from '@ouro/runtime';
  const { driver, available, error, seccomp, machine, traits } = capabilities();
  console.log(JSON.stringify({ driver, available, reason: error?.reason, code: error?.code, seccomp, machine, traits }));
`;

/** What a program of its own sees. */
async function seen(options: Parameters<typeof runProgram>[1] & { readonly before?: string } = {}) {
  const { stdout, stderr } = await runProgram((options.before ?? '') + SOURCE, options);
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}

/** The same for a ring that gets only some of the setup flags, as on an older kernel. */
const masked = (mask: number): string => `
  import { addon } from '@ouro/native';
  const native = addon();
  const { open } = native;
  native.open = (options, dispatch) => open({ ...options, flagMask: ${mask >>> 0} }, dispatch);
`;

describe('capabilities()', () => {
  it('makes the engine of the thread, and describes that', () => {
    const found = capabilities();
    if (found.driver === null) throw found.error;
    expect(found.driver).toBe(polls ? 'poll' : 'uring');
    const { sqEntries, cqEntries, setupFlags, features } = reactor().ring;
    expect(found).toMatchObject({ sqEntries, cqEntries, setupFlags, features });
    expect(found.opcodes.length).toBeGreaterThan(47);
  });

  it('names what is there: features, ops', () => {
    const { features, ops } = capabilities().traits;
    const there: Trait = { supported: true, since: '5.6', missing: null, why: null };
    expect(features.EXT_ARG).toEqual({ ...there, since: '5.11' });
    expect(ops.READ).toEqual(there);
  });

  itOnRing('setup')('names the setup flags in force, and says why another is not', () => {
    const { setup } = capabilities().traits;
    expect(setup.CLAMP).toEqual({ supported: true, since: '5.6', missing: null, why: null });
    expect(setup.IOPOLL).toMatchObject({ missing: 'unasked', why: 'only with the option iopoll' });
    expect(setup.CQE32).toMatchObject({ supported: false, missing: 'unasked' });
  });

  it('gives a reason for each thing that is missing, and none for what is there', () => {
    for (const traits of Object.values(capabilities().traits)) {
      for (const { supported, missing, why } of Object.values<Trait>(traits)) {
        expect([missing === null, why === null]).toEqual([supported, supported]);
      }
    }
  });

  it('looks at the machine', () => {
    const { machine } = capabilities();
    expect(machine.kernel).toBe(release());
    expect(machine.cpus.available).toBeGreaterThan(0);
    expect(machine.cpus.affinity).toBeGreaterThan(0);
    expect(machine.memlock.hard).toBeGreaterThanOrEqual(machine.memlock.soft ?? 0);
  });

  it('sees the limit of locked memory and the CPUs that the process was given', async () => {
    const { machine } = await seen({ under: ['prlimit', '--memlock=65536:131072', 'taskset', '-c', '0'] });
    expect(machine.memlock).toMatchObject({ soft: 65536, hard: 131072 });
    expect(machine.cpus.affinity).toBe(1);
  });
});

describe('what is missing is put down to', () => {
  it('OURO_WITHOUT', async () => {
    const { traits } = await seen({ env: { OURO_WITHOUT: 'READ,BIND' } });
    const { READ, BIND, WRITE } = traits.ops;
    expect(READ).toMatchObject({ supported: false, missing: 'without', why: 'OURO_WITHOUT names it' });
    expect(BIND).toMatchObject({ supported: false });
    expect(WRITE).toMatchObject({ supported: true });
  });

  it('OURO_WITHOUT, in small letters and with the prefix of the kernel too', async () => {
    const { traits } = await seen({ env: { OURO_WITHOUT: ' read , IORING_OP_BIND,' } });
    const { READ, BIND, WRITE } = traits.ops;
    expect([READ, BIND, WRITE].map(({ supported }) => supported)).toEqual([false, false, true]);
  });

  it('OURO_WITHOUT, which is refused where it names no op', async () => {
    const { code, stderr } = await runProgram(`import { sleep } from '@ouro/runtime'; await sleep(1);`, {
      env: { OURO_WITHOUT: 'READ,RAED' },
    });
    expect(stderr).toMatch(/RangeError: The value of "OURO_WITHOUT" is out of range\..* Received RAED/);
    expect(code).toBe(1);
  });

  itOnRing('sqpoll')('the mode: SQPOLL has completions made elsewhere', async () => {
    const { traits } = await seen({ env: { OURO_SQPOLL: '1' } });
    expect(traits.setup.SQPOLL).toMatchObject({ supported: true });
    expect(traits.setup.DEFER_TASKRUN).toMatchObject({ supported: false, missing: 'mode' });
  });

  itOnRing('iopoll')('the mode: IOPOLL takes only reads and writes', async () => {
    const { traits } = await seen({ env: { OURO_IOPOLL: '1' } });
    expect(traits.ops.READ).toMatchObject({ supported: true });
    expect(traits.ops.ACCEPT).toMatchObject({ supported: false, missing: 'mode' });
  });

  itOnRing('setup')('the kernel, which refused it although it should have it', async () => {
    const { traits } = await seen({ before: masked(~(1 << 12) & ~(1 << 13) & ~(1 << 8)) });
    expect(traits.setup.SINGLE_ISSUER).toMatchObject({ supported: false, missing: 'refused' });
    expect(traits.setup.TASKRUN_FLAG).toMatchObject({ supported: false, missing: 'mode' });
  });

  itOnRing('setup')('the age of the kernel', async () => {
    const old = `
      import os from 'node:os';
      import { syncBuiltinESMExports } from 'node:module';
      os.release = () => '5.15.0-generic';
      syncBuiltinESMExports();
    `;
    const { traits } = await seen({ before: old + masked(~(1 << 16)) });
    expect(traits.setup.NO_SQARRAY).toEqual({
      supported: false,
      since: '6.6',
      missing: 'kernel',
      why: 'Linux 5.15.0-generic is older than 6.6',
    });
  });
});

describe('what the poll engine does without is put down to', () => {
  it('the engine', async () => {
    const { traits } = await seen({ env: { OURO_DRIVER: 'poll', OURO_WITHOUT: 'READ' } });
    expect(traits.setup.CLAMP).toMatchObject({ supported: false, missing: 'engine' });
    expect(traits.features.SINGLE_MMAP).toMatchObject({ supported: false, missing: 'engine' });
    expect(traits.features.EXT_ARG).toMatchObject({ supported: true });
    expect(traits.ops.FUTEX_WAIT).toMatchObject({
      supported: false,
      missing: 'engine',
      why: 'only the ring of the kernel can',
    });
    expect(traits.ops.READ).toMatchObject({ supported: false, missing: 'without' });
    expect(traits.ops.WRITE).toMatchObject({ supported: true });
  });
});

describe('under a seccomp filter, or where there is no ring, capabilities()', () => {
  let seccomp: SeccompLauncher;
  beforeAll(async () => {
    seccomp = await buildSeccompLauncher();
  });
  afterAll(() => seccomp.remove());

  it('says that seccomp denies the ring, and what user space offers', async () => {
    const outside = capabilities().machine.seccomp.filters ?? 0;
    const found = await seen({ under: seccomp.denyWith('1'), env: { OURO_DRIVER: '' } });
    expect(found).toMatchObject({ driver: 'poll', available: false, reason: 'seccomp', seccomp: 'denies' });
    expect(found.machine.seccomp).toEqual({ mode: 'filter', filters: outside + 1 });
    expect(found.traits.ops.READ).toMatchObject({ supported: true });
    expect(found.traits.ops.WAITID).toMatchObject({ supported: false, missing: 'engine' });
  });

  it('says that nothing is there where the ring is insisted on', async () => {
    const found = await seen({ under: seccomp.denyWith('1'), env: { OURO_DRIVER: 'uring' } });
    expect(found).toMatchObject({ driver: null, available: false, reason: 'seccomp', seccomp: 'denies' });
    expect(found.traits.ops.READ).toMatchObject({ supported: false, missing: 'denied' });
  });

  it('does not know of the ring where nobody asked for it: available is null', async () => {
    for (const under of [[], seccomp.allow(), seccomp.denyWith('1')]) {
      const found = await seen({ under, env: { OURO_DRIVER: 'poll' } });
      expect(found).toMatchObject({ driver: 'poll', available: null });
      expect(found.reason).toBe(undefined);
      expect(found.seccomp).toBe(found.machine.seccomp.mode === 'off' ? 'none' : 'unknown');
    }
  });

  it('does not blame a filter for an error that no filter of containers gives', async () => {
    const ENOTTY = '25';
    const found = await seen({ under: seccomp.denyWith(ENOTTY), env: { OURO_DRIVER: '' } });
    expect(found).toMatchObject({ driver: 'poll', available: false, reason: 'unknown', seccomp: 'unknown' });
  });

  itOnRing('denied')('tells a filter that allows io_uring from no filter', async () => {
    expect(await seen({ under: seccomp.allow() })).toMatchObject({ available: true, seccomp: 'allows' });
    expect(await seen()).toMatchObject({ available: true, seccomp: capabilities().seccomp });
  });

  it('does not throw without the addon either', async () => {
    const found = await seen({ env: { OURO_NATIVE_PATH: '/nowhere/ouro.node' } });
    expect(found).toMatchObject({ driver: null, available: false, code: 'ERR_OURO_NATIVE' });
  });

  it('does not throw for options in the environment that make no sense', async () => {
    const found = await seen({ env: { OURO_ENTRIES: 'many' } });
    expect(found).toMatchObject({ driver: null, available: false, code: 'ERR_OUT_OF_RANGE' });
  });
});
