import type { WriteStream } from 'node:tty';
import type { Copied } from '@ouro/fs';

/** Where progress is shown: standard error, if it is a terminal. */
export type Screen = Pick<WriteStream, 'columns' | 'write'>;

const BAR = 24;
/** What is done within so long needs no progress, and more often than so nobody can look. */
const FIRST_MS = 300;
const EVERY_MS = 100;

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Bytes for people: `1.5 GiB`. */
export function shownBytes(bytes: number): string {
  const power = bytes < 1024 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length - 1);
  const value = bytes / 1024 ** power;
  return `${value.toFixed(power > 0 && value < 100 ? 1 : 0)} ${UNITS[power]}`;
}

/** One line of progress. @param total bytes there are; 0 if nobody knows */
export function progressLine({ files, bytes }: Copied, total: number, ms: number): string {
  const rate = `${shownBytes(ms > 0 ? (bytes / ms) * 1000 : 0)}/s`;
  if (total === 0) return `${files.toLocaleString('en')} files, ${shownBytes(bytes)}, ${rate}`;
  const part = Math.min(bytes / total, 1);
  const bar = '#'.repeat(Math.round(part * BAR)).padEnd(BAR, '-');
  return `[${bar}] ${Math.floor(part * 100)}% of ${shownBytes(total)}, ${rate}`;
}

/** A line that says how far it is, drawn over again and removed at the end. */
export class ProgressLine {
  readonly #screen: Screen;
  readonly #findTotal: () => Promise<number>;
  readonly #begin: number = performance.now();
  #total = 0;
  #next: number = this.#begin + FIRST_MS;
  #asked = false;
  #drawn = false;

  /** @param findTotal how many bytes there are, 0 if nobody knows: asked when there is something to be shown */
  constructor(screen: Screen, findTotal: () => Promise<number>) {
    this.#screen = screen;
    this.#findTotal = findTotal;
  }

  readonly tell = (copied: Copied): void => {
    const now = performance.now();
    if (now < this.#next) return;
    this.#next = now + EVERY_MS;
    if (!this.#asked) void this.#ask();
    this.#drawn = true;
    const line = progressLine(copied, this.#total, now - this.#begin);
    this.#screen.write(`\r${line.slice(0, (this.#screen.columns || 80) - 1)}\x1b[K`);
  };

  async #ask(): Promise<void> {
    this.#asked = true;
    this.#total = await this.#findTotal();
  }

  /** Makes room for something else. */
  clear(): void {
    if (this.#drawn) this.#screen.write('\r\x1b[K');
    this.#drawn = false;
  }
}
