import { HostCommand } from '../../cli/host-command.ts';
import { PEER_STATE_COLUMNS, type PeerRow } from '../../cli/host-rows.ts';

export default class HostPeers extends HostCommand {
  static override hiddenAliases = ['host:peers:list'];
  static override summary = 'List the other hosts, and how what is sent to them is encrypted.';
  static override description =
    `valid: encrypted; invalid-notify: the other end is being told to stop, its keys are others than ours; invalid: it has told
us. What becomes of packets then is a matter of encryption.policy. FOR in seconds; ENCRYPTED and PLAIN count packets of both
directions.`;
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  override async run(): Promise<PeerRow[]> {
    const { flags } = await this.parse(HostPeers);
    const peers = await this.ask<PeerRow[]>(flags, '/peers');
    this.printTable(PEER_STATE_COLUMNS, peers, 'No peers.');
    return peers;
  }
}
