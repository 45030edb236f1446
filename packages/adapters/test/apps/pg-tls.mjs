import { readFileSync } from 'node:fs';
import { work } from './queries/pg.mjs';

export const result = await work({
  host: 'localhost',
  ssl: { ca: readFileSync(process.env.POSTGRES_CERTIFICATE), servername: 'localhost' },
});
