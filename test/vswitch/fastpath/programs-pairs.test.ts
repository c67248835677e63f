/**
 * Very many pairs between two hosts, many more than there are keys and connections: keys are told, run out, age and are told
 * for others, while packets are lost on the way and agents are killed, ended and started, one host with nothing left of its
 * caches. Every packet says whom it is for; nobody ever gets another's, and every one that is lost is counted by somebody.
 *
 * `PAIRS=270 CONNECTIONS=262144 LIFETIME=20` makes 72,900 of them.
 */
import test, { type ExecutionContext } from 'ava';
import { BpfMap, mountBpffs } from 'linux-sockets';
import { HostLab } from '../../../lab/hosts/index.ts';
import { run } from '../../../lab/processes.ts';
import * as layout from '../../../src/vswitch-bridge/fastpath/maps/layout.ts';
import { indexKey, sumOverCpus } from '../../../src/vswitch-bridge/fastpath/maps/tables.ts';
import { FastPathAgent } from './support/agent-process.ts';
import { Crowd, PORT } from './support/crowd.ts';
import { BLUE, laySlowPath, nft } from './support/ground.ts';

const SIDE = Number(process.env.PAIRS ?? 48);
/** Then more happens, too. */
const LARGE = SIDE > 100;
const CONNECTIONS = Number(process.env.CONNECTIONS ?? 8192);
/** s, of the receiver's keys. Short: they are given to others within the test. */
const LIFETIME = Number(process.env.LIFETIME ?? 5);
const SETTINGS = {
  mode: 'rewrite',
  keyField: 'ip-id',
  lifetime: { send: (LIFETIME - 1) * 1000, receive: LIFETIME * 1000 },
  checkInterval: 1000,
} as const;
/** ms; longer than a connection believes that it has no key. */
const PAUSE = 400;

type RewriteCount = (typeof layout.REWRITE_STATISTICS)[number];
const FIRST_REWRITE = layout.STATISTICS.length + layout.SLOW_REASONS.length;

/** One host: its agents one after the other, and what its programs have counted in all their lives. */
class Host {
  readonly agent: FastPathAgent;
  readonly #lab: HostLab;
  readonly #name: string;
  /** By program and statistic, of maps that are gone. */
  readonly #before = new Map<string, number>();

  constructor(lab: HostLab, name: string) {
    this.#lab = lab;
    this.#name = name;
    this.agent = new FastPathAgent(lab, name, { settings: SETTINGS, connections: CONNECTIONS });
  }

  async start(): Promise<void> {
    await this.agent.start();
    this.#lift();
  }

  /** The agent goes for a restart, and the next goes on with what stands. */
  async restart(t: ExecutionContext): Promise<void> {
    t.true(await this.agent.begin('again'), `${this.#name} went on with what stood`);
    this.#lift();
  }

  /** `forget`: all that it knew is gone, and nobody was told. `anew`: the agent ends, and another starts. */
  async lose(t: ExecutionContext, how: 'forget' | 'anew'): Promise<void> {
    using statistics = BpfMap.pinned(`${this.agent.directory}/map-statistics`);
    t.false(await this.agent.begin(how), `${this.#name} began anew`);
    this.#lift();
    // The map has lived on in our hands: it has what was counted to the last.
    for (const program of layout.PROGRAMS) {
      for (const [what, count] of Object.entries(counted(statistics, program))) {
        const key = `${program} ${what}`;
        this.#before.set(key, (this.#before.get(key) ?? 0) + count);
      }
    }
  }

  /** One device with many addresses: none of them is the only one that it may have. */
  #lift(): void {
    const instance = this.#lab.instances.find(({ host }) => `h${host}` === this.#name)!;
    const key = indexKey(this.#lab.ifindex(this.#name, instance.interface));
    this.agent.map('instances', (instances) => {
      const entry = instances.get(key)!;
      layout.instance.write(entry, 0, { ...layout.instance.read(entry, 0), flags: layout.INSTANCE_FLAG.peer });
      instances.set(key, entry);
    });
  }

  count(program: layout.ProgramName, what: RewriteCount): number {
    const now = this.agent.map('statistics', (map) => counted(map, program));
    return (this.#before.get(`${program} ${what}`) ?? 0) + now[what];
  }

  /** Packets that came to the host itself, for a port that nobody has: rewritten ones, where no program is any more. */
  async strangers(): Promise<number> {
    const text = await run(this.#lab.inside(this.#name, ['cat', '/proc/net/snmp']));
    const [names, values] = text.split('\n').filter((line) => line.startsWith('Udp:'));
    return Number(values!.split(' ')[names!.split(' ').indexOf('NoPorts')]);
  }
}

function counted(statistics: BpfMap, program: layout.ProgramName): Record<RewriteCount, number> {
  const sums = sumOverCpus(statistics, layout.PROGRAMS.indexOf(program));
  const counts = layout.REWRITE_STATISTICS.map((name, index) => [name, sums[FIRST_REWRITE + index]!]);
  return Object.fromEntries(counts) as Record<RewriteCount, number>;
}

/** A share of what hosts say to each other of keys, of what goes by the tunnel and of what goes rewritten never arrives. */
const LOSS = `
  table bridge loss {
    counter control { }
    counter tunnel { }
    counter rewritten { }
    chain way {
      type filter hook forward priority 0;
      udp dport 4789 @th,64,32 != 0x08000000 numgen random mod 100 < 20 counter name control drop
      udp dport 4789 @th,64,32 != 0x08000000 accept
      udp dport 4789 numgen random mod 100 < 10 counter name tunnel drop
      udp dport ${PORT} numgen random mod 100 < 5 counter name rewritten drop
    }
  }`;

class Wire {
  readonly #lab: HostLab;
  readonly dropped = { control: 0, tunnel: 0, rewritten: 0 };

  constructor(lab: HostLab) {
    this.#lab = lab;
  }

  lose(): Promise<unknown> {
    return nft(this.#lab, 'fabric', LOSS);
  }

  async mend(): Promise<void> {
    const text = await run([
      ...['nsenter', `--net=/run/netns/${this.#lab.fabric}`, '/usr/sbin/nft', 'list', 'counters', 'table', 'bridge'],
      'loss',
    ]);
    for (const [, name, count] of text.matchAll(/counter (\w+) {\s+packets (\d+)/g)) {
      this.dropped[name as keyof typeof this.dropped] += Number(count);
    }
    await nft(this.#lab, 'fabric', 'delete table bridge loss');
  }
}

test.serial(
  `R3.3 R3.6 ${SIDE * SIDE} pairs of instances, keys wrap, packets are lost, agents die and hosts forget: nothing goes to another than it was for, and what is lost is said`,
  async (t) => {
    t.timeout(1_800_000);
    mountBpffs('/sys/fs/bpf');
    const lab = await HostLab.up({
      name: `pairs${process.pid}`,
      networks: [BLUE],
      instances: [
        { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
        { name: 'c2', host: 2, network: 'blue', address: '10.200.2.2' },
      ],
    });
    const [h1, h2] = [new Host(lab, 'h1'), new Host(lab, 'h2')];
    let crowd: Crowd | undefined;
    try {
      for (const { name } of lab.hosts) await laySlowPath(lab, name);
      crowd = await Crowd.open(lab, SIDE);
      await Promise.all([h1.start(), h2.start()]);
      const wire = new Wire(lab);
      const speak = async (half: number): Promise<void> => {
        await crowd!.round(half, 2);
        await crowd!.settle(PAUSE);
      };
      /** Packets flow until it is done, and a round more. */
      const during = async (half: number, work: Promise<void>): Promise<void> => {
        let ended: PromiseSettledResult<void> | undefined;
        const watching = Promise.allSettled([work]).then(([result]) => {
          ended = result;
        });
        while (!ended) {
          await crowd!.round(half, 8);
          await crowd!.settle(PAUSE);
        }
        await Promise.all([watching, speak(half)]);
        if (ended.status === 'rejected') throw ended.reason;
      };
      // The even ones: keys are told, and run out.
      const rewritten = () => h1.count('from_instance', 'sent');
      // The hosts have begun just now: their first keys are used a while after they were told.
      for (let round = 0; round < (LARGE ? 2 : 4) || (round < 20 && rewritten() <= SIDE); round++) await speak(0);
      t.is(crowd.missing, 0, 'nothing is lost where nothing is disturbed');
      t.true(h2.count('nic_ingress', 'keys-out') > 0, 'keys ran out');
      const first = rewritten();
      t.true(first > SIDE, `${first} were rewritten`);
      await wire.lose();
      await during(0, h1.restart(t));
      if (LARGE) await during(0, h2.restart(t));
      await wire.mend();
      t.is(h1.count('nic_ingress', 'unknown-key') + h2.count('nic_ingress', 'unknown-key'), 0);
      // Then the odd ones, when the others have lost their keys.
      await crowd.settle((LIFETIME + 1) * 1000);
      await wire.lose();
      await speak(1);
      await during(1, h2.lose(t, 'forget'));
      for (let round = 0; round < 3; round++) await speak(1);
      await wire.mend();
      if (LARGE) await during(1, h1.lose(t, 'anew'));
      await crowd.settle(PAUSE);
      const { missing, asked } = crowd;
      const { dropped } = wire;
      const said = {
        ...dropped,
        unknown: h1.count('nic_ingress', 'unknown-key') + h2.count('nic_ingress', 'unknown-key'),
        fragments: h1.count('nic_ingress', 'fragment') + h2.count('nic_ingress', 'fragment'),
        atHosts: (await h1.strangers()) + (await h2.strangers()),
      };
      const tale = `${asked} asked, ${missing} unanswered; ${JSON.stringify(said)}`;
      t.log(tale);
      t.is(crowd.strayed, 0, 'nothing reached another than it was for');
      t.is(crowd.doubled, 0);
      t.true(dropped.control > 0 && dropped.tunnel > 0 && dropped.rewritten > 0, tale);
      const counted = said.tunnel + said.rewritten + said.unknown + said.fragments + said.atHosts;
      t.true(missing <= counted, tale);
      // All is well again by itself.
      crowd.giveUp();
      const sent = rewritten();
      const again = (): boolean => rewritten() > sent;
      for (let round = 0; round < 10 && !again(); round++) await speak(1);
      t.is(crowd.missing, 0, 'nothing is lost any more');
      t.is(crowd.strayed + crowd.doubled, 0);
      t.true(again(), 'and it goes rewritten again');
    } finally {
      crowd?.close();
      for (const { agent } of [h1, h2]) {
        await agent.kill();
        agent.removeWhatIsLeft();
      }
      await lab.down();
    }
  },
);
