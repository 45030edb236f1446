/**
 * Contenders take turns: A B C, B C A, C A B … The machine drifts (clock, neighbours, page cache), and what is measured
 * side by side drifts together; so a ratio is taken within each round and the median of the ratios is what counts.
 */
export async function alternate<C extends { readonly name: string }, R>(
  contenders: readonly C[],
  rounds: number,
  measure: (contender: C) => Promise<R>,
): Promise<Map<string, R[]>> {
  const results = new Map<string, R[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < contenders.length; turn++) {
      const contender = contenders[(round + turn) % contenders.length];
      results.get(contender.name)?.push(await measure(contender));
    }
  }
  return results;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The median, over the rounds, of `of` a result divided by `of` the base's result in the same round. */
export function medianRatio<R>(
  results: readonly R[],
  base: readonly R[] | undefined,
  of: (result: R) => number,
): number | undefined {
  if (base === undefined) return undefined;
  return median(results.map((result, round) => of(result) / of(base[round])));
}

/** What a worker measures of one round. */
export interface Measured {
  readonly medianNs: number;
  readonly opsPerSecond: number;
  readonly cpuNsPerOp: number;
}

/** What a contender's rounds come to, also in proportion to the base's. */
export interface Summary extends Measured {
  readonly opsPerSecondRatio: number | undefined;
  readonly cpuRatio: number | undefined;
}

export function summary(rounds: readonly Measured[], base: readonly Measured[] | undefined): Summary {
  return {
    medianNs: median(rounds.map((r) => r.medianNs)),
    opsPerSecond: median(rounds.map((r) => r.opsPerSecond)),
    opsPerSecondRatio: medianRatio(rounds, base, (r) => r.opsPerSecond),
    cpuNsPerOp: median(rounds.map((r) => r.cpuNsPerOp)),
    cpuRatio: medianRatio(rounds, base, (r) => r.cpuNsPerOp),
  };
}
