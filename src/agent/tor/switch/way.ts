import type { ServerRoute } from '../../../bgp/index.ts';
import type { TorConfig } from '../../../config/index.ts';
import type { HostCause } from '../../../hostroutes/index.ts';
import type { Address } from '../../../model/address.ts';
import type { Instant } from '../../../model/clock.ts';
import type { ForeignClaim, ForeignShadow, HostDelta } from '../../../model/hosts.ts';
import { isUp, type PortChange } from '../../../model/ports.ts';
import { tunnelSource } from '../repair/index.ts';
import { shutInParts } from '../shut-in-parts.ts';
import { hostPolicy, makeParts, type Parts, type PartsOptions, type Reactions } from './parts.ts';

/**
 * The way of an event: the only place that knows in which order the parts hear of it.
 *
 * A link event runs through here in one turn: host table (its delta goes to the wire), port-link groups (their
 * withdrawals go to the wire, then the ports are shut in one batch), speakers (sessions over that link fall). The
 * withdrawal is always before everything that costs more than it.
 */
export class Way implements Reactions {
  readonly parts: Parts;
  readonly #config: () => TorConfig;
  #upstream: string | undefined;

  constructor(options: PartsOptions) {
    this.#config = options.config;
    this.parts = makeParts(options, this);
  }

  portChanged(change: PortChange): void {
    const { projection, events, hosts, facts } = this.parts;
    const wasUp = isUp(change.before);
    const up = isUp(change.after);
    const { name, at } = change;
    if (wasUp && !up) {
      const lost = change.after === undefined ? 'is gone' : change.after.adminUp ? 'lost carrier' : 'was shut';
      const cause = `${name} ${lost}`;
      projection.inTurn(cause, at, name, () => this.#react(change));
      facts.touch(at);
      if (this.#concerns(name))
        events.record({ type: 'link.down', severity: 'warning', message: cause, at, fields: { port: name } });
      this.showEndpoint();
      return;
    }
    this.#react(change);
    facts.touch(at);
    if (up && !wasUp && this.#concerns(name)) {
      if (this.parts.crowds.holdBack(name, at)) hosts.shut(name, 'it is shut until the fabric has been told', at);
      else hosts.expect([name], at);
      events.record({ type: 'link.up', message: `${name} is up`, at, fields: { port: name } });
    }
    if (addressesDiffer(change)) this.configureHosts();
    this.showEndpoint();
  }

  /** The order is the point: hosts of the port first, then the groups, then the sessions over it. */
  #react(change: PortChange): void {
    const { hosts, groups, drain, nextHops, bfd, fabric, handoff, standingBy } = this.parts;
    hosts.portChange(change);
    groups.portChanged(change);
    drain.portChanged(change);
    nextHops.portChanged(change);
    fabric.linkChanged(change);
    bfd.portChanged(change);
    handoff.linkChanged(change);
    if (change.before && !isUp(change.after)) standingBy?.portDown(change.before.ifindex);
  }

  delta(delta: HostDelta, cause: HostCause, at: Instant): void {
    this.parts.projection.apply(delta, cause, at);
    this.parts.memory.changed(delta);
    this.parts.facts.hostsChanged();
  }

  block(ports: readonly string[], blocked: boolean, reason: string, at: Instant): void {
    const { hosts, projection } = this.parts;
    const block = (): void => hosts.blockPorts(ports, blocked, reason, at);
    if (blocked) projection.beforeShutting(block);
    else block();
    this.parts.facts.touch(at);
  }

  setAdmin(ports: readonly string[], up: boolean): Promise<void> {
    const { reopening, kernel, fabric, projection } = this.parts;
    if (up) return reopening.open(ports);
    reopening.shut(ports);
    const answer = shutInParts(kernel, ports, () => fabric.pump());
    projection.portsShut();
    return answer;
  }

  foreignClaim(claim: ForeignClaim): void {
    const { hosts, drain, reopening, repair } = this.parts;
    hosts.foreignClaim(claim);
    repair.claim(claim);
    drain.claimed(claim);
    if (claim.level === undefined) reopening.unrivalled(claim.address);
  }

  foreignShadow(shadow: ForeignShadow): void {
    this.parts.repair.shadow(shadow);
  }

  /** To be called at the start; later it follows the uplinks. */
  showEndpoint(): void {
    const { fabric, kernel, repair } = this.parts;
    const config = this.#config();
    repair.linksChanged();
    if (config.shadow.enabled) fabric.tunnelEndpoint(tunnelSource(config, kernel));
  }

  /** What a server says of itself in its own session is evidence like any other, and lives where the server does. */
  serverRoute({ address, server, port, up }: ServerRoute): void {
    const { hosts } = this.parts;
    if (!up) {
      hosts.retract({ source: 'bgp', address, port });
      return;
    }
    const place = hosts.locate(server);
    if (place?.port !== port) return;
    const { mac, interface: name, ifindex } = place;
    hosts.report({ source: 'bgp', address, mac, port, interface: name, ifindex });
  }

  fabricChanged(): void {
    this.parts.nextHops.refresh();
    this.parts.bfd.refresh();
    this.#judgeUplinks();
  }

  nextHopVerdict(port: string, at: Instant, cause: string | undefined): void {
    const { groups, judge, projection } = this.parts;
    if (cause === undefined) groups.judge(judge);
    else projection.inTurn(cause, at, port, () => groups.judge(judge));
    this.parts.facts.touch(at);
  }

  bfdVerdict(): void {
    this.parts.groups.judge(this.parts.judge);
    this.parts.facts.touch();
  }

  /** As with a lost link: withdrawals first, then the ports, then the sessions. */
  bfdFailure(cause: string, port: string | undefined, at: Instant, fall: () => void): void {
    const { groups, judge, projection } = this.parts;
    projection.inTurn(cause, at, port, () => {
      groups.judge(judge);
      fall();
    });
  }

  /** Of a host whose route is not there: before the hosts have started, where an earlier run had it. */
  placeOf(address: Address): string | undefined {
    const { hosts, memory } = this.parts;
    return hosts.locate(address)?.port ?? memory.portOf(address);
  }

  failed(what: string, error: Error): void {
    this.parts.events.record({ type: 'agent.error', severity: 'error', message: `${what}: ${error.message}` });
  }

  /** The policy, our own addresses, which are no hosts, or whether hosts may yield. */
  configureHosts(): void {
    const { hosts, kernel, room, standingBy, fabricRules } = this.parts;
    hosts.configure(hostPolicy(this.#config(), kernel, room, standingBy, fabricRules));
  }

  /** All ports that matter, by the configuration as it is now. */
  ports(): string[] {
    const { hostRoutes, portLink } = this.#config();
    return [
      ...new Set([
        ...hostRoutes.policy.ports,
        ...portLink.flatMap(({ uplinks, downlinks }) => [...uplinks, ...downlinks]),
      ]),
    ];
  }

  #concerns(name: string): boolean {
    return this.ports().includes(name);
  }

  /** Sessions or routes changed: verdicts of the uplinks and the gate of make-before-break follow. */
  #judgeUplinks(): void {
    const { groups, judge, fabric, events } = this.parts;
    groups.judge(judge);
    this.parts.facts.touch();
    const { ready, reason } = fabric.readiness();
    const text = `${ready ? 'ready' : 'not ready'}: ${reason}`;
    if (text === this.#upstream) return;
    this.#upstream = text;
    events.record({ type: 'upstream', severity: 'debug', message: `upstream ${text}`, fields: { ready } });
  }
}

function addressesDiffer({ before, after }: PortChange): boolean {
  const text = (port: PortChange['after']): string => (port?.addresses ?? []).map((entry) => entry.address).join();
  return text(before) !== text(after);
}
