/** What in two accounts of one program is not the same. */
import * as abi from '@ouro/native/abi';

/** The first difference, or null. */
export function difference(program, kernel, poll) {
  for (const [engine, { lost, thrown }] of Object.entries({ kernel, poll })) {
    if ((lost ?? thrown) !== undefined) return `the ${engine} engine ${lost ?? thrown}`;
  }
  const settled = !kernel.unsettled && !poll.unsettled;
  const a = normal(program, kernel, settled);
  const b = normal(program, poll, settled);
  const path = [];
  return differs(a, b, path)
    ? `${path.join('.')}: ${show(at(a, path))} in the kernel, ${show(at(b, path))} in poll`
    : null;
}

function at(value, path) {
  return path.reduce((each, key) => each?.[key], value);
}

function show(value) {
  return value === undefined ? 'nothing' : JSON.stringify(value);
}

function differs(a, b, path) {
  if (Object.is(a, b)) return false;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return true;
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    path.push(key);
    if (differs(a[key], b[key], path)) return true;
    path.pop();
  }
  return false;
}

/** The account without what the engines need not agree on: see docs/engines.md. */
function normal(program, account, settled) {
  if (account.ops === undefined) return account;
  const specs = new Map(program.rounds.flat(2).map((spec) => [String(spec.id), spec]));
  const ops = {};
  for (const [id, result] of Object.entries(account.ops)) ops[id] = op(specs.get(id), result);
  return settled ? { ...account, ops } : { ops, stuck: account.stuck };
}

function op(spec, result) {
  const { EINTR, ECANCELED } = abi;
  // Interrupted where it ran or given up where it waited: cancelled either way.
  const c = result.c.map(([res, flags]) => [res === EINTR ? ECANCELED : res, flags]);
  // Both tell that there is something anew, and perhaps of what was there already.
  const polls = spec?.op === 'POLL_ADD' && (spec.len & 1) === 1;
  const told = polls ? c.filter((each, i) => i === 0 || each.join() !== c[i - 1].join()) : c;
  return { ...result, c: told };
}
