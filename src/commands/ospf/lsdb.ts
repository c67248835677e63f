import { Flags } from '@oclif/core';
import type { OspfLsaView } from '../../agent/api.ts';
import { AgentCommand } from '../../cli/base-command.ts';

/** RFC 2328 §A.4.1, RFC 3101, RFC 5250. */
const TYPES: Readonly<Record<number, string>> = {
  1: 'router',
  2: 'network',
  3: 'summary',
  4: 'asbr-summary',
  5: 'external',
  7: 'nssa',
  9: 'opaque-link',
  10: 'opaque-area',
  11: 'opaque-as',
};

const hex = (value: number, digits: number): string => `0x${(value >>> 0).toString(16).padStart(digits, '0')}`;

export default class OspfLsdb extends AgentCommand {
  static override summary = 'List the link state database.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    { description: 'What we originated:', command: '<%= config.bin %> <%= command.id %> --self' },
  ];
  static override flags = { self: Flags.boolean({ description: 'only LSAs of this switch' }) };

  override async run(): Promise<OspfLsaView[]> {
    const { flags } = await this.parse(OspfLsdb);
    const all = await this.client(flags).get<OspfLsaView[]>('/v1/ospf/lsdb');
    const lsas = flags.self ? all.filter((lsa) => lsa.selfOriginated) : all;
    this.printTable(
      [
        { header: 'AREA', value: (lsa) => lsa.area ?? lsa.interface ?? 'AS' },
        { header: 'TYPE', value: (lsa) => TYPES[lsa.type] ?? lsa.type },
        { header: 'LINK STATE ID', value: (lsa) => lsa.linkStateId },
        { header: 'ADV ROUTER', value: (lsa) => lsa.advertisingRouter + (lsa.selfOriginated ? ' *' : '') },
        { header: 'AGE', value: (lsa) => lsa.age, align: 'right' },
        { header: 'SEQUENCE', value: (lsa) => hex(lsa.sequence, 8) },
        { header: 'CHECKSUM', value: (lsa) => hex(lsa.checksum, 4) },
        { header: 'LENGTH', value: (lsa) => lsa.length, align: 'right' },
      ],
      lsas,
      'No LSAs.',
    );
    return lsas;
  }
}
