import test from 'ava';
import type { Address } from '../../../src/model/address.ts';
import type { OverlayInstance, OverlayNetwork } from '../../../src/model/overlay.ts';
import type { Port } from '../../../src/model/ports.ts';
import { Instances } from '../../../src/vswitch-bridge/fastpath/instances.ts';

const C1: OverlayInstance = {
  name: 'c1',
  network: 'blue',
  address: '10.200.1.2' as Address,
  interface: 'veth-c1',
  origin: 'control',
};
const PORT = { name: 'veth-c1', ifindex: 7, adminUp: true, carrier: true } as Port;

function made() {
  const entries = new Map<number, Buffer>();
  const attached = new Set<string>();
  const changed: number[] = [];
  /** Programs on this hook are refused. */
  const refused = new Set<string>();
  const instances = new Instances({
    loaded: {
      tables: {
        instances: {
          set: (key: Buffer, value: Buffer) => entries.set(key.readUInt32LE(0), value),
          delete: (key: Buffer) => entries.delete(key.readUInt32LE(0)),
        },
      },
      program: (name: string) => name,
    },
    attachments: {
      attach: (_: string, ifindex: number, hook: string) => {
        if (refused.has(hook)) throw new Error(`${hook}: no room`);
        attached.add(`${ifindex} ${hook}`);
      },
      detach: (ifindex: number, hook: string) => attached.delete(`${ifindex} ${hook}`),
    },
    links: { port: () => PORT },
    leadsAway: () => false,
    onChange: (ifindex: number) => changed.push(ifindex),
    log: undefined,
  } as unknown as ConstructorParameters<typeof Instances>[0]);
  const add = () => instances.add(C1, { name: 'blue', vni: 100 } as OverlayNetwork);
  return { instances, entries, attached, changed, refused, add };
}

for (const hook of ['ingress', 'egress']) {
  test(`R3.8 an instance that goes takes all of it along, also when a program was refused (${hook})`, (t) => {
    const { instances, entries, attached, refused, changed, add } = made();
    refused.add(hook);
    t.throws(add, { message: /no room/ });
    t.is(instances.problems().length, 1);
    changed.length = 0;
    instances.remove(C1);
    t.deepEqual([[...entries], [...attached], instances.problems(), instances.entries()], [[], [], [], []]);
    t.deepEqual(changed, [7], 'what was learned of it is void');
  });

  test(`R3.8 and when its device has gone (${hook})`, (t) => {
    const { instances, entries, attached, refused, add } = made();
    refused.add(hook);
    t.throws(add);
    instances.portChanged(PORT.name, PORT, undefined);
    t.deepEqual([[...entries], [...attached]], [[], []]);
  });
}

test('R3.4 what was refused is tried again with the next word of the device, and is no problem then', (t) => {
  const { instances, attached, refused, add } = made();
  refused.add('egress');
  t.throws(add);
  refused.clear();
  instances.portChanged(PORT.name, PORT, PORT);
  t.deepEqual([...attached], ['7 ingress', '7 egress']);
  t.deepEqual(instances.problems(), []);
});
