/** Answers of SONiC's Redis that come after the next word has been spoken. */
import test from 'ava';
import type { Port, PortChange } from '../../src/model/ports.ts';
import { SonicPorts } from '../../src/portlink/drivers/sonic/ports.ts';
import {
  CONFIG,
  DATABASE,
  DEMAND,
  METADATA,
  PORT_INIT_DONE,
  portRow,
} from '../../src/portlink/drivers/sonic/schema.ts';
import type { Fate } from '../simulation/calls.ts';
import { LifeClock, VirtualClock } from '../simulation/clock.ts';
import { Random } from '../simulation/random.ts';
import { Redis } from '../simulation/redis.ts';

const silent = () => undefined;
const log = { debug: silent, info: silent, warn: silent, error: silent };
const NAME = 'Ethernet4';

async function bench() {
  const clock = new VirtualClock();
  const redis = new Redis(clock, new Random(1));
  const box = { slow: false };
  const fate = {
    strikes: (call: string, fault: string) => box.slow && call === 'Redis: command' && fault === 'delay',
  } as unknown as Fate;
  const run = async (ms: number): Promise<void> => {
    const end = clock.now() + ms;
    do await new Promise(setImmediate);
    while (clock.step(end));
  };
  redis.set(DATABASE.CONFIG, METADATA, { hostname: 'A' });
  redis.set(DATABASE.CONFIG, `${CONFIG.PORT}|${NAME}`, { admin_status: 'up' });
  redis.set(DATABASE.APPL, portRow(NAME), { admin_status: 'up', oper_status: 'up' });
  redis.set(DATABASE.APPL, portRow(PORT_INIT_DONE), { lanes: '0' });

  let kernelPort: Port = {
    name: NAME,
    ifindex: 4,
    mac: undefined,
    mtu: 9100,
    adminUp: true,
    carrier: true,
    master: 0,
    kind: undefined,
    addresses: [],
  };
  const listeners: ((change: PortChange) => void)[] = [];
  /** orchagent takes up what is demanded. */
  const carryOut = (): void => {
    const up = redis.row(DATABASE.APPL, DEMAND.row(NAME))?.get('admin_status') === 'up';
    redis.delete(DATABASE.APPL, DEMAND.row(NAME));
    const before = kernelPort;
    kernelPort = { ...before, adminUp: up, carrier: up };
    for (const listener of listeners) listener({ name: NAME, before, after: kernelPort, at: clock.now() });
    redis.set(DATABASE.APPL, portRow(NAME), { admin_status: up ? 'up' : 'down', oper_status: up ? 'up' : 'down' });
  };
  const opening = SonicPorts.open({
    beneath: {
      port: (name) => (name === NAME ? kernelPort : undefined),
      portByIndex: silent,
      ports: () => [kernelPort],
      onChange: (listener) => {
        listeners.push(listener);
        return silent;
      },
      setAdmin: async () => {},
    },
    clock,
    log,
    makeClient: redis.clients({ clock: new LifeClock(clock), fate, enter: silent }),
  });
  await run(100);
  const ports = await opening;
  const changes: PortChange[] = [];
  ports.onChange((change) => changes.push(change));
  return { ports, changes, box, run, carryOut };
}

test('a port that is seen to come up by our opening of before, while it is being shut again, is the same port', async (t) => {
  const { ports, changes, box, run, carryOut } = await bench();
  const shut = ports.setAdmin([NAME], false);
  await run(5);
  carryOut();
  await run(5);
  await shut;
  box.slow = true;
  const open = ports.setAdmin([NAME], true);
  await run(0.5);
  carryOut();
  await run(0.5);
  changes.length = 0;
  const again = ports.setAdmin([NAME], false);
  await run(70);
  t.true(changes.some(({ after }) => after?.adminUp));
  t.deepEqual(
    changes.filter(({ before, after }) => !before || !after),
    [],
    'it was not SONiC that made it anew',
  );
  carryOut();
  await run(200);
  await Promise.all([open, again]);
  t.false(ports.port(NAME)!.adminUp);
  ports.close();
});
