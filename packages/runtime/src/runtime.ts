import { batch } from './groups/batch.ts';
import { chain } from './groups/chain.ts';
import { submit } from './operation/submit.ts';
import { capabilities } from './sight/capabilities.ts';
import { metrics } from './sight/metrics.ts';
import { race, select, timeout } from './tasks/select.ts';
import { run, spawn } from './tasks/task.ts';
import { interval } from './time/interval.ts';
import { sleep } from './time/time.ts';

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
