/**
 * gzip: packs a file, or unpacks one with --decompress. The files are WHATWG streams, and between them stands what Node and
 * browsers have for this: with back-pressure all the way, however long the file is.
 */
import { CompressionStream, DecompressionStream } from 'node:stream/web';
import { File } from '@ouro/fs';
import { run } from '@ouro/runtime';
import { parse } from './lib/arguments.ts';
import { failed } from './lib/failure.ts';

const HELP = 'usage: gzip [--decompress] SOURCE TARGET\n\nPacks SOURCE into TARGET, or unpacks it.';
const { values, positionals } = parse(
  HELP,
  { options: { decompress: { type: 'boolean', short: 'd', default: false } }, allowPositionals: true },
  [2, 2],
);
const [source = '', target = ''] = positionals;

run(async () => {
  const from = await File.open(source);
  const to = await File.open(target, 'wx').catch(async (error) => {
    await from.close();
    throw error;
  });
  // Whatever happens, each stream closes its file.
  await from
    .readable({ autoClose: true })
    .pipeThrough(values.decompress ? new DecompressionStream('gzip') : new CompressionStream('gzip'))
    .pipeTo(to.writable({ autoClose: true }));
}).catch((error) => failed(error, source));
