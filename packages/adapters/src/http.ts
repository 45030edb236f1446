/**
 * `node:http`, with connections on the ring: the same exports, shapes and errors, for who imports it from here. See docs/adapters.md.
 */
import http from 'node:http';
import * as face from './http/face.ts';

export * from 'node:http';

export type Server = http.Server;
export type Agent = http.Agent;
export const Server: typeof http.Server = face.Server;
export const Agent: typeof http.Agent = face.Agent;
export const createServer: typeof http.createServer = face.createServer;
export const request: typeof http.request = face.request;
export const get: typeof http.get = face.get;
export const globalAgent: http.Agent = face.globalAgent();

const module: typeof http = { ...http, Server, Agent, createServer, request, get, globalAgent };

export default module;
