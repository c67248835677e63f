import { Args, Flags } from '@oclif/core';
import type { MapHistoryView, MapRowView, MapSwitchView } from '../agent/map-api.ts';
import { AgentCommand, CommandFailure, EXIT } from '../cli/base-command.ts';
import type { AgentClient } from '../cli/client.ts';
import { HISTORY_COLUMNS, mapColumns, mapLines, SWITCH_COLUMNS } from '../cli/map-text.ts';
import { outputWidth, table } from '../cli/table.ts';
import { watch } from '../cli/watch.ts';
import { parseAddress } from '../model/address.ts';

/** Rows, or with --history what happened, or with --switches the switches. */
type Answer = MapRowView[] | MapHistoryView[] | MapSwitchView[];

export default class ShowMap extends AgentCommand {
  static override summary = "Show the gateway's map: which ports each address is behind, and was.";
  static override description =
    `For an agent with role: gateway. Each address stands at its place: the gateway's port (HERE), the switch, its uplink, its
port towards the server, the server's port. Below it stand the places where it was before, or could be. A port without a
word after it is up.

  up       announced by the switch, and the gateway's packets go there
  standby  announced by the switch, but the gateway goes another way
  shadow   the switch stands by for it
  unheard  the gateway's packets go there, but nobody hears the switch
  down     it is not there any more, and WHY says what came apart
  (old)    known from before a restart of this agent, not heard since`;
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    {
      description: 'Which ports is it behind, are they up, since when, and where was it before?',
      command: '<%= config.bin %> <%= command.id %> 10.10.10.2',
    },
    { description: 'What happened to it:', command: '<%= config.bin %> <%= command.id %> 10.10.10.2 --history' },
    '<%= config.bin %> <%= command.id %> --switches',
    '<%= config.bin %> <%= command.id %> --watch',
    '<%= config.bin %> <%= command.id %> --json',
  ];
  static override args = {
    address: Args.string({ description: 'only this address; exit 1 when it is not in the map' }),
  };
  static override flags = {
    history: Flags.boolean({ description: 'what happened, the oldest first', exclusive: ['switches'] }),
    switches: Flags.boolean({ description: 'the switches that tell of their ports' }),
    watch: Flags.boolean({ char: 'w', description: 'show it again and again; with --json one value a line' }),
    interval: Flags.integer({
      description: 'with --watch: seconds between two looks',
      default: 2,
      min: 1,
      max: 3600,
      helpValue: 'SECONDS',
    }),
  };

  override async run(): Promise<Answer | undefined> {
    const { args, flags } = await this.parse(ShowMap);
    const { address } = args;
    if (address !== undefined && !parseAddress(address)) {
      throw new CommandFailure(EXIT.usage, `'${address}' is not an address`, 'Write one such as 10.10.10.2.');
    }
    if (address !== undefined && flags.switches) {
      throw new CommandFailure(EXIT.usage, '--switches lists all switches, and takes no address');
    }
    const client = this.client(flags);
    if (!flags.watch) {
      const { answer, text } = await look(client, flags, address).catch(onNoMap);
      this.log(text);
      return answer;
    }
    return watch(flags.interval, async () => {
      const { answer, text } = await look(client, flags, address).catch(onNoMap);
      const clear = process.stdout.isTTY ? '\u001b[H\u001b[2J' : '';
      process.stdout.write(this.jsonEnabled() ? `${JSON.stringify(answer)}\n` : `${clear}${text}\n`);
    });
  }
}

async function look(
  client: AgentClient,
  flags: { readonly history: boolean; readonly switches: boolean },
  address: string | undefined,
): Promise<{ answer: Answer; text: string }> {
  const width = outputWidth();
  if (flags.switches) {
    const switches = await client.get<MapSwitchView[]>('/v1/map/switches');
    return { answer: switches, text: table(SWITCH_COLUMNS, switches, width) };
  }
  if (flags.history) {
    const history = await client.get<MapHistoryView[]>('/v1/map/history', { address });
    if (history.length === 0 && address !== undefined) throw unknown(address);
    return { answer: history, text: history.length === 0 ? 'Nothing yet.' : table(HISTORY_COLUMNS, history, width) };
  }
  const rows = await client.get<MapRowView[]>('/v1/map', { address });
  if (rows.length === 0 && address !== undefined) throw unknown(address);
  const text = rows.length === 0 ? 'No switch has announced anything.' : table(mapColumns(rows), mapLines(rows), width);
  return { answer: rows, text };
}

/** A switch answers the path with 404. */
function onNoMap(error: unknown): never {
  if (!(error instanceof CommandFailure) || !error.message.startsWith('no such path')) throw error;
  throw new CommandFailure(EXIT.no, 'this agent keeps no map', 'Ask the one with role: gateway; --socket names it.');
}

const unknown = (address: string): CommandFailure =>
  new CommandFailure(
    EXIT.no,
    `${address} is not in the map`,
    'No switch announces it, or has in the time that is kept.',
  );
