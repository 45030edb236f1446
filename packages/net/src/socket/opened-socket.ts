import { inspect } from 'node:util';
import { type Opened, OpenedDescriptor, type OpenedKind } from '@ouro/runtime/driver';
import { inetName, shown } from '../address.ts';
import { unixNameOf } from '../unix/unix-path.ts';

type Ends = (fd: number, ofPeer: boolean) => string | undefined;

const inet: Ends = (fd, ofPeer) => shown(inetName(fd, ofPeer));
const unix: Ends = (fd, ofPeer) => {
  const path = shown(unixNameOf(fd, ofPeer));
  return path === undefined ? undefined : inspect(path);
};

function kind(name: string, plural: string, ends: Ends): OpenedKind {
  const about = (fd: number): string => {
    const [local, remote] = [ends(fd, false), ends(fd, true)];
    const at = local === undefined ? '' : `, at ${local}`;
    return `descriptor ${fd}${at}${remote === undefined ? '' : `, connected to ${remote}`}`;
  };
  return { name, plural, code: 'OURO_SOCKET_NOT_CLOSED', about };
}

/** What sockets are called where one is reported that nobody has closed. */
export const TCP_STREAM: OpenedKind = kind('A TCP stream', 'TCP streams', inet);
export const TCP_LISTENER: OpenedKind = kind('A TCP listener', 'TCP listeners', inet);
export const UDP_SOCKET: OpenedKind = kind('A UDP socket', 'UDP sockets', inet);
export const UNIX_STREAM: OpenedKind = kind('A Unix stream', 'Unix streams', unix);
export const UNIX_LISTENER: OpenedKind = kind('A Unix listener', 'Unix listeners', unix);
export const UNIX_SOCKET: OpenedKind = kind('A Unix socket', 'Unix sockets', unix);

/**
 * The descriptor of a socket: closed and reported if it is lost.
 *
 * @param lost lets go of what else is lost with it
 */
export function openedSocket(
  fd: number,
  kind: OpenedKind,
  place: string | null,
  lost?: () => void,
): OpenedDescriptor {
  const opened: Opened = { kind, place, lost };
  return new OpenedDescriptor(fd, opened);
}
