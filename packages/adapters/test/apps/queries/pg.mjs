import { once } from 'node:events';
import pg from 'pg';

/** Works with a database: a pool, parameters, a transaction, a large result, and notifications. */
export async function work(options) {
  const config = {
    host: '127.0.0.1',
    port: Number(process.env.POSTGRES_PORT),
    user: 'postgres',
    database: 'postgres',
    ...options,
  };
  const pool = new pg.Pool({ ...config, max: 4 });
  await pool.query('DROP TABLE IF EXISTS pages');
  await pool.query('CREATE TABLE pages (id int PRIMARY KEY, name text, body bytea)');
  const body = Buffer.alloc(100_000, 'ring');
  await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      pool.query('INSERT INTO pages VALUES ($1, $2, $3)', [i, `page ${i}`, body]),
    ),
  );
  const client = await pool.connect();
  await client.query('BEGIN');
  await client.query('DELETE FROM pages WHERE id >= $1', [10]);
  const inside = await client.query('SELECT count(*)::int AS count FROM pages');
  const beside = await pool.query('SELECT count(*)::int AS count FROM pages');
  await client.query('ROLLBACK');
  const prepared = { name: 'page', text: 'SELECT name, body FROM pages WHERE id = $1' };
  const page = await client.query({ ...prepared, values: [7] });
  const large = await client.query('SELECT i, md5(i::text) AS hash FROM generate_series(1, 50000) AS i');
  const failed = await client.query('SELECT * FROM nothing').catch(({ code }) => code);
  client.release();

  const listener = new pg.Client(config);
  await listener.connect();
  const heard = once(listener, 'notification');
  await listener.query('LISTEN news');
  await pool.query("SELECT pg_notify('news', $1)", ['hello']);
  const [{ payload }] = await heard;
  await listener.end();
  await pool.end();
  return {
    inside: inside.rows[0].count,
    beside: beside.rows[0].count,
    page: page.rows[0].name,
    body: page.rows[0].body.equals(body),
    rows: large.rows.length,
    last: large.rows.at(-1).hash,
    failed,
    heard: payload,
  };
}
