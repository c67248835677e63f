import type { OverlayFault, OverlayItems, OverlayKind } from '../../model/overlay-items.ts';
import { OverlayRegister } from '../../model/overlay-register.ts';
import { LONGEST_WORKER_SOCKET, workerSocket } from '../beside-socket.ts';
import { toAddress } from '../checked.ts';
import type { Finding, Path } from '../problem.ts';
import {
  resolveInstance,
  resolveNetwork,
  resolveRemote,
  resolveRule,
  resolveService,
  resolveSnat,
} from '../resolve-host.ts';
import { milliseconds } from '../scalars.ts';
import type { PartlyHost } from './partly.ts';

export function checkHost(settings: PartlyHost): Finding[] {
  return [
    ...checkOverlay(settings),
    ...checkFastPath(settings),
    ...checkNeighbours(settings),
    ...checkKeys(settings),
    ...checkBackend(settings),
    ...checkWorkerSocket(settings),
    ...checkSourcePorts(settings),
    ...checkPlainTunnels(settings),
  ];
}

/** Item by item, in the order in which they refer to each other, as at run time. */
function checkOverlay(settings: PartlyHost): Finding[] {
  const { underlay } = settings;
  const register = new OverlayRegister(underlay && { address: toAddress(underlay.address), device: underlay.device });
  const findings: Finding[] = [];
  // Which names a network with a mistake in it would have given is not known.
  const allNetworks = settings.networks?.every((network) => network !== undefined) === true;
  const walk = <K extends OverlayKind, S>(
    kind: K,
    path: Path,
    list: readonly (S | undefined)[] | undefined,
    resolve: (settings: S) => OverlayItems[K],
  ): void => {
    for (const [index, entry] of (list ?? []).entries()) {
      if (entry === undefined) continue;
      const item = resolve(entry);
      const faults = register.check(kind, item);
      for (const fault of faults) {
        if (fault.reason !== 'unknown-network' || allNetworks) findings.push(finding(fault, [...path, index]));
      }
      // Of two with one name the others mean the first.
      if (!faults.some(({ reason }) => reason === 'exists')) register.put(kind, item);
    }
  };
  walk('network', ['networks'], settings.networks, resolveNetwork);
  walk('instance', ['instances'], settings.instances, (item) => resolveInstance(item, 'configuration'));
  walk('remote', ['remotes'], settings.remotes, (item) => resolveRemote(item, 'configuration'));
  walk('service', ['services'], settings.services, resolveService);
  walk('rule', ['policy', 'rules'], settings.policy?.rules, resolveRule);
  walk('snat', ['snat'], settings.snat, resolveSnat);
  return findings;
}

function finding({ key, at, message, remedy }: OverlayFault, path: Path): Finding {
  return { path: [...path, ...(key === '' ? [] : [key]), ...(at === undefined ? [] : [at])], message, remedy };
}

/** A sender must never use an entry that the receiver has let go of. */
function checkFastPath({ fastPath }: PartlyHost): Finding[] {
  if (!fastPath) return [];
  const findings: Finding[] = [];
  const { send, receive } = fastPath.lifetime;
  if (milliseconds(receive) <= milliseconds(send)) {
    findings.push({
      path: ['fastPath', 'lifetime', 'receive'],
      message: `${receive} is not longer than send (${send})`,
      remedy: 'Write twice as much as send: a key must outlive those who may use it.',
    });
  }
  for (const [index, feature] of fastPath.features.entries()) {
    if (fastPath.features.indexOf(feature) < index) {
      findings.push({
        path: ['fastPath', 'features', index],
        message: `${feature} is here twice`,
        remedy: 'Remove one of the two.',
      });
    }
  }
  return findings;
}

function checkNeighbours({ neighbours }: PartlyHost): Finding[] {
  if (!neighbours || neighbours.hold.perNeighbour <= neighbours.hold.total) return [];
  const { perNeighbour, total } = neighbours.hold;
  return [
    {
      path: ['neighbours', 'hold', 'perNeighbour'],
      message: `${perNeighbour} is more than the total ${total}`,
      remedy: 'Lower perNeighbour or raise total.',
    },
  ];
}

function encrypts(encryption: PartlyHost['encryption']): boolean {
  const { policy, keys } = encryption ?? {};
  return (policy ?? (keys?.directory || keys?.etcd ? 'overlap' : 'off')) !== 'off';
}

/** What would leave in plain text beside what is encrypted. */
function checkPlainTunnels({ encryption, networks, adopt }: PartlyHost): Finding[] {
  if (!encrypts(encryption)) return [];
  const others = {
    path: ['adopt'],
    message: 'networks of others are not encrypted, and encryption is on',
    remedy: 'Write adopt: false, or switch encryption off.',
  };
  const plain = (networks ?? []).flatMap((network, index) =>
    network === undefined || network.encapsulation === 'vxlan'
      ? []
      : [
          {
            path: ['networks', index, 'encapsulation'],
            message: `${network.encapsulation} is not encrypted, and encryption is on`,
            remedy: 'Write vxlan, which travels inside of ESP then; or switch encryption off.',
          },
        ],
  );
  return adopt ? [...plain, others] : plain;
}

/** The kernel's tunnels have no room for what plain packets tell, and nothing waits in it. */
function checkBackend({ encryption }: PartlyHost): Finding[] {
  if (encryption?.backend !== 'xfrm' || encryption.policy !== 'available') return [];
  return [
    {
      path: ['encryption', 'backend'],
      message: "xfrm can't do what the policy available does: plain packets of the kernel tell no version of a key",
      remedy: 'Write policy: overlap or strict, or backend: worker.',
    },
  ];
}

/** A Unix socket of the packet worker stands beside the agent's. */
function checkWorkerSocket({ control, encryption }: PartlyHost): Finding[] {
  if (!control || !encrypts(encryption) || encryption?.backend === 'xfrm') return [];
  const longer = Buffer.byteLength(workerSocket({ control })) - LONGEST_WORKER_SOCKET;
  if (longer <= 0) return [];
  return [
    {
      path: ['control', 'socket'],
      message: `the path is ${longer} octet${longer === 1 ? '' : 's'} too long for the packet worker's socket beside it`,
      remedy: 'Choose a folder with a shorter path: a Unix socket has room for no more.',
    },
  ];
}

/** VXLAN's own port belongs to tunnels. */
const VXLAN_PORT = 4789;

function checkSourcePorts({ encryption }: PartlyHost): Finding[] {
  if (!encryption?.sourcePorts) return [];
  const { port, sourcePorts } = encryption;
  const { first, count } = sourcePorts;
  const last = first + count - 1;
  if (count === 0) return [];
  const taken = [port, VXLAN_PORT].find((one) => one !== undefined && one >= first && one <= last);
  if (last <= 65_535 && taken === undefined) return [];
  return [
    {
      path: ['encryption', 'sourcePorts'],
      message:
        taken === undefined ? `${first} and ${count - 1} more go beyond 65535` : `packets arrive at port ${taken}`,
      remedy: 'Choose ports that nobody listens to, such as first: 61440, count: 16.',
    },
  ];
}

function checkEtcd({ etcd, tls, user }: NonNullable<PartlyHost['encryption']>['keys']): Finding[] {
  const at = (path: Path, message: string, remedy: string): Finding => ({
    path: ['encryption', 'keys', ...path],
    message,
    remedy,
  });
  const https = (etcd ?? []).filter((url) => url.startsWith('https://'));
  const findings: Finding[] = [];
  for (const [name, value] of Object.entries({ tls, user })) {
    if (value && etcd === undefined)
      findings.push(at([name], 'says something of etcd, and the keys do not come from there', 'Remove it.'));
  }
  if (etcd === undefined) return findings;
  if (tls && https.length === 0)
    findings.push(at(['tls'], 'no URL of etcd is https://', 'Write https:// in keys.etcd, or remove tls.'));
  if (tls && (tls.cert === undefined) !== (tls.key === undefined)) {
    findings.push(
      at(
        ['tls', tls.cert === undefined ? 'key' : 'cert'],
        'a certificate and its private key go together',
        'Write both cert and key, or neither.',
      ),
    );
  }
  const plain = etcd.find((url) => !url.startsWith('https://'));
  if (user && plain !== undefined) {
    findings.push(
      at(['user'], `the password would go to ${plain} in plain text`, 'Write https:// for all URLs, or remove user.'),
    );
  }
  return findings;
}

function checkKeys({ encryption }: PartlyHost): Finding[] {
  if (!encryption) return [];
  const { policy = 'off', keys } = encryption;
  const ofEtcd = checkEtcd(keys);
  if (ofEtcd.length > 0) return ofEtcd;
  if (keys.directory !== undefined && keys.etcd !== undefined) {
    return [
      {
        path: ['encryption', 'keys'],
        message: 'names both a directory and etcd',
        remedy: 'Keys come from one place: remove one of the two.',
      },
    ];
  }
  if (policy === 'off' || keys.directory !== undefined || keys.etcd !== undefined) return [];
  return [
    {
      path: ['encryption', 'keys'],
      message: `says nothing of where keys come from, and the policy is ${policy}`,
      remedy: 'Write keys: {directory: /etc/peerless/keys}, or keys: {etcd: [http://192.0.2.1:2379]}.',
    },
  ];
}
