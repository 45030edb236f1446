// Calls of node:dgram whose results, errors and events are to be the same with the hook and without. Prints all that they come to, as
// JSON, without what is another thing each time.
import dgram from 'node:dgram';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { inspect } from 'node:util';

const seen = [];
/** Those that the kernel has chosen. */
const ports = new Set();

/** Without the ports, which are others each time. */
function shown(value) {
  const text = inspect(value, { depth: 4, breakLength: Number.POSITIVE_INFINITY, sorted: false });
  return text.replace(/\b\d{4,5}\b/g, (number) => (ports.has(Number(number)) ? '(port)' : number));
}

function ofError(error) {
  if (!(error instanceof Error)) return error;
  const { name, message, code, errno, syscall, address, port, info } = error;
  return { name, message, code, errno, syscall, address, port, info, keys: Object.keys(error) };
}

async function call(label, run) {
  try {
    seen.push({ label, value: shown(await run()) });
  } catch (error) {
    seen.push({ label, error: shown(ofError(error)) });
  }
}

/** A socket that is bound, or what kept it from that. */
async function bound(options, port = 0, address = undefined) {
  const socket = dgram.createSocket(options);
  socket.bind(port, address);
  await once(socket, 'listening');
  ports.add(socket.address().port);
  return socket;
}

/** How a send ends. */
const send = (socket, ...args) =>
  new Promise((done) => socket.send(...args, (error, bytes) => done([ofError(error), bytes])));

const METHODS = [
  ['address', []],
  ['remoteAddress', []],
  ['disconnect', []],
  ['setBroadcast', [true]],
  ['setBroadcast', [0]],
  ...[0, 1, 64, 255, 256, -1, 1.9, Number.NaN, '5'].map((ttl) => ['setTTL', [ttl]]),
  ...[0, 1, 255, 256, -1].map((ttl) => ['setMulticastTTL', [ttl]]),
  ['setMulticastLoopback', [true]],
  ['setMulticastLoopback', [16]],
  ...['127.0.0.1', '0.0.0.0', '::%lo', '::', 'nonsense', '', 5].map((name) => [
    'setMulticastInterface',
    [name],
  ]),
  ...['addMembership', 'dropMembership'].flatMap((name) => [
    [name, []],
    [name, ['127.0.0.1']],
    [name, ['nonsense']],
    [name, [{}]],
    [name, ['239.1.2.3', '127.0.0.1']],
    [name, ['239.1.2.3', 'nonsense']],
    [name, ['ff02::1234', '::%lo']],
    [name, ['ff02::1234', '127.0.0.1']],
  ]),
  ...['addSourceSpecificMembership', 'dropSourceSpecificMembership'].flatMap((name) => [
    [name, ['127.0.0.1', '232.1.2.3', '127.0.0.1']],
    [name, ['nonsense', '232.1.2.3']],
    [name, ['127.0.0.1', 'nonsense']],
    [name, [1, '232.1.2.3']],
    [name, ['::1', 'ff3e::1234', '::%lo']],
  ]),
  ['setRecvBufferSize', [10_000]],
  ['setSendBufferSize', [10_000]],
  ['setRecvBufferSize', [-1]],
  ['setRecvBufferSize', [2 ** 31]],
  ['setSendBufferSize', ['x']],
  ['getRecvBufferSize', []],
  ['getSendBufferSize', []],
  ['getSendQueueSize', []],
  ['getSendQueueCount', []],
];

const STATES = {
  unbound: (type) => dgram.createSocket(type),
  bound: (type) => bound(type),
  closed: async (type) => {
    const socket = await bound(type);
    socket.close();
    return socket;
  },
  binding: async (type) => {
    const socket = dgram.createSocket(type);
    socket.bind();
    return socket;
  },
};

for (const type of ['udp4', 'udp6']) {
  for (const [state, make] of Object.entries(STATES)) {
    for (const [name, args] of METHODS) {
      const socket = await make(type);
      socket.on('error', () => {});
      const label = `${state} ${type} ${name} ${shown(args)}`;
      if (state === 'binding' && !/TTL|Broadcast|Size|Count|ddress/.test(name)) {
        socket.close();
        continue;
      }
      await call(label, () => socket[name](...args));
      try {
        socket.close();
      } catch {
        // It is closed.
      }
    }
  }
}

// Binding
for (const [options, ...place] of [
  ['udp4', 0, '127.0.0.1'],
  ['udp4', 0, '::1'],
  ['udp6', 0, '::1'],
  ['udp6', 0, '127.0.0.1'],
  ['udp4', 0, '192.0.2.1'],
  ['udp6', 0, '2001:db8::1'],
  ['udp4', 0, '999.1.1.1.1'],
  [{ type: 'udp4', ipv6Only: true }, 0, '127.0.0.1'],
  [{ type: 'udp6', ipv6Only: true }, 0, '::'],
  [{ type: 'udp4', reuseAddr: true }, 0],
  ['udp4', '0'],
  ['udp4', 70_000, '127.0.0.1'],
]) {
  const socket = dgram.createSocket(options);
  const ended = Promise.race([
    once(socket, 'listening').then(() => 'listening'),
    once(socket, 'error'),
  ]).catch((error) => error);
  await call(`bind ${shown(options)} ${shown(place)}`, async () => {
    socket.bind(...place);
    return ofError(await ended);
  });
  socket.close();
}

{
  const first = await bound('udp4', 0, '127.0.0.1');
  const { port } = first.address();
  const second = dgram.createSocket('udp4');
  await call('bind where somebody is', async () => {
    const failed = once(second, 'error').catch((error) => [error]);
    second.on('error', () => {});
    second.bind(port, '127.0.0.1');
    const ended = await failed;
    return ended.map(ofError);
  });
  await call('and then elsewhere', async () => {
    second.bind(0, '127.0.0.1');
    await once(second, 'listening');
    return second.address().address;
  });
  await call('and again', () => second.bind());
  first.close();
  second.close();
}

// Sending
for (const [type, host] of [
  ['udp4', '127.0.0.1'],
  ['udp6', '::1'],
]) {
  const receiver = await bound(type, 0, host);
  const { port } = receiver.address();
  const messages = [];
  receiver.on('message', (...message) => messages.push(message));
  const socket = await bound(type, 0, host);
  const got = async (count) => {
    while (messages.length < count) await once(receiver, 'message');
    return messages.splice(0);
  };
  for (const [label, data, arrives = 1] of [
    ['text', 'some text'],
    ['nothing', ''],
    ['bytes', Buffer.from('bytes')],
    ['words', new Uint16Array([1, 2, 3])],
    ['view', new DataView(new ArrayBuffer(3))],
    ['several', ['a', Buffer.from('bc'), new Uint8Array([1, 2])]],
    ['none', []],
    ['large', Buffer.alloc(60_000, 'large')],
    ['too large', Buffer.alloc(65_528), 0],
    ['much too large', Buffer.alloc(1 << 20), 0],
  ]) {
    await call(`${type} send ${label}`, async () => {
      const ended = await send(socket, data, port, host);
      const all = await got(arrives);
      return [
        ended,
        all.map(([bytes, info]) => [
          bytes.length,
          shown(bytes.subarray(0, 8)),
          bytes.buffer.byteLength,
          info,
        ]),
      ];
    });
  }
  await call(`${type} send a part`, async () => [
    await send(socket, 'abcdef', 2, 3, port, host),
    (await got(1)).map(([data]) => String(data)),
  ]);
  await call(`${type} send to the other family`, () =>
    send(socket, 'x', port, type === 'udp4' ? '::1' : '127.0.0.1'),
  );
  await call(`${type} send to no name`, () => send(socket, 'x', port, 5));
  await call(`${type} send to no port`, () => send(socket, 'x', 0, host));
  await call(`${type} send without an address`, async () => [
    await send(socket, 'x', port),
    (await got(1)).length,
  ]);
  await call(`${type} connect`, async () => {
    socket.connect(port, host);
    await once(socket, 'connect');
    return socket.remoteAddress();
  });
  await call(`${type} connect twice`, () => socket.connect(port, host));
  await call(`${type} send to the peer`, async () => [
    await send(socket, 'to the peer'),
    (await got(1)).map(([data]) => String(data)),
  ]);
  await call(`${type} send elsewhere`, () => send(socket, 'x', port, host));
  await call(`${type} disconnect`, () => socket.disconnect());
  await call(`${type} disconnect twice`, () => socket.disconnect());
  await call(`${type} connect again`, async () => {
    socket.connect(port, host);
    await once(socket, 'connect');
    return socket.remoteAddress();
  });
  receiver.close();
  await once(receiver, 'close');
  await call(`${type} send where nobody is`, async () => {
    const failed = once(socket, 'error').catch((error) => [error]);
    const result = await send(socket, 'x');
    return [result, (await failed).map(ofError)];
  });
  socket.close();
}

// Of an interface's own network: its name is part of addresses
for (const [name, addresses] of Object.entries(networkInterfaces())) {
  const own = addresses.find(({ address, scopeid }) => scopeid > 0 && address.startsWith('fe80'));
  if (own === undefined) continue;
  const socket = await bound('udp6');
  await call(`to itself by ${name}`, async () => {
    const heard = once(socket, 'message');
    const result = await send(socket, 'x', socket.address().port, `${own.address}%${name}`);
    return [result, result[0] === null ? await heard : []];
  });
  socket.close();
}

// What is called when
{
  const order = [];
  const socket = await bound('udp4', 0, '127.0.0.1');
  const { port } = socket.address();
  const over = once(socket, 'close');
  socket.on('close', () => order.push('close'));
  socket.on('message', (data) => order.push(`message ${data}`));
  for (const text of ['1', '2', '3']) socket.send(text, port, '127.0.0.1', () => order.push(`sent ${text}`));
  while (order.length < 6) await new Promise(setImmediate);
  socket.close(() => order.push('closed'));
  await over;
  await call('order', () => [
    order.filter((each) => /sent|close/.test(each)),
    order.filter((each) => /message/.test(each)),
  ]);
  await call('close twice', () => socket.close());
  await call('send when closed', () => send(socket, 'x', port));
}

console.log(JSON.stringify(seen));
