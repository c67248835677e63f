/** A look at a SONiC switch's databases for who wants to know what is missing there. Nothing is written. */
import { createClient } from '@redis/client';
import { type BoxRead, readBox } from './reading.ts';
import { DATABASE, DEMAND, notifiesEnough } from './schema.ts';

export interface Examination extends BoxRead {
  /** `notify-keyspace-events` has what the agent needs; undefined: Redis doesn't say (an ACL, a renamed command). */
  readonly notifies: boolean | undefined;
  /** Ports of which something was asked that orchagent has not taken up yet. */
  readonly waiting: readonly string[];
}

const PATIENCE = 2_000;

/** Rejects with Redis's or the kernel's own words when it can't be read in two seconds. */
export async function examineSonic(socket: string): Promise<Examination> {
  const open = (database: number) => {
    const client = createClient({
      socket: {
        ...address(socket),
        connectTimeout: PATIENCE,
        socketTimeout: PATIENCE,
        reconnectStrategy: false,
      },
      database,
      RESP: 2,
    });
    // Each command tells it too.
    client.on('error', () => undefined);
    return client;
  };
  const clients = [open(DATABASE.APPL), open(DATABASE.CONFIG)] as const;
  const [appl, config] = clients;
  try {
    await Promise.all(clients.map((client) => client.connect()));
    const key = 'notify-keyspace-events';
    const [box, waiting, notifies] = await Promise.all([
      readBox(appl, config),
      appl.sMembers(DEMAND.names),
      config.configGet(key).then(
        (answer) => notifiesEnough(answer[key] ?? ''),
        () => undefined,
      ),
    ]);
    return { ...box, waiting, notifies };
  } finally {
    for (const client of clients) if (client.isOpen) client.destroy();
  }
}

function address(socket: string): { path: string; tls: false } | { host: string; port: number } {
  const colon = socket.lastIndexOf(':');
  return socket.startsWith('/')
    ? { path: socket, tls: false }
    : { host: socket.slice(0, colon), port: Number(socket.slice(colon + 1)) };
}
