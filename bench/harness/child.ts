import { type ChildProcess, spawn } from 'node:child_process';
import { BenchError } from './error.ts';
import type { Command } from './pinning.ts';

// Whatever happens to us, nothing we started stays behind; and nothing else is ever touched.
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130));

/** A process of ours: its output, its end. */
export class Child {
  readonly name: string;
  readonly pid: number;
  /** Resolves to the exit code, or the name of the signal, once the output is complete. */
  readonly ended: Promise<number | NodeJS.Signals>;
  #process: ChildProcess;
  #stdout = '';
  #stderr = '';
  #onOutput: () => void = () => {};

  private constructor(name: string, process: ChildProcess, pid: number) {
    this.name = name;
    this.pid = pid;
    this.#process = process;
    running.add(process);
    process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
      this.#onOutput();
    });
    process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
      this.#onOutput();
    });
    this.ended = new Promise((resolve) => {
      process.once('close', (code, signal) => {
        running.delete(process);
        resolve(code ?? signal ?? 0);
      });
    });
  }

  static async start(name: string, command: Command): Promise<Child> {
    const process = spawn(command.file, command.args, { stdio: ['ignore', 'pipe', 'pipe'] });
    await new Promise<void>((resolve, reject) => {
      process.once('spawn', resolve);
      process.once('error', (error) => reject(new BenchError(`${name}: ${error.message}`)));
    });
    return new Child(name, process, process.pid ?? 0);
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** The first match in what it has written, to stdout or stderr. */
  async waitFor(pattern: RegExp, timeoutMs: number): Promise<RegExpExecArray> {
    const found = new Promise<RegExpExecArray>((resolve) => {
      this.#onOutput = () => {
        const match = pattern.exec(this.#stdout) ?? pattern.exec(this.#stderr);
        if (match !== null) resolve(match);
      };
      this.#onOutput();
    });
    const ended = this.ended.then((status) => this.#failed(`ended (${status}) before it wrote ${pattern}`));
    return await this.#within(timeoutMs, `${pattern} did not come`, Promise.race([found, ended]));
  }

  /** The object in the last line of stdout, once the process has ended well. */
  async result(timeoutMs: number): Promise<unknown> {
    const status = await this.#within(timeoutMs, 'it did not end', this.ended);
    if (status !== 0) return this.#failed(`failed (${status})`);
    try {
      return JSON.parse(this.#stdout.trim().split('\n').at(-1) ?? '');
    } catch {
      return this.#failed(`wrote no result`);
    }
  }

  /** Sends it a signal that it knows what to do with. */
  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** Ends it: by the signal if it heeds that, otherwise by force. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.#process.kill(signal);
    const force = setTimeout(() => this.#process.kill('SIGKILL'), 3000);
    await this.ended;
    clearTimeout(force);
  }

  async #within<T>(timeoutMs: number, what: string, promise: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new BenchError(`${this.name}: ${what} within ${timeoutMs} ms`)),
        timeoutMs,
      );
    });
    try {
      return await Promise.race([promise, late]);
    } catch (error) {
      await this.stop('SIGKILL');
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #failed(what: string): never {
    throw new BenchError(`${this.name} ${what}: ${(this.#stderr || this.#stdout).trim().slice(-2000)}`);
  }
}
