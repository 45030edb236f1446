import { readFileSync } from 'node:fs';
import { doctor } from './doctor.ts';

const HELP = `ouro: io_uring for Node.js

  ouro doctor      what io_uring can do on this machine, or what denies it
  ouro --version
  ouro --help`;

const [command, ...rest] = process.argv.slice(2);
switch (rest.length === 0 ? command : rest.join() === '--help' ? '--help' : [command, ...rest].join(' ')) {
  case 'doctor':
    process.exitCode = doctor((line) => console.log(line));
    break;
  case '--version':
  case '-v': {
    const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    console.log(manifest.version);
    break;
  }
  case undefined:
  case '--help':
  case '-h':
    console.log(HELP);
    break;
  default:
    console.error(`ouro: unknown command '${[command, ...rest].join(' ')}'\n\n${HELP}`);
    process.exitCode = 2;
}
