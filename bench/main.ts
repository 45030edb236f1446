import { echo } from './families/echo.ts';
import { files } from './families/files.ts';
import { guest } from './families/guest.ts';
import { modes } from './families/modes.ts';
import { ops } from './families/ops.ts';
import { BenchError, UsageError } from './harness/error.ts';
import { machine } from './harness/machine.ts';
import { type Family, type Options, parseOptions, USAGE } from './harness/options.ts';
import { type Report, writeReports } from './harness/report.ts';

const RUNNERS: Readonly<Record<Family, (options: Options) => Promise<Report>>> = {
  echo,
  files,
  guest,
  ops,
  modes,
};

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  if (options === undefined) {
    console.log(USAGE);
    return;
  }
  const host = machine();
  console.log(
    `${host.kernel}, ${host.cpu}, ${host.cores} cores, Node ${host.node}, ouro ${host.commit}; ${host.pinning}`,
  );
  if (host.loadAverage > 0.5)
    console.log(`note: the load average is ${host.loadAverage}: something else is running`);

  const reports: Report[] = [];
  for (const family of options.families) {
    reports.push(await RUNNERS[family](options));
    // After each family, so that a later one's failure costs nothing that was measured.
    if (options.json !== undefined) writeReports(options.json, host, reports);
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof BenchError ? `bench: ${error.message}` : error);
  process.exit(error instanceof UsageError ? 2 : 1);
});
