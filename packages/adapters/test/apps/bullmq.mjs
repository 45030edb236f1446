import { Queue, QueueEvents, Worker } from 'bullmq';

const connection = { host: '127.0.0.1', port: Number(process.env.REDIS_PORT), maxRetriesPerRequest: null };
const queue = new Queue('sums', { connection });
queue.setMaxListeners(0);
const events = new QueueEvents('sums', { connection });
await events.waitUntilReady();
let sum = 0;
let tried = 0;
const worker = new Worker(
  'sums',
  async ({ data, attemptsMade }) => {
    if (data.number === 100 && attemptsMade === 0) {
      tried++;
      throw new Error('once more');
    }
    sum += data.number;
    return data.number * 2;
  },
  { connection, concurrency: 10 },
);
const jobs = await queue.addBulk(
  Array.from({ length: 200 }, (_, number) => ({ name: 'add', data: { number }, opts: { attempts: 2 } })),
);
const values = await Promise.all(jobs.map((job) => job.waitUntilFinished(events, 60_000)));
export const result = {
  jobs: values.length,
  sum,
  values: values.reduce((a, b) => a + b, 0),
  tried,
  counts: await queue.getJobCounts('completed', 'failed', 'waiting'),
};
await worker.close();
await events.close();
await queue.close();
