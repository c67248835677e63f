import { setTimeout as sleep } from 'node:timers/promises';
import { Flags } from '@oclif/core';
import type { RestartResult, StatusView } from '../agent/api.ts';
import { AgentCommand } from '../cli/base-command.ts';
import { CommandFailure, EXIT } from '../cli/errors.ts';

/** The next agent is looked for this often (ms). */
const LOOK = 50;

interface Restarted {
  readonly before: number;
  readonly after: number | null;
  readonly tookMs: number;
}

export default class Restart extends AgentCommand {
  static override summary = 'Exchange the running agent for a new one without a lost packet.';
  static override description =
    `Has the agent end with nothing withdrawn: announcements, kernel routes and ports stay, and the next agent
takes them up. Whoever keeps it running (systemd, with packaging/peerless.service) starts the one that is installed now, so this
is also the second half of an upgrade. Answers when the new agent does.

The time that there is: bgp.gracefulRestart.restartTime, and the dead interval of OSPF.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    { description: 'Only end it, to be started by hand:', command: '<%= config.bin %> <%= command.id %> --no-wait' },
  ];
  static override flags = {
    wait: Flags.boolean({ description: 'wait until the new agent answers', default: true, allowNo: true }),
    timeout: Flags.integer({ description: 'seconds to wait for it', default: 10, min: 1, max: 600 }),
  };

  override async run(): Promise<Restarted> {
    const { flags } = await this.parse(Restart);
    const client = this.client(flags);
    const began = performance.now();
    const { pid } = await client.send<RestartResult>('POST', '/v1/restart');
    let after: number | null = null;
    while (flags.wait && after === null) {
      await sleep(LOOK);
      after = await client.get<StatusView>('/v1/status').then(
        (status) => (status.pid === pid ? null : status.pid),
        () => null,
      );
      if (after === null && performance.now() - began > flags.timeout * 1000) {
        throw new CommandFailure(
          EXIT.unreachable,
          `agent ${pid} has left for a restart, and no other answers after ${flags.timeout} s`,
          'Start it now: the fabric waits a few seconds only.',
        );
      }
    }
    const tookMs = Math.round(performance.now() - began);
    this.log(after === null ? `Agent ${pid} ends.` : `Agent ${after} took over from ${pid} within ${tookMs} ms.`);
    return { before: pid, after, tookMs };
  }
}
