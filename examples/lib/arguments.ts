import { type ParseArgsConfig, parseArgs } from 'node:util';
import { NAME } from './failure.ts';

/** Ends the program with a word on how to call it. */
export function misused(message: string): never {
  console.error(`${NAME}: ${message}\nTry --help.`);
  process.exit(2);
}

/**
 * `parseArgs`, for people: what it refuses ends the program with one line instead of a stack, `--help` and `-h` with `help`.
 *
 * @param operands how many arguments that are no options there must and may be
 */
export function parse<T extends ParseArgsConfig>(
  help: string,
  config: T,
  operands: readonly [least: number, most: number] = [0, 0],
): ReturnType<typeof parseArgs<T>> {
  const loose = parseArgs({
    options: { ...config.options, help: { type: 'boolean', short: 'h' } },
    allowPositionals: true,
    strict: false,
  });
  if (loose.values.help === true) {
    console.log(help);
    process.exit(0);
  }
  let parsed: ReturnType<typeof parseArgs<T>>;
  try {
    parsed = parseArgs(config);
  } catch (error) {
    misused(error instanceof Error ? error.message : String(error));
  }
  const { length } = loose.positionals;
  const [least, most] = operands;
  const [usage] = help.split('\n');
  if (length < least) misused(`${least === 1 ? 'an argument' : `${least} arguments`}, please (${usage})`);
  if (length > most) misused(`one argument too many: '${loose.positionals[most]}' (${usage})`);
  return parsed;
}

/** A number that must lie in a range. */
export function numberFrom(
  name: string,
  text: string,
  lowest: number,
  highest: number,
  whole = true,
): number {
  const number = Number(text);
  if (
    text.trim() === '' ||
    !(number >= lowest && number <= highest) ||
    (whole && !Number.isInteger(number))
  ) {
    misused(`--${name} must be a ${whole ? 'whole ' : ''}number from ${lowest} to ${highest}, not '${text}'`);
  }
  return number;
}
