import type { Port, PortChange } from '../../model/ports.ts';
import type { HostPolicy } from '../machine/types.ts';
import type { HostKernel } from '../options.ts';

/**
 * A link aggregation group is one port, whatever the policy calls it: where it names members of a bond or team, that is
 * meant. A host's frames come by any member, and one member's loss is no loss of the host.
 */
export class Lags {
  readonly #kernel: HostKernel;
  /** Member -> LAG, of the ports that the policy names. */
  #lagOf = new Map<string, string>();
  readonly #blocked = new Set<string>();

  constructor(kernel: HostKernel) {
    this.#kernel = kernel;
  }

  /** The policy with LAGs in place of their members; the same object when it names none. */
  resolve(policy: HostPolicy): HostPolicy {
    this.#lagOf = new Map(
      policy.ports.flatMap((name) => {
        const port = this.#kernel.port(name);
        const lag = port && this.#masterOf(port);
        return lag ? [[name, lag.name] as const] : [];
      }),
    );
    if (this.#lagOf.size === 0) return policy;
    const { sources, activeActive, bindings } = policy;
    return {
      ...policy,
      ports: this.names(policy.ports),
      sources: { ...sources, static: sources.static.map((entry) => ({ ...entry, port: this.#nameOf(entry.port) })) },
      ...(typeof activeActive === 'boolean'
        ? {}
        : { activeActive: { ...activeActive, ports: this.names(activeActive.ports) } }),
      ...(bindings === undefined
        ? {}
        : { bindings: bindings.map(({ ports, ...rest }) => (ports ? { ...rest, ports: this.names(ports) } : rest)) }),
    };
  }

  /** A port of the policy has joined or left a LAG. */
  concerns({ before, after, name }: PortChange, policy: HostPolicy): boolean {
    if (before?.master === after?.master && before?.kind === after?.kind) return false;
    const known = this.#lagOf.get(name);
    const lag = after && this.#masterOf(after)?.name;
    return policy.ports.includes(name) && known !== lag;
  }

  /** Each once, LAGs for their members. */
  names(ports: readonly string[]): readonly string[] {
    return this.#lagOf.size === 0 ? ports : [...new Set(ports.map((name) => this.#nameOf(name)))];
  }

  /** What is blocked, or free again, when these ports are: a LAG while all its members are. */
  block(ports: readonly string[], blocked: boolean): readonly string[] {
    for (const name of ports) this.#blocked[blocked ? 'add' : 'delete'](name);
    if (this.#lagOf.size === 0) return ports;
    return this.names(ports).filter((name) => {
      const members = [...this.#lagOf].flatMap(([member, lag]) => (lag === name ? [member] : []));
      return !blocked || members.length === 0 || members.every((member) => this.#blocked.has(member));
    });
  }

  #nameOf(name: string): string {
    return this.#lagOf.get(name) ?? name;
  }

  #masterOf(port: Port): Port | undefined {
    const master = port.master === 0 ? undefined : this.#kernel.portByIndex(port.master);
    return master?.kind === 'bond' || master?.kind === 'team' ? master : undefined;
  }
}
