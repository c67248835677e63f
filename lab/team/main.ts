/**
 * The teams of all four servers, in one process that stands as long as the lab does.
 * Arguments: lab, updelay in ms, file for the records (one JSON object a line), servers whose both links carry. The
 * file `FILE.ready` says it runs.
 */
import { appendFileSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { namespaceOf, SERVERS } from '../topology/plan.ts';
import { Team, type TeamRecord } from './driver.ts';

// It stands for the servers' kernels, which nobody's programs hold up.
setPriority(-15);
const [lab, updelay, file, ...activeActive] = process.argv.slice(2) as [string, string, string, ...string[]];

// Written in the turn after: nothing stands between a lost link and the gratuitous ARP.
let pending: TeamRecord[] = [];
const record = (entry: TeamRecord): void => {
  if (pending.length === 0) {
    setImmediate(() => {
      const lines = pending.map((line) => `${JSON.stringify(line)}\n`).join('');
      pending = [];
      appendFileSync(file, lines);
    });
  }
  pending.push(entry);
};

writeFileSync(file, '');
let waiting = SERVERS.length;
const teams = SERVERS.map(
  (server) =>
    new Team(
      namespaceOf(lab, server.name),
      server,
      Number(updelay),
      record,
      () => {
        waiting--;
        if (waiting === 0) writeFileSync(`${file}.ready`, '');
      },
      activeActive.includes(server.name),
    ),
);

process.on('SIGTERM', () => {
  for (const team of teams) team.close();
});
