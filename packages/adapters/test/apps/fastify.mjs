import Fastify from 'fastify';

const app = Fastify();
app.get('/', async () => ({ hello: 'ring' }));
app.post('/length', async ({ body }) => ({ length: body.text.length }));
const base = await app.listen({ port: 0, host: '127.0.0.1' });
const answers = await Promise.all(Array.from({ length: 50 }, async () => (await fetch(base)).json()));
const posted = await fetch(`${base}/length`, {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ text: 'x'.repeat(500_000) }),
});
export const result = {
  answers: answers.filter(({ hello }) => hello === 'ring').length,
  ...(await posted.json()),
};
await app.close();
