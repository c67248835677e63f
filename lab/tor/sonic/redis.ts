/** A client of a SONiC switch's Redis, one database. */
import { createClient } from '@redis/client';
import { DATABASE, type Rows } from './rows.ts';

/** Connected; it does not come back by itself, as little as the daemons of SONiC do. */
export async function connect(socket: string, database: number) {
  const client = createClient({
    socket: { path: socket, tls: false, reconnectStrategy: false },
    database,
    RESP: 2,
  });
  // Redis is taken away on purpose; who needs to know listens for `end`.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

export type Client = Awaited<ReturnType<typeof connect>>;

export async function loadConfiguration(socket: string, rows: Rows): Promise<void> {
  const config = await connect(socket, DATABASE.CONFIG);
  for (const [key, fields] of rows) await config.hSet(key, { ...fields });
  config.destroy();
}
