/**
 * The gateway's map held against the kernel of a real G, before, during and after figures 7, 10, two failures at once, a
 * restart and the death of a ToR; whatever daemon routes there, and by whatever protocol the observer hears the switches.
 */
import test, { type ExecutionContext } from 'ava';
import { sleep } from '../../lab/processes.ts';
import { SERVERS, type TorName } from '../../lab/topology/plan.ts';
import type { MapRowView } from '../../src/agent/map-api.ts';
import type { MapWatcher } from './observer.ts';
import type { Stand } from './stand.ts';

const C4 = '10.10.10.2';

export interface Watched {
  readonly stand: Stand;
  readonly observer: MapWatcher;
}

/** @param up a lab that is at home, and its observer, that runs */
export function mapCases(up: () => Promise<Watched>): void {
  let stand: Stand;
  let observer: MapWatcher;

  test.before(async (t) => {
    t.timeout(180_000);
    ({ stand, observer } = await up());
  });

  test.afterEach.always((t) => stand.mend(t));

  test.after.always(async () => {
    await observer?.stop();
    await stand?.down();
  });

  /** Every row's next hop is the kernel's, and names the switch at its other end. */
  async function rowsAreTrue(): Promise<string | undefined> {
    for (const { address } of SERVERS) {
      const row = await observer.row(address).catch(() => undefined);
      const truth = await observer.truth(address);
      const [place] = row?.places ?? [];
      if (!row || !place || !truth) return `${address}: ${JSON.stringify({ row, truth })}`;
      const [hop] = row.nextHops;
      const same =
        row.state === 'up' && hop?.port === truth.dev && hop.via === truth.via && place.gatewayPort?.port === truth.dev;
      if (!same) return `${address}: ${JSON.stringify({ row, truth })}`;
    }
    return undefined;
  }

  async function untilTrue(t: ExecutionContext): Promise<void> {
    t.timeout(120_000);
    let wrong: string | undefined;
    await stand.until(
      'the map is true',
      async () => {
        wrong = await rowsAreTrue();
        return wrong === undefined;
      },
      () => wrong,
    );
    t.pass();
  }

  async function untilText(address: string, text: string): Promise<void> {
    await stand.until(
      `${address} is ${text}`,
      async () => (await observer.text(address)) === text,
      () => observer.row(address),
    );
  }

  /** A reason may be followed by a better one. */
  async function untilWhy(address: string, tor: TorName, why: RegExp): Promise<void> {
    const said = async () => (await observer.place(address, tor))?.why ?? '';
    await stand.until(`${address} at ${tor}: ${why}`, async () => why.test(await said()), said);
  }

  test.serial('R4.8: every address stands where the kernel sends it, with both switches named', async (t) => {
    await untilTrue(t);
    await untilText(C4, 'up GA A A0 A2');
    await untilText('10.10.10.4', 'up GB B B0 B3');
    // Who is behind a port is said at most once a second: a while after the address itself.
    const macs = async () => (await observer.place(C4, 'A'))?.macs;
    await stand.until('the server is named', async () => (await macs())?.join() === '02:00:00:00:00:04', macs);
  });

  test.serial('R4.8, R4.9: figure 7: the server-link that came apart is named, and stays', async (t) => {
    const before = Date.now();
    stand.cables(['A2'], false);
    await untilText(C4, 'up GB B B0 B2 | down GA A A0 A2:down');
    await untilTrue(t);
    await untilWhy(C4, 'A', /^A2 lost carrier$/);
    const old = (await observer.place(C4, 'A'))!;
    t.is(old.downlink?.why, 'A2 lost carrier');
    t.deepEqual(old.macs, ['02:00:00:00:00:04']);
    t.true(Math.abs(Date.parse(old.since) - before) < 30_000);
    const { stdout, code } = await observer.cli('map', C4);
    t.is(code, 0);
    t.regex(stdout, /10\.10\.10\.2 +up .*GB +B +B0 +B2 /);
    t.regex(stdout, / down .*GA +A +A0 +A2 down .*A2 lost carrier/);
    stand.cables(['A2'], true);
    await stand.untilHome();
    await untilTrue(t);
    await untilText(C4, 'up GA A A0 A2 | down GB B B0 B2');
  });

  test.serial('R4.8, R4.9: figure 10: the gateway names its own end of the link, and A as not heard', async (t) => {
    stand.cables(['A0'], false);
    await untilTrue(t);
    await untilText(C4, 'up GB B B0 B2 | down GA:down A A0:down A2:down');
    await untilText('10.10.10.1', 'up GB B B0 B1 | down GA:down A A0:down A1:down');
    await untilText('10.10.10.4', 'up GB B B0 B3');
    await untilWhy(C4, 'A', /GA lost carrier here, the way to A A0/);
    const old = (await observer.place(C4, 'A'))!;
    t.regex(old.downlink?.why ?? '', /^A is not heard: /);
    const history = await observer.history(C4);
    t.true(history.some((entry) => entry.kind === 'gateway' && entry.port === 'GA' && entry.to === 'down'));
    stand.cables(['A0'], true);
    await stand.untilHome();
    await untilTrue(t);
    await untilText(C4, 'up GA A A0 A2 | down GB B B0 B2');
  });

  test.serial('R4.8: two failures at once are two reasons', async (t) => {
    stand.cables(['A2', 'B3'], false);
    await untilText(C4, 'up GB B B0 B2 | down GA A A0 A2:down');
    await untilText('10.10.10.4', 'up GA A A0 A3 | down GB B B0 B3:down');
    await untilTrue(t);
    await untilWhy(C4, 'A', /^A2 lost carrier$/);
    await untilWhy('10.10.10.4', 'B', /^B3 lost carrier$/);
    stand.cables(['A2', 'B3'], true);
    await stand.untilHome();
    await untilTrue(t);
  });

  test.serial('R4.8: the agent at G is killed and comes back: what it knew is there, and since when', async (t) => {
    // The other switch gives its claim up when the server has not answered there, a little after everything is at home.
    await stand.until(
      'old claims are gone',
      async () => !/^announced by/.test((await observer.row(C4)).places[1]!.why),
    );
    const known = ({ since, places }: MapRowView) => JSON.stringify([since, places.map(({ why }) => why).slice(1)]);
    let before = await observer.row(C4);
    // A better reason may come yet.
    await stand.until('nothing changes any more', async () => {
      const last = known(before);
      await sleep(3_000);
      before = await observer.row(C4);
      return known(before) === last;
    });
    // A second later, or later still on a disk that is slow.
    const places = before.places.map(({ since }) => since).sort();
    await stand.until(
      'what it knows is written',
      async () => observer.kept(C4).join() === places.join(),
      () => [observer.kept(C4), places],
    );
    await observer.stop('SIGKILL');
    await observer.start();
    await untilTrue(t);
    const now = async () => known(await observer.row(C4));
    await stand.until(
      'it knows what it knew',
      async () => (await now()) === known(before),
      async () => [await now(), known(before)],
    );
    t.is((await observer.row(C4)).places.length, before.places.length);
  });

  test.serial("an operator's shut port is shut, and not the group's", async (t) => {
    t.timeout(120_000);
    await stand.ip('A', 'link', 'set', 'A2', 'down');
    await untilText(C4, 'up GB B B0 B2 | down GA A A0 A2:shut');
    const why = async () => (await observer.place(C4, 'A'))?.downlink?.why;
    await stand.until('it is told who shut it', async () => (await why()) === 'A2 was shut by an operator', why);
    await stand.ip('A', 'link', 'set', 'A2', 'up');
    await stand.untilHome();
    await untilTrue(t);
  });

  test.serial('R4.8: the death of a ToR: its agent and its links at once', async (t) => {
    await stand.signal('SIGKILL', 'A');
    stand.cables(['A0', 'A1', 'A2', 'A3', 'A4'], false);
    await untilTrue(t);
    await untilText(C4, 'up GB B B0 B2 | down GA:down A A0:down A2:down');
    const states = async () => (await observer.switches()).map(({ name, state }) => `${name} ${state}`).sort();
    await stand.until('A is lost, B is not', async () => (await states()).join() === 'A lost,B heard', states);
    t.is((await observer.cli('map', '10.99.99.99')).code, 1);
  });
}
