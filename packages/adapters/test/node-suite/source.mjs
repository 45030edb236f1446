// Node's own tests, of the version nearest to the one that runs: from Debian's source package `nodejs`, by the mirror that apt is
// configured with. Nothing of it is committed.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where newer versions of Node are than where this machine's system comes from. */
const SUITES = ['bookworm', 'trixie', 'forky', 'sid'];
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
/** What the tests need of the source. */
const WANTED = ['*/test/parallel/*', '*/test/common/*', '*/test/fixtures/*', '*/lib/*'];

function output(command, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    ...options,
  });
  if (status !== 0)
    throw new Error(`${command} ${args[0]}: ${error?.message ?? stderr.trim().split('\n').at(-1)}`);
  return stdout;
}

/** apt with lists of its own, so that what the machine has stays as it is. */
function apt(folder) {
  const options = [
    `Dir::Etc::sourcelist=${join(folder, 'sources.list')}`,
    'Dir::Etc::sourceparts=/dev/null',
    `Dir::State::lists=${join(folder, 'lists')}`,
    'Dir::Cache::pkgcache=',
    'Dir::Cache::srcpkgcache=',
    'APT::Sandbox::User=root',
  ].flatMap((option) => ['-o', option]);
  return (program, ...args) => output(program, [...options, ...args], { cwd: folder });
}

/** The mirror of Debian that apt uses. */
function mirror() {
  const sites = output('apt-get', ['indextargets', '--format', '$(REPO_URI)', 'ORIGIN: Debian']);
  const [site] = [...new Set(sites.split('\n'))].filter((uri) => uri !== '' && !uri.includes('security'));
  if (site === undefined) throw new Error('apt knows no mirror of Debian: apt-get update first');
  return site;
}

const numbers = (version) =>
  version
    .split(/[.+~-]/)
    .slice(0, 3)
    .map(Number);

/** The version nearest to `wanted` of the same major version. */
function nearest(versions, wanted) {
  const [major, minor] = numbers(wanted);
  const distance = (version) => Math.abs(numbers(version)[1] - minor);
  const [best] = versions
    .filter((version) => numbers(version)[0] === major)
    .sort((a, b) => distance(a) - distance(b));
  if (best === undefined) throw new Error(`Debian has no source of Node ${major}`);
  return best;
}

function available(run) {
  const text = run('apt-cache', 'showsrc', 'nodejs');
  return [...text.matchAll(/^Version: (.*)$/gm)].map(([, version]) => version);
}

/** Downloads the source package, and answers what the tarball of Node's own source is called. */
function download(run, folder, version) {
  let problem = new Error('the source package has no tarball');
  try {
    run('apt-get', 'source', '--download-only', '-qq', `nodejs=${version}`);
  } catch (error) {
    problem = error; // a mirror that has only the newest of Debian's own changes may have what we want all the same
  }
  const tarball = readdirSync(folder).find((name) => /\.orig\.tar\.\w+$/.test(name));
  if (tarball === undefined) throw problem;
  return tarball;
}

/**
 * A folder with `test/parallel`, `test/common` and `test/fixtures`: what is in `cache` already, or fetched to there.
 *
 * @throws where it cannot be had
 */
export function testSource(cache, wanted = process.versions.node) {
  const [major] = numbers(wanted);
  const place = join(cache, `node-${major}`);
  if (existsSync(join(place, 'test', 'parallel'))) return place;
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'fetch-'));
  try {
    mkdirSync(join(folder, 'lists', 'partial'), { recursive: true });
    const site = mirror();
    const signed = existsSync(KEYRING) ? ` [signed-by=${KEYRING}]` : '';
    const sources = SUITES.map((suite) => `deb-src${signed} ${site} ${suite} main\n`);
    writeFileSync(join(folder, 'sources.list'), sources.join(''));
    const run = apt(folder);
    try {
      run('apt-get', 'update', '-qq');
    } catch {
      // A suite that the mirror does not have: the others may do.
    }
    const version = nearest(available(run), wanted);
    const tarball = download(run, folder, version);
    output('tar', ['xf', tarball, '--wildcards', ...WANTED], { cwd: folder });
    const unpacked = readdirSync(folder).find((name) => existsSync(join(folder, name, 'test', 'parallel')));
    if (unpacked === undefined) throw new Error('the source package has no tests');
    // Without it the nearest above says what the tests are: our own, of ES modules.
    writeFileSync(join(folder, unpacked, 'package.json'), '{}\n');
    renameSync(join(folder, unpacked), place);
    return place;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
