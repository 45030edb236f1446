import type { Future } from '../future/future.ts';
import { Descriptor } from '../operation/descriptor.ts';
import { close } from './close.ts';

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
