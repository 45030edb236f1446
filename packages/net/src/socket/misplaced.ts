/**
 * What would bound or protect a connection, and does not where it is asked for in vain. (Whatever else is unknown is ignored, as Node
 * does.)
 */
export const OF_CONNECTIONS: Readonly<Record<string, string>> = {
  idleTimeout: "set the stream's own, 'stream.idleTimeout = ms'",
  key: 'what goes over the connection is in the clear until stream.toTls, which takes it',
  cert: 'what goes over the connection is in the clear until stream.toTls, which takes it',
  ca: 'what goes over the connection is in the clear until stream.toTls, which takes it',
  servername: 'what goes over the connection is in the clear until stream.toTls, which takes it',
  rejectUnauthorized: 'what goes over the connection is in the clear until stream.toTls, which takes it',
};
/**
 * Refuses options that mean something elsewhere and nothing here, where ignoring them would do something else than was asked for.
 *
 * @param words what to say instead of each
 */
export function refuseMisplaced(options: object, words: Readonly<Record<string, string>>): void {
  for (const [name, instead] of Object.entries(words)) {
    if (!(name in options) || (options as Readonly<Record<string, unknown>>)[name] === undefined) continue;
    throw Object.assign(new TypeError(`There is no option '${name}' here: ${instead}`), {
      code: 'ERR_INVALID_ARG_VALUE',
    });
  }
}
