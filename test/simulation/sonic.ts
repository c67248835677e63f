/**
 * What SONiC runs between its databases and the ports: portmgrd (the operator's word into a demand), orchagent (demands
 * into rows and hardware, the state of the hardware into rows). Each takes its time, and orchagent may hang.
 */
import {
  CONFIG,
  DATABASE,
  DEMAND,
  METADATA,
  PORT_INIT_DONE,
  portRow,
} from '../../src/portlink/drivers/sonic/schema.ts';
import type { Box, BoxPort } from './box.ts';
import type { VirtualClock } from './clock.ts';
import type { Random } from './random.ts';
import { Redis } from './redis.ts';

export class Sonic {
  readonly redis: Redis;
  readonly #box: Box;
  readonly #clock: VirtualClock;
  readonly #random: Random;
  /** The front panel. */
  readonly #names: readonly string[];
  readonly #violation: (what: string) => void;
  /** Things happen in order, in each daemon. */
  #portmgrd = 0;
  #orchagent = 0;
  #hung = false;
  readonly #operatorAt = new Map<string, number>();

  constructor(options: {
    box: Box;
    clock: VirtualClock;
    random: Random;
    names: readonly string[];
    violation(what: string): void;
  }) {
    this.#box = options.box;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#names = options.names;
    this.#violation = options.violation;
    this.redis = new Redis(options.clock, options.random);
    this.redis.set(DATABASE.CONFIG, METADATA, { hostname: options.box.name });
    for (const name of this.#names)
      this.redis.set(DATABASE.CONFIG, `${CONFIG.PORT}|${name}`, { admin_status: 'up', alias: `etp${name}` });
    this.redis.listen(DEMAND.channel, () => this.#soon('orchagent', () => this.#takeDemands()));
    this.#make();
  }

  /** Something went wrong lately, and time to get over it has not passed. */
  troubled(): boolean {
    const { redis } = this;
    return this.#hung || !redis.running || this.#clock.now() - redis.troubledAt < 20_000;
  }

  /** The operator's word on a port: `config interface shutdown`, `startup`. */
  operator(port: BoxPort, up: boolean): void {
    this.#operatorAt.set(port.name, this.#clock.now());
    this.redis.set(DATABASE.CONFIG, `${CONFIG.PORT}|${port.name}`, { admin_status: up ? 'up' : 'down' });
    this.#soon('portmgrd', () => this.#demand(port.name));
  }

  /** portmgrd hands on what CONFIG_DB says. */
  #demand(name: string): void {
    const admin = this.redis.row(DATABASE.CONFIG, `${CONFIG.PORT}|${name}`)?.get('admin_status') ?? 'down';
    this.redis.set(DATABASE.APPL, DEMAND.names, { [name]: 'operator' });
    this.redis.set(DATABASE.APPL, DEMAND.row(name), { admin_status: admin });
    this.redis.publish(DEMAND.channel);
  }

  hang(hung: boolean): void {
    this.#hung = hung;
    this.redis.trouble();
    if (!hung) this.#soon('orchagent', () => this.#takeDemands());
  }

  /** The machine was off: everything stands as a saved configuration says. */
  boot(): void {
    // What was demanded before, and not taken up, is gone with the rest of APPL_DB.
    for (const key of this.redis.keys(DATABASE.APPL, '')) this.redis.delete(DATABASE.APPL, key);
    for (const name of this.#names) this.redis.set(DATABASE.CONFIG, `${CONFIG.PORT}|${name}`, { admin_status: 'up' });
    this.redis.trouble();
    this.#make();
  }

  /** swss begins anew: the ports are made again, and stand as CONFIG_DB says. */
  restart(): void {
    this.redis.trouble();
    for (const key of this.redis.keys(DATABASE.APPL, '')) this.redis.delete(DATABASE.APPL, key);
    this.#clock.after(this.#random.between(200, 3_000), () => this.#make());
  }

  #make(): void {
    for (const name of this.#names) {
      const up = this.redis.row(DATABASE.CONFIG, `${CONFIG.PORT}|${name}`)?.get('admin_status') === 'up';
      const port = this.#box.ports.get(name)!;
      port.byAgent = false;
      this.#box.setAdmin(port, up);
      this.redis.set(DATABASE.APPL, portRow(name), { admin_status: up ? 'up' : 'down', oper_status: operOf(port) });
    }
    this.redis.set(DATABASE.APPL, portRow(PORT_INIT_DONE), { lanes: '0' });
  }

  /** The hardware's state changed. */
  linkChanged(name: string): void {
    if (!this.#names.includes(name)) return;
    this.#clock.after(this.#random.between(0.5, 20), () => {
      if (this.redis.row(DATABASE.APPL, portRow(PORT_INIT_DONE)))
        this.redis.set(DATABASE.APPL, portRow(name), { oper_status: operOf(this.#box.ports.get(name)!) });
    });
  }

  #takeDemands(): void {
    const { redis } = this;
    if (this.#hung || !redis.running) return;
    for (const [name, who] of redis.row(DATABASE.APPL, DEMAND.names) ?? []) {
      const admin = redis.row(DATABASE.APPL, DEMAND.row(name))?.get('admin_status');
      redis.delete(DATABASE.APPL, DEMAND.row(name));
      if (admin === undefined || !redis.row(DATABASE.APPL, portRow(name))) continue;
      redis.set(DATABASE.APPL, portRow(name), { admin_status: admin });
      this.#hardware(name, admin === 'up', who === 'agent');
    }
    redis.delete(DATABASE.APPL, DEMAND.names);
  }

  #hardware(name: string, up: boolean, agent: boolean): void {
    const port = this.#box.ports.get(name)!;
    if (agent && up && port.operator) {
      // His word and ours crossed on the way: SONiC does what came last.
      if (this.#clock.now() - (this.#operatorAt.get(name) ?? 0) > 1_000)
        this.#violation(`${this.#box.name} opens ${name}, which an operator has shut`);
      port.operator = false;
    }
    if (agent) {
      if (!up && !port.adminUp) port.operator = false;
      port.byAgent = !up;
    } else if (up && port.byAgent) {
      port.overridden ||= !port.adminUp;
      port.byAgent = false;
    }
    this.#box.setAdmin(port, up);
  }

  #soon(daemon: 'portmgrd' | 'orchagent', run: () => void): void {
    const at = this.#clock.now() + this.#random.between(0.5, 20);
    if (daemon === 'portmgrd') this.#portmgrd = Math.max(this.#portmgrd, at);
    else this.#orchagent = Math.max(this.#orchagent, at);
    this.#clock.schedule(daemon === 'portmgrd' ? this.#portmgrd : this.#orchagent, run);
  }
}

const operOf = (port: BoxPort): string => (port.adminUp && port.cable ? 'up' : 'down');
