import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CopyOptions } from '@ouro/fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { root, runCommand } from '../../../testing/program.ts';
import { bytesOf } from '../src/bytes-of.ts';
import { complaint } from '../src/cp.ts';
import { ProgressLine, progressLine, shownBytes } from '../src/progress.ts';

const ouro = [process.execPath, join(root, 'packages/cli/bin/ouro.js')];
const line = ouro.join(' ');
let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ouro-cli-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const at = (...names: string[]): string => join(dir, ...names);
/** Runs a shell command in the test's directory, with `ouro` for the command. */
const shell = (command: string, input = '') =>
  runCommand(['bash', '-c', `ouro() { ${line} "$@"; }; cd '${dir}'; ${command}`], { input });

describe('ouro cat', () => {
  const LONG = Buffer.from(Uint8Array.from({ length: 1_000_000 }, (_, i) => (i * 31) & 0x7f));
  beforeEach(() => {
    writeFileSync(at('a'), 'first\n');
    writeFileSync(at('long'), LONG);
  });

  it('writes files and standard input, in the order in which they are named', async () => {
    expect(await shell('ouro cat a - a', 'input\n')).toMatchObject({
      code: 0,
      stdout: 'first\ninput\nfirst\n',
    });
    expect(await shell('ouro cat', 'input\n')).toMatchObject({ code: 0, stdout: 'input\n' });
  });

  it.each([
    ['to a pipe', 'ouro cat long | cat > out'],
    ['to a file', 'ouro cat long > out'],
    ['to the end of a file', ': > out; ouro cat long >> out'],
    ['from a pipe to a pipe', 'cat long | ouro cat | cat > out'],
    ['from a pipe to a file', 'cat long | ouro cat > out'],
    [
      'to a pipe that is not waited for',
      `${process.execPath} -e "
      const { spawn } = require('node:child_process');
      const [, ...command] = process.argv;
      const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
      child.stdout.pipe(require('node:fs').createWriteStream('out'));" ${line} cat long`,
    ],
  ])('%s', async (_name, command) => {
    expect(await shell(command)).toMatchObject({ code: 0, stderr: '' });
    expect(readFileSync(at('out')).equals(LONG)).toBe(true);
  });

  it('writes what is made while it is read', async () => {
    const { stdout } = await shell(
      'ouro cat /proc/sys/kernel/ostype | cat; ouro cat /proc/sys/kernel/ostype',
    );
    expect(stdout).toBe('Linux\nLinux\n');
    const mounts = await shell('ouro cat /proc/self/mountinfo | cat');
    expect(mounts.stdout).toContain(' / ');
  });

  it('waits for a pipe that nobody writes to yet', async () => {
    expect(await shell('mkfifo pipe; (sleep 1; echo late > pipe) & ouro cat pipe | cat')).toMatchObject({
      code: 0,
      stdout: 'late\n',
    });
  });

  it('goes on after what cannot be read, and exits with 1', async () => {
    expect(await shell('ouro cat a none . a')).toEqual({
      code: 1,
      signal: null,
      stdout: 'first\nfirst\n',
      stderr: 'ouro cat: none: No such file or directory\nouro cat: .: Is a directory\n',
    });
  });

  it('ends without a word when nobody reads it any more, also if it waits for more to come', async () => {
    expect(await shell('(ouro cat long long; echo $? >&2) | head -c 1 >&2')).toMatchObject({
      stderr: expect.stringMatching(/^.141\n$/s),
    });
    expect(await shell('mkfifo idle; exec 3<>idle; (ouro cat long - <&3; echo $? >&2) | true')).toMatchObject(
      {
        stderr: '141\n',
      },
    );
  }, 60_000);

  it('says when it cannot write', async () => {
    expect(await shell('ouro cat a > /dev/full')).toMatchObject({
      code: 1,
      stderr: 'ouro cat: write error: No space left on device\n',
    });
  });

  it('does not write a file into itself', async () => {
    expect(await shell('ouro cat a long >> a')).toMatchObject({
      code: 1,
      stderr: 'ouro cat: a: input file is output file\n',
    });
    expect(readFileSync(at('a')).length).toBe(6 + LONG.length);
  });

  it('has a help, and refuses options it does not know', async () => {
    expect(await shell('ouro cat --help')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('usage: ouro cat'),
    });
    expect(await shell('ouro cat --loud')).toMatchObject({
      code: 1,
      stderr: "ouro cat: unknown option '--loud'\nTry 'ouro cat --help'\n",
    });
  });
});

describe('ouro cp', () => {
  beforeEach(() => {
    mkdirSync(at('tree', 'sub'), { recursive: true });
    writeFileSync(at('tree', 'a'), 'a');
    writeFileSync(at('tree', 'sub', 'b'), 'b');
    symlinkSync('a', at('tree', 'link'));
  });

  it('copies a file to a name and into a directory, and several into a directory', async () => {
    expect(
      await shell('mkdir to; ouro cp tree/a copy && ouro cp copy to && ouro cp tree/a tree/sub/b to/'),
    ).toEqual({
      code: 0,
      signal: null,
      stdout: '',
      stderr: '',
    });
    expect(
      [at('copy'), at('to', 'copy'), at('to', 'a'), at('to', 'b')].map((path) => readFileSync(path, 'utf8')),
    ).toEqual(['a', 'a', 'a', 'b']);
  });

  it('copies a tree with -r, links as they are and FIFOs anew; with -p its times', async () => {
    utimesSync(at('tree', 'sub'), 1000, 2000);
    chmodSync(at('tree', 'a'), 0o640);
    expect(await shell('mkfifo tree/pipe; ouro cp -rp tree copy && ouro cp -r tree copy')).toMatchObject({
      code: 0,
    });
    expect(readlinkSync(at('copy', 'link'))).toBe('a');
    expect(lstatSync(at('copy', 'pipe')).isFIFO()).toBe(true);
    expect(statSync(at('copy', 'a')).mode & 0o777).toBe(0o640);
    expect(statSync(at('copy', 'sub')).mtimeMs).toBe(2_000_000);
    expect(existsSync(at('copy', 'tree', 'sub', 'b'))).toBe(true);
  });

  it('follows links without -r and with -L, and not with -P', async () => {
    await shell('ouro cp tree/link one; ouro cp -P tree/link two; ouro cp -rL tree three');
    expect(lstatSync(at('one')).isFile()).toBe(true);
    expect(readlinkSync(at('two'))).toBe('a');
    expect(lstatSync(at('three', 'link')).isFile()).toBe(true);
  });

  it('leaves what is there with -n', async () => {
    writeFileSync(at('b'), 'mine');
    expect(await shell('ouro cp -n tree/a b')).toMatchObject({ code: 0, stderr: '' });
    expect(readFileSync(at('b'), 'utf8')).toBe('mine');
  });

  it('keeps hard links with -a', async () => {
    await shell('ln tree/a tree/other; ouro cp -a tree copy');
    expect(statSync(at('copy', 'a')).ino).toBe(statSync(at('copy', 'other')).ino);
  });

  it('names what it copies with -v', async () => {
    const { stdout } = await shell('ouro cp -rv tree copy');
    expect(stdout.split('\n').toSorted()).toEqual(
      [
        '',
        "'tree' -> 'copy'",
        "'tree/a' -> 'copy/a'",
        "'tree/link' -> 'copy/link'",
        "'tree/sub' -> 'copy/sub'",
      ]
        .concat("'tree/sub/b' -> 'copy/sub/b'")
        .toSorted(),
    );
  });

  it('does with holes what it is told', async () => {
    writeFileSync(at('holes'), 'x');
    truncateSync(at('holes'), 1 << 20);
    await shell(
      'ouro cp holes kept; ouro cp --sparse=never holes filled; ouro cp --sparse=always filled made',
    );
    const blocks = (name: string): number => statSync(at(name)).blocks;
    expect([blocks('kept') < 100, blocks('filled') >= 2048, blocks('made') < 100]).toEqual([
      true,
      true,
      true,
    ]);
    expect(readFileSync(at('made')).equals(readFileSync(at('holes')))).toBe(true);
  });

  it('says what is wrong as cp does, goes on, and exits with 1', async () => {
    const said = async (command: string): Promise<string> => {
      const { code, stderr } = await shell(command);
      expect(code).toBe(1);
      return stderr;
    };
    expect(await said('mkdir to; ouro cp none tree/a tree to')).toBe(
      "ouro cp: cannot stat 'none': No such file or directory\nouro cp: -r not specified; omitting directory 'tree'\n",
    );
    expect(readFileSync(at('to', 'a'), 'utf8')).toBe('a');
    expect(await said('ouro cp tree/a tree/sub/b none')).toBe("ouro cp: target 'none' is not a directory\n");
    expect(await said('ouro cp tree/a tree/a')).toBe("ouro cp: 'tree/a' and 'tree/a' are the same file\n");
    expect(await said('ouro cp -r tree tree/sub')).toBe(
      "ouro cp: cannot copy a directory, 'tree', into itself, 'tree/sub/tree'\n",
    );
    expect(await said('ouro cp -r tree tree/a')).toBe(
      "ouro cp: cannot overwrite non-directory 'tree/a' with directory 'tree'\n",
    );
    expect(await said('rm to/a; mkdir to/a; ouro cp tree/a to')).toBe(
      "ouro cp: cannot overwrite directory 'to/a' with non-directory 'tree/a'\n",
    );
    expect(await said('ouro cp tree/a tree/sub/b/x')).toContain('Not a directory');
    expect(await said('ouro cp tree/a nodir/')).toBe(
      "ouro cp: cannot create regular file 'nodir/': Not a directory\n",
    );
    expect(await said('ouro cp --reflink tree/a copy')).toMatch(/cannot copy 'tree\/a' to 'copy': /);
  });

  it('goes on in a tree after what cannot be copied', async () => {
    symlinkSync('circle', at('tree', 'circle'));
    expect(await shell('ouro cp -rL tree copy')).toMatchObject({
      code: 1,
      stderr: "ouro cp: cannot stat 'tree/circle': Too many levels of symbolic links\n",
    });
    expect(readFileSync(at('copy', 'sub', 'b'), 'utf8')).toBe('b');
  });

  it('has a help, and refuses what it does not understand', async () => {
    expect(await shell('ouro cp --help')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('usage: ouro cp'),
    });
    for (const [command, says] of [
      ['ouro cp', 'missing file operand'],
      ['ouro cp a', "missing destination file operand after 'a'"],
      ['ouro cp --sparse=some a b', "'some' is nothing for --sparse: auto, always, never"],
      ['ouro cp --reflink --sparse=never a b', '--reflink can be used only with --sparse=auto'],
      ['ouro cp --loud a b', "unknown option '--loud'"],
      ['ouro cp -z a b', "unknown option '-z'"],
      ['ouro cp --recursive=yes a b', "option '-r, --recursive' does not take an argument"],
      ['ouro cp a b --sparse', "option '--sparse <value>' argument missing"],
      ['ouro cp --sparse -r a b', "option '--sparse' argument is ambiguous"],
    ]) {
      expect(await shell(command)).toMatchObject({
        code: 1,
        stdout: '',
        stderr: `ouro cp: ${says}\nTry 'ouro cp --help'\n`,
      });
    }
  });

  it('leaves no half file when it is interrupted, and says how far it was', async () => {
    writeFileSync(at('big'), '');
    truncateSync(at('big'), 2 ** 34);
    const child = spawn(process.execPath, [...ouro.slice(1), 'cp', '--sparse=always', 'big', 'copy'], {
      cwd: dir,
    });
    let stderr = '';
    child.stderr.on('data', (data: Buffer) => {
      stderr += data.toString();
    });
    while (!existsSync(at('copy'))) await new Promise((later) => setTimeout(later, 10));
    child.kill('SIGINT');
    const code = await new Promise((ended) => child.on('close', ended));
    expect([code, stderr]).toEqual([
      130,
      expect.stringMatching(/^ouro cp: interrupted after 0 files, \d+ bytes\n$/),
    ]);
    expect(existsSync(at('copy'))).toBe(false);
  });
});

describe('ouro cp to a link, a device or a pipe', () => {
  beforeEach(() => {
    writeFileSync(at('file'), 'contents', { mode: 0o644 });
  });

  it('writes through links to files, however many, and leaves the links', async () => {
    mkdirSync(at('sub'));
    writeFileSync(at('sub', 'end'), 'old');
    symlinkSync('sub/end', at('link'));
    symlinkSync('../link', at('sub', 'file'));
    for (const command of ['ouro cp file link', 'ouro cp -rp file sub/file', 'ouro cp -P file sub']) {
      writeFileSync(at('sub', 'end'), 'old');
      expect(await shell(command)).toMatchObject({ code: 0, stdout: '', stderr: '' });
      expect(readFileSync(at('sub', 'end'), 'utf8')).toBe('contents');
    }
    expect([readlinkSync(at('link')), readlinkSync(at('sub', 'file'))]).toEqual(['sub/end', '../link']);
    expect(await shell('ouro cp -v file link')).toMatchObject({ stdout: "'file' -> 'link'\n" });
    expect(await shell('ouro cp sub/end link')).toMatchObject({
      code: 1,
      stderr: "ouro cp: 'sub/end' and 'link' are the same file\n",
    });
    expect(await shell('echo mine > sub/end; ouro cp -n file link; cat sub/end')).toMatchObject({
      stdout: 'mine\n',
    });
  });

  it('takes a link to a directory for that, and refuses one that leads nowhere', async () => {
    mkdirSync(at('sub'));
    symlinkSync('sub', at('link'));
    symlinkSync('none', at('dangling'));
    symlinkSync('circle', at('circle'));
    expect(await shell('ouro cp file link')).toMatchObject({ code: 0 });
    expect(readFileSync(at('sub', 'file'), 'utf8')).toBe('contents');
    expect(await shell('ouro cp file dangling; ouro cp file circle')).toMatchObject({
      code: 1,
      stderr:
        "ouro cp: not writing through dangling symlink 'dangling'\nouro cp: cannot stat 'circle': Too many levels of symbolic links\n",
    });
    expect([existsSync(at('none')), readlinkSync(at('dangling'))]).toEqual([false, 'none']);
  });

  it('writes to a device, also by way of a link', async ({ skip }) => {
    const { code } = await shell('mknod null c 1 3 && mknod full c 1 7 && : > null');
    if (code !== 0) skip('devices cannot be made here');
    symlinkSync('full', at('link'));
    expect(await shell('ouro cp -p file null')).toMatchObject({ code: 0, stderr: '' });
    for (const name of ['full', 'link']) {
      expect(await shell(`ouro cp file ${name}`)).toMatchObject({
        code: 1,
        stderr: `ouro cp: cannot copy 'file' to '${name}': No space left on device\n`,
      });
    }
    expect(await shell('ouro cp -n file full')).toMatchObject({ code: 0, stderr: '' });
    expect([lstatSync(at('null')), lstatSync(at('full'))].map((stats) => stats.isCharacterDevice())).toEqual([
      true,
      true,
    ]);
    expect(readlinkSync(at('link'))).toBe('full');
  });

  it('writes to a pipe, with a name or without', async () => {
    expect(await shell('mkfifo pipe; cat pipe & ouro cp file pipe && wait')).toMatchObject({
      code: 0,
      stdout: 'contents',
    });
    expect(lstatSync(at('pipe')).isFIFO()).toBe(true);
    expect(await shell('ouro cp file /dev/fd/3 3>&1 | cat')).toMatchObject({
      stdout: 'contents',
      stderr: '',
    });
    expect(await shell('ouro cp -n file /dev/fd/3 3>&1 | cat')).toMatchObject({ stdout: '', stderr: '' });
    expect(
      await shell('ouro cp -v file >(cat > out; echo > done); until [ -e done ]; do sleep 0.1; done'),
    ).toMatchObject({
      stdout: expect.stringMatching(/^'file' -> '\/dev\/fd\/\d+'\n$/),
      stderr: '',
    });
    expect(readFileSync(at('out'), 'utf8')).toBe('contents');
  });
});

describe('ouro cp from a pipe or a device', () => {
  it('copies what is to be read from it, without -r', async () => {
    expect(
      await shell('mkfifo pipe; (sleep 1; echo late > pipe) & ouro cp pipe out && cat out'),
    ).toMatchObject({
      code: 0,
      stdout: 'late\n',
      stderr: '',
    });
    expect(await shell('ouro cp <(echo hi) out && cat out')).toMatchObject({ stdout: 'hi\n', stderr: '' });
    expect(await shell('echo in | ouro cp -p /dev/stdin out && cat out')).toMatchObject({
      stdout: 'in\n',
      stderr: '',
    });
    expect(await shell('ouro cp /dev/null out && cat out')).toMatchObject({
      code: 0,
      stdout: '',
      stderr: '',
    });
    expect(statSync(at('out')).isFile()).toBe(true);
    expect(await shell('echo in | ouro cp /dev/stdin /dev/fd/3 3>&1 | cat')).toMatchObject({
      stdout: 'in\n',
    });
  });

  it('says in one line what cannot be read', async () => {
    const server = createServer().listen(at('socket'));
    await new Promise((listening) => server.on('listening', listening));
    expect(await shell('ouro cp socket out')).toMatchObject({
      code: 1,
      stderr: "ouro cp: cannot copy 'socket' to 'out': No such device or address\n",
    });
    server.close();
    expect(await shell('mkfifo pipe; ouro cp pipe pipe')).toMatchObject({
      code: 1,
      stderr: "ouro cp: 'pipe' and 'pipe' are the same file\n",
    });
  });
});

describe('standard output that fails', () => {
  it.each([
    ['ouro --help', 'ouro'],
    ['ouro --version', 'ouro'],
    ['ouro doctor --json', 'ouro doctor'],
    ['ouro cat --help', 'ouro cat'],
    ['ouro cp -v a b', 'ouro cp'],
  ])('%s: one line, and 1', async (command, name) => {
    writeFileSync(at('a'), 'contents');
    const { code } = await shell('mknod full c 1 7 && : < full');
    const full = code === 0 ? 'full' : '/dev/full';
    expect(await shell(`${command} > ${full}`)).toMatchObject({
      code: 1,
      stderr: `${name}: write error: No space left on device\n`,
    });
    if (name === 'ouro cp') expect(readFileSync(at('b'), 'utf8')).toBe('contents');
  });

  it('ends without a word, with 141, when nobody reads it any more', async () => {
    writeFileSync(at('a'), 'contents');
    for (const command of ['ouro --help', 'ouro cp -v a b']) {
      const { stderr } = await shell(`(sleep 0.5; ${command}; echo $? >&2) | true`);
      expect(stderr).toBe('141\n');
    }
  });
});

describe('progress', () => {
  const copied = { files: 1234, directories: 0, links: 0, specials: 0, bytes: 3 << 20 };

  it('is a bar where it is known how much there is, figures otherwise', () => {
    expect(progressLine(copied, 4 << 20, 1000)).toBe('[##################------] 75% of 4.0 MiB, 3.0 MiB/s');
    expect(progressLine(copied, 0, 500)).toBe('1,234 files, 3.0 MiB, 6.0 MiB/s');
    expect([0, 1023, 1024, 1_500_000, 2 ** 40, 2 ** 70].map(shownBytes)).toEqual([
      '0 B',
      '1023 B',
      '1.0 KiB',
      '1.4 MiB',
      '1.0 TiB',
      `${2 ** 20} PiB`,
    ]);
  });

  it('is no longer than the terminal is wide, and gone in the end', async () => {
    let drawn = '';
    const write = (text: string): boolean => {
      drawn += text;
      return true;
    };
    const progress = new ProgressLine({ columns: 20, write }, async () => 0);
    progress.tell(copied);
    expect(drawn).toBe(''); // too early
    await new Promise((later) => setTimeout(later, 320));
    progress.tell(copied);
    progress.tell(copied);
    progress.clear();
    expect(drawn).toBe('\r1,234 files, 3.0 Mi\x1b[K\r\x1b[K');
  });

  it('is asked how much there is only when there is something to show', async () => {
    let drawn = '';
    let asked = 0;
    const write = (text: string): boolean => {
      drawn += text;
      return true;
    };
    const progress = new ProgressLine({ columns: 80, write }, async () => {
      asked++;
      return 6 << 20;
    });
    progress.tell(copied);
    expect(asked).toBe(0);
    while (!drawn.includes('[#')) {
      progress.tell(copied);
      await new Promise((later) => setTimeout(later, 20));
    }
    expect([asked, drawn.includes('[############------------] 50% of 6.0 MiB')]).toEqual([1, true]);
  });

  it('of a tree is measured by its files, those with several names once if they are copied so', async () => {
    mkdirSync(at('tree', 'sub'), { recursive: true });
    for (const name of ['a', 'sub/b']) writeFileSync(at('tree', name), 'x'.repeat(1000));
    writeFileSync(at('beyond'), 'x'.repeat(50));
    await shell('ln tree/a tree/again; ln -s ../beyond tree/link; mkfifo tree/pipe');
    const of = (options: CopyOptions, path = at('tree')): Promise<number> =>
      bytesOf(path, options, new AbortController().signal);
    expect(await of({ recursive: true })).toBe(3000);
    expect(await of({ recursive: true, hardLinks: true })).toBe(2000);
    expect(await of({ recursive: true, dereference: true })).toBe(3050);
    expect([await of({}), await of({}, at('none')), await of({}, at('tree', 'a'))]).toEqual([0, 0, 1000]);
    expect(await bytesOf(at('tree'), { recursive: true }, AbortSignal.abort())).toBe(0);
  });

  it('is shown on a terminal while it copies, and nothing of it stays', async ({ skip }) => {
    // Long enough to be looked at: of a FIFO that somebody writes to for a while.
    const slowly = '(for i in 1 2 3 4 5 6 7 8; do head -c 50000 /dev/zero; sleep 0.1; done) > pipe & ';
    const { code, stdout, stderr } = await shell(
      `mkfifo pipe; ${slowly} script -qec '${line} cp --sparse=never pipe copy' /dev/null`,
    );
    if (/not found/.test(stderr)) skip('there is no script(1) here');
    expect(code).toBe(0);
    expect(statSync(at('copy')).size).toBe(400_000);
    expect(stdout).toMatch(/\d files, [\d.]+ KiB, [\d.]+ KiB\/s/);
    expect(stdout.endsWith('\r\x1b[K')).toBe(true);
  });
});

describe('what ouro cp says of an error', () => {
  it.each([
    [
      { code: 'EACCES', errno: -13, syscall: 'mkdir', path: 'x/y' },
      "cannot create directory 'x/y': Permission denied",
    ],
    [{ code: 'EACCES', errno: -13, syscall: 'opendir', path: 'x' }, "cannot access 'x': Permission denied"],
    [
      { code: 'EROFS', errno: -30, syscall: 'unlink', path: 'to' },
      "cannot remove 'to': Read-only file system",
    ],
    [{ code: 'EPERM', errno: -1, syscall: 'chmod', path: 'to' }, "chmod 'to': Operation not permitted"],
  ])('%o', (fields, says) => {
    expect(complaint(Object.assign(new Error('x'), fields), 'from', 'to')).toBe(says);
  });
});
