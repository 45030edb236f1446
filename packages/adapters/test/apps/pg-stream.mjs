import { pgStream } from '@ouro/adapters';
import { work } from './work/pg.mjs';

export const result = await work({ stream: pgStream });
