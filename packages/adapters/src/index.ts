export {
  type ConnectorOptions,
  type Mysql2StreamOptions,
  mysql2Stream,
  pgStream,
  RedisConnector,
  type RedisConnectorOptions,
  type UndiciCallback,
  type UndiciConnectOptions,
  undiciConnect,
} from './handles/clients.ts';
export { fromNodeSocket } from './handles/from-node.ts';
export { toFileHandle } from './handles/to-file-handle.ts';
export { toNodeServer, toNodeSocket } from './handles/to-node.ts';
export { type AdapterOptions, adapterOptions, DRIVERS, FACES, type Face, facesOf } from './options.ts';
export { type AdapterStats, type Served, stats } from './stats.ts';
