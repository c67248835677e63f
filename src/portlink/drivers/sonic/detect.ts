/** Is this box a SONiC switch? */
import { existsSync } from 'node:fs';
import { DATABASE, DEFAULT_SOCKET, METADATA } from './schema.ts';

/** Every SONiC image has it, from the first boot on: it says so also before the database has started. */
const VERSION_FILE = '/etc/sonic/sonic_version.yml';

export interface DetectOptions {
  readonly socket?: string;
  readonly versionFile?: string;
}

/** A SONiC image, or a Redis that holds a SONiC configuration. Never rejects. */
export async function isSonic({
  socket = DEFAULT_SOCKET,
  versionFile = VERSION_FILE,
}: DetectOptions = {}): Promise<boolean> {
  if (existsSync(versionFile)) return true;
  if (!existsSync(socket)) return false;
  const { createClient } = await import('@redis/client');
  const client = createClient({
    socket: { path: socket, tls: false, connectTimeout: 1_000, reconnectStrategy: false, socketTimeout: 1_000 },
    database: DATABASE.CONFIG,
    RESP: 2,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return (await client.hLen(METADATA)) > 0;
  } catch {
    // Some other Redis, or none that answers: then it is not SONiC's.
    return false;
  } finally {
    if (client.isOpen) client.destroy();
  }
}
