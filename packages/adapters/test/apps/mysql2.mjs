import { work } from './work/mysql2.mjs';

export const result = await work({});
