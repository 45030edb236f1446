// Adds up test reports (vitest's JSON) and checks, prints `N passed, N failed, N skipped`, and fails if anything did.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = process.argv[2] ?? 'reports';
const files = readdirSync(folder);
/** Characters of each failure's message that are shown: whoever reads only the end of a log is to see what went wrong. */
const MESSAGE = 1_000;
const total = { passed: 0, failed: 0, skipped: 0 };

for (const file of files.filter((name) => name.endsWith('.json'))) {
  const report = JSON.parse(readFileSync(join(folder, file), 'utf8'));
  total.passed += report.numPassedTests;
  total.failed +=
    report.numFailedTests +
    report.testResults.filter(
      ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
    ).length;
  total.skipped += report.numPendingTests + (report.numTodoTests ?? 0);
  for (const { name, message, assertionResults } of report.testResults.filter(
    ({ status }) => status === 'failed',
  )) {
    const failed = assertionResults.filter(({ status }) => status === 'failed');
    for (const { fullName, failureMessages } of failed) {
      console.log(
        `failed in ${file}: ${fullName}\n  ${failureMessages.join('\n').slice(0, MESSAGE).replaceAll('\n', '\n  ')}`,
      );
    }
    if (failed.length === 0)
      console.log(`failed in ${file}: ${name}\n  ${String(message).slice(0, MESSAGE)}`);
  }
  for (const name of report.unsteady ?? [])
    console.log(`failed at first, passed by itself: ${file}: ${name}`);
}
for (const file of files.filter((name) => name.endsWith('.errors'))) {
  for (const error of JSON.parse(readFileSync(join(folder, file), 'utf8')))
    console.log(`outside of all tests: ${file}: ${error.slice(0, MESSAGE)}`);
}
for (const file of files.filter((name) => name.endsWith('.check'))) {
  const name = file.slice(0, -'.check'.length);
  const result = readFileSync(join(folder, file), 'utf8').trim();
  total[result] += 1;
  if (result === 'failed') console.log(`failed: ${name}`);
}
// A check that promises a report and left none has not run its tests.
for (const [check, report] of [
  ['test.check', 'tests.json'],
  ['poll.check', 'poll.json'],
  ['sanitized.check', 'sanitized.json'],
  ['sanitized-poll.check', 'sanitized-poll.json'],
  ['portable.check', 'portable.json'],
]) {
  if (files.includes(check) && !files.includes(report)) {
    console.log(`no report: ${report}`);
    total.failed += 1;
  }
}
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
