/**
 * `node:https`. TLS works on native streams, which sockets of ours are not: its own sockets stay Node's. So this is Node's own module,
 * here so that an application may change all its imports alike. See docs/adapters.md.
 */
export * from 'node:https';
export { default } from 'node:https';
