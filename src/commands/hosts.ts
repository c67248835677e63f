import { renameSync, writeFileSync } from 'node:fs';
import { Flags } from '@oclif/core';
import type { HostView } from '../agent/api.ts';
import { AgentCommand, CommandFailure, EXIT } from '../cli/base-command.ts';
import { age, neighbourText } from '../cli/format.ts';
import {
  difference,
  type ExportOptions,
  FORMATS,
  type StaticRoute,
  staticRoutes,
  uplinkAddresses,
  wholeList,
} from '../cli/host-export.ts';
import { follow, type Listing, listing } from '../cli/host-follow.ts';
import { type Address, parseAddress, parsePrefix } from '../model/address.ts';

const WHY = [
  { header: 'WHY', value: (host: HostView) => host.why },
  { header: 'EVIDENCE', value: (host: HostView) => host.sources.map(({ evidence }) => evidence).join('; ') },
];

interface ExportFlags {
  readonly export: (typeof FORMATS)[number];
  readonly via?: string[] | undefined;
  readonly metric: number;
  readonly output?: string | undefined;
  readonly follow: boolean;
  readonly port?: string | undefined;
  readonly prefix?: string | undefined;
  readonly socket: string;
}

export default class Hosts extends AgentCommand {
  static override summary = 'List the hosts behind the ports, and who announces them.';
  static override description =
    `LEVEL is how strongly the host is claimed (0 to 2): a newer claim than the other switch had is announced better. A host in
state shadow is behind no port here: the other switch announces it, and this one stands by (shadow.enabled).`;
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --port A2',
    '<%= config.bin %> <%= command.id %> --prefix 10.10.10.0/26 --json',
    {
      description: 'Static routes for the gateway, kept up to date:',
      command: '<%= config.bin %> <%= command.id %> --export iproute2 --follow | ssh G ip -force -batch -',
    },
  ];
  static override flags = {
    port: Flags.string({ char: 'p', description: 'only behind this port', helpValue: 'PORT' }),
    prefix: Flags.string({ description: 'only inside this prefix, or this address', helpValue: 'PREFIX' }),
    export: Flags.option({ options: FORMATS })({
      description: 'print what is announced as static routes for the gateway',
      exclusive: ['json', 'why'],
    }),
    via: Flags.string({
      description: "with --export: this switch's address as the gateway reaches it; default: those of its uplinks",
      helpValue: 'ADDRESS',
      multiple: true,
      dependsOn: ['export'],
    }),
    metric: Flags.integer({
      description: 'with --export: metric, FRR distance; the lower the better',
      default: 20,
      min: 1,
      max: 199,
      helpValue: 'N',
    }),
    output: Flags.string({
      description: 'with --export: write the whole list into this file, at once or not at all',
      helpValue: 'FILE',
      dependsOn: ['export'],
    }),
    follow: Flags.boolean({
      char: 'f',
      aliases: ['watch'],
      description: 'with --export: go on; print what changes, or write --output anew',
      dependsOn: ['export'],
    }),
    why: Flags.boolean({ description: 'also say why each is in its state, and what was seen of it' }),
  };

  override async run(): Promise<HostView[]> {
    const { flags } = await this.parse(Hosts);
    if (flags.prefix !== undefined && !parsePrefix(flags.prefix) && !parseAddress(flags.prefix)) {
      throw new CommandFailure(
        EXIT.usage,
        `'${flags.prefix}' is not a prefix`,
        'Write one such as 10.10.10.0/24 (without host bits), or an address.',
      );
    }
    if (flags.export !== undefined) return this.#export({ ...flags, export: flags.export });
    const hosts = await this.client(flags).get<HostView[]>('/v1/hosts', { port: flags.port, prefix: flags.prefix });
    this.printTable(
      [
        { header: 'ADDRESS', value: (host) => host.address },
        { header: 'PORT', value: (host) => host.port },
        ...(hosts.some(({ lldp }) => lldp)
          ? [{ header: 'NEIGHBOUR', value: (host: HostView) => neighbourText(host.lldp) }]
          : []),
        { header: 'MAC', value: (host) => host.mac ?? undefined },
        { header: 'STATE', value: (host) => host.state },
        { header: 'AGE', value: (host) => age(host.ageMs), align: 'right' },
        { header: 'LEVEL', value: (host) => host.level, align: 'right' },
        {
          header: 'SOURCE',
          value: (host) => host.sources.map(({ source, ageMs }) => `${source} ${age(ageMs)}`).join(', '),
        },
        { header: 'ANNOUNCED BY', value: (host) => host.announcedBy.join(' ') },
        ...(hosts.some(({ repair }) => repair)
          ? [{ header: 'REPAIR', value: (host: HostView) => host.repair && `ready via ${host.repair.via}` }]
          : []),
        ...(flags.why ? WHY : []),
      ],
      hosts,
      'No hosts.',
    );
    return hosts;
  }

  async #export(flags: ExportFlags): Promise<HostView[]> {
    const given = flags.via?.map(addressOf);
    const client = this.client(flags);
    const query = { port: flags.port, prefix: flags.prefix };
    let said = '';
    const routesOf = ({ status, hosts }: Listing): readonly StaticRoute[] => {
      const { routes, left } = staticRoutes(hosts, given ?? uplinkAddresses(status));
      const without =
        left.length === 0 ? '' : `no next hop for ${left.length} hosts such as ${left[0]}: name one with --via\n`;
      if (without !== said) process.stderr.write(without);
      said = without;
      return routes;
    };
    const first = await listing(client, query);
    const options: ExportOptions = {
      format: flags.export,
      metric: flags.metric,
      routerId: first.status.routerId ?? '',
    };
    if (!flags.follow) {
      write(flags.output, wholeList(routesOf(first), options));
      return [];
    }
    const stop = new AbortController();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
    process.stdout.once('error', () => stop.abort());
    let before: readonly StaticRoute[] | undefined;
    for await (const now of follow(client, query, stop.signal)) {
      const after = now ? routesOf(now) : [];
      if (flags.output !== undefined || flags.export === 'bird') {
        if (!before || wholeList(before, options) !== wholeList(after, options))
          write(flags.output, wholeList(after, options));
      } else {
        write(undefined, difference(before ?? [], after, { ...options, format: flags.export }));
      }
      before = after;
    }
    return [];
  }
}

function addressOf(text: string): Address {
  const address = parseAddress(text);
  if (!address) throw new CommandFailure(EXIT.usage, `'${text}' is not an address`, 'Write one such as 192.0.2.2.');
  return address;
}

/** A reader of the file finds the old list or the new one, never half of one. */
function write(file: string | undefined, text: string): void {
  if (file === undefined) process.stdout.write(text);
  else {
    const temporary = `${file}.${process.pid}.new`;
    writeFileSync(temporary, text);
    renameSync(temporary, file);
  }
}
