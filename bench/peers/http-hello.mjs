// The shortest server of node:http.
//   node http-hello.mjs [--host 127.0.0.1] [--port 0] [--size 64]
import { createServer } from 'node:http';
import { address, announce, text } from './http-common.mjs';

const headers = { 'Content-Type': 'text/plain', 'Content-Length': text.length };

const server = createServer((_request, response) => {
  response.writeHead(200, headers);
  response.end(text);
});
server.listen(address, () => announce(server));
