// The same in Fastify, as it comes.
//   node http-fastify.mjs [--host 127.0.0.1] [--port 0] [--size 64]
import fastify from 'fastify';
import { address, announce, text } from './http-common.mjs';

const app = fastify();
app.get('/', async () => text);
await app.listen(address);
announce(app.server);
