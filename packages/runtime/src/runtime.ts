import { capabilities } from './capabilities.ts';
import { metrics } from './metrics.ts';
import { run, spawn } from './task.ts';
import { sleep } from './time.ts';

/** `import runtime from '@ouro/runtime'; runtime.run(main)` */
const runtime: {
  readonly run: typeof run;
  readonly spawn: typeof spawn;
  readonly sleep: typeof sleep;
  readonly metrics: typeof metrics;
  readonly capabilities: typeof capabilities;
} = { run, spawn, sleep, metrics, capabilities };

export default runtime;
