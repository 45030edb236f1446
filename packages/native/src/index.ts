export {
  type DenialEvidence,
  type DenialReason,
  evidence,
  explain,
  type RingMode,
  switchedOff,
  UringUnavailableError,
} from './denial.ts';
export {
  type Addon,
  addon,
  type BesideDescription,
  type Engine,
  type RingDescription,
  type RingOptions,
  type SocketName,
} from './loader.ts';
