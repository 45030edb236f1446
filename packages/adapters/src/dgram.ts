/** `node:dgram`: Node's own module, here so that an application may change all its imports alike. See docs/adapters.md. */
export * from 'node:dgram';
export { default } from 'node:dgram';
