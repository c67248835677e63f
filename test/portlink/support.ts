import type {
  GroupView,
  Memory,
  PortLinkEffect,
  PortLinkEvent,
  PortLinkGroupConfig,
} from '../../src/portlink/index.ts';
import { PortLinkGroups } from '../../src/portlink/index.ts';

export function group(overrides: Partial<PortLinkGroupConfig> = {}): PortLinkGroupConfig {
  return {
    name: 'fabric',
    description: '',
    enabled: true,
    uplinks: ['A0'],
    downlinks: ['A1', 'A2', 'A3', 'A4'],
    direction: 'uplink',
    minUplinks: 1,
    upWhen: ['carrier'],
    shut: 'all',
    priority: [],
    deferDelay: 0,
    recoveryDelay: 5000,
    autoRecover: true,
    startupDelay: 10_000,
    dryRun: false,
    ...overrides,
  };
}

interface Wire {
  adminUp: boolean;
  carrier: boolean;
}

/**
 * A box: the machine, its ports, and a clock that only `at` and `run` move. Requests are carried out at once and seen at
 * once, as on an idle machine; the property tests add latency.
 */
export class Box {
  now = 0;
  readonly machine: PortLinkGroups;
  readonly ports = new Map<string, Wire>();
  readonly log: { at: number; effect: PortLinkEffect }[] = [];
  refuse: 'shut' | 'open' | undefined;

  constructor(...configs: PortLinkGroupConfig[]) {
    this.machine = new PortLinkGroups(configs, 0);
    for (const { uplinks, downlinks } of configs) {
      for (const port of [...uplinks, ...downlinks]) this.ports.set(port, { adminUp: true, carrier: true });
    }
    this.#showAll();
  }

  /** A box whose agent started long ago with everything up. */
  static running(...configs: PortLinkGroupConfig[]): Box {
    const box = new Box(...configs);
    box.upstream(true);
    box.run(60_000);
    box.log.length = 0;
    return box;
  }

  /** The agent dies and comes back with what it remembered; the ports stay as they are. */
  restart(memory: Memory, ...configs: PortLinkGroupConfig[]): Box {
    const next = new Box(...configs);
    next.log.length = 0;
    const fresh = new PortLinkGroups(configs, 0);
    Object.assign(next, { machine: fresh });
    next.ports.clear();
    for (const [name, wire] of this.ports) next.ports.set(name, { ...wire });
    next.send({ type: 'restore', memory });
    next.#showAll();
    return next;
  }

  send(event: PortLinkEvent): PortLinkEffect[] {
    const effects = this.machine.handle(event, this.now);
    for (const effect of effects) {
      this.log.push({ at: this.now, effect });
      if (effect.type !== 'shut' && effect.type !== 'open') continue;
      const up = effect.type === 'open';
      if (this.refuse === effect.type) {
        this.send({ type: up ? 'openFailed' : 'shutFailed', ports: effect.ports, reason: 'EBUSY' });
        continue;
      }
      for (const port of effect.ports) {
        this.ports.get(port)!.adminUp = up;
        this.show(port);
      }
      this.send({ type: up ? 'openDone' : 'shutDone', ports: effect.ports });
    }
    return effects;
  }

  show(port: string): PortLinkEffect[] {
    const { adminUp, carrier } = this.ports.get(port)!;
    return this.send({ type: 'port', port, adminUp, carrier: carrier && adminUp });
  }

  carrier(port: string, carrier: boolean): PortLinkEffect[] {
    this.ports.get(port)!.carrier = carrier;
    return this.show(port);
  }

  /** `ip link set` by somebody else. */
  admin(port: string, adminUp: boolean): PortLinkEffect[] {
    this.ports.get(port)!.adminUp = adminUp;
    return this.show(port);
  }

  upstream(ready: boolean): PortLinkEffect[] {
    return this.send({ type: 'upstream', ready, reason: ready ? 'bgp established, 2 routes' : 'bgp down' });
  }

  /** Lets time pass, with a tick at every deadline. */
  run(duration: number): void {
    const end = this.now + duration;
    for (;;) {
      const due = this.machine.nextDeadline();
      if (due === undefined || due > end) break;
      this.now = Math.max(this.now, due);
      this.send({ type: 'tick' });
    }
    this.now = end;
  }

  group(name = 'fabric'): GroupView {
    return this.machine.view(name)!;
  }

  get shutPorts(): string[] {
    return [...this.ports].filter(([, wire]) => !wire.adminUp).map(([name]) => name);
  }

  /** Effects of some kinds as one line each: `shut A1,A2`. */
  said(...types: PortLinkEffect['type'][]): string[] {
    return this.log
      .filter(({ effect }) => types.length === 0 || types.includes(effect.type))
      .map(({ effect }) => {
        if (effect.type === 'state') return `${effect.from}>${effect.to}`;
        if (effect.type === 'alarm') return `alarm ${effect.reason}`;
        if (effect.type === 'dryRun') return `dry ${effect.action} ${effect.ports.join()}`;
        return `${effect.type} ${effect.ports.join()}`;
      });
  }

  #showAll(): void {
    for (const port of this.ports.keys()) this.show(port);
  }
}
