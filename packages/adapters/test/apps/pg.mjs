import { work } from './queries/pg.mjs';

export const result = await work({});
