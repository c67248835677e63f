/** R4.1: the filter of a port in a storm, run by a small interpreter of classic BPF. */
import test from 'ava';
import type { FilterInstruction } from 'linux-sockets';
import type { Address, Mac } from '../../src/model/address.ts';
import {
  ARP_LENGTH,
  ETHERNET_HEADER,
  encodeArp,
  encodeNd,
  makeFrame,
  type NdPacket,
  ndLength,
  STORM_SAMPLE,
  stormFilter,
} from '../../src/netlink/frames/index.ts';

const MAC = '02:00:00:00:00:01' as Mac;
const OUTGOING = 4;
const BROADCAST = 1;

interface Surroundings {
  readonly random?: number;
  readonly packetType?: number;
  readonly vlan?: number;
}

/** Octets accepted; 0: dropped. A load beyond the frame drops it, as in the kernel. */
function run(program: readonly FilterInstruction[], frame: Uint8Array, around: Surroundings = {}): number {
  const ancillary: Record<number, number> = {
    4: around.packetType ?? BROADCAST,
    44: around.vlan ?? 0,
    56: around.random ?? 1,
  };
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  let accumulator = 0;
  for (let at = 0; at < program.length; at++) {
    const { code, jt, jf, k } = program[at]!;
    if (code === 0x06) return k;
    if (code === 0x05) at += k;
    else if (code === 0x54) accumulator = (accumulator & k) >>> 0;
    else if (code === 0x15) at += accumulator === k ? jt : jf;
    else if (k >= 0xfffff000) accumulator = ancillary[k - 0xfffff000]!;
    else {
      const width = { 32: 4, 40: 2, 48: 1 }[code];
      if (width === undefined) throw new Error(`instruction ${code}`);
      if (k + width > frame.length) return 0;
      accumulator = width === 4 ? view.getUint32(k) : width === 2 ? view.getUint16(k) : view.getUint8(k);
    }
  }
  throw new Error('ran off the end');
}

function arp(sender: string, operation: 'request' | 'reply' = 'request'): Uint8Array {
  const frame = makeFrame('ff:ff:ff:ff:ff:ff' as Mac, MAC, 0x0806, ARP_LENGTH);
  const senderAddress = sender as Address;
  const packet = { operation, senderMac: MAC, senderAddress, targetMac: MAC, targetAddress: senderAddress };
  encodeArp(packet, frame, ETHERNET_HEADER);
  return frame;
}

function nd(type: NdPacket['type'], source: string, target: string): Uint8Array {
  const flags = { router: false, solicited: false, override: true };
  const packet: NdPacket = {
    type,
    source: source as Address,
    destination: 'ff02::1' as Address,
    target: target as Address,
    linkLayer: MAC,
    ...flags,
  };
  const frame = makeFrame('33:33:00:00:00:01' as Mac, MAC, 0x86dd, ndLength(packet));
  encodeNd(packet, frame, ETHERNET_HEADER);
  return frame;
}

const KNOWN = ['10.10.10.1', '10.10.10.2', '2001:db8::1', '10.10.10.200'] as Address[];

for (const tagged of [false, true]) {
  const program = stormFilter(tagged, KNOWN);
  const where = tagged ? 'a bridge port' : 'a routed port';

  test(`R4.1 storm on ${where}: what speaks for known hosts passes, always`, (t) => {
    for (const random of [0, 1, 63]) {
      for (const sender of ['10.10.10.1', '10.10.10.2', '10.10.10.200']) {
        t.true(run(program, arp(sender), { random }) >= 60);
        t.true(run(program, arp(sender, 'reply'), { random }) >= 60);
      }
      t.true(run(program, nd('solicitation', '2001:db8::1', '2001:db8::fe'), { random }) >= 86);
      t.true(run(program, nd('advertisement', 'fe80::1', '2001:db8::1'), { random }) >= 86);
    }
  });

  test(`R4.1 storm on ${where}: of the others one in ${STORM_SAMPLE}`, (t) => {
    const rarp = arp('10.10.10.1');
    rarp[12] = 0x80;
    rarp[13] = 0x35;
    const others = [
      arp('10.10.10.3'),
      arp('10.66.0.1', 'reply'),
      nd('solicitation', '2001:db8::2', '2001:db8::1'),
      nd('advertisement', '2001:db8::1', '2001:db8::2'),
      rarp,
    ];
    for (const frame of others) {
      t.true(run(program, frame, { random: 3 * STORM_SAMPLE }) > 0);
      for (const random of [1, 63, 65]) t.is(run(program, frame, { random }), 0);
    }
  });

  test(`R4.1 storm on ${where}: what was never listened to is not now`, (t) => {
    const random = 0;
    t.is(run(program, arp('10.10.10.1'), { random, packetType: OUTGOING }), 0);
    const data = nd('advertisement', 'fe80::1', '2001:db8::1');
    data[ETHERNET_HEADER + 40] = 128;
    t.is(run(program, data, { random }), 0, 'an echo request');
    data[ETHERNET_HEADER + 6] = 17;
    t.is(run(program, data, { random }), 0, 'UDP');
    const ipv4 = arp('10.10.10.1');
    ipv4[12] = 0x08;
    ipv4[13] = 0;
    t.is(run(program, ipv4, { random }), 0);
    t.is(run(program, arp('10.10.10.1').subarray(0, 25), { random }), 0, 'cut short');
    t.is(run(program, arp('10.10.10.1'), { random, vlan: 100 }) > 0, tagged);
  });
}

test('R4.1 storm: thousands of known addresses still make a program that the kernel takes', (t) => {
  const many = Array.from({ length: 5_000 }, (_, index) => `10.20.${index >> 8}.${index & 255}` as Address);
  const program = stormFilter(false, many);
  t.true(program.length <= 4_096);
  t.true(program.every(({ jt, jf }) => jt <= 255 && jf <= 255));
  t.true(run(program, arp(many[1_800]!)) > 0);
  t.is(run(program, arp('10.10.10.1')), 0);
  t.is(run(stormFilter(false, []), arp('10.10.10.1')), 0, 'nobody is known');
});
