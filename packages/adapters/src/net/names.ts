import type { SocketName } from '@ouro/native';

/** What `getsockname` and `getpeername` of a handle fill in. */
export interface Name {
  address?: string;
  family?: string;
  port?: number;
}

/** Fills in what the kernel says, or answers its errno. */
export function fillName(out: Name, name: SocketName | number): number {
  if (typeof name === 'number') return name;
  out.address = name.address;
  out.family = name.family;
  out.port = name.port;
  return 0;
}
