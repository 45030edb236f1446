import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const RUNTIMES = ['bun', 'deno'] as const;
const noted = new Set<string>();

/** The programs of other runtimes, by name. npm brings them, but not into our workspace; what is not there is noted once. */
export function runtimes(directory: string | undefined): Map<string, string> {
  const found = new Map<string, string>();
  for (const name of RUNTIMES) {
    const program = directory === undefined ? undefined : find(join(directory, 'node_modules'), name);
    if (program !== undefined) found.set(name, program);
    else if (!noted.has(name)) {
      noted.add(name);
      console.log(
        `note: ${name} is left out: install it (npm install --prefix DIR bun deno), and say --peers DIR`,
      );
    }
  }
  return found;
}

/** Its program: in the package for this platform, or where its install script has put it. */
function find(modules: string, name: string): string | undefined {
  const scope = join(modules, name === 'bun' ? '@oven' : '@deno');
  const platforms = existsSync(scope) ? readdirSync(scope) : [];
  const places = platforms.flatMap((each) => [join(scope, each, 'bin', name), join(scope, each, name)]);
  return [...places, join(modules, '.bin', name)].find((path) => existsSync(path));
}
