/**
 * XFRM as a kernel does it, as far as it matters: SAs found by destination, SPI and mark, policies by selector and priority,
 * extended sequence numbers of RFC 4303, refusals. Octets are real, so that what is on the wire can be read.
 */
import type { Address } from '../../../../src/model/address.ts';
import { open, seal, sealedHeader } from '../../../../src/vswitch-bridge/encryption/codec/esp.ts';
import { ReplayWindow } from '../../../../src/vswitch-bridge/encryption/codec/replay-window.ts';
import { parseSpi } from '../../../../src/vswitch-bridge/encryption/codec/spi.ts';
import type {
  Association,
  ListedAssociation,
} from '../../../../src/vswitch-bridge/encryption/xfrm/codec/association.ts';
import type { Policy, PolicyId } from '../../../../src/vswitch-bridge/encryption/xfrm/codec/policy.ts';
import type { RememberedPeer } from '../../../../src/vswitch-bridge/encryption/xfrm/entry.ts';
import type {
  XfrmKernel,
  XfrmMemory,
  XfrmRefusal,
  XfrmRequest,
} from '../../../../src/vswitch-bridge/encryption/xfrm/kernel-face.ts';
import { keyBits } from '../../../../src/vswitch-bridge/encryption/xfrm/projection.ts';
import type { XfrmTable } from '../../../../src/vswitch-bridge/encryption/xfrm/table.ts';
import type { Datagram } from '../fake-worker.ts';
import { frame } from '../hosts.ts';

interface State {
  readonly sa: Association;
  readonly window: ReplayWindow;
  sent: bigint;
  received: bigint;
  bytes: bigint;
  packets: bigint;
  replayed: number;
  forged: number;
}

const saName = ({ destination, spi, mark }: Pick<Association, 'destination' | 'spi' | 'mark'>) =>
  `${destination} ${spi.toString(16)} ${mark?.value ?? 0}`;
const policyName = ({ direction, selector }: PolicyId) => JSON.stringify([direction, selector]);

export class FakeXfrm implements XfrmKernel {
  readonly local: Address;
  readonly states = new Map<string, State>();
  readonly policyList = new Map<string, Policy>();
  readonly delivered: { readonly from: Address; readonly number: number }[] = [];
  readonly counted: Record<string, bigint> = {};
  /** What happened, in order. */
  readonly calls: string[] = [];
  watched: ReadonlySet<number> = new Set();
  marked: ReadonlyMap<Address, number> = new Map();
  /** Why a request is refused. */
  refuse: (request: XfrmRequest) => string | undefined = () => undefined;
  table: XfrmTable | undefined;
  readonly #wire: (datagram: Omit<Datagram, 'at'>) => void;
  /** Key and number of all that was ever encrypted here. */
  readonly #nonces = new Set<string>();

  constructor(local: Address, wire: (datagram: Omit<Datagram, 'at'>) => void) {
    this.local = local;
    this.#wire = wire;
  }

  apply(requests: readonly XfrmRequest[]): readonly XfrmRefusal[] {
    return requests.flatMap((request) => {
      const reason = this.refuse(request) ?? this.#carryOut(request);
      return reason === undefined ? [] : [{ request, reason }];
    });
  }

  async associations(): Promise<ListedAssociation[]> {
    return [...this.states.values()].map(({ sa, sent, received, ...traffic }) => ({
      ...sa,
      key: Uint8Array.from(sa.key),
      sequence: { sent, received },
      traffic,
    }));
  }

  async policies(): Promise<Policy[]> {
    return [...this.policyList.values()];
  }

  marks(marks: ReadonlyMap<Address, number>): void {
    this.marked = marks;
  }

  watch(keys: ReadonlySet<number>): void {
    this.watched = keys;
  }

  sendControl(to: Address, datagram: Uint8Array): void {
    this.calls.push(`control to ${to}`);
    this.#wire({ from: this.local, to, port: 4500, payload: Uint8Array.from(datagram) });
  }

  statistics(): Readonly<Record<string, bigint>> {
    return this.counted;
  }

  /** A frame of VXLAN leaves, or not. */
  transmit(to: Address, number: number): void {
    const policy = this.#policy('out', this.local, to);
    // A kernel without a policy sends in plain text.
    if (!policy) {
      this.#wire({ from: this.local, to, port: 4789, payload: frame(number, 'udp') });
      return;
    }
    const spi = policy.template?.spi;
    const state = spi === undefined ? undefined : this.states.get(saName({ destination: to, spi }));
    if (!state) {
      this.#count('not-sent');
      return;
    }
    state.sent++;
    state.packets++;
    const nonce = `${Buffer.from(state.sa.key).toString('hex')} ${state.sent}`;
    if (this.#nonces.has(nonce)) throw new Error('a nonce is used twice');
    this.#nonces.add(nonce);
    const payload = seal(spi!, state.sa.key, state.sent, { vni: 100, sourcePort: 49152, frame: frame(number, 'udp') });
    this.#wire({ from: this.local, to, port: 4500, payload });
  }

  receive({ from, port, payload }: Omit<Datagram, 'at' | 'to'>): void {
    if (port === 4789) {
      // Every policy for what comes in demands ESP, or blocks.
      if (this.#policy('in', from, this.local)) this.#count('plain-refused');
      else this.delivered.push({ from, number: -1 });
      return;
    }
    const spi = Buffer.from(payload).readUInt32BE(0);
    const range = parseSpi(spi)?.range;
    if (range === 'control') this.table?.control(from, payload);
    else if (range === 'plain') this.table?.plain(from, { version: 0, fp12: 0, off: false });
    else if (range === 'encrypted' && !this.watched.has(keyBits(spi))) this.table?.unreadable(from, spi);
    if (range !== 'encrypted') return;
    const mark = { value: this.marked.get(from) ?? 0, mask: 0xffffffff };
    const state = this.states.get(saName({ destination: this.local, spi, mark }));
    const header = sealedHeader(payload);
    if (!state || 'error' in header) {
      this.#count(state ? 'malformed' : 'no-key');
      return;
    }
    if (!state.window.fresh(header.sequence)) {
      state.replayed++;
      return;
    }
    const opened = open(payload, state.sa.key);
    if ('error' in opened) {
      state.forged++;
      return;
    }
    state.window.accept(header.sequence);
    state.packets++;
    // The SA's selector, then the policy: what says that it is of another than its SA's peer goes nowhere.
    if (state.sa.selector.source.address !== from || !this.#policy('in', from, this.local)?.template) {
      this.#count('wrong-peer');
      return;
    }
    this.delivered.push({ from, number: Buffer.from(opened.frame).readUInt32BE(42) });
  }

  #carryOut(request: XfrmRequest): string | undefined {
    switch (request.op) {
      case 'add-sa': {
        const name = saName(request.sa);
        this.calls.push(`${request.sa.source === this.local ? 'out' : 'in'} ${request.sa.spi.toString(16)}`);
        if (this.states.has(name)) return 'EEXIST';
        const sa = { ...request.sa, key: Uint8Array.from(request.sa.key) };
        if (sa.key.every((octet) => octet === 0)) throw new Error('a key that was zeroed');
        this.states.set(name, {
          ...{ sa, window: new ReplayWindow(), sent: sa.sequence.sent, received: 0n, bytes: 0n, packets: 0n },
          ...{ replayed: 0, forged: 0 },
        });
        return undefined;
      }
      case 'delete-sa':
        this.calls.push(`delete ${request.id.spi.toString(16)}`);
        for (const { template } of this.policyList.values()) {
          const { destination, spi } = request.id;
          if (template?.spi === spi && template.destination === destination) throw new Error('a policy still names it');
        }
        return this.states.delete(saName(request.id)) ? undefined : 'ESRCH';
      case 'set-policy': {
        const { template, direction } = request.policy;
        this.calls.push(`policy ${direction} ${template ? template.spi.toString(16) : 'block'}`);
        this.policyList.set(policyName(request.policy), request.policy);
        return undefined;
      }
      case 'delete-policy':
        this.calls.push(`no policy ${request.id.direction}`);
        return this.policyList.delete(policyName(request.id)) ? undefined : 'ENOENT';
    }
  }

  #policy(direction: 'in' | 'out', source: Address, destination: Address): Policy | undefined {
    const fits = ({ address, length }: { address: Address; length: number }, wanted: Address) =>
      length === 0 || address === wanted;
    return [...this.policyList.values()]
      .filter((policy) => policy.direction === direction)
      .filter(({ selector }) => fits(selector.source, source) && fits(selector.destination, destination))
      .sort((one, other) => one.priority - other.priority)[0];
  }

  #count(reason: string): void {
    this.counted[reason] = (this.counted[reason] ?? 0n) + 1n;
  }
}

export class FakeMemory implements XfrmMemory {
  readonly peers = new Map<Address, RememberedPeer>();

  load(): RememberedPeer[] {
    return [...this.peers.values()];
  }

  save(peer: RememberedPeer): void {
    this.peers.set(peer.address, structuredClone(peer));
  }

  remove(address: Address): void {
    this.peers.delete(address);
  }

  keepOnly(addresses: readonly Address[]): void {
    for (const address of this.peers.keys()) if (!addresses.includes(address)) this.peers.delete(address);
  }
}
