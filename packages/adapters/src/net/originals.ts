import net from 'node:net';

interface Prototypes {
  readonly server: { readonly _listen2: unknown };
  readonly socket: { readonly connect: unknown };
}

const { server, socket } = {
  server: net.Server.prototype,
  socket: net.Socket.prototype,
} as unknown as Prototypes;

/** Methods of Node's own as they were before anything was put in their places: `_listen2` is what `listen` comes to in the end. */
export const originals: { readonly listen2: unknown; readonly connect: unknown } = {
  listen2: server._listen2,
  connect: socket.connect,
};
