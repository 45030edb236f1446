import { work } from './work/pg.mjs';

export const result = await work({});
