/**
 * Containers of an overlay host, attached by our CNI plugin: podman runs with the host's network, so the plugin does too.
 * runc and explicit limits, as in ../containers.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PODMAN, PROJECT, ULIMITS } from '../containers/podman.ts';
import { outcome, run } from '../processes.ts';

export interface ContainerHost {
  /** Network namespace of the host. */
  readonly netns: string;
  /** The agent's control socket. */
  readonly socket: string;
  /** For podman's configuration and the addresses given out. */
  readonly directory: string;
  /** Addresses for this host's containers. */
  readonly range: string;
}

export interface RunningContainer {
  readonly name: string;
  readonly address: string;
  /** Path of its network namespace. */
  readonly netns: string;
}

/** What podman reads: our plugin as the network `blue`. */
function writeConfiguration({ directory, socket, range }: ContainerHost, network: string): string {
  const networks = join(directory, 'networks');
  mkdirSync(networks, { recursive: true });
  const ipam = { type: 'peerless', ranges: [range], directory: join(directory, 'addresses') };
  const plugins = [{ type: 'peerless-cni', network, socket, ipam }];
  writeFileSync(join(networks, `${network}.conflist`), JSON.stringify({ cniVersion: '1.0.0', name: network, plugins }));
  const file = join(directory, 'containers.conf');
  writeFileSync(
    file,
    `[network]\nnetwork_backend = "cni"\ncni_plugin_dirs = ["${PROJECT}/bin"]\nnetwork_config_dir = "${networks}"\n`,
  );
  return file;
}

const podman = (host: ContainerHost, words: readonly string[]): string[] => [
  ...['nsenter', `--net=/run/netns/${host.netns}`, 'env', `CONTAINERS_CONF=${join(host.directory, 'containers.conf')}`],
  ...PODMAN,
  ...words,
];

/** A container that does nothing but be there, with an address of the overlay. */
export async function startOverlayContainer(
  host: ContainerHost,
  name: string,
  network: string,
  image: string,
): Promise<RunningContainer> {
  writeConfiguration(host, network);
  await run(podman(host, ['run', '-d', '--name', name, '--network', network, ...ULIMITS, image, 'sleep', 'infinity']));
  const format = `{{(index .NetworkSettings.Networks "${network}").IPAddress}} {{.NetworkSettings.SandboxKey}}`;
  const [address, netns] = (await run(podman(host, ['inspect', '-f', format, name]))).trim().split(' ');
  if (!address || !netns) throw new Error(`podman says nothing of the address of ${name}`);
  return { name, address, netns };
}

export async function removeOverlayContainer(host: ContainerHost, name: string): Promise<void> {
  await outcome(podman(host, ['rm', '-f', '-t', '0', '--ignore', name]));
}
