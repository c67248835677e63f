import { spawn } from 'node:child_process';

/**
 * sd_notify(3), by systemd's own helper since Node has no datagram Unix sockets. Never throws: it is called on the way out,
 * before anything is withdrawn, and a box without memory or descriptors for one more process is one that stops its agent.
 */
export function notify(state: string, start: typeof spawn = spawn): void {
  if (process.env.NOTIFY_SOCKET === undefined) return;
  const failed = (error: Error): void => {
    process.stderr.write(`systemd was not told ${state}: ${error.message}\n`);
  };
  try {
    start('systemd-notify', [`--pid=${process.pid}`, state], { stdio: 'ignore' }).on('error', failed);
  } catch (error) {
    failed(error as Error);
  }
}
