import { Args, Flags } from '@oclif/core';
import type { HostChangeResult } from '../../../agent/host-api.ts';
import { HostCommand, hostDryRun, manyFlag, replaceFlag } from '../../../cli/host-command.ts';

export default class HostRulesAdd extends HostCommand {
  static override hiddenAliases = ['host:policy:add'];
  static override summary = 'Add a rule: who may reach whom, and how fast.';
  static override description =
    `At once, for connections that stand too, and into the configuration file. A rule judges the packet that opens a
connection, as it came, before any rewriting. Direction is seen from the instance: in is what comes for it.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %> no-telnet --direction in --to 10.200.1.2 --protocol tcp --port 23 --action deny',
    '<%= config.bin %> <%= command.id %> web --to 10.200.1.0/24 --protocol tcp --port 80,443,8000-8100 --action allow --dry-run',
    '<%= config.bin %> <%= command.id %> cap --to 10.200.1.2 --rate 100mbit',
  ];
  static override args = { name: Args.string({ description: 'name of the rule', required: true }) };
  static override flags = {
    network: Flags.string({ description: 'only in this network', helpValue: 'NAME' }),
    direction: Flags.string({ description: 'seen from the instance', options: ['in', 'out', 'both'] }),
    from: Flags.string({ description: 'any, an address or a prefix', helpValue: 'PREFIX' }),
    to: Flags.string({ description: 'any, an address or a prefix', helpValue: 'PREFIX' }),
    protocol: Flags.string({ description: 'a name such as tcp, or a number', helpValue: 'PROTOCOL' }),
    port: manyFlag('ports', 'destination ports and ranges, comma-separated', 'PORT'),
    'source-port': manyFlag('source-ports', 'source ports and ranges, comma-separated', 'PORT'),
    'tcp-flags': Flags.string({
      description: 'of the flags after the slash exactly those before it stand in the packet: syn/syn,ack',
      helpValue: 'SET/OF',
    }),
    action: Flags.string({ description: 'what becomes of it', options: ['allow', 'deny'] }),
    rate: Flags.string({ description: 'at most so much, such as 100mbit', helpValue: 'RATE' }),
    replace: replaceFlag,
    'dry-run': hostDryRun,
  };

  override async run(): Promise<HostChangeResult> {
    const { args, flags } = await this.parse(HostRulesAdd);
    const { network, direction, from, to, action, rate } = flags;
    const protocol =
      flags.protocol !== undefined && /^\d+$/.test(flags.protocol) ? Number(flags.protocol) : flags.protocol;
    const body = {
      name: args.name,
      network,
      direction,
      from,
      to,
      protocol,
      ports: flags.port?.map(portOf),
      sourcePorts: flags['source-port']?.map(portOf),
      tcpFlags: tcpFlagsOf(flags['tcp-flags']),
      action,
      rate,
    };
    return this.change(flags, 'POST', 'rules', { dryRun: flags['dry-run'], set: flags.replace }, body);
  }
}

const portOf = (text: string): string | number => (/^\d+$/.test(text) ? Number(text) : text);

function tcpFlagsOf(text: string | undefined): { set: string[]; of?: string[] } | undefined {
  if (text === undefined) return undefined;
  const [set = '', of] = text.split('/');
  const list = (flags: string) => flags.split(',').filter((flag) => flag !== '');
  return { set: list(set), ...(of === undefined ? {} : { of: list(of) }) };
}
