/**
 * Very many pairs between two hosts, many more than there are keys and connections: keys are told, run out, age and are told
 * for others. Every packet says whom it is for; nobody ever gets another's. `PAIRS=270 CONNECTIONS=262144 LIFETIME=40` makes
 * 72,900 of them.
 */
import test from 'ava';
import { AF, LinuxSocket, SOCK } from 'linux-sockets';
import { type Address, ipv4FromNumber, ipv4ToNumber } from '../../../src/model/address.ts';
import * as layout from '../../../src/vswitch-bridge/fastpath/maps/layout.ts';
import { indexKey } from '../../../src/vswitch-bridge/fastpath/maps/tables.ts';
import { makeGround } from './support/ground.ts';

const SIDE = Number(process.env.PAIRS ?? 48);
/** First the even ones of the near side speak, then the odd ones, when the first have lost their keys. */
const HALVES = 2;
const ROUNDS = 4;
const RECEIVE_LIFETIME = Number(process.env.LIFETIME ?? 5);
const PORT = 9000;
const SECOND = 1_000_000_000n;
const NEAR = ipv4ToNumber('10.202.0.0' as Address);
const FAR = ipv4ToNumber('10.203.0.0' as Address);
const at = (base: number, number: number): Address => ipv4FromNumber(base + 256 + number);

function open(netns: string, address: Address): LinuxSocket {
  const socket = LinuxSocket.open({ family: AF.INET, type: SOCK.DGRAM, protocol: 0, netns });
  socket.setBuffer('receive', 1 << 20);
  socket.bind({ family: 'ipv4', address, port: PORT });
  return socket;
}

test.serial(`R3.3 ${SIDE * SIDE} pairs of instances, keys wrap: nothing goes to another than it was for`, async (t) => {
  t.timeout(600_000);
  const ground = await makeGround(`pairs${process.pid}`, [
    { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
    { name: 'c2', host: 2, network: 'blue', address: '10.200.2.2' },
  ]);
  const sockets: LinuxSocket[] = [];
  try {
    const { lab } = ground;
    for (const [number, [name, base, other]] of (
      [
        ['c1', NEAR, '10.200.2.2'],
        ['c2', FAR, '10.200.1.2'],
      ] as const
    ).entries()) {
      const host = ground.hosts[`h${number + 1}`]!;
      // Short lives: keys are given to others within the test.
      host.settings({
        mode: layout.MODE.rewrite,
        rewrite: [BigInt(number + 7)],
        lifetime_send: BigInt(RECEIVE_LIFETIME - 1) * SECOND,
        lifetime_receive: BigInt(RECEIVE_LIFETIME) * SECOND,
      });
      const addresses = Array.from({ length: SIDE }, (_, index) => `address add ${at(base, index)}/32 dev lo`);
      const away = base === NEAR ? FAR : NEAR;
      await lab.ip(name, 'link set lo up', ...addresses, `route add ${ipv4FromNumber(away)}/16 via ${other} dev eth0`);
      // One device with many addresses: none of them is the only one that it may have.
      const { interface: device } = lab.instance(name);
      const key = indexKey(lab.ifindex(`h${number + 1}`, device));
      const entry = host.loaded.tables.instances.get(key)!;
      const value = layout.instance.read(entry, 0);
      layout.instance.write(entry, 0, { ...value, flags: layout.INSTANCE_FLAG.peer });
      host.loaded.tables.instances.set(key, entry);
    }
    const near = Array.from({ length: SIDE }, (_, index) => open(lab.netnsOf('c1'), at(NEAR, index)));
    const far = Array.from({ length: SIDE }, (_, index) => open(lab.netnsOf('c2'), at(FAR, index)));
    sockets.push(...near, ...far);
    let strayed = 0;
    let asked = 0;
    let answered = 0;
    const receive = (): void => {
      for (const [to, socket] of far.entries()) {
        for (const { data, from } of socket.receiveBatch()) {
          const source = near.length > data.readUInt16BE(0) ? at(NEAR, data.readUInt16BE(0)) : undefined;
          if (data.readUInt16BE(2) !== to || from?.family !== 'ipv4' || from.address !== source) strayed++;
          else socket.sendBatch([{ data, to: from }]);
        }
      }
      for (const [index, socket] of near.entries()) {
        for (const { data, from } of socket.receiveBatch()) {
          if (
            data.readUInt16BE(0) !== index ||
            from?.family !== 'ipv4' ||
            from.address !== at(FAR, data.readUInt16BE(2))
          )
            strayed++;
          else answered++;
        }
      }
    };
    const rewritten: number[] = [];
    for (let half = 0; half < HALVES; half++) {
      for (let round = 0; round < ROUNDS; round++) {
        for (const [index, socket] of near.entries()) {
          if (index % HALVES !== half) continue;
          for (let to = 0; to < SIDE; to++) {
            const data = Buffer.alloc(64);
            data.writeUInt16BE(index, 0);
            data.writeUInt16BE(to, 2);
            socket.sendBatch([{ data, to: { family: 'ipv4', address: at(FAR, to), port: PORT } }]);
            asked++;
            if (to % 16 !== 15) continue;
            receive();
            await new Promise((resolve) => setImmediate(resolve));
          }
          receive();
        }
        // Longer than a connection believes that it has no key.
        await new Promise((resolve) => setTimeout(resolve, 400));
        receive();
      }
      rewritten.push(ground.hosts.h1!.counts('from_instance')['rewrite sent']!);
      await new Promise((resolve) => setTimeout(resolve, (RECEIVE_LIFETIME + 1) * 1000));
    }
    t.is(strayed, 0);
    t.is(answered, asked, 'nothing is lost');
    const [first = 0, both = 0] = rewritten;
    t.true(both > SIDE && both > first, `rewritten by the halves: ${first}, ${both - first}`);
    const counts = ground.hosts.h2!.counts('nic_ingress');
    t.true(counts['rewrite keys-out']! > 0, 'keys ran out');
    t.is(counts['rewrite unknown-key'], 0);
  } finally {
    for (const socket of sockets) socket.close();
    await ground.close();
  }
});
