// A program with a pool of connections to PostgreSQL, each of which asks one query after the other, by a prepared statement.
//   node pg-queries.mjs PORT CONNECTIONS SECONDS WARMUP
// Verifies what comes back. Prints a JSON line: queries, time and CPU of this process after the warm-up.
import { createHistogram } from 'node:perf_hooks';
import pg from 'pg';

const [port, connections, seconds, warmup] = process.argv.slice(2).map(Number);
const pool = new pg.Pool({
  host: '127.0.0.1',
  port,
  user: 'postgres',
  database: 'postgres',
  max: connections,
});

const latencies = createHistogram();
let sequence = 0;
let queries = 0;
let measuring = false;
let over = false;

async function lane() {
  while (!over) {
    const id = ++sequence % 1_000_000;
    const begun = process.hrtime.bigint();
    const { rows } = await pool.query({
      name: 'row',
      text: 'select $1::int as id, $2::text as name, $1::int + 1 as next',
      values: [id, `name ${id}`],
    });
    if (rows.length !== 1 || rows[0].id !== id || rows[0].next !== id + 1 || rows[0].name !== `name ${id}`)
      throw new Error(`wrong row for ${id}: ${JSON.stringify(rows)}`);
    if (!measuring) continue;
    queries++;
    latencies.record(process.hrtime.bigint() - begun);
  }
}

const cpuSeconds = ({ user, system }) => (user + system) / 1e6;
const sleep = (length) => new Promise((resolve) => setTimeout(resolve, length * 1000));

const lanes = Array.from({ length: connections }, lane);
const measured = (async () => {
  // As load/load.h does it: until some CPU has been used, but not for ever.
  const end = performance.now() + 4000 * warmup;
  await sleep(warmup);
  while (cpuSeconds(process.cpuUsage()) < warmup / 2 && performance.now() < end) await sleep(warmup / 8);
  const cpuBefore = process.cpuUsage();
  const before = performance.now();
  measuring = true;
  await sleep(seconds);
  measuring = false;
  const cpu = process.cpuUsage(cpuBefore);
  const elapsed = performance.now() - before;
  over = true;
  return {
    messages: queries,
    messagesPerSecond: (queries * 1000) / elapsed,
    cpuNs: cpuSeconds(cpu) * 1e9,
    p50us: latencies.percentile(50) / 1000,
    p99us: latencies.percentile(99) / 1000,
  };
})();
const [result] = await Promise.all([measured, ...lanes]);
await pool.end();
console.log(JSON.stringify(result));
