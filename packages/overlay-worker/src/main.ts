/**
 * The worker's process: `main --socket PATH --address IPV4 --port N --plain-port N --underlay-mtu N
 * --source-first N --source-ports N`.
 */
import { parseArgs } from 'node:util';
import { native } from './native.ts';

const { values } = parseArgs({
  options: {
    socket: { type: 'string' },
    address: { type: 'string' },
    port: { type: 'string', default: '4500' },
    'plain-port': { type: 'string', default: '0' },
    'underlay-mtu': { type: 'string', default: '1500' },
    'source-first': { type: 'string', default: '0' },
    'source-ports': { type: 'string', default: '0' },
  },
});
if (!values.socket || !values.address) {
  process.stderr.write('overlay-worker: --socket PATH and --address IPV4 are needed\n');
  process.exit(2);
}
process.title = 'overlay-worker';
const [status, what] = native.run(
  values.socket,
  values.address,
  Number(values.port),
  Number(values['plain-port']),
  Number(values['underlay-mtu']),
  Number(values['source-first']),
  Number(values['source-ports']),
);
if (status < 0) {
  process.stderr.write(`overlay-worker: ${what}: errno ${-status}\n`);
  process.exit(1);
}
