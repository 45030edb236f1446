/** Makes a program that fails smaller, for as long as it still fails. */

/** @param fails runs a program on both engines; resolves to what differs, or null */
export async function shrink(program, fails, budgetMs = 30_000) {
  const until = Date.now() + budgetMs;
  let best = program;
  for (let again = true; again && Date.now() < until; ) {
    again = false;
    for (const candidate of smaller(best)) {
      if (Date.now() > until) break;
      if ((await fails(candidate)) === null) continue;
      best = candidate;
      again = true;
      break;
    }
  }
  return best;
}

/** Programs that are a little less than `program`, largest cuts first. */
function* smaller(program) {
  const { rounds } = program;
  const half = rounds.length >> 1;
  if (half > 0) {
    yield { ...program, rounds: rounds.slice(0, half) };
    yield { ...program, rounds: rounds.slice(half) };
  }
  for (let i = rounds.length - 1; i >= 0; i--) yield { ...program, rounds: without(rounds, i) };
  for (const [r, round] of rounds.entries()) {
    for (let c = round.length - 1; c >= 0; c--) yield withRound(program, r, without(round, c));
  }
  for (const [r, round] of rounds.entries()) {
    for (const [c, chain] of round.entries()) {
      if (chain.length > 1) {
        for (let i = chain.length - 1; i >= 0; i--) yield withChain(program, r, c, without(chain, i));
      }
    }
  }
  for (const name of program.uses) yield { ...program, uses: program.uses.filter((each) => each !== name) };
  for (const field of ['owned']) if (program[field]) yield { ...program, [field]: false };
  for (const [r, round] of rounds.entries()) {
    for (const [c, chain] of round.entries()) {
      for (const [i, op] of chain.entries()) {
        for (const simpler of simplified(op)) yield withChain(program, r, c, chain.with(i, simpler));
      }
    }
  }
}

function without(list, index) {
  return list.filter((_, i) => i !== index);
}

function withRound(program, r, round) {
  const rounds = round.length > 0 ? program.rounds.with(r, round) : without(program.rounds, r);
  return { ...program, rounds };
}

function withChain(program, r, c, chain) {
  const round = program.rounds[r];
  return withRound(program, r, chain.length > 0 ? round.with(c, chain) : without(round, c));
}

function* simplified(op) {
  for (const field of ['sqe', 'flags', 'ioprio', 'hard', 'buf', 'file', 'off']) {
    if (op[field] === undefined || op[field] === 0 || typeof op[field] === 'object') continue;
    const { [field]: _gone, ...rest } = op;
    yield rest;
  }
  const { addr } = op;
  if (typeof addr === 'object' && addr.n > 1 && op.len === addr.n) {
    yield { ...op, len: addr.n >> 1, addr: { ...addr, n: addr.n >> 1 } };
  }
  if (typeof addr === 'object' && addr.parts?.length > 0) {
    for (const [i, n] of addr.parts.entries()) {
      const parts = without(addr.parts, i);
      const len = addr.k === 'iov' ? parts.length : op.len;
      yield { ...op, len, addr: { ...addr, parts } };
      if (n > 1) yield { ...op, addr: { ...addr, parts: addr.parts.with(i, n >> 1) } };
    }
  }
}
