// Chance from a seed (mulberry32), and arguments chosen by it.

const WRONG_VALUES = [undefined, null, 'x', Number.NaN, -2, 1.5, 2 ** 33, {}, true]; // (Node takes an array for options.)

export function chanceOf(seed) {
  let state = seed;
  const random = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n) => Math.floor(random() * n);
  const pick = (all) => all[below(all.length)];
  /** Mostly what fits, sometimes what does not. */
  const value = (all) => (random() < 0.03 ? pick(WRONG_VALUES) : pick(all));
  return { random, below, pick, value };
}
