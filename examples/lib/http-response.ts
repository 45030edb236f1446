const REASONS: Readonly<Record<number, string>> = {
  200: 'OK',
  206: 'Partial Content',
  301: 'Moved Permanently',
  304: 'Not Modified',
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  413: 'Content Too Large',
  416: 'Range Not Satisfiable',
  431: 'Request Header Fields Too Large',
};

/** What an answer says before its content. */
export type Headers = Readonly<Record<string, string | number>>;

/** The head of an answer. */
export function head(status: number, headers: Headers, keepAlive: boolean): string {
  let text = `HTTP/1.1 ${status} ${REASONS[status]}\r\nDate: ${new Date().toUTCString()}\r\n`;
  for (const [name, value] of Object.entries(headers)) text += `${name}: ${value}\r\n`;
  return `${text}Connection: ${keepAlive ? 'keep-alive' : 'close'}\r\n\r\n`;
}

/** A whole answer that says nothing but its status. */
export function plain(status: number, headers: Headers, keepAlive: boolean, withContent: boolean): string {
  if (status === 304) return head(status, headers, keepAlive);
  const content = `${status} ${REASONS[status]}\n`;
  const all = { ...headers, 'Content-Type': 'text/plain; charset=utf-8', 'Content-Length': content.length };
  return head(status, all, keepAlive) + (withContent ? content : '');
}

const TYPES: Readonly<Record<string, string>> = {
  css: 'text/css; charset=utf-8',
  gif: 'image/gif',
  html: 'text/html; charset=utf-8',
  ico: 'image/x-icon',
  jpg: 'image/jpeg',
  js: 'text/javascript; charset=utf-8',
  json: 'application/json',
  md: 'text/markdown; charset=utf-8',
  mp4: 'video/mp4',
  pdf: 'application/pdf',
  png: 'image/png',
  svg: 'image/svg+xml',
  txt: 'text/plain; charset=utf-8',
  wasm: 'application/wasm',
  webp: 'image/webp',
  woff2: 'font/woff2',
};

/** The media type of a file, by its name. */
export function typeOf(path: string): string {
  return TYPES[path.slice(path.lastIndexOf('.') + 1).toLowerCase()] ?? 'application/octet-stream';
}

/** Bytes of a file. */
export interface Range {
  readonly offset: number;
  readonly length: number;
}

/**
 * What `Range: bytes=…` asks of a file (RFC 9110, 14.2): null where the whole file is the answer, also to what makes no sense
 * and to several ranges; undefined where nothing of it is there.
 */
export function rangeOf(header: string | undefined, size: number): Range | null | undefined {
  const found = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (found === null || (found[1] === '' && found[2] === '')) return null;
  const [, first, last] = found;
  const offset = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1);
  if (first !== '' && last !== '' && Number(last) < offset) return null;
  return offset < size && end > offset ? { offset, length: end - offset } : undefined;
}
