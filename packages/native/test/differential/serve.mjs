/** Runs the programs that come in, one a line, and answers each with a line. The engine is `OURO_DRIVER`. */
import { createInterface } from 'node:readline';
import { generate } from './generate.mjs';
import { Machine } from './machine.mjs';

const machine = new Machine();
for await (const line of createInterface({ input: process.stdin })) {
  const { program, seed, patient } = JSON.parse(line);
  let answer;
  try {
    answer = await machine.run(program ?? generate(seed), patient === true);
  } catch (error) {
    answer = { thrown: error.stack };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
  if (machine.broken) process.exit(3);
}
