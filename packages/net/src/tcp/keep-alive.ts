import {
  IPPROTO_TCP,
  SO_KEEPALIVE,
  SOL_SOCKET,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
} from '@ouro/native/abi';
import { checkInteger, invalidType, outOfRange } from '@ouro/runtime/driver';
import type { Option } from '../socket/options.ts';

/** When the kernel looks whether the peer of a silent connection is still there. What is left out is as the system has it. */
export interface KeepAlive {
  /** Milliseconds of silence before the first probe, rounded up to seconds. @default `net.ipv4.tcp_keepalive_time`, 2 hours */
  readonly idle?: number | undefined;
  /** Milliseconds between probes, rounded up to seconds. @default `net.ipv4.tcp_keepalive_intvl`, 75 seconds */
  readonly interval?: number | undefined;
  /** Probes without an answer after which the connection is dead: reads fail with ETIMEDOUT. @default `net.ipv4.tcp_keepalive_probes`, 9 */
  readonly count?: number | undefined;
}

/** The most that the kernel takes: `MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL`, `MAX_TCP_KEEPCNT`. */
const MOST_SECONDS = 32_767;
const MOST_PROBES = 127;

/** The options that switch probes on, or off. @throws TypeError, RangeError for bad times */
export function keepAliveOptions(name: string, enable: boolean, times: KeepAlive): Option[] {
  const options: Option[] = [[SOL_SOCKET, SO_KEEPALIVE, enable ? 1 : 0]];
  const { idle, interval, count } = times;
  if (idle !== undefined) options.push([IPPROTO_TCP, TCP_KEEPIDLE, seconds(`${name}.idle`, idle)]);
  if (interval !== undefined)
    options.push([IPPROTO_TCP, TCP_KEEPINTVL, seconds(`${name}.interval`, interval)]);
  if (count !== undefined) {
    checkInteger(`${name}.count`, count, 1, MOST_PROBES);
    options.push([IPPROTO_TCP, TCP_KEEPCNT, count]);
  }
  return options;
}

function seconds(name: string, ms: unknown): number {
  if (typeof ms !== 'number') throw invalidType(name, 'of type number', ms);
  if (!(ms > 0 && ms <= MOST_SECONDS * 1000)) throw outOfRange(name, `> 0 && <= ${MOST_SECONDS * 1000}`, ms);
  return Math.ceil(ms / 1000);
}

/** Checks the option `keepAlive` of connect and bind: true, false or times. Undefined leaves everything as it is. */
export function checkKeepAlive(value: boolean | KeepAlive | undefined): Option[] {
  if (value === undefined) return [];
  if (typeof value === 'boolean') return keepAliveOptions('options.keepAlive', value, {});
  if (typeof value !== 'object' || value === null) {
    throw invalidType('options.keepAlive', 'of type boolean or an instance of Object', value);
  }
  return keepAliveOptions('options.keepAlive', true, value);
}
