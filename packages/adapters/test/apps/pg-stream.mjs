import { pgStream } from '@ouro/adapters';
import { work } from './queries/pg.mjs';

export const result = await work({ stream: pgStream });
