import { HostCommand } from '../../cli/host-command.ts';
import { type CacheRows, PEER_COLUMNS, WAY_COLUMNS, type WayRow } from '../../cli/host-rows.ts';

export default class HostCache extends HostCommand {
  static override hiddenAliases = ['host:cache:list'];
  static override summary = "List the fast path's caches: peers, ways out, ways in.";
  static override description =
    `What the programs in the data path have learned from packets of the slow path. A way is a direction of a connection: how
its packets leave, and as what. IDLE and AGE in seconds.`;
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  override async run(): Promise<CacheRows> {
    const { flags } = await this.parse(HostCache);
    const cache = await this.ask<CacheRows>(flags, '/cache');
    this.printTable(PEER_COLUMNS, cache.peers, 'No peers.');
    this.log('');
    const ways: WayRow[] = [...cache.egress, ...cache.ingress];
    this.printTable(WAY_COLUMNS, ways, 'No ways are known.');
    return cache;
  }
}
