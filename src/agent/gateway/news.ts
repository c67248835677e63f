import type { HistoryEntry, MapNews, Refusal } from '../../gateway/index.ts';
import type { NewEvent } from '../events.ts';

/** More addresses than this with the same fate at once are told in one line. */
const ONE_BY_ONE = 8;

type HostEntry = HistoryEntry & { readonly kind: 'host' };

/** What the map found, in the words of the event log. */
export function mapEvents({ entries, refusals }: MapNews): NewEvent[] {
  const hosts = entries.filter((entry): entry is HostEntry => entry.kind === 'host');
  return [...entries.flatMap(ownEvent), ...hostEvents(hosts), ...refusals.map(refusalEvent)];
}

function ownEvent(entry: HistoryEntry): NewEvent[] {
  const severity = entry.to === 'up' || entry.to === 'heard' ? 'info' : 'warning';
  switch (entry.kind) {
    case 'host':
      return [];
    case 'port': {
      const { routerId, switchName, port, role, to, why } = entry;
      const fields = { routerId, switch: switchName, port, role, state: to };
      return [{ type: 'map.port', severity, message: `${switchName} ${port} is ${to}${after(why)}`, fields }];
    }
    case 'switch': {
      const { routerId, switchName, to, why } = entry;
      const message = to === 'heard' ? `${switchName} is heard` : `${switchName} is lost${after(why)}`;
      return [{ type: 'map.switch', severity, message, fields: { routerId, switch: switchName, state: to } }];
    }
    case 'gateway': {
      const { port, to, why } = entry;
      return [
        { type: 'map.gateway-port', severity, message: `${port} is ${to}${after(why)}`, fields: { port, state: to } },
      ];
    }
  }
}

const after = (why: string): string => (why === '' ? '' : `: ${why}`);

function hostEvents(entries: readonly HostEntry[]): NewEvent[] {
  const alike = new Map<string, HostEntry[]>();
  for (const entry of entries) {
    const key = `${entry.routerId} ${entry.to} ${entry.why}`;
    const group = alike.get(key);
    if (group) group.push(entry);
    else alike.set(key, [entry]);
  }
  return [...alike.values()].flatMap((group) => (group.length > ONE_BY_ONE ? [together(group)] : group.map(hostEvent)));
}

const severityOf = ({ to }: HostEntry) => (to === 'down' || to === 'unheard' ? 'warning' : 'info');

function hostEvent(entry: HostEntry): NewEvent {
  const { address, routerId, switchName, port, uplink, gatewayPort, from, to, why } = entry;
  const place = port === undefined ? switchName : `${switchName} ${port}`;
  return {
    type: 'map.host',
    severity: severityOf(entry),
    message: `${address} is ${to} at ${place}${after(why)}`,
    fields: { address, routerId, switch: switchName, port, uplink, gatewayPort, from, to },
  };
}

function together(group: readonly HostEntry[]): NewEvent {
  const [first] = group as [HostEntry];
  const { routerId, switchName, to, why } = first;
  return {
    type: 'map.hosts',
    severity: severityOf(first),
    message: `${group.length} addresses are ${to} at ${switchName}${after(why)}`,
    fields: { count: group.length, routerId, switch: switchName, to },
  };
}

const refusalEvent = ({ routerId, reason, message }: Refusal): NewEvent => ({
  type: 'map.refused',
  severity: 'warning',
  message,
  fields: { routerId, reason },
});
