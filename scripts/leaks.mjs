// Looks for memory that the addon never frees: runs small programs on the sanitized build with LeakSanitizer, and fails if
// its report holds an allocation that was made by ours. What Node itself leaves behind is passed over. LeakSanitizer
// sees no mappings: those of the rings are counted in /proc.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSanitized, root } from './lib.mjs';

const WORK = `
  import { run, sleep } from '@ouro/runtime';
  import { nop } from '@ouro/runtime/driver';
  import { File, readFile } from '@ouro/fs';
  import { TcpListener, TcpStream } from '@ouro/net';
  const work = async () => {
    await Promise.all(Array.from({ length: 3000 }, () => nop()));
    await readFile('package.json');
    const listener = await TcpListener.bind({ host: '127.0.0.1' });
    const accepted = listener.accept();
    const client = await TcpStream.connect({ host: '127.0.0.1', port: listener.address.port });
    const server = await accepted;
    const sent = client.writeAll(Buffer.alloc(300_000));
    let bytes = 0;
    for await (const chunk of server) if ((bytes += chunk.length) === 300_000) break;
    await sent;
    const timer = sleep(1e6);
    timer.cancel();
    await timer.catch(() => {});
    return { listener, client, server };
  };
`;

/** Rings in workers, each mode: most are terminated with I/O in flight, some end by themselves. */
const workers = `
  import { Worker } from 'node:worker_threads';
  import { once } from 'node:events';
  import { readFileSync } from 'node:fs';
  const absolute = (text) => text.replaceAll(/'(@ouro\\/[a-z]+(?:\\/[a-z]+)?)'/g, (_, name) => JSON.stringify(import.meta.resolve(name)));
  const WORK = absolute(${JSON.stringify(WORK)});
  for (const options of ['{}', '{ sqpoll: true }', '{ spin: true, entries: 8, cqEntries: 8 }', '{ minWait: { completions: 8, us: 100 } }']) {
    for (const end of ['terminate', 'exit', 'close']) {
      const source = WORK + "import { parentPort } from 'node:worker_threads';" +
        "run(async () => { const { listener, client, server } = await work();" +
        (end === 'close'
          ? "await client.close(); await server.close(); await listener.close(); parentPort.postMessage(0);"
          : "client.read(Buffer.alloc(10)); listener.accept(); sleep(1e6); server.writeAll(Buffer.alloc(8 << 20)); parentPort.postMessage(0);" +
            (end === 'exit' ? "await sleep(1); process.exit();" : "")) +
        "}, " + options + ");";
      const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(source)));
      const exit = once(worker, 'exit');
      await once(worker, 'message');
      if (end === 'terminate') await worker.terminate();
      await exit;
    }
  }
  const maps = readFileSync('/proc/self/maps', 'utf8').split('\\n').filter((line) => line.includes('io_uring'));
  if (maps.length > 0) throw new Error('mappings of rings that are gone:\\n' + maps.join('\\n'));
`;

/** The programs, each with the engine that it runs on. Modes are the ring's. */
const programs = ['uring', 'poll'].flatMap((driver) =>
  sources()
    .map(([name, source]) => [
      name,
      driver === 'poll' ? source.replaceAll('sqpoll: true', '') : source,
      driver,
    ])
    .filter(([, source]) => driver === 'uring' || !source.includes('iopoll')),
);

function sources() {
  return [
    [
      'that closes everything',
      `${WORK} await run(async () => { for (const one of Object.values(await work())) await one.close(); });`,
    ],
    [
      'that exits with I/O in flight',
      `${WORK} await run(async () => { const { client, listener } = await work(); client.read(Buffer.alloc(10)); listener.accept(); sleep(1e6); process.exit(); }, { sqpoll: true });`,
    ],
    [
      'that polls',
      `${WORK} await run(() => Promise.all(Array.from({ length: 3000 }, () => nop())), { iopoll: true });`,
    ],
    ['of workers', workers],
  ];
}

/** How a frame is printed: with the module that it is of. */
const FRAME = '"    #%n %F %L in %m"';

/**
 * The allocations of a report that our code made, by itself or by asking Node for something that is ours to give back.
 * What V8 allocates below a call of ours is V8's, and so is what goes with an object when that is collected, which at the
 * end of a process nobody does.
 */
function ours(report) {
  return report
    .split(/\n\s*\n/)
    .filter((block) => /^(Direct|Indirect) leak of /m.test(block))
    .filter((block) => {
      const frames = block.split('\n').filter((line) => /^\s*#\d/.test(line));
      const mine = frames.findIndex((line) => line.includes('ouro.node'));
      const between = frames.slice(0, mine);
      return mine >= 0 && !between.some((line) => /\bv8::|\bnapi_create_external\b/.test(line));
    });
}

const environment = await buildSanitized();
const folder = mkdtempSync(join(tmpdir(), 'ouro-leaks-'));
let failed = false;
try {
  for (const [name, source, driver] of programs) {
    const reports = mkdtempSync(join(folder, 'reports-'));
    const { status, signal, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', source], {
      cwd: root,
      encoding: 'utf8',
      timeout: 120_000,
      env: {
        ...process.env,
        ...environment,
        OURO_DRIVER: driver,
        // Slow, but it sees through Node, which is built without frame pointers.
        ASAN_OPTIONS: `detect_leaks=1:fast_unwind_on_malloc=0:malloc_context_size=40:use_sigaltstack=0:log_path=${join(reports, 'report')}:stack_trace_format=${FRAME}`,
        LSAN_OPTIONS: 'exitcode=0:max_leaks=0',
      },
    });
    const report = readdirSync(reports)
      .map((file) => readFileSync(join(reports, file), 'utf8'))
      .join('\n');
    const leaks = ours(report);
    const seen = (report.match(/^(Direct|Indirect) leak of /gm) ?? []).length;
    if (status !== 0 || leaks.length > 0 || report.includes('LeakSanitizer has encountered a fatal error')) {
      failed = true;
      console.error(
        `a program ${name} (${driver}): ${signal ?? `exit code ${status}`}\n${stderr}${leaks.join('\n\n')}`,
      );
      if (leaks.length === 0) console.error(report);
    } else {
      console.log(`a program ${name} (${driver}): none of ours (${seen} of Node's)`);
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}
process.exitCode = failed ? 1 : 0;
