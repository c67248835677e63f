/**
 * FRR's configuration files for G and for a ToR of today's practice. One file a daemon: `zebra`, `bfdd`, `ospfd`, `bgpd`.
 *
 * Timers: hello 1 s / dead 4 s and keepalive 1 s / hold 3 s, the shortest that both protocols offer without BFD, and
 * an SPF that waits for nothing. LSA timers are `fast` (as a fabric's administrator sets them) or FRR's `default`:
 * MinLSInterval 5 s and MinLSArrival 1 s, with which FRR 8.4 ignores the second router LSA that every returning
 * neighbour sends, and sees it 10 s later. Everything else is FRR's default, because the gateway is somebody else's.
 */
import { type Family, GATEWAY, type Protocol, SUBNET, TOR_NAMES, TORS, type TorName } from '../topology/plan.ts';

export type LsaTimers = 'fast' | 'default';
export type FrrDaemon = 'zebra' | 'bfdd' | 'ospfd' | 'bgpd';
export type FrrConfiguration = Readonly<Partial<Record<FrrDaemon, string>>>;

const head = (name: string) => `hostname ${name}\nlog stdout informational\n`;

const FAST_LSA = ' timers throttle lsa all 0\n timers lsa min-arrival 0\n';

const PROFILE = 'lab';
const BFD = `bfd
 profile ${PROFILE}
  transmit-interval 100
  receive-interval 100
  detect-multiplier 3
 !
!
`;

const ospfInterface = (name: string, bfd = false) => `interface ${name}
 ip ospf network point-to-point
 ip ospf area 0
 ip ospf hello-interval 1
 ip ospf dead-interval 4
${bfd ? ` ip ospf bfd\n ip ospf bfd profile ${PROFILE}\n` : ''}!
`;

export interface GatewayOptions {
  readonly families?: readonly Family[];
  /** Equal routes of both ToRs are used side by side, though their AS numbers differ. */
  readonly multipath?: boolean;
  /** With both ToRs, 100 ms times 3. */
  readonly bfd?: boolean;
}

export function gatewayFrr(protocol: Protocol, lsaTimers: LsaTimers, options: GatewayOptions = {}): FrrConfiguration {
  const { families = [4], multipath = false, bfd = false } = options;
  return {
    zebra: `${head('G')}ip forwarding\n${families.includes(6) ? 'ipv6 forwarding\n' : ''}`,
    ...(bfd ? { bfdd: `${head('G')}${BFD}` } : {}),
    ...(protocol === 'bgp'
      ? {}
      : {
          ospfd: `${head('G')}${TOR_NAMES.map((tor) => ospfInterface(TORS[tor].gatewayPort, bfd)).join('')}router ospf
 ospf router-id ${GATEWAY.routerId}
 timers throttle spf 0 10 100
${lsaTimers === 'fast' ? FAST_LSA : ''} default-information originate always metric 10
!
`,
        }),
    ...(protocol === 'ospf'
      ? {}
      : {
          bgpd: `${head('G')}router bgp ${GATEWAY.asn}
 bgp router-id ${GATEWAY.routerId}
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
${multipath ? ' bgp bestpath as-path multipath-relax\n' : ''}${families.map((family) => gatewayNeighbours(family, bfd)).join('')}${families.map(gatewayFamily).join('')}!
`,
        }),
  };
}

const torAddress = (tor: TorName, family: Family): string => (family === 4 ? TORS[tor].address : TORS[tor].address6);

const gatewayNeighbours = (family: Family, bfd: boolean): string =>
  TOR_NAMES.map(
    (tor) => ` neighbor ${torAddress(tor, family)} remote-as ${TORS[tor].asn}
 neighbor ${torAddress(tor, family)} timers 1 3
 neighbor ${torAddress(tor, family)} timers connect 1
${bfd ? ` neighbor ${torAddress(tor, family)} bfd\n neighbor ${torAddress(tor, family)} bfd profile ${PROFILE}\n` : ''}`,
  ).join('');

const gatewayFamily = (family: Family): string => ` address-family ipv${family} unicast
${TOR_NAMES.map(
  (tor) => `  neighbor ${torAddress(tor, family)} activate
  neighbor ${torAddress(tor, family)} default-originate
`,
).join('')} exit-address-family
`;

/** Today's practice: host routes that a redistributor put into the kernel, redistributed. */
export function torFrr(tor: TorName, protocol: Protocol): FrrConfiguration {
  const { routerId, asn, uplink, peer } = TORS[tor];
  const filter = `ip prefix-list hosts seq 5 permit ${SUBNET} ge 32
!
route-map hosts permit 10
 match ip address prefix-list hosts
!
`;
  return {
    zebra: `${head(tor)}ip forwarding\n`,
    ...(protocol === 'bgp'
      ? {}
      : {
          ospfd: `${head(tor)}${filter}${ospfInterface(uplink)}router ospf
 ospf router-id ${routerId}
 timers throttle spf 0 10 100
${FAST_LSA} redistribute kernel metric 20 route-map hosts
!
`,
        }),
    ...(protocol === 'ospf'
      ? {}
      : {
          bgpd: `${head(tor)}${filter}router bgp ${asn}
 bgp router-id ${routerId}
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor ${peer} remote-as ${GATEWAY.asn}
 neighbor ${peer} timers 1 3
 neighbor ${peer} timers connect 1
 address-family ipv4 unicast
  neighbor ${peer} activate
  redistribute kernel route-map hosts
 exit-address-family
!
`,
        }),
  };
}
