/**
 * Two hosts in rewrite mode whose packets go nowhere by themselves: the programs run one frame at a time, and what they send
 * is handed back. So whatever is lost, late or twice is the test's to say, and a host may begin with nothing at any moment.
 */
import { execFileSync } from 'node:child_process';
import { AF, interfaceIndex, LinuxSocket, SOCK, withNetns } from 'linux-sockets';
import { parseAddress } from '../../../../src/model/address.ts';
import { type Loaded, loadPrograms } from '../../../../src/vswitch-bridge/fastpath/loader/objects.ts';
import * as layout from '../../../../src/vswitch-bridge/fastpath/maps/layout.ts';
import { indexKey, raise, readIndex, sumOverCpus } from '../../../../src/vswitch-bridge/fastpath/maps/tables.ts';
import { knownPeers } from '../../../../src/vswitch-bridge/fastpath/peers.ts';
import { compileRules } from '../../../../src/vswitch-bridge/fastpath/rules/compile.ts';
import { RuleTable } from '../../../../src/vswitch-bridge/fastpath/rules/table.ts';
import { ethernet, ipv4, type Packet, readIp, readTunnelled, vxlan } from './frames.ts';
import { SETTINGS } from './ground.ts';
import { overlayNetworks } from './policy.ts';

const SHOT = 2;
const REDIRECT = 7;
const SKB = { bytes: 192, mark: 8, ifindex: 40 };
const VNI = 100;
const ETH_P_ALL = 3;
const PACKET_OUTGOING = 4;
/** Of the VXLAN header, behind Ethernet, IPv4 and UDP. */
const VXLAN_AT = 42;
const CONNECTIONS = 1024;
const KINDS = ['key', 'hello', 'unknown', 'bye'] as const;
/** Words of a peer: bpf/rewrite_key.h. */
const SETTLED = 5;

export const SENDER = '10.20.1.1';
export const RECEIVER = '10.20.1.2';
const BESIDE: Readonly<Record<string, string>> = { [SENDER]: RECEIVER, [RECEIVER]: SENDER };

/** What the sender's instance says to an address of the receiver's. */
export const pair = (number: number): Packet => ({
  saddr: '10.200.1.2',
  daddr: `10.200.2.${number}`,
  protocol: 17,
  sport: 7000 + number,
  dport: 6000,
});
const reversed = ({ saddr, daddr, sport, dport, protocol }: Packet): Packet => ({
  saddr: daddr,
  daddr: saddr,
  sport: dport,
  dport: sport,
  protocol,
});
const frameOf = (packet: Packet): Buffer => ethernet(ipv4(packet, Buffer.alloc(64, 1)));

export interface Control {
  readonly kind: (typeof KINDS)[number];
  readonly known: boolean;
  readonly wants: boolean;
  readonly epoch: number;
  readonly frame: Buffer;
}

export type Outcome =
  | { readonly what: 'restored'; readonly to: string }
  | { readonly what: 'answered'; readonly control: Control }
  | { readonly what: 'sent'; readonly by: 'tunnel' | 'rewritten'; readonly frame: Buffer }
  | { readonly what: 'left' | 'dropped' };

function readControl(frame: Buffer): Control | undefined {
  if (frame.length < VXLAN_AT + 8 || frame.readUInt16BE(36) !== 4789) return undefined;
  const flags = frame.readUInt32BE(VXLAN_AT);
  const kind = KINDS[((flags >>> 20) & 15) - 1];
  if (!kind) return undefined;
  return {
    kind,
    known: (flags & (1 << 17)) !== 0,
    wants: (flags & (1 << 16)) !== 0,
    epoch: frame[VXLAN_AT + 7]!,
    frame: Buffer.from(frame),
  };
}

export interface Life {
  readonly epoch: number;
  /** ns; 0: so long ago that nothing of before is left anywhere. */
  readonly born: bigint;
}

const ip = (...words: string[]) => execFileSync('ip', words, { stdio: ['ignore', 'pipe', 'pipe'] });

export class SteppedHost {
  readonly address: string;
  readonly #netns: string;
  readonly #wire: LinuxSocket;
  readonly #loaded: Loaded;
  /** The host to which it sends. */
  #towards: string;

  constructor(name: string, address: string) {
    this.address = address;
    this.#towards = BESIDE[address]!;
    this.#netns = name;
    ip('netns', 'add', name);
    for (const device of ['u0', 'i0']) {
      ip('-n', name, 'link', 'add', device, 'type', 'veth', 'peer', 'name', `${device}p`);
      for (const end of [device, `${device}p`]) ip('-n', name, 'link', 'set', end, 'up');
    }
    ip('-n', name, 'address', 'add', `${address}/24`, 'dev', 'u0');
    // Without these two no route is told to the programs.
    ip('netns', 'exec', name, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    this.#neighbour(BESIDE[address]!);
    this.#loaded = loadPrograms({}, { connections: CONNECTIONS, flows: 4 * CONNECTIONS });
    this.#wire = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol: 0, netns: name });
    this.#wire.bind({ family: 'packet', ifindex: this.#index('u0'), protocol: ETH_P_ALL });
    const { tables } = this.#loaded;
    tables.instances.set(indexKey(this.#index('i0')), layout.instance.encode({ vni: VNI, flags: 0 }));
    const policy = { default: 'allow', initiate: 'both', rules: [] } as const;
    new RuleTable(tables).install([], compileRules(policy, overlayNetworks()));
  }

  #neighbour(address: string): void {
    const lladdr = ['lladdr', '0a:00:00:00:00:02', 'dev', 'u0', 'nud', 'permanent'];
    ip('-n', this.#netns, 'neighbour', 'replace', address, ...lladdr);
  }

  #index(device: string): number {
    return withNetns(this.#netns, () => interfaceIndex(device));
  }

  /** All that it knew is gone. */
  begin(life: Life): void {
    const { tables } = this.#loaded;
    for (const { index } of knownPeers(tables.peers)) {
      for (let key = 0; key < layout.KEYS_A_PEER; key += 1) {
        tables.restored.set(indexKey(index * layout.KEYS_A_PEER + key), Buffer.alloc(layout.restored.size));
      }
      tables.peers.set(indexKey(index), Buffer.alloc(layout.peer.size));
    }
    for (const map of [tables.flows, tables.sent_keys]) {
      const keys = [...map.batches()].flatMap(({ count, keys }) =>
        Array.from({ length: count }, (_, at) => Buffer.from(keys.subarray(at * map.keySize, (at + 1) * map.keySize))),
      );
      for (const key of keys) map.delete(key);
    }
    for (let slot = 0; slot < CONNECTIONS; slot += 1) {
      tables.connections.set(indexKey(slot), Buffer.alloc(layout.connection.size));
    }
    this.#towards = BESIDE[this.address]!;
    this.live(life);
    // It sends a broadcast there: the other is no stranger.
    this.#run('nic_egress', vxlan(VNI, frameOf(pair(1)), this.address, BESIDE[this.address]!), 'u0');
  }

  live({ epoch, born }: Life): void {
    const { tables } = this.#loaded;
    const settings = {
      ...SETTINGS,
      mode: layout.MODE.rewrite,
      key_field: layout.KEY_FIELD.dscp,
      underlay_address: parseAddress(this.address)!,
      underlay_ifindex: this.#index('u0'),
      connection_mask: tables.connections.maxEntries - 1,
      rewrite: [BigInt(epoch), born],
    };
    tables.config.set(indexKey(0), layout.config.encode(settings));
  }

  count(what: (typeof layout.REWRITE_STATISTICS)[number], program: layout.ProgramName = 'nic_ingress'): number {
    const first = layout.STATISTICS.length + layout.SLOW_REASONS.length;
    const sums = sumOverCpus(this.#loaded.tables.statistics, layout.PROGRAMS.indexOf(program));
    return sums[first + layout.REWRITE_STATISTICS.indexOf(what)]!;
  }

  /** From when on the other's packets mean what they mean now, ns; 0: not known. */
  get settled(): bigint {
    return this.#peer().rewrite[SETTLED]!;
  }

  set settled(time: bigint) {
    const { index, ...peer } = this.#peer();
    const rewrite = peer.rewrite.with(SETTLED, time);
    this.#loaded.tables.peers.set(indexKey(index), layout.peer.encode({ ...peer, rewrite }));
  }

  #peer() {
    const { index } = knownPeers(this.#loaded.tables.peers)[0]!;
    return { index, ...readIndex(this.#loaded.tables.peers, index, layout.peer) };
  }

  /** As if the slow path had carried one packet each way: the next that is sent or received goes the fast way. */
  open(packet: Packet): void {
    const beside = BESIDE[this.address]!;
    const out = this.address === SENDER ? packet : reversed(packet);
    const receive = () => {
      const frame = vxlan(VNI, frameOf(reversed(out)), beside, this.address);
      const { mark } = this.#run('nic_ingress', frame, 'u0');
      this.#run('to_instance', frameOf(reversed(out)), 'i0', mark);
    };
    const send = () => {
      const { mark } = this.#run('from_instance', frameOf(out), 'i0');
      this.#run('nic_egress', vxlan(VNI, frameOf(out), this.address, beside), 'u0', mark);
    };
    if (this.address === SENDER) {
      send();
      receive();
    } else {
      receive();
      send();
      // The state is seen to be established by the packet after.
      receive();
    }
    this.#sentAside();
  }

  /** By an instance. */
  send(packet: Packet): Outcome {
    const out = this.address === SENDER ? packet : reversed(packet);
    const { result, frame } = this.#run('from_instance', frameOf(out), 'i0');
    if (result !== REDIRECT) return { what: result === SHOT ? 'dropped' : 'left' };
    const tunnelled = readTunnelled(frame, this.#towards);
    return { what: 'sent', by: tunnelled ? 'tunnel' : 'rewritten', frame };
  }

  /** Who is spoken to has gone to `host`, of which is known what is known of the host before; the way there is learned. */
  moved(packet: Packet, host: string): void {
    const { tables } = this.#loaded;
    const { index: before, rewrite } = this.#peer();
    this.#towards = host;
    this.#neighbour(host);
    this.#run('nic_egress', vxlan(VNI, frameOf(pair(1)), this.address, host), 'u0');
    const { index, peer } = knownPeers(tables.peers).find((one) => one.peer.address === host)!;
    tables.peers.set(indexKey(index), layout.peer.encode({ ...peer, rewrite }));
    this.#run('nic_ingress', vxlan(VNI, frameOf(reversed(packet)), host, this.address), 'u0');
    raise(tables.peer_generation, before);
    const { mark } = this.#run('from_instance', frameOf(packet), 'i0');
    this.#run('nic_egress', vxlan(VNI, frameOf(packet), this.address, host), 'u0', mark);
  }

  /** By the underlay. */
  receive(sent: Buffer): Outcome {
    const { result, frame } = this.#run('nic_ingress', sent, 'u0');
    if (result === SHOT) return { what: 'dropped' };
    if (result === REDIRECT) {
      const control = readControl(frame);
      return control ? { what: 'answered', control } : { what: 'restored', to: readIp(frame, 0)!.daddr };
    }
    if (frame.equals(sent)) return { what: 'left' };
    // With the tunnel's headers, for the slow path.
    return { what: 'restored', to: readTunnelled(frame, this.address)!.daddr };
  }

  /** The other's packet by the tunnel; what is said of it besides. */
  receiveTunnelled(packet: Packet): Control[] {
    const beside = BESIDE[this.address]!;
    const sent = this.address === SENDER ? reversed(packet) : packet;
    this.#sentAside();
    this.#run('nic_ingress', vxlan(VNI, frameOf(sent), beside, this.address), 'u0');
    return this.#sentAside();
  }

  #sentAside(): Control[] {
    const controls: Control[] = [];
    for (let batch = this.#wire.receiveBatch(); batch.length > 0; batch = this.#wire.receiveBatch()) {
      for (const { data, from } of batch) {
        if (from?.family !== 'packet' || from.pkttype !== PACKET_OUTGOING) continue;
        const control = readControl(data as Buffer);
        if (control) controls.push(control);
      }
    }
    return controls;
  }

  #run(program: layout.ProgramName, data: Buffer, device: string, mark = 0) {
    const context = Buffer.alloc(SKB.bytes);
    context.writeUInt32LE(this.#index(device), SKB.ifindex);
    context.writeUInt32LE(mark, SKB.mark);
    const run = withNetns(this.#netns, () => this.#loaded.program(program).run(data, { context }));
    return { result: run.result, frame: Buffer.from(run.data), mark: run.context.readUInt32LE(SKB.mark) };
  }

  close(): void {
    this.#wire.close();
    this.#loaded.close();
    ip('netns', 'del', this.#netns);
  }
}
