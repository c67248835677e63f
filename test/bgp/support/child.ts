/**
 * A speaker in a process of its own, so that it can be put into a network namespace (`ip netns exec`). Commands come
 * over the IPC channel; every callback goes back as an event.
 */

import type { BgpNeighborOptions, BgpOptions } from '../../../src/bgp/index.ts';
import { BgpSpeaker } from '../../../src/bgp/index.ts';
import type { Address, Prefix } from '../../../src/model/address.ts';
import { systemClock } from '../../../src/model/clock.ts';
import type { ClaimLevel, HostRoute } from '../../../src/model/hosts.ts';
import type { LinkState, Port } from '../../../src/model/ports.ts';

export interface ChildConfig {
  asn: number;
  routerId: string;
  prefixes: string[];
  communities?: string[];
  sharedAs?: boolean;
  propagate?: boolean;
  defaultOriginate?: boolean;
  observer?: boolean;
  gracefulRestart?: { restartTime: number };
  /** As after a crash: End-of-RIB waits for `settled`. */
  restarted?: boolean;
  neighbors: (Omit<BgpNeighborOptions, 'address' | 'localAddress'> & { address: string; localAddress?: string })[];
  ports: { name: string; ifindex?: number; addresses: [string, number][] }[];
  listen?: false | { port: number; address?: string };
}

export interface Announced {
  address: string;
  level?: ClaimLevel;
  portIndex?: number;
  shadow?: true;
}

export type Command =
  | { do: 'start'; config: ChildConfig }
  | { do: 'apply'; withdrawn?: string[]; announced?: Announced[] }
  | { do: 'facts'; facts: [key: string, value: string][] }
  | { do: 'endpoint'; address: string }
  | { do: 'link'; name: string; up: boolean }
  | { do: 'refresh'; address: string }
  | { do: 'graceful'; on: boolean }
  | { do: 'settled' }
  | { do: 'view' }
  | { do: 'stop'; communication?: string };

const say = (message: object) => process.send?.(message);
const ports = new Map<string, Port>();
const links: LinkState = {
  port: (name) => ports.get(name),
  portByIndex: (ifindex) => [...ports.values()].find((port) => port.ifindex === ifindex),
  ports: () => ports.values(),
  onChange: () => () => {},
};
let speaker: BgpSpeaker;

function start(config: ChildConfig): void {
  for (const [index, port] of config.ports.entries()) {
    ports.set(port.name, {
      name: port.name,
      ifindex: port.ifindex ?? index + 10,
      mac: undefined,
      mtu: 1500,
      adminUp: true,
      carrier: true,
      master: 0,
      kind: 'veth',
      addresses: port.addresses.map(([address, prefixLength]) => ({ address: address as Address, prefixLength })),
    });
  }
  const log = (level: string) => (fields: object, text: string) => say({ event: 'log', level, fields, text });
  const options: BgpOptions = {
    asn: config.asn,
    routerId: config.routerId as Address,
    neighbors: config.neighbors as BgpNeighborOptions[],
    announce: { communities: config.communities ?? [] },
    prefixes: config.prefixes as Prefix[],
    propagate: config.propagate ?? false,
    defaultOriginate: config.defaultOriginate ?? false,
    observer: config.observer ?? false,
    ...(config.sharedAs === undefined ? {} : { sharedAs: config.sharedAs }),
    ...(config.gracefulRestart ? { gracefulRestart: config.gracefulRestart } : {}),
    ...(config.listen === undefined ? {} : { listen: config.listen as { port: number; address: Address } | false }),
    clock: systemClock,
    log: { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') },
    links,
    onRoutes: (changes) => say({ event: 'routes', changes }),
    onForeignClaim: (claim) => say({ event: 'claim', claim }),
    onForeignShadow: (shadow) => say({ event: 'shadow', shadow }),
    onHostRoute: (host) => say({ event: 'host', host }),
    onFact: ({ routerId, key, value, reason }) => {
      const text = value && Buffer.from(value).toString();
      say({ event: 'fact', fact: { routerId, key: Buffer.from(key).toString(), value: text, reason } });
    },
    onSession: (change) => say({ event: 'session', change }),
  };
  speaker = new BgpSpeaker(options);
  speaker.start(config.restarted);
}

function link(name: string, up: boolean): void {
  const before = ports.get(name)!;
  const after = { ...before, carrier: up };
  ports.set(name, after);
  speaker.linkChanged({ name, before, after, at: systemClock.now() });
}

const hostRoute = (host: Announced): HostRoute => ({
  address: host.address as Address,
  interface: 'A1',
  ifindex: 99,
  mac: '02:00:00:00:00:01' as HostRoute['mac'],
  level: host.level ?? 0,
  ...(host.portIndex === undefined ? {} : { portIndex: host.portIndex }),
  ...(host.shadow ? { shadow: true } : {}),
});

async function run(command: Command): Promise<unknown> {
  switch (command.do) {
    case 'start':
      return start(command.config);
    case 'apply': {
      const withdrawn = (command.withdrawn ?? []) as Address[];
      const announced = (command.announced ?? []).map(hostRoute);
      const before = systemClock.now();
      const report = speaker.apply({ withdrawn, announced });
      return { report, toWire: (report.lastByteAt ?? before) - before };
    }
    case 'facts':
      return speaker.publishFacts(
        command.facts.map(([key, value]) => ({ key: Buffer.from(key), value: Buffer.from(value) })),
      );
    case 'endpoint':
      return speaker.setTunnelEndpoint(command.address as Address);
    case 'link':
      return link(command.name, command.up);
    case 'refresh':
      return speaker.requestRefresh(command.address as Address);
    case 'graceful':
      return speaker.setGracefulShutdown(command.on);
    case 'settled':
      return speaker.settled();
    case 'view':
      return {
        sessions: speaker.sessions(),
        routes: speaker.routes(),
        counters: speaker.counters(),
        initial: speaker.sessions().map((session) => speaker.initialRoutesReceived(session.neighbor)),
      };
    case 'stop':
      return speaker.stop(command.communication);
  }
}

process.on('message', (message: { id: number; command: Command }) => {
  run(message.command).then(
    (result) => say({ reply: message.id, result: result ?? null }),
    (error: Error) => say({ reply: message.id, error: error.stack }),
  );
});
process.on('disconnect', () => process.exit());
say({ event: 'ready' });
