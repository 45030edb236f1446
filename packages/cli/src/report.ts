import { arch } from 'node:os';
import { type Capabilities, capabilities, UringUnavailableError } from '@ouro/runtime';

/** What `ouro doctor` finds out. */
export interface Report {
  readonly node: string;
  readonly platform: string;
  /** Variables of the environment that ouro goes by, as far as they are set. */
  readonly environment: Readonly<Record<string, string>>;
  readonly capabilities: Capabilities;
}

/** Finds out, which makes this thread's engine: see `capabilities`. */
export function examine(): Report {
  const ours = Object.entries(process.env).filter(
    (entry): entry is [string, string] => entry[0].startsWith('OURO_') && entry[1] !== undefined,
  );
  return {
    node: process.version,
    platform: `${process.platform}-${arch()}`,
    environment: Object.fromEntries(ours.sort()),
    capabilities: capabilities(),
  };
}

/** A report as JSON: an error as its fields, no limit as `"unlimited"`. */
export function toJson(report: Report): string {
  return JSON.stringify(
    report,
    (_key, value: unknown) => {
      if (value === Number.POSITIVE_INFINITY) return 'unlimited';
      return value instanceof Error ? plain(value) : value;
    },
    2,
  );
}

function plain(error: Error): Record<string, unknown> {
  const { name, message } = error;
  const code = 'code' in error ? error.code : undefined;
  const reason = error instanceof UringUnavailableError ? error.reason : undefined;
  return { name, code, reason, message };
}
