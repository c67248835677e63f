/** The switch's own control socket (ovs-appctl(8)): its table of tunnel neighbours. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Address, type Mac, parseAddress, parseMac } from '../../../model/address.ts';
import { JsonRpc } from './json-rpc.ts';

export interface OvsNeighbour {
  readonly address: Address;
  readonly mac: Mac;
  readonly bridge: string;
}

export class OvsControl {
  readonly #rpc: JsonRpc;

  /** @param socket of the database: both stand in one directory. Rejects when no switch is there. */
  static async open(socket: string, onClose: () => void): Promise<OvsControl> {
    const problems: string[] = [];
    for (const path of candidates(dirname(socket))) {
      try {
        let adopted = false;
        const rpc = await JsonRpc.connect(path, { onClose: () => adopted && onClose() });
        const commands = String(await rpc.request('list-commands', []));
        if (commands.includes('tnl/neigh/set')) {
          adopted = true;
          return new OvsControl(rpc);
        }
        rpc.close();
        problems.push(`${path}: not ovs-vswitchd's`);
      } catch (error) {
        problems.push(`${path}: ${(error as Error).message}`);
      }
    }
    throw new Error(`no control socket of ovs-vswitchd beside ${socket} (${problems.join('; ') || 'none there'})`);
  }

  private constructor(rpc: JsonRpc) {
    this.#rpc = rpc;
  }

  /** `bridge`: whose own interface has the route to `address`. */
  async set(bridge: string, address: Address, mac: Mac): Promise<void> {
    await this.#rpc.request('tnl/neigh/set', [bridge, address, mac]);
  }

  async show(): Promise<readonly OvsNeighbour[]> {
    const text = String(await this.#rpc.request('tnl/neigh/show', []));
    return text.split('\n').flatMap((line) => {
      const [ip = '', hardware = '', bridge] = line.trim().split(/\s+/);
      const address = parseAddress(ip);
      const mac = parseMac(hardware);
      return address && mac && bridge ? [{ address, mac, bridge }] : [];
    });
  }

  /** All entries go; what is not set again is asked for by the switch when a packet misses. */
  async flush(): Promise<void> {
    await this.#rpc.request('tnl/neigh/flush', []);
  }

  close(): void {
    this.#rpc.close();
  }
}

function candidates(directory: string): string[] {
  const names = readdirSync(directory);
  const pid = names.includes('ovs-vswitchd.pid')
    ? readFileSync(join(directory, 'ovs-vswitchd.pid'), 'utf8').trim()
    : '';
  const usual = `ovs-vswitchd.${pid}.ctl`;
  // Of dead ones the files stay; the one that the pid file names comes first.
  const rest = names.filter((name) => name.endsWith('.ctl') && !name.startsWith('ovsdb') && name !== usual);
  return (names.includes(usual) ? [usual, ...rest] : rest).map((name) => join(directory, name));
}
