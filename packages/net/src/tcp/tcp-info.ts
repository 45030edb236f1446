import { IPPROTO_TCP, TCP_INFO } from '@ouro/native/abi';
import { optionBytes, optionNumber } from '../socket/options.ts';

/** Where a connection is in its life (RFC 9293). */
export type TcpState = (typeof STATES)[number];

const STATES = [
  'unknown',
  'established',
  'syn-sent',
  'syn-received',
  'fin-wait-1',
  'fin-wait-2',
  'time-wait',
  'closed',
  'close-wait',
  'last-ack',
  'listen',
  'closing',
  'new-syn-received',
] as const;

/** What the kernel's congestion control is at. */
export type CongestionState = (typeof CONGESTION)[number];

const CONGESTION = ['open', 'disorder', 'congestion-window-reduced', 'recovery', 'loss'] as const;

/** What the kernel knows of a connection (`struct tcp_info`). A field that the kernel is too old for is 0. */
export interface TcpInfo {
  readonly state: TcpState;
  readonly congestionState: CongestionState;
  /** Smoothed round trip time and its variation, µs. */
  readonly rttUs: number;
  readonly rttVariationUs: number;
  readonly minimumRttUs: number;
  /** Round trip time as the receiver sees it, µs; 0 if it has not been measured. */
  readonly receiveRttUs: number;
  /** Until what is not acknowledged is sent again, µs. */
  readonly retransmitTimeoutUs: number;
  /** Timeouts one after the other that the oldest segment has had; 0 as soon as it is acknowledged. */
  readonly retransmits: number;
  /** Segments sent again since the connection was made. */
  readonly retransmittedSegments: number;
  /** Unanswered probes of keep-alive or of a closed window. */
  readonly probes: number;
  /** Congestion window, segments. */
  readonly congestionWindowSegments: number;
  /** Slow start ends here, segments; Infinity while there is no such limit. */
  readonly slowStartThresholdSegments: number;
  /** Bytes of data in the largest segment that is sent. */
  readonly sendSegmentBytes: number;
  readonly receiveSegmentBytes: number;
  readonly pathMtuBytes: number;
  /** What the peer has room for, bytes. */
  readonly sendWindowBytes: number;
  /** What we have room for, bytes. */
  readonly receiveSpaceBytes: number;
  /** Segments in flight, lost, and received out of order. */
  readonly unackedSegments: number;
  readonly lostSegments: number;
  readonly outOfOrderSegments: number;
  /** Bytes sent, those sent again among them; acknowledged; sent again; not sent yet. */
  readonly bytesSent: number;
  readonly bytesAcked: number;
  readonly bytesRetransmitted: number;
  readonly bytesNotSent: number;
  readonly bytesReceived: number;
  readonly segmentsSent: number;
  readonly segmentsReceived: number;
  /** Bytes a second, as measured lately, and as the kernel paces them; Infinity for no limit. */
  readonly deliveryRateBytesPerSecond: number;
  readonly pacingRateBytesPerSecond: number;
  /** Time during which there was something to send, and of that limited by the peer's window, by our send buffer, µs. */
  readonly busyUs: number;
  readonly windowLimitedUs: number;
  readonly sendBufferLimitedUs: number;
  /** Since data was last sent, data last received, an acknowledgement last received, ms. */
  readonly sinceDataSentMs: number;
  readonly sinceDataReceivedMs: number;
  readonly sinceAckReceivedMs: number;
}

const TCP_INFO_BYTES = 232;
/** Where `tcpi_bytes_acked` is. */
const BYTES_ACKED = 120;
/** The kernel's infinity for `tcpi_snd_ssthresh`: `TCP_INFINITE_SSTHRESH`. */
const NO_THRESHOLD = 0x7fff_ffff;

/** Asks the kernel about the TCP socket `fd`. */
export function tcpInfo(fd: number): TcpInfo {
  return decodeTcpInfo(optionBytes(fd, IPPROTO_TCP, TCP_INFO, TCP_INFO_BYTES));
}

/** Bytes that the peer's kernel has taken, modulo 2³². Never throws. */
export function bytesAcked(fd: number): number {
  return optionNumber(fd, IPPROTO_TCP, TCP_INFO, TCP_INFO_BYTES, BYTES_ACKED);
}

/** Reads a `struct tcp_info`, zeros where the kernel wrote nothing. */
function decodeTcpInfo(bytes: Uint8Array): TcpInfo {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u8 = (at: number): number => view.getUint8(at);
  const u32 = (at: number): number => view.getUint32(at, true);
  const u64 = (at: number): number => Number(view.getBigUint64(at, true));
  const threshold = u32(76);
  const pacing = view.getBigUint64(104, true);
  return {
    state: STATES[u8(0)] ?? 'unknown',
    congestionState: CONGESTION[u8(1)] ?? 'open',
    rttUs: u32(68),
    rttVariationUs: u32(72),
    minimumRttUs: u32(148),
    receiveRttUs: u32(92),
    retransmitTimeoutUs: u32(8),
    retransmits: u8(2),
    retransmittedSegments: u32(100),
    probes: u8(3),
    congestionWindowSegments: u32(80),
    slowStartThresholdSegments: threshold >= NO_THRESHOLD ? Number.POSITIVE_INFINITY : threshold,
    sendSegmentBytes: u32(16),
    receiveSegmentBytes: u32(20),
    pathMtuBytes: u32(60),
    sendWindowBytes: u32(228),
    receiveSpaceBytes: u32(96),
    unackedSegments: u32(24),
    lostSegments: u32(32),
    outOfOrderSegments: u32(224),
    bytesSent: u64(200),
    bytesAcked: u64(BYTES_ACKED),
    bytesRetransmitted: u64(208),
    bytesNotSent: u32(144),
    bytesReceived: u64(128),
    segmentsSent: u32(136),
    segmentsReceived: u32(140),
    deliveryRateBytesPerSecond: u64(160),
    pacingRateBytesPerSecond: pacing === 0xffff_ffff_ffff_ffffn ? Number.POSITIVE_INFINITY : Number(pacing),
    busyUs: u64(168),
    windowLimitedUs: u64(176),
    sendBufferLimitedUs: u64(184),
    sinceDataSentMs: u32(44),
    sinceDataReceivedMs: u32(52),
    sinceAckReceivedMs: u32(56),
  };
}
