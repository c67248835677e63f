import { Flags } from '@oclif/core';
import type { EventView } from '../agent/api.ts';
import { AgentCommand } from '../cli/base-command.ts';
import { clockTime } from '../cli/format.ts';
import { cut, outputWidth } from '../cli/table.ts';

export default class Events extends AgentCommand {
  static override summary = 'Show what happened.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    { description: 'As it happens:', command: '<%= config.bin %> <%= command.id %> --follow' },
    {
      description: 'One JSON object a line, for a program:',
      command: '<%= config.bin %> <%= command.id %> --follow --json',
    },
  ];
  static override flags = {
    follow: Flags.boolean({ char: 'f', description: 'go on with new ones; with --json one object a line' }),
    since: Flags.integer({ description: 'only after the event with this number', helpValue: 'SEQ', min: 0 }),
    type: Flags.string({
      description: 'only types that begin like this, such as link or portlink.shut',
      helpValue: 'TYPE',
    }),
  };

  override async run(): Promise<EventView[] | undefined> {
    const { flags } = await this.parse(Events);
    const client = this.client(flags);
    const wanted = (event: EventView) => flags.type === undefined || event.type.startsWith(flags.type);
    if (!flags.follow) {
      const events = (await client.get<EventView[]>('/v1/events', { since: flags.since })).filter(wanted);
      for (const event of events) this.log(line(event));
      if (events.length === 0) this.log('No events.');
      return events;
    }
    const stop = new AbortController();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
    // A reader that has seen enough (head, grep -m) is no error.
    process.stdout.once('error', () => stop.abort());
    for await (const event of client.follow<EventView>('/v1/events', { since: flags.since }, stop.signal)) {
      if (wanted(event)) process.stdout.write(`${this.jsonEnabled() ? JSON.stringify(event) : line(event)}\n`);
    }
    return undefined;
  }
}

function line(event: EventView): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a message may quote what a peer sent
  const message = event.message.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');
  return cut(
    `${String(event.seq).padStart(5)}  ${clockTime(event.time)}  ${event.severity.padEnd(7)}  ${event.type.padEnd(20)}  ${message}`,
    outputWidth(),
  );
}
