import bunyan from 'bunyan';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** JSON lines on standard error, or in a file. Secrets never reach a logger: they live in their own fields, unprinted. */
export function makeLogger(level: LogLevel, file?: string): bunyan {
  return bunyan.createLogger({
    name: 'peerless',
    level,
    // Without it an error is logged as {}.
    serializers: { err: bunyan.stdSerializers.err! },
    streams: [file === undefined ? { level, stream: process.stderr } : { level, path: file }],
  });
}
