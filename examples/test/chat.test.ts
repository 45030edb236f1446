import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../testing/program.ts';
import { connect, Inbox, installed, startServer } from './servers.ts';

/** Somebody in the room. */
async function join(port: number, name: string): Promise<Inbox> {
  const inbox = new Inbox(await connect(port));
  await inbox.take('Your name?\n');
  inbox.socket.write(`${name}\r\n`);
  await inbox.take(`Welcome, ${name}. `);
  await inbox.take('\n');
  return inbox;
}

describe('the chat example', () => {
  it('tells everybody else what one says, and who comes and goes', async () => {
    await using server = await startServer('chat');
    const [ada, bob] = [await join(server.port, 'ada'), await join(server.port, 'bob')];
    expect(await ada.take('\n')).toBe('* bob has come\n');
    bob.socket.write('hello\nand ');
    bob.socket.write('so on\n\n');
    expect(await ada.take('so on\n')).toBe('bob: hello\nbob: and so on\n');
    ada.socket.write('hi\n');
    expect(await bob.take('\n')).toBe('ada: hi\n');
    ada.socket.end();
    expect(await bob.take('\n')).toBe('* ada has gone\n');
    bob.socket.destroy();
  });

  it('wants names that are nobody else’s, and lines that a terminal can stand', async () => {
    await using server = await startServer('chat');
    const ada = await join(server.port, 'ada');
    const other = new Inbox(await connect(server.port));
    other.socket.write('ada\n\x07 \nbob\nsays\x1b[31m \x07it\n');
    const said = await other.take('Welcome, bob. Here: ada, bob\n');
    expect(said.split('\n')).toEqual([
      'Your name?',
      'ada is here already. Your name?',
      'A name of letters, please?',
      'Welcome, bob. Here: ada, bob',
      '',
    ]);
    expect(await ada.take('it\n')).toBe('* bob has come\nbob: says [31m it\n');
    ada.socket.destroy();
    other.socket.destroy();
  });

  it('ends the connection of whoever writes without end', async () => {
    await using server = await startServer('chat');
    const ada = await join(server.port, 'ada');
    ada.socket.write('x'.repeat(5000));
    await ada.end();
    const bob = await join(server.port, 'ada');
    bob.socket.destroy();
  });

  it.skipIf(!installed('nc'))('talks to nc', async () => {
    await using server = await startServer('chat');
    const ada = await join(server.port, 'ada');
    const { stdout } = await runCommand(['nc', '-N', '127.0.0.1', String(server.port)], {
      input: 'bob\nhello\n',
    });
    expect(stdout).toBe('Your name?\nWelcome, bob. Here: ada, bob\n');
    expect(await ada.take('* bob has gone\n')).toBe('* bob has come\nbob: hello\n* bob has gone\n');
    ada.socket.destroy();
  });

  it('throws out who does not read, and goes on for the others', async () => {
    await using server = await startServer('chat');
    const [ada, deaf] = [await join(server.port, 'ada'), await join(server.port, 'deaf')];
    deaf.socket.pause();
    const gone = ada.take('* deaf has gone\n');
    const line = `${'x'.repeat(1000)}\n`;
    const saying = setInterval(() => ada.socket.write(line.repeat(1000)), 5);
    await gone;
    clearInterval(saying);
    deaf.socket.resume();
    if (!deaf.socket.closed) await once(deaf.socket, 'close');
    ada.socket.destroy();
  });
});
