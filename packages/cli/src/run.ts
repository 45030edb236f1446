import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { DRIVERS, FACES, facesOf } from '@ouro/adapters';
import { say } from './output.ts';
import { misused } from './words.ts';

const HELP = `usage: ouro run [--only ${FACES.join(',')}] [--driver ${DRIVERS.join('|')}] [--stats] [NODE-OPTION …] APP [ARGUMENT …]

Runs a program that knows nothing of ouro with its files and sockets on the ring: node --import @ouro/adapters/register APP.

  --only NAMES     only these of Node's modules; OURO_ADAPTERS
  --driver DRIVER  which engine; OURO_DRIVER
  --stats          tells at the end, on standard error, which calls went to ouro and which to Node's own code

Other options in front of the program are Node's: those with a value as --name=value.`;

/** Asked of the program: the parent only passes them on. */
const PASSED_ON = ['SIGTERM', 'SIGHUP', 'SIGUSR2'] as const;
/** Sent by a terminal to the whole group: the program has it already. */
const LEFT_TO_PROGRAM = ['SIGINT', 'SIGQUIT'] as const;

interface Plan {
  readonly environment: NodeJS.ProcessEnv;
  readonly nodeOptions: readonly string[];
  readonly program: readonly string[];
}

class Misuse extends Error {}

/** Takes the options in front of the program apart. @throws Misuse */
function planOf(args: readonly string[]): Plan | 'help' {
  const environment: NodeJS.ProcessEnv = {};
  const nodeOptions: string[] = [];
  let at = 0;
  const valueOfOption = (option: string): string => {
    const [name, ...value] = option.split('=');
    if (value.length > 0) return value.join('=');
    at++;
    if (at >= args.length) throw new Misuse(`option '${name}' needs a value`);
    return args[at];
  };
  for (; at < args.length; at++) {
    const option = args[at];
    if (!option.startsWith('-') || option === '-') break;
    if (option === '--') {
      at++;
      break;
    }
    const [name] = option.split('=');
    if (option === '--help' || option === '-h') return 'help';
    if (option === '--stats') environment.OURO_ADAPTERS_STATS = '1';
    else if (name === '--only') {
      const only = valueOfOption(option);
      try {
        facesOf(only);
      } catch {
        throw new Misuse(`--only takes ${FACES.join(', ')}, with commas between them, not '${only}'`);
      }
      environment.OURO_ADAPTERS = only;
    } else if (name === '--driver') {
      const driver = valueOfOption(option);
      if (!(DRIVERS as readonly string[]).includes(driver))
        throw new Misuse(`--driver takes ${DRIVERS.join(', ')}, not '${driver}'`);
      environment.OURO_DRIVER = driver;
    } else nodeOptions.push(option);
  }
  if (at >= args.length) throw new Misuse('no program is named');
  return { environment, nodeOptions, program: args.slice(at) };
}

/** `ouro run`: resolves to the program's exit code, or ends as the program has ended, by the same signal. */
export async function runCommand(args: readonly string[]): Promise<number> {
  let plan: Plan | 'help';
  try {
    plan = planOf(args);
  } catch (error) {
    if (!(error instanceof Misuse)) throw error;
    misused('ouro run', error.message);
    return 2;
  }
  if (plan === 'help') {
    say(HELP);
    return 0;
  }
  const { environment, nodeOptions, program } = plan;
  const register = import.meta.resolve('@ouro/adapters/register');
  // A process of its own, so that what it starts in turn (workers, forks) inherits the hook with the other options.
  const child = spawn(process.execPath, [...nodeOptions, '--import', register, ...program], {
    stdio: 'inherit',
    env: { ...process.env, ...environment },
  });
  for (const signal of PASSED_ON) process.on(signal, () => child.kill(signal));
  for (const signal of LEFT_TO_PROGRAM) process.on(signal, () => {});
  return new Promise((done, failed) => {
    child.once('error', failed);
    child.once('exit', (code, signal) =>
      done(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    );
  });
}
