// Runs one of Node's tests as Node's own harness does.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** The words of the first comment of its kind: `// Flags: --expose-gc`. */
function words(source, kind) {
  const found = new RegExp(`//\\s+${kind}:(.*)`).exec(source);
  return found === null ? [] : found[1].trim().split(/\s+/).filter(Boolean);
}

/** Flags that the program makes of others. */
function flagsOf(source) {
  return words(source, 'Flags');
}

function environmentOf(source) {
  return Object.fromEntries(
    words(source, 'Env').map((assignment) => {
      const at = assignment.indexOf('=');
      return [assignment.slice(0, at), assignment.slice(at + 1)];
    }),
  );
}

const MOST_OUTPUT = 16_384;

/**
 * Runs the test `name` of the source `root` to its end.
 *
 * @param hook flags of Node that put the adapters in place; none for a run without them
 * @param place a folder for what the test writes, its own while it runs
 * @returns {Promise<{ passed: boolean, skipped: boolean, ended: string, output: string }>}
 */
export function runTest({ root, name, hook, place, thread, limitMs }) {
  const file = join(root, 'test', 'parallel', name);
  const source = readFileSync(file, 'utf8');
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place, { recursive: true });
  return new Promise((done) => {
    const child = spawn(process.execPath, [...hook, ...flagsOf(source), file], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true, // a group of its own, which is ended as a whole
      env: {
        ...process.env,
        ...environmentOf(source),
        TEST_THREAD_ID: String(thread),
        NODE_TEST_DIR: place,
        NODE_OPTIONS: '',
      },
    });
    let output = '';
    let expired = false;
    const keep = (chunk) => {
      output = (output + chunk).slice(-MOST_OUTPUT);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const endGroup = () => {
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended, and so have those that it started.
      }
    };
    const timer = setTimeout(() => {
      expired = true;
      endGroup();
    }, limitMs);
    child.on('exit', endGroup);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const ended = expired ? `not ended after ${limitMs / 1000} s` : (signal ?? `exit code ${code}`);
      const skipped = code === 0 && /^1\.\.0 # Skipped/m.test(output);
      done({ passed: code === 0 && !expired, skipped, ended, output });
    });
  });
}
