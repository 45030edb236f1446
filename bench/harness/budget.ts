/** What connecting, starting a runtime and ending it take beside a measurement on an idle machine, roughly. */
const OVERHEAD_S = 1.2;
/** How long a server runs under load before it is measured: less, and what is measured of one in JavaScript is its compiler. */
export const WARMUP_S = 1;
/** Shorter windows say nothing. */
const LEAST_S = 0.25;

/** Spreads a bound on the time of a whole table over what is still to be measured. */
export class Budget {
  readonly #end: number;
  /** Measurements still to be made. */
  #left: number;
  /** What they have been found to take beside the window. */
  #overhead = OVERHEAD_S;
  #last: { readonly begun: number; readonly measurements: number; readonly each: number } | undefined;

  /** `measurements`: how many there will be. */
  constructor(seconds: number, measurements: number) {
    this.#end = now() + seconds;
    this.#left = measurements;
  }

  /** How long each of the next `measurements` may measure, `most` if there is time; undefined when it is up. */
  take(measurements: number, most: number): number | undefined {
    const begun = now();
    if (this.#last !== undefined) {
      const took = (begun - this.#last.begun) / this.#last.measurements;
      this.#overhead = Math.max(0, took - WARMUP_S - this.#last.each);
    }
    const share = (this.#end - begun) / this.#left;
    this.#left -= measurements;
    if (share <= 0) return undefined;
    const each = Math.max(LEAST_S, Math.min(most, share - this.#overhead - WARMUP_S));
    this.#last = { begun, measurements, each };
    return each;
  }
}

/** Seconds. */
const now = (): number => performance.now() / 1000;
