import { z } from 'zod';
import { filePath, listenAddress } from './scalars.ts';

/** What the file of every role has. */

export const anyOf = <const T extends readonly [string, ...string[]]>(values: T) =>
  z.enum(values as unknown as [T[number], ...T[number][]]);

export const control = z
  .strictObject({
    socket: filePath('the path of the control socket', '/run/peerless/peerless.sock').default(
      '/run/peerless/peerless.sock',
    ),
    metrics: listenAddress().nullable().default('127.0.0.1:9470'),
  })
  .prefault({});

export const stateDirectory = filePath('a directory', '/var/lib/peerless').default('/var/lib/peerless');
