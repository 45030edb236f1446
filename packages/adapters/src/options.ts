import type { Driver } from '@ouro/runtime';

/** Node modules, or families of them, that the hook can put on the ring. */
export const FACES = ['fs', 'net', 'http', 'dgram'] as const;

/** One of `FACES`. `http` is `https` too. */
export type Face = (typeof FACES)[number];

/** What `OURO_DRIVER` and `ouro run --driver` take. */
export const DRIVERS: readonly Driver[] = ['uring', 'poll', 'fusion'];

/** What the environment says to the register hook. */
export interface AdapterOptions {
  /** `OURO_ADAPTERS`: names with commas between them, or `none`. @default all */
  readonly faces: ReadonlySet<Face>;
  /** `OURO_ADAPTERS_STATS=1`: the stats are written to standard error when the process ends. @default false */
  readonly stats: boolean;
}

function isFace(name: string): name is Face {
  return (FACES as readonly string[]).includes(name);
}

/** Refuses what somebody has misspelt. */
function refuse(variable: string, known: readonly string[], given: string): never {
  const names = `${known.slice(0, -1).join(', ')} and ${known[known.length - 1]}`;
  const error = new Error(`${variable} knows ${names}, not '${given}'`);
  throw Object.assign(error, { code: 'ERR_OURO_ADAPTERS' });
}

/**
 * Reads the environment, `OURO_DRIVER` included: without an engine all calls would be Node's, and nobody would know why.
 *
 * @throws `ERR_OURO_ADAPTERS` for a name that is none, since a misspelt one would do nothing
 */
export function adapterOptions(environment: NodeJS.ProcessEnv): AdapterOptions {
  const driver = environment.OURO_DRIVER || 'fusion';
  if (!(DRIVERS as readonly string[]).includes(driver)) refuse('OURO_DRIVER', DRIVERS, driver);
  return { faces: facesOf(environment.OURO_ADAPTERS), stats: environment.OURO_ADAPTERS_STATS === '1' };
}

/** The faces that a list names. */
export function facesOf(list: string | undefined): ReadonlySet<Face> {
  if (list === undefined || list.trim() === '') return new Set(FACES);
  if (list.trim() === 'none') return new Set();
  const faces = new Set<Face>();
  for (const part of list.split(',')) {
    const name = part.trim();
    if (!isFace(name)) refuse('OURO_ADAPTERS', [...FACES, 'none'], name);
    faces.add(name);
  }
  return faces;
}
