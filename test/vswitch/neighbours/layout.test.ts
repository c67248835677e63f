import { readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { BpfObject } from 'linux-sockets';
import type { Address, Mac } from '../../../src/model/address.ts';
import * as layout from '../../../src/vswitch-bridge/neighbours/hold/layout.ts';

const sources = new URL('../../../src/vswitch-bridge/neighbours/bpf/', import.meta.url);
const object = new URL('../../../dist/src/vswitch-bridge/neighbours/bpf/hold.o', import.meta.url);

test('numbers that the hold program and the agent share are the same in both', (t) => {
  const header = readFileSync(new URL('hold.h', sources), 'utf8');
  const defined = (name: string) => Number(new RegExp(`#define ${name} (\\w+)`).exec(header)![1]);
  t.is(layout.SLOTS, defined('HOLD_SLOTS'));
  t.is(layout.KEYS, defined('HOLD_KEYS'));
  t.is(layout.RELEASED_PRIORITY, defined('HOLD_RELEASED'));
  t.is(layout.HOLD_ETHERTYPE, defined('HOLD_ETHERTYPE'));
});

test('keys and values are as long as the maps have them', (t) => {
  const opened = BpfObject.open(readFileSync(object));
  const sizes = new Map(opened.shapes().map(({ name, keySize, valueSize }) => [name, [keySize, valueSize]]));
  opened.close();
  const four = '10.20.1.2' as Address;
  const six = '2001:db8::2' as Address;
  const mac = '02:00:00:00:00:01' as Mac;
  const index = layout.indexKey(7).length;
  const tunnel = { id: 7, ttl: 64, tos: 0, flags: 3 };
  t.deepEqual(sizes.get('hold_settings'), [index, layout.settingsValue(1, 2n).length]);
  t.deepEqual(sizes.get('hold_devices'), [index, layout.deviceValue(1, true).length]);
  t.deepEqual(sizes.get('hold_fdb'), [layout.fdbKey(1, mac).length, index]);
  t.deepEqual(sizes.get('hold_held'), [index, layout.counterValue(1n).length]);
  t.deepEqual(sizes.get('hold_released'), [index, layout.counterValue(1n).length]);
  for (const remote of [four, six]) {
    t.deepEqual(sizes.get('hold_remotes'), [layout.remoteKey(remote).length, index]);
    t.deepEqual(sizes.get('hold_slots'), [index, layout.remoteSlot(remote, remote).length]);
    t.deepEqual(sizes.get('hold_keys'), [index, layout.keyValue(remote, tunnel, 1).length]);
  }
  t.deepEqual(sizes.get('hold_slots'), [index, layout.floodSlot(true).length]);
  t.deepEqual(sizes.get('hold_slots'), [index, layout.noSlot().length]);
});

test('what comes through the door is a held frame or nothing, whatever it is', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, marked) => {
      const message = Buffer.from(bytes);
      if (marked && message.length >= layout.VNET + 14) message.writeUInt16BE(layout.HOLD_ETHERTYPE, layout.VNET + 12);
      const content = Buffer.from(message);
      const held = layout.parseHeld(message);
      if (!held) return true;
      return (
        held.frame.length === content.length - layout.HEADER &&
        held.frame.subarray(layout.VNET).equals(content.subarray(layout.VNET + layout.HEADER))
      );
    }),
  );
  t.pass();
});

test('the virtio header counts from the frame, not from the header before it', (t) => {
  const message = Buffer.alloc(layout.VNET + layout.HEADER + 100);
  message.writeUInt16BE(layout.HOLD_ETHERTYPE, layout.VNET + 12);
  message[0] = 1;
  message.writeUInt16LE(layout.HEADER + 42, 2);
  message.writeUInt16LE(layout.HEADER + 34, 6);
  message.writeUInt16LE(16, 8);
  const held = layout.parseHeld(message)!;
  t.is(held.frame.readUInt16LE(2), 42);
  t.is(held.frame.readUInt16LE(6), 34);
  t.is(held.frame.readUInt16LE(8), 16);
});
