import { adapters } from './families/adapters.ts';
import { churn } from './families/churn.ts';
import { copy } from './families/copy.ts';
import { echo } from './families/echo.ts';
import { files } from './families/files.ts';
import { guest } from './families/guest.ts';
import { http } from './families/http.ts';
import { idle } from './families/idle.ts';
import { modes } from './families/modes.ts';
import { ops } from './families/ops.ts';
import { spin } from './families/spin.ts';
import { transfer } from './families/transfer.ts';
import { udp } from './families/udp.ts';
import { BenchError, UsageError } from './harness/error.ts';
import { machine } from './harness/machine.ts';
import { type Family, type Options, parseOptions, SOCKET_FAMILIES, USAGE } from './harness/options.ts';
import { type Report, writeReports } from './harness/report.ts';
import { printSummary } from './harness/summary.ts';

const RUNNERS: Readonly<Record<Family, (options: Options) => Promise<Report>>> = {
  echo,
  spin,
  churn,
  udp,
  idle,
  files,
  copy,
  guest,
  ops,
  modes,
  transfer,
  adapters,
  http,
};

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  if (options === undefined) {
    console.log(USAGE);
    return;
  }
  const host = machine();
  console.log(
    `${host.kernel}, ${host.cpu}, ${host.cores} cores, Node ${host.node}, TCP ${host.tcp}, ouro ${host.commit}; ${host.pinning}`,
  );
  if (host.loadAverage > 0.5)
    console.log(`note: the load average is ${host.loadAverage}: something else is running`);

  const reports: Report[] = [];
  const begun = performance.now();
  for (const family of options.families) {
    const within = options.matrix === undefined ? undefined : share(family, options.matrix.minutes, begun);
    reports.push(await RUNNERS[family]({ ...options, within }));
    // After each family, so that a later one's failure costs nothing that was measured.
    if (options.json !== undefined) writeReports(options.json, host, reports);
  }
  if (options.matrix !== undefined) printSummary(reports);
}

/** Seconds for a family out of what is left: as much as it weighs beside those that come after it. */
function share(family: Family, minutes: number, begun: number): number {
  const weights = Object.entries(SOCKET_FAMILIES);
  const rest = weights.slice(weights.findIndex(([name]) => name === family));
  const [, weight = 1] = rest[0] ?? [];
  const total = rest.reduce((sum, [, each]) => sum + each, 0);
  return ((minutes * 60 - (performance.now() - begun) / 1000) * weight) / total;
}

main().catch((error: unknown) => {
  console.error(error instanceof BenchError ? `bench: ${error.message}` : error);
  process.exit(error instanceof UsageError ? 2 : 1);
});
