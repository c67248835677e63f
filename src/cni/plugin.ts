/**
 * The three operations. Each can be repeated: ADD undoes what it made when it fails half-way, DEL takes away whatever is
 * left. The agent learns of an instance last in ADD and forgets it first in DEL, so that it never leads packets to an
 * interface that is only half there.
 */
import { parseAddress, prefixLength } from '../model/address.ts';
import { Agent } from './agent.ts';
import { CniError, CODE } from './errors.ts';
import {
  attachmentDigest,
  connect,
  disconnect,
  hostInterfaceName,
  isConnected,
  macOf,
  verify,
  type Wiring,
} from './interfaces.ts';
import { allocatorFor } from './ipam.ts';
import { type ContainerRoute, type Dns, routesOf } from './pass-on.ts';
import type { Attachment, NetworkConfiguration } from './request.ts';

export interface AddResult {
  readonly cniVersion: string;
  readonly interfaces: readonly { readonly name: string; readonly mac: string; readonly sandbox?: string }[];
  readonly ips: readonly { readonly address: string; readonly gateway?: string; readonly interface: number }[];
  readonly routes: readonly ContainerRoute[];
  readonly dns: Dns;
}

export async function add(attachment: Attachment, configuration: NetworkConfiguration): Promise<AddResult> {
  const agent = new Agent(configuration.socket);
  const { network, taken } = await agent.network(configuration.network);
  // Before anything is asked for in its name: what is undone of a failed ADD would be the first one's.
  if (await isConnected(attachment)) {
    throw new CniError(
      CODE.invalidEnvironment,
      `${attachment.ifname} of this container is attached already`,
      `as ${hostInterfaceName(attachment)}; DEL comes before another ADD`,
    );
  }
  const allocator = allocatorFor(attachment, configuration);
  const { address, routes, dns = {} } = await allocator.allocate(taken);
  try {
    const mac = attachment.wanted.mac ?? macOf(address);
    const wiring: Wiring = {
      hostName: hostInterfaceName(attachment),
      mac,
      mtu: configuration.mtu ?? network.mtu,
      address,
      prefixLength: prefixLength(network.subnet),
      ...(network.gateway ? { gateway: network.gateway } : {}),
      routes: routesOf(routes, network),
    };
    const { hostMac } = await connect(attachment, wiring);
    try {
      await agent.add({
        name: instanceName(attachment),
        network: network.name,
        address,
        mac,
        interface: wiring.hostName,
      });
    } catch (error) {
      await disconnect(attachment);
      throw error;
    }
    return addResult(attachment, configuration.cniVersion, wiring, hostMac, configuration.dns ?? dns);
  } catch (error) {
    await allocator.giveBack(address);
    throw error;
  }
}

/** An agent that is not there forgets the instance when it comes back: its interface is gone. */
export async function remove(attachment: Attachment, configuration: NetworkConfiguration): Promise<void> {
  try {
    await new Agent(configuration.socket).removeOn(hostInterfaceName(attachment));
  } catch (error) {
    if (!(error instanceof CniError) || error.code !== CODE.agentUnreachable) throw error;
  }
  await disconnect(attachment);
  await allocatorFor(attachment, configuration).release();
}

export async function check(attachment: Attachment, configuration: NetworkConfiguration): Promise<void> {
  const previous = configuration.previous!;
  const index = previous.interfaces.findIndex(({ name, sandbox }) => name === attachment.ifname && sandbox);
  const ip = previous.ips.find((one) => one.interface === index) ?? previous.ips[0];
  const address = parseAddress(ip?.address.split('/')[0] ?? '');
  if (index < 0 || !ip || !address) {
    throw new CniError(CODE.invalidConfiguration, `prevResult has no address of ${attachment.ifname}`);
  }
  const mac = previous.interfaces[index]?.mac;
  await verify(attachment, {
    address: ip.address,
    routes: previous.routes,
    ...(mac === undefined ? {} : { mac }),
  });
  const hostInterface = hostInterfaceName(attachment);
  if ((await new Agent(configuration.socket).instanceOn(hostInterface)) === undefined) {
    throw new CniError(CODE.changed, `the agent knows no instance on ${hostInterface}`);
  }
  await allocatorFor(attachment, configuration).check(address);
}

/** What the configuration takes for a name of an instance. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** Of an id of 64 digits an operator knows the first twelve; the beginning of any other may be that of many. */
export function instanceName(attachment: Pick<Attachment, 'containerId' | 'ifname'>): string {
  const { containerId, ifname } = attachment;
  const whole = `${/^[0-9a-f]{64}$/.test(containerId) ? containerId.slice(0, 12) : containerId}-${ifname}`;
  return NAME.test(whole) ? whole : `${containerId.slice(0, 12)}-${attachmentDigest(attachment)}`;
}

function addResult(attachment: Attachment, cniVersion: string, wiring: Wiring, hostMac: string, dns: Dns): AddResult {
  const gateway = wiring.gateway ? { gateway: wiring.gateway } : {};
  // Before 1.0.0 each address said its family.
  const version = cniVersion.startsWith('0.') ? { version: '4' } : {};
  return {
    cniVersion,
    interfaces: [
      { name: wiring.hostName, mac: hostMac },
      { name: attachment.ifname, mac: wiring.mac, sandbox: attachment.netns! },
    ],
    ips: [{ ...version, address: `${wiring.address}/${wiring.prefixLength}`, ...gateway, interface: 1 }],
    routes: wiring.routes,
    dns,
  };
}
