/**
 * Health of the backends of this host's services. Binds the machines to sockets and the clock: one probe of a backend at
 * a time, first ones spread over an interval so that a thousand backends are not asked in one moment.
 */

import { familyOf } from '../../../../model/address.ts';
import { Alarm, type Clock } from '../../../../model/clock.ts';
import type { Log } from '../../../../model/log.ts';
import type { OverlayBackend, OverlayService, OverlayState } from '../../../../model/overlay.ts';
import { devicesOf, probeSource, serviceKey } from '../ruleset/index.ts';
import { HealthMachine } from './machine/index.ts';
import { Probe } from './probe.ts';

interface Checked {
  readonly service: OverlayService;
  readonly backend: OverlayBackend;
  readonly device: string;
  readonly machine: HealthMachine;
  readonly alarm: Alarm;
  probe: Probe | undefined;
}

export interface HealthOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly netns?: string | undefined;
  /** A backend went out or came back. */
  changed(): void;
}

const keyOf = (service: OverlayService, { address, port }: OverlayBackend): string =>
  `${serviceKey(service)} ${address} ${port}`;

export class HealthChecks {
  readonly #options: HealthOptions;
  readonly #checked = new Map<string, Checked>();
  #probes = 0;

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  get probes(): number {
    return this.#probes;
  }

  /** Keeps what is known of backends that stay. */
  follow(state: OverlayState): void {
    const wanted = new Map<string, Omit<Checked, 'machine' | 'alarm' | 'probe'>>();
    for (const service of state.services.values()) {
      const network = state.networks.get(service.network);
      if (!network || !service.healthCheck) continue;
      for (const backend of service.backends) {
        if (!canAsk(state, service, backend)) continue;
        wanted.set(keyOf(service, backend), { service, backend, device: devicesOf(state, network).bridge });
      }
    }
    const known = new Map<string, boolean>();
    for (const [key, checked] of this.#checked) {
      const still = wanted.get(key);
      if (still && still.device === checked.device && sameCheck(still.service, checked.service)) {
        wanted.delete(key);
        continue;
      }
      known.set(key, checked.machine.alive);
      this.#drop(key, checked);
    }
    let at = this.#options.clock.now();
    const spread = [...wanted.values()].reduce((least, { service }) => {
      return Math.min(least, service.healthCheck!.interval / wanted.size);
    }, 50);
    for (const [key, target] of wanted) {
      this.#add(key, target, at, known.get(key) ?? true);
      at += spread;
    }
  }

  /** undefined: nobody asks it. */
  isAlive(service: OverlayService, backend: OverlayBackend): boolean | undefined {
    return this.#checked.get(keyOf(service, backend))?.machine.alive;
  }

  close(): void {
    for (const [key, checked] of this.#checked) this.#drop(key, checked);
  }

  #add(key: string, target: Omit<Checked, 'machine' | 'alarm' | 'probe'>, at: number, alive: boolean): void {
    const { clock } = this.#options;
    const silence = target.service.protocol === 'udp' ? 'alive' : 'dead';
    const machine = new HealthMachine({ ...target.service.healthCheck!, silence }, at, alive);
    const checked: Checked = {
      ...target,
      machine,
      alarm: new Alarm(clock, () => this.#step(checked, { kind: 'deadline' })),
      probe: undefined,
    };
    this.#checked.set(key, checked);
    checked.alarm.set(machine.nextDeadline());
  }

  #step(checked: Checked, event: Parameters<HealthMachine['handle']>[0]): void {
    const { clock, log } = this.#options;
    const { machine, service, backend } = checked;
    for (const effect of machine.handle(event, clock.now())) {
      if (effect.kind === 'probe') this.#probe(checked, effect.probe);
      else if (effect.kind === 'abandon') checked.probe?.close();
      else {
        const fields = { service: serviceKey(service), backend: `${backend.address}:${backend.port}` };
        if (effect.alive) log.info(fields, 'backend answers again: it gets connections');
        else log.warn({ ...fields, failures: machine.failures }, 'backend does not answer: it gets no connections');
        this.#options.changed();
      }
    }
    checked.alarm.set(machine.nextDeadline());
  }

  #probe(checked: Checked, number: number): void {
    const { address, port } = checked.backend;
    const { protocol } = checked.service;
    this.#probes++;
    checked.probe?.close();
    checked.probe = new Probe(
      { address, port, protocol, device: checked.device, netns: this.#options.netns },
      (alive) => this.#step(checked, { kind: 'answer', probe: number, alive }),
    );
  }

  #drop(key: string, checked: Checked): void {
    checked.alarm.set(undefined);
    checked.probe?.close();
    this.#checked.delete(key);
  }
}

/**
 * The gateway's address asks those that live here; those elsewhere are asked in the name of an instance of ours, so
 * there must be one. Without either nobody here uses the service by this network, and the backend counts as alive.
 */
function canAsk(state: OverlayState, service: OverlayService, backend: OverlayBackend): boolean {
  const family = familyOf(backend.address);
  const gateway = state.networks.get(service.network)?.gateway;
  return (
    gateway !== undefined && familyOf(gateway) === family && probeSource(state, service.network, family) !== undefined
  );
}

const sameCheck = (one: OverlayService, other: OverlayService): boolean =>
  one.protocol === other.protocol &&
  one.healthCheck!.interval === other.healthCheck!.interval &&
  one.healthCheck!.timeout === other.healthCheck!.timeout &&
  one.healthCheck!.retries === other.healthCheck!.retries;
