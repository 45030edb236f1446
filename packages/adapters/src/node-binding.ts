type Binding = (name: string) => Record<string, unknown>;

/** Asks for one of Node's bindings, without the warning that `--pending-deprecation` gives to who does. */
export function binding(name: string): Record<string, unknown> {
  const { binding: ask } = process as unknown as { binding: Binding };
  const before = process.noDeprecation;
  process.noDeprecation = true;
  try {
    return ask.call(process, name);
  } finally {
    if (before === undefined) Reflect.deleteProperty(process, 'noDeprecation');
    else process.noDeprecation = before;
  }
}

/** Whether the permission model is in force, which knows nothing of the ring: with it all is Node's. */
export function isRestricted(): boolean {
  return 'permission' in process && process.permission !== undefined;
}
