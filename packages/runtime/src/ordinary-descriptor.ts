import { close } from './close.ts';
import { Descriptor } from './descriptor.ts';
import type { Future } from './future.ts';

/** A descriptor of the process, closed through the ring. */
export class OrdinaryDescriptor extends Descriptor {
  /** Takes over an open descriptor. It is this object's to close. */
  constructor(fd: number) {
    super(fd, false);
  }

  protected override release(fd: number): Future<void> {
    return close(fd);
  }
}
