/** What `peerless doctor` says of a SONiC switch's databases, against a real Redis. */
import test from 'ava';
import { sonicBox } from '../../src/cli/doctor-sonic.ts';
import { parseConfig, type TorConfig } from '../../src/config/index.ts';
import { APPL, CONFIG, LAG, loadConfiguration, PORTS, RedisServer } from './support/sonic-box.ts';

const redis = new RedisServer();
test.after.always(() => redis.dispose());

function configuration(driver: string): TorConfig {
  const parsed = parseConfig(
    `
role: tor
routerId: 10.255.0.1
hostRoutes: { prefixes: [10.10.10.0/24], ports: [Ethernet4, ${LAG}] }
portLink: [{ name: fabric, uplinks: [Ethernet0], downlinks: [Ethernet4, ${LAG}] }]
ports: { driver: ${driver}, redis: ${redis.socket} }
`,
    'peerless.yaml',
  );
  if (!parsed.ok || parsed.config.role !== 'tor') throw new Error(JSON.stringify(parsed));
  return parsed.config;
}

const look = async (driver = 'sonic'): Promise<string[]> =>
  (await sonicBox(configuration(driver))).map(({ verdict, message, remedy }) => `${verdict}: ${message} -> ${remedy}`);

function makePorts(): void {
  for (const port of PORTS) redis.cli(APPL, 'HSET', `PORT_TABLE:${port}`, 'admin_status', 'up', 'oper_status', 'up');
  redis.cli(APPL, 'HSET', `LAG_TABLE:${LAG}`, 'oper_status', 'up');
  redis.cli(APPL, 'HSET', 'PORT_TABLE:PortInitDone', 'lanes', '0');
}

test.serial('R4.4 doctor on SONiC names what is missing in Redis', async (t) => {
  t.regex((await look()).join(), /^wrong: Redis does not answer on \S+: .*ENOENT.* -> Name its socket in ports\.redis/);
  await redis.start('');
  t.regex((await look()).join(), /^wrong: CONFIG_DB .* has no DEVICE_METADATA\|localhost.* -> config load/);
  t.deepEqual(await look('auto'), [], 'some other Redis, and no SONiC');
  await loadConfiguration(redis.socket);
  t.regex((await look('auto')).join(), /^wrong: SONiC has not made its ports .*PortInitDone/);
  makePorts();
  t.regex(
    (await look()).join(),
    /^fine: 6 ports and 1 port channels on \S+; the agent will switch its notifications on -> undefined$/,
  );
  t.is(redis.cli(0, 'CONFIG', 'GET', 'notify-keyspace-events').trim(), 'notify-keyspace-events', 'nothing is written');
  redis.cli(0, 'CONFIG', 'SET', 'notify-keyspace-events', 'AKE');
  t.regex((await look()).join(), /^fine: 6 ports and 1 port channels on \S+sock -> /);
  t.deepEqual(await look('linux'), []);
});

test.serial('R4.4 doctor on SONiC names the port that cannot be shut or opened, and why', async (t) => {
  redis.cli(CONFIG, 'DEL', 'PORT|Ethernet4');
  t.regex((await look()).join(), /^warning: Ethernet4 is in neither PORT nor PORTCHANNEL of CONFIG_DB: .* no laser/);
  await loadConfiguration(redis.socket);
  redis.cli(CONFIG, 'HSET', 'PORT|Ethernet0', 'admin_status', 'down');
  redis.cli(APPL, 'DEL', 'PORT_TABLE:Ethernet4');
  redis.cli(APPL, 'DEL', `LAG_TABLE:${LAG}`);
  const three = await look();
  t.is(three.length, 3, three.join());
  t.regex(three[0]!, /^warning: Ethernet0 is admin down in CONFIG_DB.* -> config interface startup Ethernet0/);
  t.regex(three[1]!, /^wrong: Ethernet4 is in CONFIG_DB and has no admin_status in PORT_TABLE/);
  t.regex(three[2]!, /^wrong: PortChannel1 is in CONFIG_DB and not in LAG_TABLE/);
  await loadConfiguration(redis.socket);
  makePorts();
  for (const member of ['Ethernet16', 'Ethernet20']) redis.cli(CONFIG, 'DEL', `PORTCHANNEL_MEMBER|${LAG}|${member}`);
  t.regex((await look()).join(), /^wrong: PortChannel1 has no members/);
  await loadConfiguration(redis.socket);
  redis.cli(APPL, 'SADD', 'PORT_TABLE_KEY_SET', 'Ethernet4');
  t.regex(
    (await look()).join(),
    /^wrong: orchagent does not take up what is asked of Ethernet4 \(PORT_TABLE_KEY_SET\)/,
  );
  redis.freeze(true);
  try {
    t.regex((await look()).join(), /^wrong: Redis does not answer on/);
  } finally {
    redis.freeze(false);
  }
});
