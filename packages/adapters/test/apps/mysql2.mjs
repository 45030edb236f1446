import { work } from './queries/mysql2.mjs';

export const result = await work({});
