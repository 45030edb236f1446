// A program that does all it does synchronously, as scripts and loaders of configuration do: looks whether files are there, reads them,
// takes their JSON apart and puts it together again.
//   sync-work.mjs DIRECTORY RUNS
// Prints a JSON line: CPU and time of a run through the directory, after a tenth as many.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

const [directory, runs] = process.argv.slice(2);

function one(path) {
  if (existsSync(`${path}.lock`)) throw new Error(`${path} is locked`);
  const { size } = statSync(path);
  const value = JSON.parse(readFileSync(path, 'utf8'));
  value.size = size;
  return JSON.stringify(value).length;
}

function run() {
  let characters = 0;
  const names = readdirSync(directory);
  for (const name of names) characters += one(join(directory, name));
  return { characters, files: names.length };
}

for (let i = 0; i < runs / 10; i++) run();
const cpuBefore = process.cpuUsage();
const before = performance.now();
let done = { characters: 0, files: 0 };
for (let i = 0; i < runs; i++) done = run();
const elapsed = performance.now() - before;
const cpu = process.cpuUsage(cpuBefore);
console.log(
  JSON.stringify({
    medianNs: (elapsed * 1e6) / runs,
    opsPerSecond: (1000 * done.files * runs) / elapsed,
    cpuNsPerOp: ((cpu.user + cpu.system) * 1000) / (done.files * runs),
    ...done,
  }),
);
