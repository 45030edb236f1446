import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommand } from './program.ts';

/** A program that puts a seccomp filter in force, as container runtimes do, and then runs a command. */
export interface SeccompLauncher {
  /** What to run the command under, so that the three io_uring calls answer an errno (1: EPERM, 38: ENOSYS). */
  denyWith(errno: string): readonly string[];
  /** The same, so that the first of the three calls ends the process (SIGSYS), as some sandboxes do. */
  kill(): readonly string[];
  /** The same with a filter that has nothing against anything. */
  allow(): readonly string[];
  remove(): void;
}

/** Compiles the launcher. */
export async function buildSeccompLauncher(): Promise<SeccompLauncher> {
  const folder = mkdtempSync(join(tmpdir(), 'ouro-seccomp-'));
  const launcher = join(folder, 'deny');
  const source = join(folder, 'deny.c');
  writeFileSync(source, SOURCE);
  const { code, stderr } = await runCommand(['cc', '-O1', '-o', launcher, source]);
  if (code !== 0 || stderr !== '') throw new Error(`The launcher does not compile: ${stderr}`);
  return {
    denyWith: (errno) => [launcher, errno],
    kill: () => [launcher, 'kill'],
    allow: () => [launcher, '0'],
    remove: () => rmSync(folder, { recursive: true }),
  };
}

/** Puts a seccomp filter in force that answers the three io_uring calls with an errno, or kills, then runs a command. */
const SOURCE = `
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  const int error = atoi(argv[1]);
  const unsigned answer = strcmp(argv[1], "kill") == 0 ? SECCOMP_RET_KILL_PROCESS
                          : error == 0                 ? SECCOMP_RET_ALLOW
                                                       : SECCOMP_RET_ERRNO | (error & SECCOMP_RET_DATA);
  struct sock_filter filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 2, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_enter, 1, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_register, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, answer),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    perror("seccomp");
    return 1;
  }
  execvp(argv[2], argv + 2);
  perror(argv[2]);
  return 1;
}
`;
