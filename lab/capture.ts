/** Packet captures of G's ports, and what tshark says to them. */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { inNetwork, placeOf } from './place.ts';
import { run, startDetached, stop, waitUntil } from './processes.ts';
import { TOR_NAMES, TORS } from './topology/plan.ts';

export interface Capture {
  readonly files: readonly string[];
  stop(): Promise<void>;
}

/** Everything but the probe's packets, at GA and GB. */
export async function startCapture(lab: string, directory: string): Promise<Capture> {
  mkdirSync(directory, { recursive: true });
  const place = placeOf({ name: lab, containers: undefined }, 'G');
  const ports = TOR_NAMES.map((tor) => TORS[tor].gatewayPort);
  const files = ports.map((port) => join(directory, `${port}.pcap`));
  const records = await Promise.all(
    ports.map((port, index) => {
      // root keeps its rights: the directory may be anybody's.
      const command = ['tcpdump', '-n', '-U', '-Z', 'root', '-i', port, '-w', files[index]!, 'not', 'udp'];
      return startDetached(`capture ${port}`, inNetwork(place, command), join(directory, `${port}.log`));
    }),
  );
  await waitUntil(() => files.every((file) => existsSync(file) && statSync(file).size >= 24), 5000);
  return { files, stop: () => stop(records) };
}

/** @returns one line for each malformed packet, as tshark sees it; none is what should be */
export async function malformedPackets(file: string): Promise<string[]> {
  const text = await run(['tshark', '-n', '-r', file, '-Y', '_ws.malformed']);
  return text.split('\n').filter((line) => line.trim() !== '');
}
