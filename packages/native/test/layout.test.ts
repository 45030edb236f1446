import { addon } from '@ouro/native';
import * as layout from '@ouro/native/layout';
import { expect, it } from 'vitest';

it('C++ and TypeScript agree on the shared memory, name by name', () => {
  expect({ ...layout }).toEqual({ ...addon().layout });
});
