import test from 'ava';
import { tunnelPort, withAnotherPort } from '../../../src/vswitch-bridge/fastpath/tunnel-port.ts';

const network = (name: string, port?: number, encapsulation: 'vxlan' | 'gre' = 'vxlan') => ({
  name,
  encapsulation,
  ...(port === undefined ? {} : { port }),
});

test('R1.1: the tunnels’ port is that of all networks, or ours where they differ', (t) => {
  t.is(tunnelPort([]), 4789);
  t.is(tunnelPort([network('blue')]), 4789);
  t.is(tunnelPort([network('flannel.1', 8472), network('vx9', 8472), network('green', undefined, 'gre')]), 8472);
  t.is(tunnelPort([network('flannel.1', 8472), network('vx9', 8473)]), 4789);
  t.is(tunnelPort([network('flannel.1', 8472), network('blue')]), 4789);
});

test('those that have another are named', (t) => {
  t.deepEqual(withAnotherPort([network('flannel.1', 8472)]), []);
  t.deepEqual(withAnotherPort([network('flannel.1', 8472), network('blue'), network('g', undefined, 'gre')]), [
    'flannel.1',
  ]);
});
