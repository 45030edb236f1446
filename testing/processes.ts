import { readdirSync, readFileSync } from 'node:fs';

/** Descriptors this process has open. */
export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length - 1; // the one that lists them
}

/** Mappings of this process that belong to io_uring. */
export function ringMappings(): number {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes('io_uring')).length;
}
