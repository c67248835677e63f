import { z } from 'zod';
import { places, SOCKET, STATE_DIRECTORY } from './places.ts';
import { filePath, listenAddress } from './scalars.ts';

/** What the file of every role has. */

export const anyOf = <const T extends readonly [string, ...string[]]>(values: T) =>
  z.enum(values as unknown as [T[number], ...T[number][]]);

export const control = z
  .strictObject({
    socket: filePath('the path of the control socket', SOCKET).default(() => places().socket),
    metrics: listenAddress().nullable().default('127.0.0.1:9470'),
  })
  .prefault({});

export const stateDirectory = filePath('a directory', STATE_DIRECTORY).default(() => places().stateDirectory);
