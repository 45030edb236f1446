import { readFileSync } from 'node:fs';
import { doctor } from './doctor.ts';

const HELP = `ouro: io_uring for Node.js

  ouro doctor            which engine runs programs on this machine, what it can do, and what denies io_uring if it
                         is not the kernel's ring; exits with 1 if programs cannot run
  ouro doctor --json     the same for machines
  ouro --version
  ouro --help`;

const argv = process.argv.slice(2);
const [command] = argv;

/** Tells of a mistake on the command line. */
function misused(problem: string): void {
  console.error(`ouro: ${problem}\n\n${HELP}`);
  process.exitCode = 2;
}

function runDoctor(options: readonly string[]): void {
  const unknown = options.find((option) => option !== '--json');
  if (unknown !== undefined) misused(`doctor does not know '${unknown}'`);
  else process.exitCode = doctor((line) => console.log(line), { json: options.length > 0 });
}

function version(): string {
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}

if (command === undefined || argv.includes('--help') || argv.includes('-h')) console.log(HELP);
else if (command === 'doctor') runDoctor(argv.slice(1));
else if (argv.length > 1) misused(`unknown command '${argv.join(' ')}'`);
else if (command === '--version' || command === '-v') console.log(version());
else misused(`unknown command '${command}'`);
