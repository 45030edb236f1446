// An application that knows nothing of ouro and does much with files, as build tools do: looks through a tree, reads what is in it,
// makes something of it, and writes that over what the last build has left. What is long it reads through streams.
//   fs-build.mjs SOURCE TARGET BUILDS
// Prints a JSON line: CPU and time of a build, over all but the first.
import { createReadStream } from 'node:fs';
import { access, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const [source, target, builds] = process.argv.slice(2);
const AT_ONCE = 16;

async function inLanes(items, work) {
  const waiting = [...items];
  const lane = async () => {
    for (let item = waiting.pop(); item !== undefined; item = waiting.pop()) await work(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

async function one(name) {
  const from = join(source, name);
  const to = join(target, name);
  await stat(from);
  if (name.endsWith('.bin')) {
    let bytes = 0;
    for await (const chunk of createReadStream(from)) bytes += chunk.length;
    return bytes;
  }
  // As resolvers of modules do: most of what they ask for is not there.
  await access(`${from}.map`).catch(() => {});
  const text = await readFile(from, 'utf8');
  await writeFile(to, text.replace('import', 'export'));
  return text.length;
}

async function build() {
  let bytes = 0;
  let files = 0;
  const directories = await readdir(source);
  for (const directory of directories) {
    await mkdir(join(target, directory), { recursive: true });
    const names = await readdir(join(source, directory));
    await inLanes(names, async (name) => {
      const length = await one(join(directory, name));
      bytes += length;
      files++;
    });
  }
  return { bytes, files };
}

await build();
const cpuBefore = process.cpuUsage();
const before = performance.now();
let done = { bytes: 0, files: 0 };
for (let i = 0; i < Number(builds); i++) done = await build();
const cpu = process.cpuUsage(cpuBefore);
const elapsed = performance.now() - before;
console.log(
  JSON.stringify({
    medianNs: (elapsed * 1e6) / Number(builds),
    opsPerSecond: (1000 * done.files * Number(builds)) / elapsed,
    cpuNsPerOp: ((cpu.user + cpu.system) * 1000) / (done.files * Number(builds)),
    ...done,
  }),
);
