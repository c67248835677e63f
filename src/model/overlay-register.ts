/**
 * What may stand together in an overlay, checked item by item against what is there already. The configuration and the
 * host role's table ask the same register, so that what a file may not say can't be said at run time either.
 *
 * Networks may share a subnet: an address means something inside its network alone. Inside one network an address has one
 * meaning: the gateway, an instance, a service, or something behind one other host.
 */
import type { Address } from './address.ts';
import { prefixAddress, prefixContains } from './address.ts';
import type {
  OverlayInstance,
  OverlayNetwork,
  OverlayRemote,
  OverlayService,
  OverlaySnat,
  OverlayUnderlay,
  PolicyRule,
} from './overlay.ts';
import {
  insideSubnet,
  OVERLAY_LIMITS,
  type OverlayFault,
  type OverlayItems,
  type OverlayKind,
  overlayKey,
  unfit,
  within,
} from './overlay-items.ts';

type Items = { readonly [K in OverlayKind]: Map<string, OverlayItems[K]> };

export class OverlayRegister {
  /** By key, in the order in which they came. */
  readonly items: Items = {
    network: new Map(),
    instance: new Map(),
    remote: new Map(),
    service: new Map(),
    rule: new Map(),
    snat: new Map(),
  };
  readonly #underlay: OverlayUnderlay | undefined;
  readonly #vnis = new Map<number, string>();
  readonly #interfaces = new Map<string, string>();
  /** `network address` -> whose it is, in words. */
  readonly #owners = new Map<string, string>();
  /** `network prefix` -> host. */
  readonly #behind = new Map<string, Address>();
  readonly #ports = new Map<string, string>();
  readonly #users = new Map<string, number>();

  constructor(underlay: OverlayUnderlay | undefined) {
    this.#underlay = underlay;
  }

  /** What would be wrong with it; nothing is changed. */
  check<K extends OverlayKind>(kind: K, item: OverlayItems[K]): OverlayFault[] {
    const there = this.items[kind];
    if (there.has(overlayKey(kind, item))) return [this.#twice(kind, item)];
    if (there.size >= OVERLAY_LIMITS[kind]) {
      return [
        {
          reason: 'limit',
          key: '',
          message: `there are ${there.size} already, and no more are taken`,
          remedy: 'Remove what is not needed any more.',
        },
      ];
    }
    switch (kind) {
      case 'network':
        return this.#network(item as OverlayNetwork);
      case 'instance':
        return this.#instance(item as OverlayInstance);
      case 'remote':
        return this.#remote(item as OverlayRemote);
      case 'service':
        return this.#service(item as OverlayService);
      case 'rule':
        return this.#rule(item as PolicyRule);
      default:
        return this.#known((item as OverlaySnat).network);
    }
  }

  /** Why it can't be taken away. */
  checkRemoval(kind: OverlayKind, key: string): OverlayFault[] {
    const there = this.items[kind];
    if (!there.has(key)) {
      const names = [...there.keys()];
      const some = names.length > 12 ? `${names.slice(0, 12).join(', ')} ...` : names.join(', ');
      return [
        {
          reason: 'missing',
          key: '',
          message: `there is no ${kind} ${key}`,
          remedy: `Choose one of: ${some || 'none'}.`,
        },
      ];
    }
    const users = kind === 'network' ? (this.#users.get(key) ?? 0) : 0;
    if (users === 0) return [];
    return [
      {
        reason: 'in-use',
        key: '',
        message: `network ${key} has something in it: ${users} instances, remotes, services, rules or sources of SNAT`,
        remedy: 'Remove them first.',
      },
    ];
  }

  /** Without a check: the place of what stood under the same key is taken. */
  put<K extends OverlayKind>(kind: K, item: OverlayItems[K]): void {
    const key = overlayKey(kind, item);
    const was = this.items[kind].get(key);
    if (was) this.#forget(kind, was);
    (this.items[kind] as Map<string, OverlayItems[K]>).set(key, item);
    this.#index(kind, item, (map, entry, value) => map.set(entry, value));
    this.#count(kind, item, 1);
  }

  take(kind: OverlayKind, key: string): void {
    const item = this.items[kind].get(key);
    if (!item) return;
    this.items[kind].delete(key);
    this.#forget(kind, item);
  }

  /** Puts a kind into this order; keys that are not named come last. */
  arrange(kind: OverlayKind, keys: readonly string[]): void {
    const items = this.items[kind] as Map<string, OverlayItems[OverlayKind]>;
    const before = new Map(items);
    items.clear();
    for (const key of [...keys, ...before.keys()]) {
      const item = before.get(key);
      if (item) items.set(key, item);
    }
  }

  #forget(kind: OverlayKind, item: OverlayItems[OverlayKind]): void {
    // What another has taken meanwhile stays his.
    this.#index(kind, item, (map, entry, value) => map.get(entry) === value && map.delete(entry));
    this.#count(kind, item, -1);
  }

  #index(
    kind: OverlayKind,
    item: OverlayItems[OverlayKind],
    at: (map: Map<unknown, unknown>, key: unknown, value: unknown) => void,
  ) {
    if (kind === 'network') {
      const { name, vni, gateway } = item as OverlayNetwork;
      at(this.#vnis, vni, name);
      if (gateway) at(this.#owners, `${name} ${gateway}`, 'the gateway');
    } else if (kind === 'instance') {
      const { name, network, address, interface: port } = item as OverlayInstance;
      at(this.#owners, `${network} ${address}`, `instance ${name}`);
      at(this.#interfaces, port, name);
    } else if (kind === 'remote') {
      const { network, host, addresses } = item as OverlayRemote;
      for (const prefix of addresses) at(this.#behind, `${network} ${prefix}`, host);
    } else if (kind === 'service') {
      const { name, network, address, port, protocol } = item as OverlayService;
      at(this.#ports, `${network} ${address} ${protocol} ${port}`, name);
      at(this.#owners, `${network} ${address}`, 'a service');
    }
  }

  #count(kind: OverlayKind, item: OverlayItems[OverlayKind], by: 1 | -1): void {
    const network = kind === 'network' ? undefined : (item as { readonly network?: string }).network;
    if (network !== undefined) this.#users.set(network, (this.#users.get(network) ?? 0) + by);
  }

  #twice<K extends OverlayKind>(kind: K, item: OverlayItems[K]): OverlayFault {
    if (kind === 'remote') {
      const { host, network } = item as OverlayRemote;
      return {
        reason: 'exists',
        key: 'host',
        message: `${host} is there for network ${network} already`,
        remedy: 'Name all its addresses in one place.',
      };
    }
    if (kind === 'snat') {
      const { to, network } = item as OverlaySnat;
      return {
        reason: 'exists',
        key: 'to',
        message: `${to} of network ${network} has a source already`,
        remedy: 'Remove one of the two.',
      };
    }
    return {
      reason: 'exists',
      key: 'name',
      message: `there is ${kind === 'instance' ? 'an' : 'a'} ${kind} ${overlayKey(kind, item)} already`,
      remedy: 'Choose another name.',
    };
  }

  #known(name: string | undefined): OverlayFault[] {
    if (name === undefined || this.items.network.has(name)) return [];
    const names = [...this.items.network.keys()].slice(0, 12).join(', ');
    return [
      {
        reason: 'unknown-network',
        key: 'network',
        message: `there is no network ${name}`,
        remedy: `Add it to networks, or choose one of: ${names || 'none'}.`,
      },
    ];
  }

  #network({ vni, subnet, gateway, encapsulation }: OverlayNetwork): OverlayFault[] {
    const faults: OverlayFault[] = [];
    const other = this.#vnis.get(vni);
    if (other !== undefined) {
      faults.push(unfit('vni', `${vni} is network ${other}'s already`, 'Give each network a number of its own.'));
    }
    if (gateway !== undefined) faults.push(...insideSubnet('gateway', gateway, subnet));
    if (encapsulation === 'ipip') {
      const first = [...this.items.network.values()].find((network) => network.encapsulation === 'ipip');
      if (first) {
        const remedy = 'Choose vxlan, geneve or gre, which carry the number of the network.';
        faults.push(
          unfit('encapsulation', `ipip carries no network number, and ${first.name} uses it already`, remedy),
        );
      }
    }
    if (this.#underlay && prefixContains(subnet, this.#underlay.address)) {
      faults.push(
        unfit(
          'subnet',
          `${subnet} has ${this.#underlay.address} in it, the underlay's own address`,
          'Choose a subnet apart from the underlay: tunnels would be sent into themselves.',
        ),
      );
    }
    return faults;
  }

  #instance({ network, address, interface: port }: OverlayInstance): OverlayFault[] {
    const faults = [...this.#known(network), ...this.#inside(network, 'address', address)];
    const owner = this.#owners.get(`${network} ${address}`);
    if (owner) {
      faults.push(unfit('address', `${address} is ${owner}'s in network ${network}`, 'Choose another address.'));
    }
    const host = this.#behind.get(`${network} ${address}/32`);
    if (host) {
      faults.push(
        unfit(
          'address',
          `${address} is behind ${host} by remotes`,
          'An instance is on one host: remove one of the two.',
        ),
      );
    }
    const other = this.#interfaces.get(port);
    if (other !== undefined) {
      faults.push(
        unfit('interface', `${port} is instance ${other}'s already`, 'Each instance has an interface of its own.'),
      );
    }
    if (port === this.#underlay?.device) {
      faults.push(
        unfit('interface', `${port} is the device of the underlay`, "Name the host's side of its veth or tap."),
      );
    }
    return faults;
  }

  #remote({ host, network, addresses }: OverlayRemote): OverlayFault[] {
    const faults = [...this.#known(network)];
    if (host === this.#underlay?.address) {
      faults.push(unfit('host', `${host} is this host itself`, 'Its instances go into instances.'));
    }
    if (addresses.length > OVERLAY_LIMITS.addresses) {
      faults.push({
        reason: 'limit',
        key: 'addresses',
        message: `${addresses.length} are too many`,
        remedy: `Name at most ${OVERLAY_LIMITS.addresses}, or a shorter prefix.`,
      });
    }
    const subnet = this.items.network.get(network)?.subnet;
    for (const [at, prefix] of addresses.entries()) {
      if (subnet && !within(subnet, prefix)) {
        faults.push({
          ...unfit('addresses', `${prefix} is outside ${subnet} of network ${network}`, 'Correct it.'),
          at,
        });
      }
      const other = this.#behind.get(`${network} ${prefix}`);
      if (other !== undefined && other !== host) {
        faults.push({ ...unfit('addresses', `${prefix} is behind ${other} already`, 'Remove one of the two.'), at });
      }
      const owner = prefix.endsWith('/32') ? this.#owners.get(`${network} ${prefixAddress(prefix)}`) : undefined;
      if (owner !== undefined) {
        faults.push({ ...unfit('addresses', `${prefix} is ${owner}'s on this host`, 'Remove one of the two.'), at });
      }
    }
    return faults;
  }

  #service({ network, address, port, protocol, backends }: OverlayService): OverlayFault[] {
    const faults = [...this.#known(network), ...this.#inside(network, 'address', address)];
    const owner = this.#owners.get(`${network} ${address}`);
    if (owner !== undefined && owner !== 'a service') {
      const remedy = "Choose an address that nobody has: it is the service's alone.";
      faults.push(unfit('address', `${address} is ${owner}'s in network ${network}`, remedy));
    }
    const other = this.#ports.get(`${network} ${address} ${protocol} ${port}`);
    if (other !== undefined) {
      faults.push(
        unfit('port', `${address} ${protocol} ${port} is service ${other}'s already`, 'Choose another port.'),
      );
    }
    if (backends.length > OVERLAY_LIMITS.backends) {
      faults.push({
        reason: 'limit',
        key: 'backends',
        message: `${backends.length} are too many`,
        remedy: `Name at most ${OVERLAY_LIMITS.backends}.`,
      });
    }
    const seen = new Set<string>();
    for (const [at, backend] of backends.entries()) {
      const text = `${backend.address}:${backend.port}`;
      if (seen.has(text)) faults.push({ ...unfit('backends', `${text} is here twice`, 'Remove one of the two.'), at });
      seen.add(text);
      if (backend.address === address) {
        faults.push({ ...unfit('backends', `${text} is the service itself`, "Name an instance's address."), at });
      }
      for (const fault of this.#inside(network, 'backends', backend.address)) faults.push({ ...fault, at });
    }
    return faults;
  }

  #rule(rule: PolicyRule): OverlayFault[] {
    const faults = [...this.#known(rule.network)];
    if (rule.action === undefined && rule.rate === undefined) {
      faults.push(
        unfit(
          'action',
          'there is neither an action nor a rate',
          'Write action: deny, action: allow, or rate: 100mbit.',
        ),
      );
    }
    const hasPorts = [6, 17, 132].includes(Number(rule.protocol));
    for (const key of ['ports', 'sourcePorts'] as const) {
      if (rule[key].length > 0 && !hasPorts)
        faults.push(unfit(key, 'ports need a protocol that has them', 'Write protocol: tcp or protocol: udp.'));
    }
    if (rule.tcpFlags) {
      const { set, of } = rule.tcpFlags;
      if (rule.protocol !== 6) faults.push(unfit('tcpFlags', 'flags need protocol tcp', 'Write protocol: tcp.'));
      const stray = set.find((flag) => !of.includes(flag));
      if (stray !== undefined) {
        faults.push(unfit('tcpFlags', `${stray} is to be set but is not looked at`, `Add ${stray} to of.`));
      }
    }
    return faults;
  }

  #inside(network: string, key: string, address: Address): OverlayFault[] {
    const subnet = this.items.network.get(network)?.subnet;
    return subnet ? insideSubnet(key, address, subnet) : [];
  }
}
