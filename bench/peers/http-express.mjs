// The same in Express, as it comes.
//   node http-express.mjs [--host 127.0.0.1] [--port 0] [--size 64]
import { createServer } from 'node:http';
import express from 'express';
import { address, announce, text } from './http-common.mjs';

const app = express();
app.get('/', (_request, response) => {
  response.send(text);
});
const server = createServer(app);
server.listen(address, () => announce(server));
