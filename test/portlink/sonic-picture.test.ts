import test from 'ava';
import fc from 'fast-check';
import type { Port } from '../../src/model/ports.ts';
import { Demands } from '../../src/portlink/drivers/sonic/demands.ts';
import {
  isShut,
  type LagRow,
  type Picture,
  type PortRow,
  portOf,
  targetsOf,
} from '../../src/portlink/drivers/sonic/picture.ts';
import { notifiesEnough, parseNotification } from '../../src/portlink/drivers/sonic/schema.ts';

const row = (over: Partial<PortRow> = {}): PortRow => ({
  alias: undefined,
  configUp: true,
  admin: true,
  demanded: undefined,
  oper: true,
  ...over,
});

const lag = (over: Partial<LagRow> = {}): LagRow => ({
  configUp: true,
  members: ['Ethernet16', 'Ethernet20'],
  oper: true,
  ...over,
});

const picture = (ports: Record<string, PortRow>, lags: Record<string, LagRow> = {}): Picture => ({
  ports: new Map(Object.entries(ports)),
  lags: new Map(Object.entries(lags)),
});

const netdev = (over: Partial<Port> = {}): Port => ({
  name: 'Ethernet4',
  ifindex: 7,
  mac: undefined,
  mtu: 9100,
  adminUp: true,
  carrier: true,
  master: 0,
  kind: undefined,
  addresses: [],
  ...over,
});

const settled = async (promise: Promise<void>): Promise<string> => {
  const early = Symbol();
  const first = await Promise.race([
    promise.then(
      () => 'done',
      (error: Error) => error.message,
    ),
    new Promise<typeof early>((resolve) => setImmediate(() => resolve(early))),
  ]);
  return first === early ? 'open' : (first as string);
};

test('what a notification is about', (t) => {
  t.deepEqual(parseNotification('__keyspace@0__:PORT_TABLE:Ethernet4'), { of: 'row', port: 'Ethernet4' });
  t.deepEqual(parseNotification('__keyspace@0__:LAG_TABLE:PortChannel1'), { of: 'row', port: 'PortChannel1' });
  t.deepEqual(parseNotification('__keyspace@0__:PORT_TABLE:PortInitDone'), { of: 'restart' });
  t.deepEqual(parseNotification('__keyspace@4__:PORT|Ethernet4'), { of: 'config', port: 'Ethernet4' });
  t.deepEqual(parseNotification('__keyspace@4__:PORTCHANNEL_MEMBER|PortChannel1|Ethernet16'), {
    of: 'config',
    port: 'Ethernet16',
  });
  for (const none of ['__keyspace@0__:ROUTE_TABLE:10.0.0.0/8', '__keyevent@0__:hset', '', '__keyspace@0__:PORT_TABLE'])
    t.is(parseNotification(none), undefined, none);
  fc.assert(
    fc.property(fc.string(), (text) => {
      parseNotification(text);
      parseNotification(`__keyspace@4__:${text}`);
    }),
  );
});

test('which flags of notify-keyspace-events are enough', (t) => {
  for (const flags of ['AKE', 'KA', 'Kgh', 'Khg$']) t.true(notifiesEnough(flags), flags);
  for (const flags of ['', 'AE', 'Kh', 'Kg', 'gh', 'Ex']) t.false(notifiesEnough(flags), flags);
});

test('R4.4 a loss counts when one side tells of it, a return when both do', (t) => {
  fc.assert(
    fc.property(fc.boolean(), fc.boolean(), fc.boolean(), fc.boolean(), (admin, oper, adminUp, carrier) => {
      const port = portOf(picture({ Ethernet4: row({ admin, oper }) }), 'Ethernet4', netdev({ adminUp, carrier }))!;
      t.is(port.adminUp, admin && adminUp);
      t.is(port.carrier, oper && carrier);
      t.is(port.ifindex, 7);
    }),
  );
});

test('a port that is not made is not there; what SONiC does not know is the kernel’s; a demand counts before it is taken up', (t) => {
  const ports = picture({ Ethernet4: row({ admin: undefined }), Ethernet8: row({ demanded: false }) });
  t.is(portOf(ports, 'Ethernet4', netdev()), undefined);
  t.like(portOf(ports, 'Ethernet8', undefined), { adminUp: false, ifindex: 0 });
  const vlan = netdev({ name: 'Vlan1000' });
  t.is(portOf(ports, 'Vlan1000', vlan), vlan);
});

test('a port channel is shut when all its members are, or its own configuration says so', (t) => {
  const members = (one: boolean, other: boolean) => ({
    Ethernet16: row({ admin: one }),
    Ethernet20: row({ admin: other }),
  });
  const up = (ports: Record<string, PortRow>, over: Partial<LagRow> = {}) =>
    portOf(picture(ports, { PortChannel1: lag(over) }), 'PortChannel1', undefined)?.adminUp;
  t.true(up(members(true, false)));
  t.false(up(members(false, false)));
  t.false(up(members(true, true), { configUp: false }));
  t.is(up(members(true, true), { oper: undefined }), undefined);
  t.deepEqual(targetsOf(picture(members(true, true), { PortChannel1: lag() }), 'PortChannel1'), [
    'Ethernet16',
    'Ethernet20',
  ]);
  t.deepEqual(targetsOf(picture({}), 'Ethernet4'), []);
});

test('a demand is done when all its rows say so, and not while the opposite is on its way', async (t) => {
  const demands = new Demands();
  const answer = demands.add(['Ethernet4', 'Ethernet8'], false, 100);
  demands.seen(picture({ Ethernet4: row({ admin: false }), Ethernet8: row() }));
  t.is(await settled(answer), 'open');
  demands.seen(picture({ Ethernet4: row(), Ethernet8: row({ admin: false, demanded: true }) }));
  t.is(await settled(answer), 'open');
  demands.seen(picture({ Ethernet4: row(), Ethernet8: row({ admin: false }) }));
  t.is(await settled(answer), 'done');
  t.is(demands.due(), undefined);
});

test('the opposite demand ends the first; a port that vanishes fails by name', async (t) => {
  const demands = new Demands();
  const shut = demands.add(['Ethernet4'], false, 100);
  const open = demands.add(['Ethernet4'], true, 200);
  t.is(await settled(shut), 'done');
  t.is(demands.lastAsked('Ethernet4'), true);
  demands.seen(picture({ Ethernet4: row({ admin: undefined }) }));
  t.is(await settled(open), 'Ethernet4: SONiC has no such port any more');
});

test('after a loss of the connection: what is on its way is waited for, the rest has failed', async (t) => {
  const demands = new Demands();
  const answer = demands.add(['Ethernet4', 'Ethernet8'], false, 100);
  demands.lost(picture({ Ethernet4: row({ demanded: false }), Ethernet8: row() }));
  t.is(await settled(answer), 'open');
  demands.seen(picture({ Ethernet4: row({ admin: false }), Ethernet8: row() }));
  t.is(await settled(answer), 'Ethernet8: the demand was lost with the connection to Redis');
});

test('what is due fails; what was to be shut is to be taken back', async (t) => {
  const demands = new Demands();
  const shut = demands.add(['Ethernet4'], false, 100);
  const open = demands.add(['Ethernet8'], true, 100);
  const lying = picture({ Ethernet4: row({ demanded: false }), Ethernet8: row({ admin: false, demanded: true }) });
  demands.expire(99);
  t.deepEqual(demands.strays(lying), []);
  demands.expire(100);
  t.deepEqual(demands.strays(lying), ['Ethernet4']);
  t.is(await settled(shut), 'Ethernet4: SONiC has not shut it in time');
  t.is(await settled(open), 'Ethernet8: SONiC has not opened it in time');
  const left = demands.add(['Ethernet4'], false, 300);
  t.deepEqual(demands.strays(lying), [], 'it is asked for anew');
  demands.abandon('the agent is leaving');
  t.is(await settled(left), 'Ethernet4: the agent is leaving');
});

test('a shutting that failed because SONiC makes its ports anew is taken back whenever it turns up, until the port runs', async (t) => {
  const demands = new Demands();
  const shut = demands.add(['Ethernet4'], false, 100);
  const seen = (over: Partial<PortRow>) => {
    const now = picture({ Ethernet4: row(over) });
    demands.seen(now);
    return demands.strays(now);
  };
  t.deepEqual(seen({ admin: undefined }), []);
  t.is(await settled(shut), 'Ethernet4: SONiC has no such port any more');
  t.is(demands.lastAsked('Ethernet4'), true, 'its coming up is no surprise');
  t.deepEqual(seen({ admin: undefined, demanded: false }), ['Ethernet4']);
  t.deepEqual(seen({ admin: undefined, demanded: true }), []);
  t.deepEqual(demands.strays(picture({})), [], 'not even configured for a while');
  t.deepEqual(seen({ admin: true, demanded: false }), ['Ethernet4']);
  t.deepEqual(seen({ admin: false }), ['Ethernet4']);
  t.deepEqual(seen({ admin: false, demanded: true }), []);
  t.deepEqual(seen({ admin: true }), []);
  t.deepEqual(seen({ admin: false }), [], 'it ran: this is another story');

  demands.add(['Ethernet4'], false, 100).catch(() => {});
  t.deepEqual(seen({ admin: undefined, demanded: false, configUp: false }), [], "the operator's");
  t.deepEqual(seen({ admin: false }), []);
});

test('a port that is shut, and wanted up, is told from what its operator has shut: the kernel could not say', (t) => {
  const E = 'Ethernet4';
  const shut = (over: Partial<PortRow>) => isShut(picture({ [E]: row(over) }), E);
  t.false(shut({}));
  t.true(shut({ admin: false }));
  t.true(shut({ demanded: false }), 'on its way');
  t.false(shut({ admin: false, demanded: true }));
  t.false(shut({ admin: false, configUp: false }), "the operator's");
  t.false(shut({ admin: undefined }), 'not made');
  t.is(isShut(picture({}), 'Vlan1000'), undefined);
  const lagOf = (one: Partial<PortRow>, other: Partial<PortRow>, over: Partial<LagRow> = {}) =>
    isShut(picture({ Ethernet16: row(one), Ethernet20: row(other) }, { PortChannel1: lag(over) }), 'PortChannel1');
  t.true(lagOf({ admin: false }, { admin: false }));
  t.false(lagOf({ admin: false }, {}));
  t.false(lagOf({ admin: false }, { admin: false }, { configUp: false }));
  t.false(lagOf({}, {}, { members: [] }), 'nothing to open');
});
