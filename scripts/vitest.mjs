// Runs vitest. With a report asked for (`OURO_REPORT`), files with a failure run once more by themselves: what passes then
// was hurt by what ran beside it. The report tells of both rounds, and `unsteady` in it names what failed in the first.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { bin, root } from './lib.mjs';

/** More files than this that fail are no accident. */
const MOST_FILES = 8;

function vitest(args, env) {
  const { status } = spawnSync(bin('vitest'), ['run', ...args], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return status ?? 1;
}

/** What vitest says of itself when a machine is so busy that its processes do not hear of each other in time: nothing of the tests. */
const OF_VITEST = /\[vitest-(worker|pool)\]: Timeout/;

/** Errors outside of all tests. */
function errorsOutside(report) {
  const path = `${report}.errors`;
  const errors = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : [];
  return errors.filter((error) => !OF_VITEST.test(error));
}

const failedIn = ({ assertionResults, name }) => {
  const failed = assertionResults.filter(({ status }) => status === 'failed');
  return failed.length > 0 ? failed.map(({ fullName }) => fullName) : [name];
};

/** The first report with the files of the second in the place of theirs. */
function merged(first, again) {
  const newer = new Map(again.testResults.map((result) => [result.name, result]));
  const testResults = first.testResults.map((result) => newer.get(result.name) ?? result);
  const count = (...wanted) =>
    testResults
      .flatMap(({ assertionResults }) => assertionResults)
      .filter(({ status }) => wanted.includes(status)).length;
  return {
    ...first,
    testResults,
    numPassedTests: count('passed'),
    numFailedTests: count('failed'),
    numPendingTests: count('skipped', 'pending'),
    numTodoTests: count('todo'),
    success: again.success,
    unsteady: first.testResults
      .filter(({ name, status }) => status === 'failed' && newer.get(name)?.status === 'passed')
      .flatMap(failedIn),
  };
}

/** Runs vitest with these arguments, and ends this script with its exit code if a test fails. */
export function runTests(args, env = {}) {
  const report = process.env.OURO_REPORT;
  if (report !== undefined) rmSync(`${report}.errors`, { force: true });
  const status = vitest(args, env);
  if (status === 0) return;
  if (report === undefined || !existsSync(report)) process.exit(status);
  const first = JSON.parse(readFileSync(report, 'utf8'));
  const files = first.testResults.filter((result) => result.status === 'failed').map(({ name }) => name);
  // An error outside of all tests (vitest.config.ts notes it) would not be seen again where only some files run.
  const errors = errorsOutside(report);
  if (errors.length > 0 || files.length > MOST_FILES) process.exit(status);
  if (files.length === 0) {
    // It was nothing but vitest's own errors, if there were any.
    if (existsSync(`${report}.errors`)) return;
    process.exit(status);
  }
  console.log(`\nonce more, by themselves:\n${files.map((file) => `  ${file}\n`).join('')}`);
  const second = `${report}.again`;
  const filters = args.filter((argument) => argument.startsWith('-'));
  const statusAgain = vitest([...filters, '--no-file-parallelism', ...files], {
    ...env,
    OURO_REPORT: second,
  });
  if (existsSync(second)) {
    const again = JSON.parse(readFileSync(second, 'utf8'));
    rmSync(second);
    writeFileSync(report, JSON.stringify(merged(first, again)));
  }
  if (statusAgain !== 0) process.exit(statusAgain);
}
