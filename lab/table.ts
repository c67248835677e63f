/** The result as text. */
import { CASES } from './cases/index.ts';
import { type AgentFailover, type LabResult, type Row, TOR_TITLE } from './results.ts';
import type { Spread } from './statistics.ts';
import { verdicts } from './verdicts.ts';

export function renderTable(result: LabResult): string {
  const header = [
    'case',
    'ToR',
    'runs',
    'lost',
    'outage ms',
    'min',
    'max',
    'others',
    'moved',
    'to server',
    'server',
    'us',
    'G',
  ];
  const lines = ordered(result.rows).map((row) => [
    titleOf(row),
    TOR_TITLE[row.tor],
    String(row.runs),
    String(Math.round(row.lost.median)),
    milliseconds(row.outage.median),
    milliseconds(row.outage.min),
    milliseconds(row.outage.max),
    row.phase === 'fault' && row.gateway ? milliseconds(row.outage.median - row.gateway.median) : '-',
    row.lostElsewhere === 0 ? '0' : `LOST ${row.lostElsewhere}`,
    row.asExpected ? movedText(row) : `WRONG ${movedText(row)}`,
    stage(row.toServer),
    stage(row.server),
    stage(row.us),
    stage(row.gateway),
  ]);
  return [
    `${result.protocol}, G is ${result.gateway}${result.containers ? ' in containers' : ''}, ${result.ports} ports, ${result.families.map((family) => `IPv${family}`).join(' and ')}, updelay ${result.updelay} ms`,
    ...result.baseline.map(({ tor, sent, lost }) => `idle lab, ${TOR_TITLE[tor]}: ${sent} packets, ${lost} lost`),
    '',
    ...columns([header, ...lines]),
    '',
    'lost: packets of the servers concerned, both ways (median); outage: the longest of them; over G: median beyond what G took; others: lost by servers not concerned.',
    'to server: fault -> its link event; server: link event -> ARP at the new ToR; us: ARP -> announcement at G; G: announcement -> its FIB (medians, ms).',
    result.floor
      ? `G's own floor in this run: ${milliseconds(result.floor.median)} ms (min ${milliseconds(result.floor.min)}, max ${milliseconds(result.floor.max)})`
      : "G's own floor was not seen in this run.",
    ...pauses(result),
    ...forgetting(result.rows),
    ...timelines(result.rows),
    ...judgements(result.rows),
    ...(result.problems.length > 0 ? ['', 'problems:', ...result.problems.map((problem) => `  ${problem}`)] : []),
    '',
  ].join('\n');
}

/** Kinds of ToR side by side under each case. */
function ordered(rows: readonly Row[]): Row[] {
  const rank = (row: Row): number =>
    CASES.findIndex(({ name }) => name === row.case) * 100 + phasesOf(row).findIndex(({ name }) => name === row.phase);
  return rows.toSorted((left, right) => rank(left) - rank(right));
}

const caseOf = (row: Row) => CASES.find(({ name }) => name === row.case);
const phasesOf = (row: Row) => caseOf(row)?.phases ?? [];

function titleOf(row: Row): string {
  const own = phasesOf(row).find(({ name }) => name === row.phase)?.title;
  if (own !== undefined) return own;
  if (row.phase === phasesOf(row)[0]?.name) return caseOf(row)?.title ?? row.case;
  return `${row.case}: ${row.phase === 'back' ? 'way back' : row.phase}`;
}

function judgements(rows: readonly Row[]): string[] {
  const lines = verdicts(ordered(rows)).map(({ pass, text }) => `  ${pass ? 'PASS' : 'FAIL'}  ${text}`);
  return lines.length > 0 ? ['', ...lines] : [];
}

const movedText = (row: Row): string =>
  row.moved.length === 0
    ? '-'
    : row.moved.length > 8
      ? `${row.moved.length} addresses`
      : row.moved.map(shortOf).join(' ');

/** `.2` for 10.10.10.2, `:2` for 2001:db8:10::2. */
const shortOf = (address: string): string => address.slice(address.lastIndexOf(address.includes(':') ? ':' : '.'));

const milliseconds = (value: number): string => (Math.abs(value) < 10 ? value.toFixed(2) : value.toFixed(1));
const stage = (value: Spread | undefined): string => (value ? milliseconds(value.median) : '-');

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => (column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd();
  return [line(rows[0]!), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.slice(1).map(line)];
}

/** A probe that was held up saw less than there was. */
function pauses(result: LabResult): string[] {
  const longest = Math.max(0, ...result.runs.map(({ probePause }) => probePause));
  return longest > 5 ? [`The probe itself was held up for up to ${milliseconds(longest)} ms: a busy machine.`] : [];
}

/** What is killed says no goodbye: how long G goes on believing in it is the protocol's time, not an outage of ours. */
function forgetting(rows: readonly Row[]): string[] {
  return rows.flatMap(({ case: name, phase, tor, converged }) =>
    name === 'agent-kill' && phase === 'fault' && converged
      ? [`G forgot the routes of a killed ${TOR_TITLE[tor]} after ${milliseconds(converged.median)} ms.`]
      : [],
  );
}

/** Of one row; a crowd moves in many small steps. */
const TIMELINES = 6;

function timelines(rows: readonly Row[]): string[] {
  const lines = rows.flatMap((row) => [
    ...row.failovers.slice(0, TIMELINES).map((failover) => `  ${nameOf(row)}: ${timeline(failover)}`),
    ...(row.failovers.length > TIMELINES ? [`  ${nameOf(row)}: and ${row.failovers.length - TIMELINES} more`] : []),
  ]);
  return lines.length > 0
    ? ['', "the agents' own timelines (us after the event, run of median outage):", ...lines]
    : [];
}

const nameOf = (row: Row): string =>
  row.tor === 'peerless' ? titleOf(row) : `${titleOf(row)} (${TOR_TITLE[row.tor]})`;

const timeline = ({ agent, cause, steps }: AgentFailover): string =>
  `${agent}: ${cause}: ${steps.map(({ name, us }) => `${name} ${Math.round(us)}`).join(', ')}`;
