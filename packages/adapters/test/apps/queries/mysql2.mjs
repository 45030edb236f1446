import mysql from 'mysql2/promise';

/** Works with a database: a pool, prepared statements, a transaction, and large values both ways. */
export async function work(options) {
  const pool = mysql.createPool({
    host: '127.0.0.1',
    port: Number(process.env.MARIADB_PORT),
    user: 'root',
    database: 'test',
    connectionLimit: 4,
    ...options,
  });
  await pool.query('DROP TABLE IF EXISTS pages');
  await pool.query('CREATE TABLE pages (id int PRIMARY KEY, name text, body mediumblob) ENGINE=InnoDB');
  const body = Buffer.alloc(100_000, 'ring');
  await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      pool.execute('INSERT INTO pages VALUES (?, ?, ?)', [i, `page ${i}`, body]),
    ),
  );
  const connection = await pool.getConnection();
  await connection.beginTransaction();
  await connection.execute('DELETE FROM pages WHERE id >= ?', [10]);
  const [inside] = await connection.query('SELECT count(*) AS count FROM pages');
  const [beside] = await pool.query('SELECT count(*) AS count FROM pages');
  await connection.rollback();
  const [[page]] = await connection.execute('SELECT name, body FROM pages WHERE id = ?', [7]);
  const [large] = await connection.query('SELECT seq, md5(seq) AS hash FROM seq_1_to_50000');
  const failed = await connection.query('SELECT * FROM nothing').catch(({ code }) => code);
  let streamed = 0;
  const rows = connection.connection.query('SELECT seq FROM seq_1_to_10000').stream();
  for await (const { seq } of rows) streamed += seq;
  connection.release();
  await pool.end();
  return {
    inside: inside[0].count,
    beside: beside[0].count,
    page: page.name,
    body: page.body.equals(body),
    rows: large.length,
    last: large.at(-1).hash,
    streamed,
    failed,
  };
}
