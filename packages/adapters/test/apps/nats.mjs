import { connect } from '@nats-io/transport-node';

const servers = `127.0.0.1:${process.env.NATS_PORT}`;
const timeout = 60_000;
const [server, client] = await Promise.all([connect({ servers, timeout }), connect({ servers, timeout })]);

// Everybody who listens hears all of it, in order.
const news = server.subscribe('news.*', { max: 1000 });
const heard = (async () => {
  const numbers = [];
  for await (const message of news) numbers.push(Number(message.string()));
  return numbers;
})();
server.subscribe('reverse', {
  callback: (_error, message) => message.respond(message.string().split('').reverse().join('')),
});
server.subscribe('echo', { callback: (_error, message) => message.respond(message.data) });
await server.flush();

for (let i = 0; i < 1000; i++) client.publish(`news.${i % 10}`, `${i}`);
const answers = await Promise.all(
  Array.from({ length: 100 }, async (_, i) =>
    (await client.request('reverse', `ring ${i}`, { timeout })).string(),
  ),
);
const large = Buffer.alloc(client.info.max_payload - 100, 'ring');
const echoed = await client.request('echo', large, { timeout });
const missing = await client.request('nobody', 'hello', { timeout }).catch(({ name }) => name);
const numbers = await heard;
export const result = {
  heard: numbers.length,
  ordered: numbers.every((number, i) => number === i),
  answer: answers[42],
  large: Buffer.from(echoed.data).equals(large),
  missing,
};
await client.drain();
await server.drain();
