import { readFileSync } from 'node:fs';
import { endOutput, say } from './output.ts';
import { misused } from './words.ts';

const HELP = `ouro: io_uring for Node.js

  ouro doctor            which engine runs programs on this machine, what it can do, and what denies io_uring if it
                         is not the kernel's ring; exits with 1 if programs cannot run
  ouro doctor --json     the same for machines
  ouro cat [FILE …]      writes files to standard output
  ouro cp SOURCE TARGET  copies files, and directories with -r
  ouro run APP           runs a program of Node's with its files and sockets on the ring
  ouro cat --help, ouro cp --help, ouro run --help
  ouro --version
  ouro --help`;

/** A command: takes its arguments, and resolves to the exit code. */
type Command = (args: readonly string[]) => Promise<number>;

/** Loaded when they are asked for. */
const COMMANDS: ReadonlyMap<string, () => Promise<Command>> = new Map([
  ['cat', async () => (await import('./cat.ts')).catCommand],
  ['cp', async () => (await import('./cp.ts')).cpCommand],
  ['doctor', async () => doctorCommand],
  ['run', async () => (await import('./run.ts')).runCommand],
]);

function refuse(problem: string): number {
  misused('ouro', problem);
  return 2;
}

async function doctorCommand(options: readonly string[]): Promise<number> {
  if (options.includes('--help') || options.includes('-h')) {
    say(HELP);
    return 0;
  }
  const unknown = options.find((option) => option !== '--json');
  if (unknown !== undefined) return refuse(`doctor does not know '${unknown}'`);
  const { doctor } = await import('./doctor.ts');
  return doctor(say, { json: options.length > 0 });
}

function version(): string {
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}

async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h') {
    say(HELP);
    return 0;
  }
  const command = COMMANDS.get(name);
  if (command !== undefined) return (await command())(args);
  if (args.length > 0) return refuse(`unknown command '${[name, ...args].join(' ')}'`);
  if (name !== '--version' && name !== '-v') return refuse(`unknown command '${name}'`);
  say(version());
  return 0;
}

const args = process.argv.slice(2);
const code = await main(args);
process.exitCode = await endOutput(COMMANDS.has(args[0] ?? '') ? `ouro ${args[0]}` : 'ouro', code);
