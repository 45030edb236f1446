/**
 * The hook: `node --import @ouro/adapters/register app.js`, or `--require`. Replaces functions of Node's modules in place,
 * so that ES modules, CommonJS modules and what Node's own modules load inside all get them. Workers inherit it.
 */
import { syncBuiltinESMExports } from 'node:module';
import { isMainThread } from 'node:worker_threads';
import { install as installDgram } from './dgram/install.ts';
import { install as installFs } from './fs/install.ts';
import { install as installHttp } from './http/install.ts';
import { install as installNet } from './net/install.ts';
import { adapterOptions, type Face } from './options.ts';
import { writeStats } from './stats-report.ts';

/** In this order. */
const INSTALLERS: Readonly<Record<Face, () => void>> = {
  fs: installFs,
  net: installNet,
  http: installHttp,
  dgram: installDgram,
};

const options = adapterOptions(process.env);
for (const face of options.faces) INSTALLERS[face]();
syncBuiltinESMExports();
if (options.stats && isMainThread) process.once('exit', writeStats);
