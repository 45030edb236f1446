import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';

describe('on a kernel that lacks them', () => {
  it('ops without another way are refused, naming the op and its kernel', async () => {
    const { stdout, stderr } = await runProgram(
      `
        import { files, stream, submit } from '@ouro/runtime';
        import { BufferRing } from '@ouro/runtime/driver';
        import * as ops from '@ouro/runtime/ops';
        const words = new Int32Array(new SharedArrayBuffer(4));
        const place = files().allocate();
        const told = ({ code, message }) => console.log(code, /IORING_OP_[^)]*\\)/.exec(message)?.[0]);
        for (const op of [
          ops.futexWait(words, 0, 0),
          ops.futexWake(words, 0),
          ops.futexWaitv([{ view: words, index: 0, value: 0 }]),
          ops.waitid(ops.P_ALL, 0, ops.WEXITED),
          ops.fixedFdInstall(place),
          ops.epollWait(0),
        ]) await submit(op).catch(told);
        try {
          stream(ops.readMultishot(0, new BufferRing({ entries: 2, size: 100 })));
        } catch (error) {
          told(error);
        }
      `,
      {
        env: {
          OURO_DRIVER: 'uring',
          OURO_WITHOUT: 'FUTEX_WAIT,FUTEX_WAKE,FUTEX_WAITV,WAITID,FIXED_FD_INSTALL,EPOLL_WAIT,READ_MULTISHOT',
        },
      },
    );
    expect(stderr).toBe('');
    expect(stdout.trim().split('\n')).toEqual([
      'ERR_OURO_UNSUPPORTED IORING_OP_FUTEX_WAIT (Linux 6.7)',
      'ERR_OURO_UNSUPPORTED IORING_OP_FUTEX_WAKE (Linux 6.7)',
      'ERR_OURO_UNSUPPORTED IORING_OP_FUTEX_WAITV (Linux 6.7)',
      'ERR_OURO_UNSUPPORTED IORING_OP_WAITID (Linux 6.7)',
      'ERR_OURO_UNSUPPORTED IORING_OP_FIXED_FD_INSTALL (Linux 6.8)',
      'ERR_OURO_UNSUPPORTED IORING_OP_EPOLL_WAIT (Linux 6.15)',
      'ERR_OURO_UNSUPPORTED IORING_OP_READ_MULTISHOT (Linux 6.7)',
    ]);
  });
});
