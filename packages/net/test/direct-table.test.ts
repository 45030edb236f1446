import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';

/** Half of them are for places of the kernel's choice. */
const TABLE = { env: { OURO_FIXED_FILES: '16' } };

const IMPORTS = `
  import net from 'node:net';
  import { TcpListener } from '@ouro/net';
  import { socket } from '@ouro/net/ops';
  import { batch, chain, metrics, sleep, stream, submit } from '@ouro/runtime';
  import { files } from '@ouro/runtime/driver';
  import { pipe } from '@ouro/runtime/ops';
  const one = () => socket(2, 1, 0, { into: 'any' });
  const closeAll = (all) => Promise.all(all.map((each) => each.close()));
`;

describe('a table of direct descriptors that others want places of, too', () => {
  it.each([511, 4])('costs no connection, and is full for the others (backlog %i)', async (backlog) => {
    const { code, stdout, stderr } = await runProgram(
      `
      ${IMPORTS}
      const CLIENTS = 120;
      const listener = await TcpListener.bind({ host: '127.0.0.1', direct: true, backlog: ${backlog} });
      let served = 0;
      const loop = (async () => {
        for await (const stream of listener)
          (async () => {
            for await (const chunk of stream) await stream.writeAll(chunk);
            await stream.close();
            served++;
          })();
      })();
      let going = true;
      let opened = 0;
      const codes = new Set();
      const open = async (make) => {
        while (going) {
          try {
            const all = await make();
            opened++;
            await sleep(0.2);
            await closeAll(all);
          } catch (error) {
            codes.add(error.code);
            await sleep(0.2);
          }
        }
      };
      const others = [
        open(async () => [await submit(one())]),
        open(async () => [await submit(one())]),
        open(() => batch([one(), one()])),
        open(() => chain([one(), one()])),
        open(() => submit(pipe(0, { into: 'any' })).catch((error) => {
          if (error.code !== 'ERR_OURO_UNSUPPORTED') throw error; // before 6.16
          return [];
        })),
      ];
      const ask = (i) => new Promise((done) => {
        const client = net.connect(listener.address.port, '127.0.0.1', () => client.write('client ' + i));
        let answer = '';
        client.on('data', (data) => { answer += data; client.end(); });
        client.on('error', () => {});
        client.on('close', () => done(answer === 'client ' + i));
      });
      let answered = 0;
      for (let i = 0; i < CLIENTS; i += 4)
        for (const right of await Promise.all([0, 1, 2, 3].map((j) => ask(i + j)))) if (right) answered++;
      going = false;
      await Promise.all(others);
      await listener.close();
      await loop;
      while (served < answered || files().adopted > 0) await sleep(1);
      console.log(answered, served, opened > 0, [...codes].join(), files().room, metrics().pending);
      `,
      TABLE,
    );
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '120 120 true ENFILE 8 0\n', stderr: '' });
  });

  it('is waited for without a busy loop; listeners stop, start and are cancelled meanwhile', async () => {
    const { code, stdout, stderr } = await runProgram(
      `
      ${IMPORTS}
      const bind = () => TcpListener.bind({ host: '127.0.0.1', direct: true });
      const taken = await batch(Array.from({ length: 8 }, one));
      const listener = await bind();
      const answers = [];
      const clients = Array.from({ length: 6 }, (_, i) => {
        const client = net.connect(listener.address.port, '127.0.0.1', () => client.write(String(i)));
        client.on('data', (data) => answers.push(String(data)));
        return client;
      });
      const accepting = listener.accept();
      for (let i = 0; i < 100; i++) {
        const given = [listener.accept(), listener.accept({ timeout: i % 3 })];
        given[0].cancel();
        const other = await bind();
        const loop = (async () => { for await (const each of other) await each.close(); })();
        await Promise.allSettled(given);
        await other.close();
        await loop;
      }
      const before = metrics().sqes;
      await sleep(200);
      console.log(metrics().sqes - before < 4, answers.length);
      const streams = [];
      const echo = async (each) => {
        streams.push(each);
        for await (const chunk of each) await each.writeAll(chunk);
      };
      accepting.then(echo);
      const loop = (async () => { for await (const each of listener) echo(each); })();
      await closeAll(taken);
      while (answers.length < 6) await sleep(1);
      console.log(answers.sort().join());
      for (const client of clients) client.destroy();
      await listener.close();
      await loop;
      await closeAll(streams);
      console.log(files().adopted, files().room, metrics().pending);
      `,
      TABLE,
    );
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: 'true 0\n0,1,2,3,4,5\n0 8 0\n',
      stderr: '',
    });
  });

  it('has places for whoever closes first and opens then, where nobody accepts', async () => {
    const { stdout, stderr } = await runProgram(
      `
      ${IMPORTS}
      const taken = await batch(Array.from({ length: 8 }, one));
      const full = await submit(one()).catch((error) => error.code);
      const closing = taken[0].close();
      const opened = await submit(one());
      await closing;
      await closeAll([...taken.slice(1), opened]);
      console.log(full, files().adopted, files().room);
      `,
      TABLE,
    );
    expect({ stdout, stderr }).toEqual({ stdout: 'ENFILE 0 8\n', stderr: '' });
  });

  it('ends a stream of accepts into it, where a listener accepts as well', async () => {
    const { code, stdout, stderr } = await runProgram(
      `
      ${IMPORTS}
      import { acceptMultishot } from '@ouro/net/ops';
      const listener = await TcpListener.bind({ host: '127.0.0.1', direct: true });
      const own = await TcpListener.bind({ host: '127.0.0.1' });
      const accepting = listener.accept();
      const clients = [];
      const dial = async ({ address }) => {
        const client = net.connect(address.port, '127.0.0.1');
        client.on('error', () => {});
        clients.push(client);
        await new Promise((done) => client.once('connect', done));
      };
      const taken = [];
      const loop = (async () => {
        for await (const each of stream(acceptMultishot(own.fd, { into: 'any' }))) taken.push(each);
      })().catch((error) => error.code);
      while (metrics().pending === 0) await sleep(1);
      let ended;
      loop.then((code) => { ended = code; });
      for (let i = 0; i < 10 && ended === undefined; i++) {
        await dial(own);
        await sleep(5);
      }
      console.log(await loop, taken.length < 8);
      await dial(listener);
      const stream_ = await accepting;
      await closeAll([...taken, stream_, listener, own]);
      for (const client of clients) client.destroy();
      console.log(files().adopted, files().room, metrics().pending);
      `,
      TABLE,
    );
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'ENFILE true\n0 8 0\n', stderr: '' });
  });
});
