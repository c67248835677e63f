import test, { type ExecutionContext } from 'ava';
import type { Address, Mac, Prefix } from '../../../src/model/address.ts';
import type { OverlayNetwork, OverlayState } from '../../../src/model/overlay.ts';
import { DEFAULT_SETTINGS } from '../../../src/vswitch-bridge/encryption/machine/settings.ts';
import { Encryption } from '../../../src/vswitch-bridge/encryption/projection.ts';
import { VirtualClock } from '../../simulation/clock.ts';
import { FakeWorker } from './fake-worker.ts';
import { A, B, octets, overlay, Pair, SaidKeys } from './hosts.ts';

const C = '10.20.1.3' as Address;
const network = (
  name: string,
  vni: number,
  encapsulation: OverlayNetwork['encapsulation'] = 'vxlan',
): OverlayNetwork => ({
  name,
  vni,
  subnet: '10.200.0.0/16' as Prefix,
  encapsulation,
});
const [blue, red, gre] = [network('blue', 100), network('red', 200), network('gre', 300, 'gre')];
const mac = (underlay: Address) => `0e:50:${underlay}` as Mac;

async function open(state: OverlayState, worker?: FakeWorker, refuse?: string) {
  const clock = new VirtualClock();
  const keys = new SaidKeys();
  const said: unknown[] = [];
  const log = { debug: say, info: say, warn: say, error: say };
  function say(fields: object, message: string): void {
    said.push(fields, message);
  }
  const settings = { local: A, port: 4500, plainForm: 'esp', plainAllowed: false } as const;
  const own =
    worker ??
    new FakeWorker({ ...settings, hold: { packets: 9, bytes: 9999, lifetime: 1000 } }, clock, () => undefined);
  const encryption = await Encryption.open(
    {
      settings: { ...DEFAULT_SETTINGS, policy: 'overlap' },
      versions: 3,
      source: keys,
      local: A,
      instance: new Uint8Array(8).fill(1),
      random: (length) => new Uint8Array(length).fill(5),
      openWorker: async (events, closed) => {
        if (refuse !== undefined) throw new Error(refuse);
        return own.attach(events, closed);
      },
      layout: { device: (vni) => `pltn${vni}`, bridge: (vni) => `plbr${vni}`, routerMac: mac },
      clock,
      log,
      record: (event) => void said.push(event),
    },
    state,
  );
  return { encryption, worker: own, keys, clock, said };
}

test('remotes become peers, VXLAN networks become TAPs with the members that are there; what goes is taken away', async (t) => {
  const { encryption, worker } = await open(overlay(A, [B], [blue, gre]));
  const peers = () => encryption.view().map(({ address }) => address);
  t.deepEqual(peers(), [B]);
  t.deepEqual(worker.calls, ['network 100 pltn100 plbr100']);
  t.deepEqual([...worker.members.get(100)!], [B]);
  t.is(worker.macs.get(`100 ${mac(B)}`), B);

  await encryption.apply(overlay(A, [B, C], [blue, red]), [{ kind: 'network', op: 'added', item: red }]);
  t.deepEqual(peers(), [B, C]);
  t.deepEqual(worker.calls, ['network 100 pltn100 plbr100', 'network 200 pltn200 plbr200']);
  t.deepEqual([...worker.members.get(200)!], [B, C]);

  await encryption.apply(overlay(A, [C], [blue]), [{ kind: 'network', op: 'removed', item: red }]);
  t.deepEqual(peers(), [C]);
  t.is(worker.calls.at(-1), 'no network 200');
  t.deepEqual([...worker.members.get(100)!], [C]);
  t.is(worker.macs.get(`100 ${mac(B)}`), undefined);
  t.is(worker.table.adopted.length, 1, 'the entry with its keys has gone');

  await encryption.apply(overlay(A, [C], [blue]), [{ kind: 'policy' }]);
  await encryption.apply(overlay(A, [C], [blue]), [{ kind: 'network', op: 'added', item: blue }]);
  t.is(worker.calls.at(-1), 'network 100 pltn100 plbr100', 'a network that is made anew has another bridge');
});

test('networks that are routed to each other take frames from whoever is in one of them', async (t) => {
  const at = (one: OverlayNetwork, subnet: string) =>
    ({ ...one, subnet: `${subnet}/24`, gateway: subnet.replace(/0$/, '1') }) as OverlayNetwork;
  const [one, two, far] = [at(blue, '10.1.1.0'), at(red, '10.1.2.0'), at(network('lime', 400), '10.1.3.0')];
  const { encryption, worker } = await open(overlay(A, [B], [one, two, blue]));
  const said = () => worker.calls.splice(0);
  t.deepEqual(said(), ['network 100 pltn100 plbr100', 'network 200 pltn200 plbr200 routed'], 'no gateway, no routing');
  await encryption.apply(overlay(A, [B], [one, two]), [{ kind: 'network', op: 'added', item: one }]);
  t.deepEqual(said(), ['network 100 pltn100 plbr100 routed']);
  // The other has the same addresses: neither is routed any more.
  const same = { ...far, subnet: one.subnet };
  await encryption.apply(overlay(A, [B], [one, two, same]), [{ kind: 'network', op: 'added', item: same }]);
  t.deepEqual(said(), ['network 100 pltn100 plbr100', 'network 400 pltn400 plbr400']);
  await encryption.apply(overlay(A, [B], [one, two]), [{ kind: 'network', op: 'removed', item: same }]);
  t.deepEqual(said(), ['no network 400', 'network 100 pltn100 plbr100 routed']);
});

test('what an earlier agent has left: peers that are gone are removed, networks too', async (t) => {
  const first = await open(overlay(A, [B, C], [blue, red]));
  await first.encryption.close({ keep: true });
  t.false(first.worker.stopped);
  const second = await open(overlay(A, [C], [blue]), first.worker);
  t.deepEqual(
    first.worker.table.adopted.map(({ address }) => address),
    [C],
  );
  t.is(first.worker.calls.at(-1) === 'no network 200' || first.worker.calls.includes('no network 200'), true);
  await second.encryption.close({ keep: false });
  t.true(first.worker.stopped);
});

test('a worker that ends while it is being opened: the next is begun when that one has come to its end', async (t) => {
  const clock = new VirtualClock();
  const settings = { local: A, port: 4500, plainForm: 'esp', plainAllowed: false } as const;
  const hold = { packets: 9, bytes: 9999, lifetime: 1000 };
  const opens: { worker: FakeWorker; ended: () => void; settle: (error?: Error) => void }[] = [];
  const said: string[] = [];
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const turns = async () => {
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  };
  const opening = Encryption.open(
    {
      settings: { ...DEFAULT_SETTINGS, policy: 'overlap' },
      versions: 3,
      source: new SaidKeys(),
      local: A,
      instance: new Uint8Array(8).fill(1),
      random: (length) => new Uint8Array(length).fill(5),
      openWorker: (events, closed) => {
        const worker = new FakeWorker({ ...settings, hold }, clock, () => undefined).attach(events, closed);
        return new Promise((resolve, reject) => {
          const settle = (error?: Error) => (error ? reject(error) : resolve(worker));
          opens.push({ worker, ended: closed, settle });
        });
      },
      layout: { device: (vni) => `pltn${vni}`, bridge: (vni) => `plbr${vni}`, routerMac: mac },
      clock,
      log,
      record: ({ message }) => void said.push(message),
    },
    overlay(A, [B]),
  );
  const run = async (time: number) => {
    const end = clock.now() + time;
    do await turns();
    while (clock.step(end));
  };
  await turns();
  // Its ground goes before it stands: here it is known first, and told twice.
  opens[0]!.ended();
  await run(5000);
  t.is(opens.length, 1, 'the first has not come to its end');
  opens[0]!.settle();
  const encryption = await opening;
  await run(10);
  t.is(opens.length, 2);
  opens[1]!.ended();
  await run(5000);
  t.is(opens.length, 2);
  opens[1]!.settle(new Error('what it stands on is gone'));
  await run(2000);
  t.is(opens.length, 3);
  opens[2]!.settle();
  await run(5000);
  t.is(opens.length, 3, 'and one is enough');
  t.deepEqual(opens[2]!.worker.calls, ['network 100 pltn100 plbr100']);
  t.deepEqual(opens[0]!.worker.calls, []);
  t.is(said.filter((message) => message.includes('runs again')).length, 1);
  await encryption.close({ keep: false });
});

test('no worker, no encryption: it says so', async (t) => {
  await t.throwsAsync(open(overlay(A, [B]), undefined, 'no TUN here'), { message: 'no TUN here' });
});

test('octets of keys are in no event, log line, listing or counter', async (t) => {
  const pair = await Pair.make('available');
  pair.a.keys.issue(1);
  pair.b.keys.issue(1);
  pair.run(100);
  pair.flow(() => pair.a, 0, 10);
  pair.b.keys.only(2);
  pair.run(1000);
  const { encryption, events } = pair.a;
  const text = JSON.stringify([events, encryption.view(), encryption.counters(), encryption.warnings()]);
  t.true(text.includes('V1/'));
  for (const key of [octets(1), octets(2)]) {
    t.false(text.includes(Buffer.from(key).toString('hex').slice(0, 16)));
    t.false(text.includes(Buffer.from(key).toString('base64').slice(0, 12)));
    t.false(text.includes([...key.subarray(0, 6)].join(',')));
  }
  await encryption.close({ keep: false });
});

test('R0.3 the listing says state, versions, counts and why', async (t) => {
  const pair = await Pair.make('available');
  pair.a.keys.issue(1);
  pair.b.keys.issue(1);
  pair.run(100);
  pair.send(pair.a, 1);
  pair.run(10);
  const [peer] = pair.a.encryption.view();
  t.like(peer, {
    address: B,
    instance: '0b'.repeat(8),
    state: 'valid',
    sending: 'encrypt',
    authenticated: true,
    held: 0,
  });
  t.like(peer?.sent, { encrypted: 1, plain: 0 });
  t.deepEqual(peer?.ours, peer?.theirs);
  t.is(peer?.version, peer?.ours[0]);
  pair.b.keys.only(2);
  pair.flow(() => pair.a, 100, 10);
  pair.run(1000);
  t.like(pair.a.encryption.view()[0], { state: 'invalid', sending: 'plain', authenticated: false });
  t.regex(pair.a.encryption.view()[0]!.reason, /^it says V2\/[0-9a-f]{8}, encryption off$/);
  t.like(pair.a.encryption.counters(), { peers: 1, valid: 0, invalid: 1, plainTextPeers: 1 });
  t.true(pair.a.events.some(({ type, severity }) => type === 'encryption.state' && severity === 'warning'));
});

async function passing(clock: VirtualClock, duration: number): Promise<void> {
  const end = clock.now() + duration;
  do for (let turn = 0; turn < 8; turn++) await Promise.resolve();
  while (clock.step(end));
}

function runsWith(t: ExecutionContext, encryption: Encryption, peers: readonly Address[]): void {
  t.deepEqual(
    encryption.view().map(({ address }) => address),
    peers,
  );
  t.deepEqual(
    encryption.warnings().filter((warning) => warning.includes('has ended')),
    [],
  );
}

test('a worker that runs again and does not take all that it is told is told once more: never two connections', async (t) => {
  const { encryption, worker, clock } = await open(overlay(A, [B], [blue]));
  const { attach, detach, setNetwork } = worker;
  let connections = 0;
  let refusals = 2;
  worker.attach = (...events) => {
    connections++;
    return attach.call(worker, ...events) as FakeWorker;
  };
  worker.detach = () => {
    connections--;
    detach.call(worker);
  };
  worker.setNetwork = async (network) => {
    if (refusals-- > 0) throw new Error('EBUSY');
    return setNetwork.call(worker, network);
  };
  worker.die();
  await passing(clock, 5_000);
  t.true(refusals < 0);
  t.is(connections, 1);
  runsWith(t, encryption, [B]);
});

test('a worker that is lost while it is opened is none: another is opened', async (t) => {
  const { encryption, worker, clock } = await open(overlay(A, [B], [blue]));
  const { attach } = worker;
  let opened = 0;
  worker.attach = (events, closed) => {
    const attached = attach.call(worker, events, closed);
    if (++opened === 1) closed();
    return attached;
  };
  worker.die();
  await passing(clock, 5_000);
  t.is(opened, 2);
  runsWith(t, encryption, [B]);
});
