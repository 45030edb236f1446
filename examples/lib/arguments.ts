import { type ParseArgsConfig, parseArgs } from 'node:util';

/** Ends the program with a word on how to call it. */
export function misused(message: string): never {
  console.error(`${message}\nTry --help.`);
  process.exit(2);
}

/** `parseArgs`, for people: what it refuses ends the program with one line instead of a stack. */
export function parse<T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config);
  } catch (error) {
    return misused(error instanceof Error ? error.message : String(error));
  }
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
