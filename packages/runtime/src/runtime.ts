import { batch } from './batch.ts';
import { capabilities } from './capabilities.ts';
import { chain } from './chain.ts';
import { interval } from './interval.ts';
import { metrics } from './metrics.ts';
import { race, select, timeout } from './select.ts';
import { submit } from './submit.ts';
import { run, spawn } from './task.ts';
import { sleep } from './time.ts';

/** `import runtime from '@ouro/runtime'; runtime.run(main)` */
const runtime: {
  readonly run: typeof run;
  readonly spawn: typeof spawn;
  readonly sleep: typeof sleep;
  readonly interval: typeof interval;
  readonly timeout: typeof timeout;
  readonly select: typeof select;
  readonly race: typeof race;
  readonly submit: typeof submit;
  readonly chain: typeof chain;
  readonly batch: typeof batch;
  readonly metrics: typeof metrics;
  readonly capabilities: typeof capabilities;
} = { run, spawn, sleep, interval, timeout, select, race, submit, chain, batch, metrics, capabilities };

export default runtime;
