/** What an agent that was killed has left in Open vSwitch: its ports, its flows, its placeholders. */
import { dirname } from 'node:path';
import { OvsControl } from './control.ts';
import { OvsDatabase } from './database.ts';
import { OpenFlow } from './openflow.ts';
import { isPlaceholder, OUR_PORT } from './underlay.ts';

export interface OvsLeftovers {
  /** `bridge/port` */
  readonly ports: readonly string[];
  /** Neighbours that have a placeholder for a MAC. */
  readonly placeholders: number;
}

/** @param socket of the database. Rejects when there is no Open vSwitch. */
export async function findOvsLeftovers(socket: string): Promise<OvsLeftovers> {
  return withSwitch(socket, async (database, control) => ({
    ports: portsOf(database).map(({ bridge, port }) => `${bridge}/${port}`),
    placeholders: (await control.show()).filter(({ mac }) => isPlaceholder(mac)).length,
  }));
}

/** The switch asks by itself again for what had a placeholder. */
export async function removeOvsLeftovers(socket: string): Promise<void> {
  await withSwitch(socket, async (database, control) => {
    for (const { bridge, port } of portsOf(database)) {
      const openflow = await OpenFlow.connect(`${dirname(socket)}/${bridge}.mgmt`);
      try {
        openflow.removeAll();
        await openflow.done();
      } finally {
        openflow.close();
      }
      await database.removePort(bridge, port);
    }
    if ((await control.show()).some(({ mac }) => isPlaceholder(mac))) await control.flush();
  });
}

const portsOf = (database: OvsDatabase): { readonly bridge: string; readonly port: string }[] =>
  database.bridges.flatMap(({ name, interfaces }) =>
    interfaces.filter((each) => OUR_PORT.test(each.name)).map((each) => ({ bridge: name, port: each.name })),
  );

async function withSwitch<T>(
  socket: string,
  work: (database: OvsDatabase, control: OvsControl) => Promise<T>,
): Promise<T> {
  const nothing = { onChange: () => undefined, onClose: () => undefined };
  const database = await OvsDatabase.open(socket, nothing);
  try {
    const control = await OvsControl.open(socket, () => undefined);
    try {
      return await work(database, control);
    } finally {
      control.close();
    }
  } finally {
    database.close();
  }
}
