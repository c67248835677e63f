import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { OvsSwitch } from '../../../lab/tunnels/ovs-switch.ts';
import { eventually, pause, Rack, remoteAddress } from '../../../lab/tunnels/rack.ts';
import { HostCleanup } from '../../../src/agent/cleanup/host.ts';
import { parseConfig } from '../../../src/config/index.ts';
import type { Address, Mac } from '../../../src/model/address.ts';
import { systemClock } from '../../../src/model/clock.ts';
import type { Log } from '../../../src/model/log.ts';
import {
  findOvsLeftovers,
  removeOvsLeftovers,
  TunnelNeighbours,
} from '../../../src/vswitch-bridge/neighbours/index.ts';
import { JsonSplitter } from '../../../src/vswitch-bridge/neighbours/ovs/json-rpc.ts';
import { encode } from '../../../src/vswitch-bridge/neighbours/ovs/openflow.ts';

test('objects of JSON-RPC are found however the stream is cut', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.dictionary(fc.string(), fc.anything({ maxDepth: 2, withNullPrototype: false }))),
      fc.array(fc.nat(40)),
      (values, cuts) => {
        const texts = values.map((value) => JSON.stringify(value));
        const stream = texts.join('');
        const splitter = new JsonSplitter();
        const found: string[] = [];
        let at = 0;
        for (let index = 0; at < stream.length; index++) {
          const next = at + 1 + (cuts.length === 0 ? 7 : cuts[index % cuts.length]!);
          found.push(...splitter.push(stream.slice(at, next))!);
          at = next;
        }
        return found.length === texts.length && found.every((text, index) => text === texts[index]);
      },
    ),
  );
  t.pass();
});

test('what is no JSON-RPC ends the stream, and throws nothing', (t) => {
  t.is(new JsonSplitter().push('}{'), undefined);
  t.is(new JsonSplitter().push('"a"'), undefined);
  fc.assert(
    fc.property(fc.array(fc.string()), (chunks) => {
      const splitter = new JsonSplitter();
      for (const chunk of chunks) if (splitter.push(chunk) === undefined) return true;
      return true;
    }),
  );
});

test('flows of OpenFlow 1.3 to the bit', (t) => {
  // As `ovs-ofctl -O OpenFlow13 add-flow` writes them (OXM: §7.2.3; flow mod: §7.3.4.1).
  const arp = encode.add(7, { match: { kind: 'answers', address: '10.20.1.2' as Address }, output: 3 });
  t.is(arp.subarray(0, 8).toString('hex'), '040e006000000007');
  t.is(arp.length, 0x60);
  const match = ['00010018', '80000a020806', '80002a020002', '80002c040a140102'];
  const output = ['0004001800000000', '0000001000000003', '0000000000000000'];
  t.is(arp.subarray(48).toString('hex'), [...match, ...output].join(''));
  const destination = encode.remove(8, { kind: 'destination', prefix: '0e:51:4c:00:00:00' as Mac });
  // OFPFC_DELETE_STRICT
  t.is(destination[8 + 17], 4);
  const masked = ['00010014', '8000070c', '0e514c000000', 'ffffff000000', '00000000'];
  t.is(destination.subarray(48).toString('hex'), masked.join(''));
  const nd = encode.add(9, { match: { kind: 'answers', address: '2001:db8::2' as Address }, output: 1 });
  t.true(nd.toString('hex').includes(['80003a0188', '80003e10', '20010db8000000000000000000000002'].join('')));
});

const SOURCES = new URL('../../../src/', import.meta.url);
const AGENT = `
  const { TunnelNeighbours } = await import('${SOURCES}vswitch-bridge/neighbours/index.ts');
  const { systemClock } = await import('${SOURCES}model/clock.ts');
  const say = (fields, message) => console.error(message, fields);
  const log = { debug: say, info: say, warn: say, error: say };
  const hold = { enabled: true, lifetime: 1000, perNeighbour: 256, total: 8192 };
  const [socket, netns] = process.argv.slice(1);
  await TunnelNeighbours.open({ netns, clock: systemClock, log, proactive: true, poll: 5000, hold, ovs: { socket } });
`;

const log: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

test.serial(
  'R2.1 R2.6 tunnels of Open vSwitch come and go; a switch that starts again gets its table back',
  async (t) => {
    t.timeout(60_000);
    const rack = await Rack.open(2);
    const ovs = await OvsSwitch.start(rack.near);
    let neighbours: TunnelNeighbours | undefined;
    try {
      await rack.addOvsTunnels(ovs);
      neighbours = await TunnelNeighbours.open({
        netns: rack.near,
        clock: systemClock,
        log,
        source: '10.20.1.1' as Address,
        proactive: true,
        poll: 1_000,
        hold: { enabled: true, lifetime: 1_000, perNeighbour: 256, total: 8_192 },
        ovs: { socket: ovs.socket },
      });
      const shown = async (index: number) => {
        const line = (await ovs.appctl('tnl/neigh/show'))
          .split('\n')
          .find((each) => each.startsWith(`${remoteAddress(index)} `));
        return line?.includes(rack.mac) === true;
      };
      const waitFor = async (index: number) => {
        await eventually(() => shown(index));
        // The switch itself has overheard the answer; the agent may have yet to hear it.
        await eventually(() => neighbours!.view().some(({ address, mac }) => address === remoteAddress(index) && mac));
      };
      await waitFor(0);
      await waitFor(1);
      // A port of the bridge loses its carrier: the bridge's neighbours are nobody's any more.
      const placeholders = () => neighbours!.counters().ovs!.placeholders!;
      const before = placeholders();
      execFileSync('ip', ['-n', rack.far, 'link', 'set', 'u0', 'down']);
      await eventually(() => placeholders() >= before + 2);
      execFileSync('ip', ['-n', rack.far, 'link', 'set', 'u0', 'up']);
      await waitFor(0);
      await waitFor(1);
      for (const type of ['gre', 'geneve']) {
        const port = ['add-port', 'int', `t${type}`, '--', 'set', 'interface', `t${type}`, `type=${type}`];
        await ovs.vsctl(...port, `options:remote_ip=${remoteAddress(1)}`);
      }
      const tunnelsOf = (index: number) =>
        neighbours!.view().find(({ address }) => address === remoteAddress(index))?.tunnels.length ?? 0;
      await eventually(() => tunnelsOf(1) === 3);
      t.is(tunnelsOf(0), 1);
      await ovs.vsctl('del-port', 'int', 'vx0');
      await eventually(() => tunnelsOf(0) === 0);
      const standing = (await ovs.vsctl('list-ports', 'phy')).match(/plnh\d+/g);
      t.is(standing?.length, 1);
      await ovs.stopDaemon();
      await ovs.startDaemon();
      // The switch takes its address from the kernel's interface, which it made anew.
      execFileSync('ip', ['-n', rack.near, 'addr', 'replace', '10.20.1.1/24', 'dev', 'phy']);
      execFileSync('ip', ['-n', rack.near, 'link', 'set', 'phy', 'up']);
      await waitFor(1);
      t.pass();
    } finally {
      await neighbours?.close();
      await ovs.stop();
      await rack.close();
    }
  },
);

test.serial('R2.6 what a killed agent left in Open vSwitch is found and removed', async (t) => {
  t.timeout(60_000);
  const rack = await Rack.open(2);
  rack.arpDelay = undefined;
  const ovs = await OvsSwitch.start(rack.near);
  const agent = spawn(process.execPath, [
    '--conditions=source',
    '--input-type=module',
    '-e',
    AGENT,
    ovs.socket,
    rack.near,
  ]);
  agent.stderr.on('data', (text) => t.log(String(text)));
  try {
    await rack.addOvsTunnels(ovs);
    let found = await findOvsLeftovers(ovs.socket);
    for (; found.placeholders < 2; found = await findOvsLeftovers(ovs.socket)) await pause(50);
    const ended = once(agent, 'exit');
    agent.kill('SIGKILL');
    await ended;
    t.is(found.ports.length, 1);
    t.regex(await ovs.flows('phy'), /0x504c4e48/);
    const nowhere = join(tmpdir(), 'peerless-no-such-directory');
    const loaded = parseConfig(
      `role: host
underlay: { address: 10.20.1.1, device: phy }
stateDirectory: ${nowhere}
control: { socket: ${join(nowhere, 'socket')} }
neighbours: { ovs: { socket: ${ovs.socket} } }`,
      'host.yaml',
    );
    if (!loaded.ok || loaded.config.role !== 'host') throw new Error(JSON.stringify(loaded));
    t.like(await new HostCleanup(loaded.config).find(), {
      ovsPorts: found.ports,
      ovsPlaceholders: found.placeholders,
      problems: [],
    });
    await removeOvsLeftovers(ovs.socket);
    t.deepEqual(await findOvsLeftovers(ovs.socket), { ports: [], placeholders: 0 });
    t.notRegex(await ovs.flows('phy'), /0x504c4e48/);
  } finally {
    agent.kill('SIGKILL');
    await ovs.stop();
    await rack.close();
  }
});
