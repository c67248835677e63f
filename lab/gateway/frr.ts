/**
 * FRR's configuration files for G and for a ToR of today's practice. One file a daemon: `zebra`, `ospfd`, `bgpd`.
 *
 * Timers: hello 1 s / dead 4 s and keepalive 1 s / hold 3 s, the shortest that both protocols offer without BFD, and
 * an SPF that waits for nothing. LSA timers are `fast` (as a fabric's administrator sets them) or FRR's `default`:
 * MinLSInterval 5 s and MinLSArrival 1 s, with which FRR 8.4 ignores the second router LSA that every returning
 * neighbour sends, and sees it 10 s later. Everything else is FRR's default, because the gateway is somebody else's.
 */
import { GATEWAY, type Protocol, SUBNET, TOR_NAMES, TORS, type TorName } from '../topology/plan.ts';

export type LsaTimers = 'fast' | 'default';
export type FrrDaemon = 'zebra' | 'ospfd' | 'bgpd';
export type FrrConfiguration = Readonly<Partial<Record<FrrDaemon, string>>>;

const head = (name: string) => `hostname ${name}\nlog stdout informational\n`;

const FAST_LSA = ' timers throttle lsa all 0\n timers lsa min-arrival 0\n';

const ospfInterface = (name: string) => `interface ${name}
 ip ospf network point-to-point
 ip ospf area 0
 ip ospf hello-interval 1
 ip ospf dead-interval 4
!
`;

export function gatewayFrr(protocol: Protocol, lsaTimers: LsaTimers): FrrConfiguration {
  return {
    zebra: `${head('G')}ip forwarding\n`,
    ...(protocol === 'bgp'
      ? {}
      : {
          ospfd: `${head('G')}${TOR_NAMES.map((tor) => ospfInterface(TORS[tor].gatewayPort)).join('')}router ospf
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
${TOR_NAMES.map(
  (tor) => ` neighbor ${TORS[tor].address} remote-as ${TORS[tor].asn}
 neighbor ${TORS[tor].address} timers 1 3
 neighbor ${TORS[tor].address} timers connect 1
`,
).join('')} address-family ipv4 unicast
${TOR_NAMES.map(
  (tor) => `  neighbor ${TORS[tor].address} activate
  neighbor ${TORS[tor].address} default-originate
`,
).join('')} exit-address-family
!
`,
        }),
  };
}

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
