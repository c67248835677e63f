import type { TorConfig } from '../config/index.ts';
import { type Examination, examineSonic, isSonic } from '../portlink/drivers/index.ts';
import type { Diagnosis } from './diagnosis.ts';

type PortRow = Examination['picture']['ports'] extends ReadonlyMap<string, infer Row> ? Row : never;

const wrong = (message: string, remedy: string): Diagnosis => ({ check: 'SONiC', verdict: 'wrong', message, remedy });
const warning = (message: string, remedy: string): Diagnosis => ({
  check: 'SONiC',
  verdict: 'warning',
  message,
  remedy,
});
const fine = (message: string): Diagnosis => ({ check: 'SONiC', verdict: 'fine', message });

/** A demand is taken up in milliseconds; what lies there at two looks so far apart is stuck (ms). */
const PAUSE = 300;

/** What is missing in the databases of a SONiC switch for its ports to be seen, shut and opened; nothing elsewhere. */
export async function sonicBox(config: TorConfig): Promise<Diagnosis[]> {
  const { driver, redis } = config.ports;
  if (driver === 'linux' || (driver === 'auto' && !(await isSonic({ socket: redis })))) return [];
  let seen: Examination;
  try {
    seen = await examineSonic(redis);
  } catch (error) {
    return [
      wrong(
        `Redis does not answer on ${redis}: ${(error as Error).message}`,
        'Name its socket in ports.redis, see that the database container runs, and be root or in the group redis.',
      ),
    ];
  }
  if (!seen.configured) {
    return [
      wrong(
        `CONFIG_DB on ${redis} has no DEVICE_METADATA|localhost: no configuration is loaded`,
        driver === 'sonic' ? 'config load, or ports.driver: linux where this is no SONiC.' : 'config load',
      ),
    ];
  }
  const found = ports(config, seen);
  if (!seen.made) {
    found.push(
      wrong(
        'SONiC has not made its ports (no PORT_TABLE:PortInitDone in APPL_DB): the agent waits for them',
        'See that swss and syncd run: docker ps, show system-health.',
      ),
    );
  }
  if (seen.notifies === undefined) {
    found.push(
      warning(
        'Redis does not say whether it tells of changes (CONFIG GET is refused)',
        'notify-keyspace-events must hold K, g and h; SONiC has AKE.',
      ),
    );
  }
  found.push(...(await stuck(redis, seen)));
  if (found.length > 0) return found;
  const told = seen.notifies ? '' : '; the agent will switch its notifications on';
  return [fine(`${seen.picture.ports.size} ports and ${seen.picture.lags.size} port channels on ${redis}${told}`)];
}

/** Every port that is to be watched, shut and opened. */
function ports(config: TorConfig, { picture, made }: Examination): Diagnosis[] {
  const ours = new Set(config.portLink.flatMap(({ uplinks, downlinks }) => [...uplinks, ...downlinks]));
  return [...ours].flatMap((name): Diagnosis[] => {
    const row = picture.ports.get(name);
    const lag = picture.lags.get(name);
    if (row) return onePort(name, row, made);
    if (!lag) {
      return [
        warning(
          `${name} is in neither PORT nor PORTCHANNEL of CONFIG_DB: it would be shut by the kernel, which turns off no laser`,
          `Name it as show interfaces status does.${aliasOf(name, picture)}`,
        ),
      ];
    }
    if (lag.members.length === 0) {
      return [
        wrong(
          `${name} has no members (PORTCHANNEL_MEMBER): a port channel is shut by shutting them`,
          `config portchannel member add ${name} ETHERNET`,
        ),
      ];
    }
    if (made && lag.oper === undefined) {
      return [
        wrong(
          `${name} is in CONFIG_DB and not in LAG_TABLE of APPL_DB: the agent doesn't see it`,
          'See that teamd runs: docker ps.',
        ),
      ];
    }
    return lag.configUp ? [] : [shutByOperator(name)];
  });
}

function onePort(name: string, row: PortRow, made: boolean): Diagnosis[] {
  if (made && row.admin === undefined) {
    return [
      wrong(
        `${name} is in CONFIG_DB and has no admin_status in PORT_TABLE of APPL_DB: the agent doesn't see it`,
        `See what orchagent says of it, or config interface startup ${name}.`,
      ),
    ];
  }
  return row.configUp ? [] : [shutByOperator(name)];
}

const shutByOperator = (name: string): Diagnosis =>
  warning(
    `${name} is admin down in CONFIG_DB: the agent leaves it so, whatever the uplinks do`,
    `config interface startup ${name}`,
  );

function aliasOf(name: string, { ports }: Examination['picture']): string {
  for (const [own, { alias }] of ports) if (alias === name) return ` ${name} is an alias of ${own}.`;
  return '';
}

async function stuck(redis: string, { waiting }: Examination): Promise<Diagnosis[]> {
  if (waiting.length === 0) return [];
  await new Promise((resolve) => setTimeout(resolve, PAUSE));
  const later = new Set((await examineSonic(redis).catch(() => ({ waiting: [] }))).waiting);
  const names = waiting.filter((name) => later.has(name));
  return names.length === 0
    ? []
    : [
        wrong(
          `orchagent does not take up what is asked of ${names.sort().join(', ')} (PORT_TABLE_KEY_SET): nothing can be shut or opened`,
          'See that swss runs and answers: docker ps, docker logs swss.',
        ),
      ];
}
