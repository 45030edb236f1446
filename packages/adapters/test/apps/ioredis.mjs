import { RedisConnector } from '@ouro/adapters';
import Redis from 'ioredis';

const port = Number(process.env.REDIS_PORT);
const redis = new Redis({ port, host: '127.0.0.1' });
await redis.set('key', 'value');
const pipeline = redis.pipeline();
for (let i = 0; i < 1000; i++) pipeline.incr('count');
const counted = await pipeline.exec();
const large = 'x'.repeat(2 << 20);
await redis.set('large', large);
const subscriber = redis.duplicate();
const heard = new Promise((done) => subscriber.once('message', (_channel, message) => done(message)));
await subscriber.subscribe('news');
await redis.publish('news', 'hello');
const connected = new Redis({ port, host: '127.0.0.1', Connector: RedisConnector });
export const result = {
  value: await redis.get('key'),
  count: counted.at(-1)[1],
  large: (await redis.get('large')) === large,
  heard: await heard,
  connector: await connected.ping(),
};
redis.disconnect();
subscriber.disconnect();
connected.disconnect();
