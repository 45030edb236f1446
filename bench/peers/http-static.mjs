// A file from a directory, by serve-static on node:http.
//   node http-static.mjs [--host 127.0.0.1] [--port 0] [--size 64]
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import finalhandler from 'finalhandler';
import serveStatic from 'serve-static';
import { address, announce, text } from './http-common.mjs';

const directory = mkdtempSync(join(tmpdir(), 'ouro-bench-static-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
writeFileSync(join(directory, 'file.txt'), text);

const serve = serveStatic(directory);
const server = createServer((request, response) => {
  serve(request, response, finalhandler(request, response));
});
server.listen(address, () => announce(server));
