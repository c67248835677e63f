/** Layout objects as requests to the kernel. */
import {
  AF,
  bridgeData,
  FR_ACT,
  geneveData,
  greData,
  ipipData,
  type LinkChange,
  makeRoute,
  NTF,
  NUD,
  type Request,
  type Route,
  type RouteNextHop,
  RT_SCOPE,
  RTN,
  RTNH_F,
  type Rule,
  requests,
  vxlanData,
} from 'rtnetlink-ts';
import { type Family, familyOf } from '../../../model/address.ts';
import { GENEVE_PORT, LAYOUT_PROTOCOL, VXLAN_PORT } from './names.ts';
import {
  type BridgeObject,
  type LayoutObject,
  leadsEverywhere,
  type RouteObject,
  type RuleObject,
  type TunnelObject,
} from './objects.ts';

/** FIB_RULE_INVERT */
const INVERTED = 2;
/** IFA_F_NODAD | IFA_F_PERMANENT | IFA_F_NOPREFIXROUTE */
const ADDRESS_FLAGS = 0x02 | 0x80 | 0x200;
const TTL = 64;

/** Number of a device that is there; undefined: none of this name. */
export type Ifindex = (name: string) => number | undefined;

const familyNumber = (family: Family): number => (family === 4 ? AF.INET : AF.INET6);

export function bridgeLink({ name, mac, mtu }: BridgeObject): LinkChange {
  return {
    name,
    up: true,
    address: mac,
    mtu,
    kind: 'bridge',
    kindData: bridgeData({ spanningTree: false, multicastSnooping: false }),
  };
}

export function tunnelLink(tunnel: TunnelObject, ifindex: Ifindex): LinkChange {
  const { name, type, bridge, vni, local = '', remote = '', mtu } = tunnel;
  const master = bridge === undefined ? undefined : ifindex(bridge);
  return {
    name,
    up: true,
    mtu,
    ...(master === undefined ? {} : { master }),
    kind: type,
    kindData: {
      vxlan: () => vxlanData({ id: vni, local, port: VXLAN_PORT, ttl: TTL, learning: true }),
      geneve: () => geneveData({ id: vni, remote, port: GENEVE_PORT, ttl: TTL }),
      // NVGRE: the virtual subnet is the upper 24 bits of the key (RFC 7637 §3.2).
      gretap: () => greData({ local, remote, key: (vni << 8) >>> 0, ttl: TTL }),
      ipip: () => ipipData({ local, remote, ttl: TTL }),
    }[type](),
  };
}

/** All but links; none: a device that it needs is not there. */
export function writeRequests(object: LayoutObject, ifindex: Ifindex): readonly Request[] {
  switch (object.kind) {
    case 'port': {
      const port = ifindex(object.device);
      const master = ifindex(object.bridge);
      const { mtu } = object;
      if (port === undefined || master === undefined) return [];
      return [requests.setLink({ ifindex: port, master, up: true, ...(mtu === undefined ? {} : { mtu }) })];
    }
    case 'rule':
      return [requests.addRule(ruleOf(object))];
    case 'bridge':
    case 'tunnel':
      return [];
    default: {
      const entry = onDevice(object, ifindex);
      return entry ? [entry.write] : [];
    }
  }
}

export function removeRequests(object: LayoutObject, ifindex: Ifindex): readonly Request[] {
  switch (object.kind) {
    case 'bridge':
    case 'tunnel':
      return ifindex(object.name) === undefined ? [] : [requests.deleteLink({ name: object.name })];
    case 'port': {
      const port = ifindex(object.device);
      return port === undefined ? [] : [requests.setLink({ ifindex: port, master: 0 })];
    }
    case 'rule':
      return [requests.deleteRule(ruleOf(object))];
    default: {
      const entry = onDevice(object, ifindex);
      return entry ? [entry.remove] : [];
    }
  }
}

type OnDevice = Exclude<LayoutObject, { kind: 'port' | 'rule' | 'bridge' | 'tunnel' }>;

function onDevice(object: OnDevice, ifindexOf: Ifindex): { write: Request; remove: Request } | undefined {
  const ifindex = object.device === undefined ? 0 : ifindexOf(object.device);
  if (ifindex === undefined) return undefined;
  switch (object.kind) {
    case 'address': {
      const { address, length } = object;
      const family = familyNumber(familyOf(address));
      const value = { family, ifindex, address, prefixLength: length, scope: RT_SCOPE.UNIVERSE, flags: ADDRESS_FLAGS };
      return { write: requests.addAddress(value, 'replace'), remove: requests.deleteAddress(value) };
    }
    case 'neighbour': {
      const { address: destination, mac: linkAddress } = object;
      const entry = { family: familyNumber(familyOf(destination)), ifindex, destination };
      const permanent = { ...entry, linkAddress, state: NUD.PERMANENT, protocol: LAYOUT_PROTOCOL };
      return { write: requests.setNeighbour(permanent), remove: requests.deleteNeighbour(entry) };
    }
    case 'tunnel-entry': {
      const entry = { family: AF.BRIDGE, ifindex, linkAddress: object.mac, destination: object.to, flags: NTF.SELF };
      const permanent = { ...entry, state: NUD.PERMANENT | NUD.NOARP };
      return {
        write: requests.setNeighbour(permanent, leadsEverywhere(object) ? 'append' : 'replace'),
        remove: requests.deleteNeighbour(entry),
      };
    }
    case 'bridge-entry': {
      // Sticky: a static entry alone would follow whoever sends with that address.
      const flags = NTF.MASTER | NTF.STICKY;
      const entry = { family: AF.BRIDGE, ifindex, linkAddress: object.mac, flags: NTF.MASTER };
      return {
        write: requests.setNeighbour({ ...entry, flags, state: NUD.NOARP }),
        remove: requests.deleteNeighbour(entry),
      };
    }
    case 'route': {
      const route = routeOf(object, ifindex);
      return { write: requests.setRoute(route), remove: requests.deleteRoute(route) };
    }
  }
}

function routeOf({ table, destination, metric, device, via, mtu }: RouteObject, ifindex: number): Route {
  const hop: RouteNextHop | undefined =
    device === undefined
      ? undefined
      : { ifindex, ...(via === undefined ? {} : { gateway: via, flags: RTNH_F.ONLINK }) };
  return makeRoute({
    destination,
    table,
    metric,
    protocol: LAYOUT_PROTOCOL,
    ...(hop ? {} : { type: RTN.UNREACHABLE }),
    ...(mtu === undefined ? {} : { mtu }),
    nextHops: hop ? [hop] : [],
  });
}

export function ruleOf({ family, priority, table, input, notInput, output, source, mark }: RuleObject): Rule {
  return {
    family: familyNumber(family),
    priority,
    action: table === 0 ? FR_ACT.UNREACHABLE : FR_ACT.TO_TBL,
    table,
    protocol: LAYOUT_PROTOCOL,
    ...(input === undefined ? {} : { inputInterface: input }),
    ...(notInput === undefined ? {} : { inputInterface: notInput, flags: INVERTED }),
    ...(output === undefined ? {} : { outputInterface: output }),
    ...(source === undefined ? {} : { source }),
    ...(mark === undefined ? {} : { mark, markMask: 0xffff_ffff }),
  };
}

export const isInverted = (rule: Rule): boolean => ((rule.flags ?? 0) & INVERTED) !== 0;
