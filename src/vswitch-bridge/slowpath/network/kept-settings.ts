/**
 * The layout's settings in the kernel, and whether they still are what they were set to: of most of them the kernel tells
 * nobody when somebody else writes one.
 */
import type { Layout } from './layout.ts';
import { isOurBridge, isOurTunnel } from './names.ts';
import type { LayoutObject } from './objects.ts';
import { deviceSettings, namespaceSettings, POLICY_SETTINGS } from './settings.ts';
import type { Sysctls } from './sysctls.ts';

type Settings = Readonly<Record<string, string>>;

/** Devices of ours whose settings one look reads: there may be very many. */
const DEVICES_A_LOOK = 8;

export class KeptSettings {
  readonly #sysctls: Sysctls;
  readonly #layout: Layout;
  #problems: readonly string[] = [];
  /** How many devices the looks have passed. */
  #looked = 0;

  constructor(sysctls: Sysctls, layout: Layout) {
    this.#sysctls = sysctls;
    this.#layout = layout;
  }

  /** What could not be set, in words. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  setNamespace(): void {
    this.#problems = this.#sysctls.set(this.#ofNamespace());
  }

  setDevice(object: LayoutObject): void {
    this.#sysctls.setDevice(this.#ofDevice(object));
  }

  setDevices(): void {
    for (const object of this.#layout.objects.values()) this.setDevice(object);
  }

  /** Puts back what somebody else has changed, and names it: the settings of the namespace, and of the next few devices. */
  look(): string[] {
    const wanted = { ...this.#ofNamespace(), ...this.#ofSomeDevices() };
    const changed = this.#sysctls.differing(wanted);
    if (changed.length === 0) return [];
    this.setNamespace();
    this.setDevices();
    // What can't be set is a problem instead.
    const still = new Set(this.#sysctls.differing(wanted));
    return changed.filter((name) => !still.has(name));
  }

  putBack(): string[] {
    return this.#sysctls.putBack();
  }

  /** With no network of our own hardly anything of the namespace is ours to change. */
  #ofNamespace(): Settings {
    const { networks, domains, hasOthers } = this.#layout;
    if (networks.length === 0) return hasOthers ? POLICY_SETTINGS : {};
    return {
      ...this.#sysctls.reversePathFilters((name) => isOurBridge(name) || isOurTunnel(name)),
      ...namespaceSettings(networks, domains.ambiguous.size > 0),
    };
  }

  #ofSomeDevices(): Settings {
    const devices = [...this.#layout.objects.values()].filter(({ kind }) => kind === 'bridge' || kind === 'tunnel');
    const wanted: Record<string, string> = {};
    for (let count = Math.min(DEVICES_A_LOOK, devices.length); count > 0; count--) {
      Object.assign(wanted, this.#ofDevice(devices[this.#looked++ % devices.length]!));
    }
    return wanted;
  }

  #ofDevice(object: LayoutObject): Settings {
    const network = object.kind === 'bridge' ? this.#layout.networkOfBridge(object.name) : undefined;
    const answersArp = network?.encapsulation === 'ipip';
    if (object.kind !== 'bridge' && object.kind !== 'tunnel') return {};
    return deviceSettings(object, this.#layout.isSix(object.name), answersArp);
  }
}
