import { Flags } from '@oclif/core';
import type { HostView } from '../agent/api.ts';
import { AgentCommand, CommandFailure, EXIT } from '../cli/base-command.ts';
import { age, neighbourText } from '../cli/format.ts';
import { parseAddress, parsePrefix } from '../model/address.ts';

const WHY = [
  { header: 'WHY', value: (host: HostView) => host.why },
  { header: 'EVIDENCE', value: (host: HostView) => host.sources.map(({ evidence }) => evidence).join('; ') },
];

export default class Hosts extends AgentCommand {
  static override summary = 'List the hosts behind the ports, and who announces them.';
  static override description =
    'LEVEL is how strongly the host is claimed (0 to 2): a newer claim than the other switch had is announced better.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --port A2',
    '<%= config.bin %> <%= command.id %> --prefix 10.10.10.0/26 --json',
  ];
  static override flags = {
    port: Flags.string({ char: 'p', description: 'only behind this port', helpValue: 'PORT' }),
    prefix: Flags.string({ description: 'only inside this prefix, or this address', helpValue: 'PREFIX' }),
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
        ...(flags.why ? WHY : []),
      ],
      hosts,
      'No hosts.',
    );
    return hosts;
  }
}
