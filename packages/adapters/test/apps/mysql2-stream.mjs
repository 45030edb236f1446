import { mysql2Stream } from '@ouro/adapters';
import { work } from './queries/mysql2.mjs';

export const result = await work({ stream: mysql2Stream });
