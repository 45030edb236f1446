/** One engine in a process of its own, which is started again whenever it is lost. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const SERVE = fileURLToPath(new URL('serve.mjs', import.meta.url));
/** A program that takes longer has lost its way: most take a few milliseconds. */
const LIMIT_MS = 8000;

export class EngineProcess {
  #driver;
  #child = null;
  #settle = null;

  constructor(driver) {
    this.#driver = driver;
  }

  #start() {
    const env = { ...process.env, OURO_DRIVER: this.#driver, OURO_FIXED_FILES: '16' };
    const child = spawn(process.execPath, [SERVE], { stdio: ['pipe', 'pipe', 'pipe'], env });
    let errors = '';
    child.stderr.on('data', (data) => {
      errors = (errors + data).slice(-2000);
    });
    child.stdin.on('error', () => {});
    createInterface({ input: child.stdout }).on('line', (line) => this.#settle?.(JSON.parse(line)));
    child.on('close', (code, signal) => {
      if (this.#child === child) {
        this.#child = null;
        this.#settle?.({ lost: `ended with ${signal ?? code}: ${errors}` });
      }
    });
    return child;
  }

  /** What becomes of `{ seed }` or `{ program }`. */
  run(request) {
    this.#child ??= this.#start();
    const child = this.#child;
    return new Promise((done) => {
      const timer = setTimeout(() => {
        this.#child = null;
        child.kill('SIGKILL');
        this.#settle({ lost: 'hung' });
      }, LIMIT_MS);
      this.#settle = (answer) => {
        clearTimeout(timer);
        this.#settle = null;
        done(answer);
      };
      child.stdin.write(`${JSON.stringify(request)}\n`);
    });
  }

  /** Ends the process. */
  close() {
    const child = this.#child;
    this.#child = null;
    child?.stdin.end();
    child?.kill('SIGKILL');
  }
}
