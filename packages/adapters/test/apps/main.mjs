// Runs the application that is named, and tells what has come of it and who has served it.
import { writeSync } from 'node:fs';
import { stats } from '@ouro/adapters';

const { result } = await import(`./${process.argv[2]}.mjs`);
const { fs = {}, net = {}, http = {}, tls = {} } = stats();
writeSync(1, JSON.stringify({ result, fs, net, http, tls }));
