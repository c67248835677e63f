/** OSPF and BGP with MD5, and GTSM, against FRR: through the configuration file, with secrets that are never shown. */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { sleep } from '../../lab/processes.ts';
import { Stand } from './stand.ts';

const OSPF_SECRET = 'vqzOspfSecret42';
const BGP_SECRET = 'vqzBgpSecretThatIsLong';

let stand: Stand;

test.before(async (t) => {
  t.timeout(120_000);
  stand = await Stand.up({ protocol: 'both', gateway: 'frr' });
});

test.after.always(() => stand?.down());

const configure = async (...lines: string[]): Promise<void> => {
  const words = ['configure terminal', ...lines].flatMap((line) => ['-c', line]);
  const { code, stdout, stderr } = await stand.exec('G', 'vtysh', '--vty_socket', stand.directory('G'), ...words);
  if (code !== 0) throw new Error(`${stdout}${stderr}`);
};

const sessions = async (): Promise<Record<string, boolean>> =>
  Object.fromEntries((await stand.status()).sessions.map(({ protocol, up }) => [protocol, up]));

const until = (what: string, wanted: Record<string, boolean>): Promise<void> =>
  stand.until(
    what,
    async () => {
      const seen = await sessions();
      return Object.entries(wanted).every(([protocol, up]) => (seen[protocol] ?? false) === up);
    },
    () => stand.status(),
  );

test.serial('R4.10 OSPF MD5, BGP MD5 and GTSM with FRR, by the configuration file', async (t) => {
  t.timeout(240_000);
  const files = { ospf: join(stand.directory('A'), 'ospf.key'), bgp: join(stand.directory('A'), 'bgp.key') };
  writeFileSync(files.ospf, `${OSPF_SECRET}\n`, { mode: 0o600 });
  writeFileSync(files.bgp, `${BGP_SECRET}\n`, { mode: 0o600 });
  stand.editConfig((config) => {
    config.ospf.interfaces[0].authentication = { type: 'md5', keyId: 5, secretFile: files.ospf };
    config.bgp.neighbors[0].passwordFile = files.bgp;
    config.bgp.neighbors[0].ttlSecurity = true;
  });
  await stand.signal('SIGTERM');
  await stand.start();
  await sleep(2500);
  t.deepEqual(await sessions(), { bgp: false }, 'G has no secret: nobody is up');

  await configure(
    'interface GA',
    'ip ospf authentication message-digest',
    `ip ospf message-digest-key 5 md5 wrong${OSPF_SECRET.slice(5)}`,
    'router bgp 65000',
    `neighbor 192.0.2.2 password wrong${BGP_SECRET.slice(5)}`,
  );
  await sleep(2500);
  t.false(Object.values(await sessions()).includes(true), 'with wrong secrets neither');

  await configure(
    'interface GA',
    'no ip ospf message-digest-key 5',
    `ip ospf message-digest-key 5 md5 ${OSPF_SECRET}`,
    'router bgp 65000',
    `neighbor 192.0.2.2 password ${BGP_SECRET}`,
  );
  await until('OSPF comes up', { ospf: true });
  t.like(await sessions(), { bgp: false }, 'BGP from G comes with TTL 1');
  await configure('router bgp 65000', 'neighbor 192.0.2.2 ttl-security hops 1');
  await until('both are up', { ospf: true, bgp: true });
  await stand.untilHome();
  const neighbor = await stand.frr('show bgp neighbors 192.0.2.2');
  t.regex(neighbor, /BGP state = Established/);

  stand.cables(['A0'], false);
  await stand.until('moved to B', async () => (await stand.fib())['10.10.10.1']?.join() === 'B');
  stand.cables(['A0'], true);
  await stand.untilHome();
  await until('both are up again', { ospf: true, bgp: true });
});

test.serial('secrets are in no log, no answer and no event; a secret that others can read is refused', async (t) => {
  t.timeout(120_000);
  const shown = [stand.log()];
  for (const words of [
    ['status'],
    ['config', 'show'],
    ['events'],
    ['failovers'],
    ['counters'],
    ['bgp', 'summary'],
    ['bgp', 'neighbors'],
    ['ospf', 'interfaces'],
    ['ospf', 'neighbors'],
    ['ospf', 'lsdb'],
  ]) {
    for (const more of [[], ['--json']]) {
      const { code, stdout, stderr } = await stand.cli([...words, ...more]);
      t.is(code, 0, `${words.join(' ')}: ${stderr}`);
      shown.push(stdout, stderr);
    }
  }
  shown.push(readFileSync(join(stand.directory('A'), 'state', 'hosts.json'), 'utf8'));
  const config = await stand.cli(['config', 'show']);
  t.regex(config.stdout, /ospf\.key|redacted/, 'that there is one is shown');
  for (const text of shown) {
    for (const secret of [OSPF_SECRET, BGP_SECRET]) {
      t.false(text.includes(secret));
      t.false(text.includes(Buffer.from(secret).toString('base64').slice(0, 12)));
      t.false(text.includes(Buffer.from(secret).toString('hex').slice(0, 16)));
      t.false(text.includes([...Buffer.from(secret)].slice(0, 8).join(',')));
    }
  }
  chmodSync(join(stand.directory('A'), 'bgp.key'), 0o644);
  const refused = await stand.cli(['config', 'reload']);
  t.not(refused.code, 0);
  t.regex(refused.stderr, /bgp\.key/);
  t.regex(refused.stderr, /chmod 600/);
  t.like(await sessions(), { ospf: true, bgp: true });
  chmodSync(join(stand.directory('A'), 'bgp.key'), 0o600);
  t.is((await stand.cli(['config', 'reload'])).code, 0);
});
