import dgram from 'node:dgram';

const { bind, bindSync } = dgram.Socket.prototype as unknown as {
  readonly bind: unknown;
  readonly bindSync?: unknown;
};

/** Methods of Node's own as they were before anything was put in their places. `bindSync` is there from 24 on. */
export const originals: { readonly bind: unknown; readonly bindSync: unknown } = { bind, bindSync };
