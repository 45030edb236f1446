/** What of a request a server of files needs. */
export interface Request {
  readonly method: string;
  /** The path, decoded, without the query. */
  readonly path: string;
  /** As it came: for redirections. */
  readonly target: string;
  /** By name in small letters; several of one name are joined. */
  readonly headers: ReadonlyMap<string, string>;
  readonly keepAlive: boolean;
}

/** A request that is answered with an error. */
export class HttpError extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`HTTP ${status}`);
    this.status = status;
  }
}

// RFC 9110, 5.6.2 and RFC 9112, 3 and 5: nothing that two servers could read in two ways.
const REQUEST_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\/[!-~]*) HTTP\/1\.([01])$/;
const HEADER = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*$/;

/** Reads the head of a request, its blank line included. @throws HttpError */
export function parseHead(head: Buffer): Request {
  const [first = '', ...lines] = head.toString('latin1').slice(0, -4).split('\r\n');
  const found = REQUEST_LINE.exec(first);
  if (found === null) throw new HttpError(400);
  const [, method, target, minor] = found;
  const headers = new Map<string, string>();
  for (const line of lines) {
    const header = HEADER.exec(line);
    if (header === null) throw new HttpError(400);
    const name = header[1].toLowerCase();
    const before = headers.get(name);
    headers.set(name, before === undefined ? header[2] : `${before}, ${header[2]}`);
  }
  if (minor === '1' && !headers.has('host')) throw new HttpError(400);
  // A body is nothing that a server of files wants, and where it ends is what attacks are made of.
  if (headers.has('transfer-encoding') || (headers.get('content-length') ?? '0') !== '0')
    throw new HttpError(413);
  return {
    method,
    path: decode(target),
    target,
    headers,
    keepAlive: persists(minor, headers.get('connection')),
  };
}

function persists(minor: string, connection = ''): boolean {
  const options = connection.toLowerCase().split(/[ \t]*,[ \t]*/);
  return minor === '1' ? !options.includes('close') : options.includes('keep-alive');
}

function decode(target: string): string {
  const [path] = target.split('?', 1);
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    throw new HttpError(400);
  }
  if (decoded.includes('\0')) throw new HttpError(400);
  return decoded;
}
