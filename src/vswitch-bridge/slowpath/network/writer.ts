/** Carries differences into the kernel: devices first, one by one, then all that stands on them in few messages. */
import { type Link, type LinkChange, NetlinkError, type Refusal, type Request, type Rtnetlink } from 'rtnetlink-ts';
import { bridgeLink, removeRequests, tunnelLink, writeRequests } from './encode.ts';
import {
  type BridgeObject,
  type Difference,
  deviceOf,
  type LayoutObject,
  type PortObject,
  type TunnelObject,
} from './objects.ts';
import { nextTurn, sendPaced } from './pacing.ts';
import { readLink, sameNature } from './read.ts';

export interface Problem {
  readonly object: LayoutObject;
  readonly message: string;
}

/** The devices of the namespace as far as told, kept by who listens; what the writer makes it puts in itself. */
export interface Devices {
  byName(name: string): Link | undefined;
  byIndex(ifindex: number): Link | undefined;
  store(link: Link): void;
  forget(name: string): void;
}

export interface WriterOptions {
  readonly rtnetlink: Rtnetlink;
  readonly devices: Devices;
  /** A device of ours was made, or put right. */
  readonly onDevice: (object: BridgeObject | TunnelObject) => void;
}

/** Already gone, or gone with what it stood on. */
const GONE = new Set(['ENOENT', 'ESRCH', 'ENODEV', 'EADDRNOTAVAIL', 'EINVAL', 'EOPNOTSUPP']);

export class Writer {
  readonly #rtnetlink: Rtnetlink;
  readonly #devices: Devices;
  readonly #onDevice: WriterOptions['onDevice'];

  constructor({ rtnetlink, devices, onDevice }: WriterOptions) {
    this.#rtnetlink = rtnetlink;
    this.#devices = devices;
    this.#onDevice = onDevice;
  }

  /** @param standingOn all that is to stand on a device, for those that are made anew */
  async perform(
    { write, remove }: Difference,
    standingOn: (devices: ReadonlySet<string>) => Iterable<LayoutObject>,
  ): Promise<Problem[]> {
    const problems: Problem[] = [];
    const made = new Set<string>();
    for (const object of write) {
      if (object.kind !== 'bridge' && object.kind !== 'tunnel') continue;
      await nextTurn();
      try {
        if (await this.#writeLink(object)) made.add(object.name);
        this.#onDevice(object);
      } catch (error) {
        if (!(error instanceof NetlinkError)) throw error;
        problems.push({ object, message: linkRefused(object, error) });
      }
    }
    const rest = write.filter(({ kind }) => kind !== 'bridge' && kind !== 'tunnel');
    const all = made.size === 0 ? rest : [...new Set([...rest, ...notIn(rest, standingOn(made))])];
    for (const object of all) {
      const problem = object.kind === 'port' ? this.join(object) : undefined;
      if (problem !== undefined) problems.push({ object, message: problem });
    }
    problems.push(...(await this.#send(all, (object) => this.#write(object), new Set(['EEXIST']))));
    problems.push(...(await this.#send(remove, (object) => this.#remove(object), GONE)));
    return problems;
  }

  /**
   * Puts another's device into its bridge, in this turn. A device that is not there comes later; one that is in a
   * bridge that is not ours stays there.
   * @returns why it did not join
   */
  join(port: PortObject): string | undefined {
    const { device, bridge, mtu } = port;
    const master = this.#devices.byName(bridge);
    if (!this.#devices.byName(device) || !master) return undefined;
    // What was told may be old: whoever made the device may have put it elsewhere in the next moment.
    const link = this.reread(device);
    if (!link || (link.master === master.ifindex && (mtu ?? link.mtu) === link.mtu)) return undefined;
    const other = link.master === 0 ? undefined : this.#devices.byIndex(link.master);
    if (other && !other.name.startsWith('plbr')) return `${device} is a port of ${other.name}: take it out there`;
    const [request] = writeRequests(port, this.#ifindex);
    const { refused } = this.#rtnetlink.sendAndSee(request ? [request] : []);
    this.reread(device);
    return refused[0] && describe(refused[0].refusal);
  }

  async removeForeign(names: readonly string[]): Promise<void> {
    for (const name of names) {
      // The other end of a pair goes with it.
      if (this.reread(name)) await this.#rtnetlink.deleteLink({ name });
      this.#devices.forget(name);
    }
  }

  readonly #ifindex = (name: string): number | undefined => this.#devices.byName(name)?.ifindex;

  /** @returns true: it was made */
  async #writeLink(object: BridgeObject | TunnelObject): Promise<boolean> {
    const standing = this.reread(object.name);
    const now = standing && readLink(standing, (ifindex) => this.#devices.byIndex(ifindex));
    const change = object.kind === 'bridge' ? bridgeLink(object) : tunnelLink(object, this.#ifindex);
    if (standing && now) {
      const keeps =
        now !== 'foreign' &&
        (now.kind === 'bridge' || (object.kind === 'tunnel' && now.kind === 'tunnel' && sameNature(now, object)));
      if (keeps) {
        const { mtu, master, address } = change;
        await this.#rtnetlink.setLink({
          ifindex: standing.ifindex,
          up: true,
          ...(mtu === undefined || mtu === standing.mtu ? {} : { mtu }),
          ...(master === undefined || master === standing.master ? {} : { master }),
          // With its address a device loses its neighbours, also those that are to stay.
          ...(address === undefined || address === standing.address ? {} : { address }),
        });
        this.reread(object.name);
        return false;
      }
      await this.#rtnetlink.deleteLink({ ifindex: standing.ifindex });
    }
    if (object.kind === 'bridge') await this.#addBridge(change, object.mtu);
    else await this.#rtnetlink.addLink(change);
    this.reread(object.name);
    return true;
  }

  /** A bridge follows the MTU of its ports until one is set: at its making, or set to what it is, doesn't count. */
  async #addBridge(change: LinkChange, mtu: number): Promise<void> {
    await this.#rtnetlink.addLink({ ...change, mtu: mtu + 1 });
    const made = this.#rtnetlink.getLinkNow({ name: change.name ?? '' });
    if (made) await this.#rtnetlink.setLink({ ifindex: made.ifindex, mtu });
  }

  /** As it is in this turn. */
  reread(name: string): Link | undefined {
    const link = this.#rtnetlink.getLinkNow({ name });
    if (link) this.#devices.store(link);
    else this.#devices.forget(name);
    return link;
  }

  #write(object: LayoutObject): readonly Request[] {
    if (object.kind === 'port') return [];
    if (object.kind === 'bridge-entry') {
      // Of an instance that has not come, or not joined: with it.
      const master = this.#devices.byName(object.device)?.master ?? 0;
      if (!this.#devices.byIndex(master)?.name.startsWith('plbr')) return [];
    }
    return writeRequests(object, this.#ifindex);
  }

  #remove(object: LayoutObject): readonly Request[] {
    const bridge = object.kind === 'port' ? this.#devices.byName(object.bridge) : undefined;
    // It went by itself, or another has it by now.
    if (object.kind === 'port' && this.#devices.byName(object.device)?.master !== bridge?.ifindex) return [];
    return removeRequests(object, this.#ifindex);
  }

  async #send(
    objects: readonly LayoutObject[],
    encode: (object: LayoutObject) => readonly Request[],
    forgiven: ReadonlySet<string>,
  ): Promise<Problem[]> {
    const batch: Request[] = [];
    const owners: LayoutObject[] = [];
    for (const object of objects) {
      for (const request of encode(object)) {
        batch.push(request);
        owners.push(object);
      }
    }
    if (batch.length === 0) return [];
    const { refused } = await sendPaced(this.#rtnetlink, batch);
    return refused
      .filter(({ refusal }) => !forgiven.has(refusal.code))
      .map(({ index, refusal }) => ({ object: owners[index]!, message: describe(refusal) }));
  }
}

function* notIn(those: readonly LayoutObject[], objects: Iterable<LayoutObject>): Iterable<LayoutObject> {
  const known = new Set(those);
  for (const object of objects) {
    if (!known.has(object) && object.kind !== 'bridge' && object.kind !== 'tunnel') yield object;
  }
}

const describe = ({ request, code, extack }: Refusal): string =>
  `the kernel refused ${request}: ${code}${extack ? ` (${extack})` : ''}`;

function linkRefused(object: BridgeObject | TunnelObject, error: NetlinkError): string {
  const what = object.kind === 'bridge' ? 'bridge' : object.type;
  if (error.code === 'EOPNOTSUPP' && /device type/i.test(error.extack ?? ''))
    return `this kernel has no ${what} devices, which ${object.name} is to be`;
  return `${object.name} (${what}): ${error.message}`;
}

export const describeObject = (object: LayoutObject): string => `${object.kind} ${deviceOf(object) ?? ''}`.trim();
