export { CURRENT, checkPosition, type Position } from '@ouro/runtime/driver';
