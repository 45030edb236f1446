/**
 * The hook: `node --import @ouro/adapters/register app.js`, or `--require`. Replaces functions of Node's modules in place,
 * so that ES modules, CommonJS modules and what Node's own modules load inside all get them. What serves their calls is loaded with
 * the first of them. Workers inherit it.
 */
import { syncBuiltinESMExports } from 'node:module';
import { isMainThread } from 'node:worker_threads';
import { hookDgram } from './hook/dgram.ts';
import { hookFs } from './hook/fs.ts';
import { hookHttp, hookNet } from './hook/net.ts';
import { adapterOptions, type Face } from './options.ts';
import { writeStats } from './stats-report.ts';
import './timers.ts';

/** In this order. */
const HOOKS: Readonly<Record<Face, () => void>> = {
  fs: hookFs,
  net: hookNet,
  http: hookHttp,
  dgram: hookDgram,
};

const options = adapterOptions(process.env);
for (const face of options.faces) HOOKS[face]();
syncBuiltinESMExports();
if (options.stats && isMainThread) process.once('exit', writeStats);
