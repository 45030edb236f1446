import { close } from '@ouro/runtime/driver';
import type { FsBinding, NativeFileHandle } from './binding.ts';
import { noteClosing } from './scope.ts';
import { ring } from './serving.ts';

/** The native half of FileHandles whose descriptor the ring has opened: the ring closes it, too. */
export function ringFileHandles({ FileHandle }: FsBinding): (fd: number) => NativeFileHandle {
  class RingFileHandle extends FileHandle {
    override close(): Promise<void> {
      const { fd } = this;
      if (fd < 0 || ring() === null) return super.close();
      noteClosing(fd);
      this.releaseFD();
      return close(fd);
    }
  }
  // As it is called in what `console.log` shows of a FileHandle.
  Object.defineProperty(RingFileHandle, 'name', { value: 'FileHandle' });
  return (fd) => new RingFileHandle(fd);
}
