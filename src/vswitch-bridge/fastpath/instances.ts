/**
 * R3.5's map of local containers, and the programs on their devices. It follows the table and the links of the box: the
 * entry of an instance stands while both name it, and goes in the turn in which either says that it is gone.
 */
import type { Log } from '../../model/log.ts';
import type { OverlayInstance, OverlayNetwork } from '../../model/overlay.ts';
import type { LinkState, Port } from '../../model/ports.ts';
import type { Attachments } from './loader/attachments.ts';
import type { Loaded } from './loader/objects.ts';
import { INSTANCE_FLAG, instance as instanceStruct } from './maps/layout.ts';
import { indexKey } from './maps/tables.ts';
import type { InstanceEntry } from './types.ts';

interface Wanted {
  readonly instance: OverlayInstance;
  readonly vni: number;
}

export interface InstancesOptions {
  readonly loaded: Loaded;
  readonly attachments: Attachments;
  readonly links: LinkState;
  /** Whether the other end of a device stands in another network namespace. */
  readonly leadsAway: (ifindex: number) => boolean;
  /** What was learned of a device is not valid any more. */
  readonly onChange: (ifindex: number) => void;
  readonly log: Log | undefined;
}

export class Instances {
  readonly #options: InstancesOptions;
  /** By the name of the host-side device. */
  readonly #wanted = new Map<string, Wanted>();
  /** What stands in the kernel, or was begun to be put there: by this it is taken away. */
  readonly #present = new Map<string, number>();
  readonly #problems = new Map<string, string>();

  constructor(options: InstancesOptions) {
    this.#options = options;
  }

  problems(): string[] {
    return [...this.#problems.values()];
  }

  entries(): InstanceEntry[] {
    return [...this.#present].flatMap(([name, ifindex]) => {
      const wanted = this.#wanted.get(name);
      if (!wanted) return [];
      const { instance, vni } = wanted;
      const { address, mac } = instance;
      return [{ name: instance.name, interface: name, ifindex, vni, address, ...(mac === undefined ? {} : { mac }) }];
    });
  }

  interfaceOf(ifindex: number): string | undefined {
    for (const [name, index] of this.#present) if (index === ifindex) return name;
    return undefined;
  }

  /** @throws SystemCallError when the kernel refuses; the next call tries again */
  add(instance: OverlayInstance, network: OverlayNetwork): void {
    this.#wanted.set(instance.interface, { instance, vni: network.vni });
    const port = this.#options.links.port(instance.interface);
    if (port) this.#enter(instance.interface, port);
  }

  remove(instance: OverlayInstance): void {
    if (this.#wanted.get(instance.interface)?.instance.name !== instance.name) return;
    this.#wanted.delete(instance.interface);
    this.#problems.delete(instance.interface);
    this.#leave(instance.interface, true);
  }

  /** Never throws: what is refused stands among the problems. */
  portChanged(name: string, before: Port | undefined, after: Port | undefined): void {
    if (!this.#wanted.has(name)) return;
    const known = this.#present.get(name);
    if (known !== undefined && known !== after?.ifindex) this.#leave(name, false);
    if (!after) return;
    // The other end tells of itself by the carrier, when it moves to another namespace too.
    const same = before?.adminUp === after.adminUp && before.carrier === after.carrier && before.mac === after.mac;
    if (!this.#present.has(name) || this.#problems.has(name) || !same) this.retry(name, after);
  }

  /** Of what was refused before, or all that is there. */
  retry(name: string, port: Port): void {
    try {
      this.#enter(name, port);
    } catch (error) {
      this.#options.log?.warn({ err: error, port: name }, 'the fast path could not be put on an instance');
    }
  }

  /** Its programs have gone from the device. */
  again(ifindex: number): void {
    const name = this.interfaceOf(ifindex);
    const port = name === undefined ? undefined : this.#options.links.port(name);
    if (name !== undefined && port?.ifindex === ifindex) this.retry(name, port);
  }

  retryProblems(): void {
    for (const name of [...this.#problems.keys()]) {
      const port = this.#options.links.port(name);
      if (port) this.retry(name, port);
    }
  }

  /** Entries of an agent before this one, for devices that are no instance's now. */
  removeStrangers(): void {
    const { instances } = this.#options.loaded.tables;
    const ours = new Set(this.#present.values());
    const gone: number[] = [];
    for (const { count, keys } of instances.batches()) {
      for (let index = 0; index < count; index += 1) gone.push(keys.readUInt32LE(index * 4));
    }
    for (const ifindex of gone) {
      if (ours.has(ifindex)) continue;
      instances.delete(indexKey(ifindex));
      this.#options.onChange(ifindex);
    }
  }

  #enter(name: string, { ifindex }: Port): void {
    const { instance, vni } = this.#wanted.get(name)!;
    const { loaded, attachments, leadsAway, onChange } = this.#options;
    const flags =
      INSTANCE_FLAG.address |
      (instance.mac === undefined ? 0 : INSTANCE_FLAG.mac) |
      (leadsAway(ifindex) ? INSTANCE_FLAG.peer : 0);
    const entry = {
      vni,
      address: instance.address,
      flags,
      ...(instance.mac === undefined ? {} : { mac: instance.mac }),
    };
    // Before the first of it: what is refused half-way must go with the instance too.
    this.#present.set(name, ifindex);
    try {
      loaded.tables.instances.set(indexKey(ifindex), instanceStruct.encode(entry));
      attachments.attach(loaded.program('from_instance'), ifindex, 'ingress');
      attachments.attach(loaded.program('to_instance'), ifindex, 'egress');
    } catch (error) {
      this.#problems.set(name, `${name}: ${(error as Error).message}`);
      throw error;
    } finally {
      onChange(ifindex);
    }
    this.#problems.delete(name);
  }

  #leave(name: string, deviceStays: boolean): void {
    const ifindex = this.#present.get(name);
    if (ifindex === undefined) return;
    this.#present.delete(name);
    const { loaded, attachments, onChange } = this.#options;
    loaded.tables.instances.delete(indexKey(ifindex));
    onChange(ifindex);
    try {
      attachments.detach(ifindex, 'ingress');
      attachments.detach(ifindex, 'egress');
    } catch (error) {
      // With the device its programs are gone too.
      if (deviceStays) throw error;
    }
  }
}
