import util from 'node:util';

type Make = (errno: number, syscall: string) => Error;

/** The error of a system call, as `net.js` makes it. */
export const errnoException: Make = (util as unknown as { _errnoException: Make })._errnoException;
