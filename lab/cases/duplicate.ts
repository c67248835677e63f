/**
 * One address, two machines. D1 is behind A1 and rightly there; first D2 behind A2, then D3 behind B3 has the same
 * address, and both speak ten times a second. What the fabric is told has to stay bounded, nobody else may lose anything,
 * and the agent has to say `duplicate`.
 */
import type { EventView, HostView } from '../../src/agent/api.ts';
import { type Guest, guest, makeGuest, moveGuest, placeGuest, removeGuest } from '../guests.ts';
import type { Hands } from '../hands.ts';
import { monotonic } from '../monotonic.ts';
import { sleep, waitUntil } from '../processes.ts';
import { letSpeak } from '../servers.ts';
import type { ServerName, TorName } from '../topology/plan.ts';
import type { LabCase } from './case.ts';
import { addressesOf } from './fib.ts';

const ADDRESSES = { address: '10.10.10.9', address6: '2001:db8:10::9' };
const D1 = { ...guest('D1', '21', ADDRESSES, ['A'], ['C3']), name: 'D' };
const D2 = guest('D2', '22', ADDRESSES, [], ['C4']);
const D3 = guest('D3', '23', ADDRESSES, [], ['C1']);

/** Longer than a raised claim takes to settle, and the other switch to call it a duplicate then. */
const ROUNDS = 70;
const PAUSE = 100;
/**
 * An update for each of a handful of moves and holds, of each address and by each protocol, not one for each packet. The
 * two machines say 140 times who they are.
 */
const BOUND = 16;

async function quarrel({ state }: Hands, other: Guest, at: ServerName): Promise<number> {
  const begin = monotonic();
  moveGuest(state, other, at);
  for (let round = 0; round < ROUNDS; round++) {
    letSpeak(state.name, [D1], state.families);
    await sleep(PAUSE / 2);
    letSpeak(state.name, [other], state.families);
    await sleep(PAUSE / 2);
  }
  return begin;
}

/** The rightful owner alone is left, and says who it is. */
async function settle({ state }: Hands, other: Guest): Promise<number> {
  const at = placeGuest(state, other, undefined);
  letSpeak(state.name, [D1], state.families);
  await sleep(PAUSE);
  return at;
}

const boundOf = ({ state }: Hands): number => BOUND * state.families.length * (state.protocol === 'both' ? 2 : 1);

const tooMany = (hands: Hands, updates: number): string[] =>
  updates > boundOf(hands) ? [`the fabric was told ${updates} times, more than ${boundOf(hands)}`] : [];

/** Each of its addresses is called a duplicate by one of these switches, and that has been told. */
async function reported(hands: Hands, tors: readonly TorName[]): Promise<string[]> {
  const views = await Promise.all(
    tors.map(async (name) => ({
      hosts: await hands.tor(name).ask<readonly HostView[]>('/v1/hosts'),
      events: await hands.tor(name).ask<readonly EventView[]>('/v1/events?last=500'),
    })),
  );
  return addressesOf(D1, hands.state.families).flatMap((address) => {
    const states = views.map(({ hosts }) => hosts.find((host) => host.address === address)?.state ?? 'unknown');
    const told = views.some(({ events }) =>
      events.some(({ type, fields }) => type === 'host.duplicate' && fields.address === address),
    );
    return [
      ...(states.includes('duplicate')
        ? []
        : [`${tors.join(', ')} call ${address} ${states.join(', ')}, not duplicate`]),
      ...(told ? [] : [`no event of the duplicate ${address}`]),
    ];
  });
}

/** Or the next run within a minute would begin with the longer holds that this one has earned. */
async function forgiven(hands: Hands): Promise<void> {
  for (const tor of ['A', 'B'] as const) {
    const { code, stderr } = await hands.tor(tor).cli('hosts', 'clear', '--all');
    if (code !== 0) throw new Error(`peerless hosts clear on ${tor}: ${stderr}`);
  }
}

/** Nothing of it is left. */
async function calm(hands: Hands): Promise<string[]> {
  let wrong: string[] = [];
  await waitUntil(
    async () => {
      letSpeak(hands.state.name, [D1], hands.state.families);
      const hosts = await hands.tor('A').ask<readonly HostView[]>('/v1/hosts');
      wrong = addressesOf(D1, hands.state.families).flatMap((address) => {
        const host = hosts.find((each) => each.address === address);
        const fine = host?.state === 'reachable' && host.port === 'A1';
        return fine ? [] : [`A has ${address} ${host?.state ?? 'nowhere'} on ${host?.port ?? 'no port'}`];
      });
      return wrong.length === 0;
    },
    30_000,
    500,
  );
  return wrong;
}

export const duplicate: LabCase = {
  name: 'duplicate',
  title: 'one address alive on A1 and A2',
  tors: ['peerless'],
  concerned: ['D'],
  hosts: [D1],
  prepare: async ({ state }) => {
    for (const each of [D1, D2, D3]) await makeGuest(state, each);
    moveGuest(state, D1, 'C3');
  },
  restore: async (hands) => {
    const { state } = hands;
    await forgiven(hands);
    for (const each of [D1, D2, D3]) await removeGuest(state, each.node);
  },
  phases: [
    {
      name: 'ports',
      act: (hands) => quarrel(hands, D2, 'C4'),
      leads: { D: 'any' },
      trail: 0,
      verify: async (hands, { updates }) => [...tooMany(hands, updates), ...(await reported(hands, ['A']))],
    },
    {
      name: 'ports settled',
      title: 'duplicate: A1 alone again',
      act: (hands) => settle(hands, D2),
      verify: calm,
    },
    {
      name: 'switches',
      title: 'one address alive on A1 and B3',
      act: (hands) => quarrel(hands, D3, 'C1'),
      leads: { D: 'any' },
      trail: 0,
      verify: async (hands, { updates }) => [...tooMany(hands, updates), ...(await reported(hands, ['A', 'B']))],
    },
    {
      name: 'switches settled',
      title: 'duplicate: A1 alone again',
      act: (hands) => settle(hands, D3),
      verify: calm,
    },
  ],
};
