#!/usr/bin/env bash
# Tries the package as a box meets it, in podman containers that have Debian and nothing else: installed, run, upgraded while a
# port is shut, purged; once without systemd and once under it. Takes about a minute; needs root, podman and runc (`./run demo
# --host` installs them), and the network the first time, for an image with systemd.
#   packaging/try.sh [bare|systemd]
set -Eeuo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
PATH=$PWD/node_modules/.bin:$PATH
which=${1:-all}

work=$(mktemp -d)
name=peerless-try-$$
PODMAN=(podman --runtime runc --log-level error)
LIMITS=(--ulimit nofile=1024:1024 --ulimit nproc=1000:1000)
remove() { "${PODMAN[@]}" rm -f -t 0 --ignore "$name" >/dev/null 2>&1 || true; }
trap 'remove; rm -rf "$work"' EXIT

say() { printf '\033[1m== %s\033[0m\n' "$*"; }
fail() {
  trap - ERR
  printf 'FAILED: %s\n' "$*" >&2
  shell 'cat /tmp/agent.log || journalctl -u peerless --no-pager | tail -30' >&2 2>/dev/null || true
  exit 1
}
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR
shell() { "${PODMAN[@]}" exec "$name" sh -euc "$1"; }
expect() { # WHAT EXPECTED ACTUAL
  [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
  printf '   %s: %s\n' "$1" "$3"
}
eventually() { # WHAT COMMAND...
  local what=$1 until=$((SECONDS + 20))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$until" ] || fail "$what: not within 20 seconds"
    sleep 0.1
  done
  printf '   %s\n' "$what"
}

codename=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
base=localhost/peerless-lab-base:$codename
withsystemd=localhost/peerless-try:$codename
images() {
  "${PODMAN[@]}" image exists "$base" || node --input-type=module --conditions=source -e \
    'const { ensureBase } = await import(`${process.cwd()}/lab/containers/image.ts`); await ensureBase(console.error);'
  [ "$which" = bare ] || "${PODMAN[@]}" image exists "$withsystemd" || printf 'FROM %s\nRUN %s\n' "$base" \
    'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends systemd dbus iproute2 libbpf1 nftables && apt-get clean && rm -rf /var/lib/apt/lists/*' |
    "${PODMAN[@]}" build -q --network host "${LIMITS[@]}" -t "$withsystemd" - >/dev/null
}

# An uplink and a server port. The tools for it are outside.
cables() {
  pid=$("${PODMAN[@]}" inspect -f '{{.State.Pid}}' "$name")
  local port
  for port in A0 A1; do
    net ip link add "$port" type veth peer name "p$port"
    net ip link set "$port" up
    net ip link set "p$port" up
  done
  net ip address add 192.0.2.2/30 dev A0
}
net() { nsenter -t "$pid" -n "$@"; }
is_open() { net ip -o link show A1 | grep -q '[<,]UP[,>]'; }
is_shut() { ! is_open; }

configure() {
  cat >"$work/peerless.yaml" <<'YAML'
role: tor
routerId: 10.255.0.1
hostRoutes: { prefixes: [10.10.10.0/24], ports: [A1] }
portLink: [{ name: fabric, uplinks: [A0], downlinks: [A1], startupDelay: 0s, recoveryDelay: 0s, onStop: reopen }]
YAML
  "${PODMAN[@]}" cp "$work/peerless.yaml" "$name:/etc/peerless/peerless.yaml"
  shell 'peerless config check /etc/peerless/peerless.yaml' >/dev/null
}

of_status() { shell 'peerless status --json' | sed -n "s/^ *\"$1\": \"\{0,1\}\([^\",]*\).*/\1/p" | head -1; }
of_process() { shell "sed -n 's/^$1:[[:space:]]*//p' /proc/$(of_status pid)/status"; }

bounded() { # SET
  expect 'effective capabilities' "$1" "$(of_process CapEff)"
  expect 'bounding set' "$1" "$(of_process CapBnd)"
  expect 'no new privileges' 1 "$(of_process NoNewPrivs)"
}

# Nothing of it is in the file system, and the port is open.
purged() {
  expect 'files left' '' "$(shell 'find / -xdev \( -path /proc -o -path /sys -o -path /deb -o -path /var/log \) -prune -o -name "*peerless*" -print')"
  expect 'group left' '' "$(shell 'getent group peerless || true')"
  is_open || fail 'the port is left shut'
  echo '   the port is open'
}

bare() {
  say 'a bare Debian: no Node.js, no compiler, no systemd'
  "${PODMAN[@]}" run -d --name "$name" --network none "${LIMITS[@]}" --cap-add NET_ADMIN --cap-add NET_RAW \
    --security-opt unmask=/proc/sys --entrypoint sleep "$base" infinity >/dev/null
  cables
  "${PODMAN[@]}" cp "$work/deb" "$name:/deb"
  ! shell 'command -v node || command -v cc || command -v systemctl' || fail 'the base is not bare'
  shell "dpkg -i /deb/$first" >/dev/null
  shell 'peerless --help' >/dev/null
  expect 'folder of the configuration' '750 peerless' "$(shell 'stat -c "%a %G" /etc/peerless')"
  expect version "peerless/$version" "$(shell 'peerless --version' | cut -d' ' -f1)"
  expect plugin '1.0.0' "$(shell 'echo "{\"cniVersion\":\"1.0.0\"}" | CNI_COMMAND=VERSION /usr/lib/cni/peerless-cni' | sed -n 's/.*"cniVersion":"\([^"]*\)".*/\1/p')"
  shell 'peerless config check --offline /etc/peerless/peerless.yaml.example && peerless config check --offline /etc/peerless/peerless.host.yaml.example' >/dev/null
  configure
  # A supervisor of one line: whatever ends the agent, it is started again.
  "${PODMAN[@]}" exec -d "$name" sh -c 'while [ ! -e /tmp/stop ]; do peerless agent; done >/tmp/agent.log 2>&1' >/dev/null
  eventually 'the agent answers' shell 'peerless status'
  bounded 0000000000003401
  net ip link set pA0 down
  eventually 'an uplink is lost: the port is shut' is_shut
  shell "dpkg -i /deb/$second && peerless restart" >/dev/null
  expect 'version of the agent after the upgrade' "$next" "$(of_status version)"
  is_shut || fail 'the upgrade opened the port'
  expect 'folder of the configuration' '750 peerless' "$(shell 'stat -c "%a %G" /etc/peerless')"
  shell 'grep -q "name: fabric" /etc/peerless/peerless.yaml'
  net ip link set pA0 up
  eventually 'the uplink is back: the port opens' is_open
  net ip link set pA0 down
  eventually 'lost again: shut' is_shut
  shell "touch /tmp/stop; kill -9 $(of_status pid)"
  shell 'dpkg --purge peerless 2>&1'
  purged
  remove
}

under_systemd() {
  say 'Debian with systemd as its first process'
  "${PODMAN[@]}" run -d --name "$name" --network none "${LIMITS[@]}" --systemd=always --privileged \
    --entrypoint /lib/systemd/systemd "$withsystemd" >/dev/null
  eventually 'systemd is up' shell 'systemctl is-system-running | grep -E "running|degraded"'
  cables
  "${PODMAN[@]}" cp "$work/deb" "$name:/deb"
  shell "dpkg -i /deb/$first" >/dev/null
  expect 'without configuration' 'enabled inactive' "$(shell 'systemctl is-enabled peerless; systemctl is-active peerless || true' | paste -sd' ')"
  configure
  if ! shell 'chrt -r 1 true 2>/dev/null'; then
    echo '   (this machine gives containers no real-time priority: tried without)'
    shell 'mkdir -p /etc/systemd/system/peerless.service.d; printf "[Service]\nCPUSchedulingPolicy=other\n" >/etc/systemd/system/peerless.service.d/try.conf; systemctl daemon-reload'
  fi
  # Ends when the agent has said that it is ready.
  shell 'systemctl start peerless && systemctl is-active peerless && peerless status' >/dev/null
  expect 'main process is the agent' "$(of_status pid)" "$(shell 'systemctl show -P MainPID peerless')"
  bounded 0000000000003401
  local before
  before=$(of_status pid)
  shell 'sed -i "s/recoveryDelay: 0s/recoveryDelay: 100ms/" /etc/peerless/peerless.yaml && systemctl reload peerless'
  eventually 'reloaded' shell 'peerless config show | grep -q "recoveryDelay: 100ms"'
  expect 'the same process' "$before" "$(of_status pid)"
  net ip link set pA0 down
  eventually 'an uplink is lost: the port is shut' is_shut
  shell 'systemctl restart peerless'
  [ "$before" != "$(of_status pid)" ] || fail 'not restarted'
  is_shut || fail 'the restart opened the port'
  shell "kill -9 $(of_status pid)"
  eventually 'killed, and back' shell 'peerless status'
  is_shut || fail 'the crash opened the port'
  shell "dpkg -i /deb/$second" >/dev/null
  expect 'version of the agent after the upgrade' "$next" "$(of_status version)"
  is_shut || fail 'the upgrade opened the port'
  shell 'systemctl stop peerless'
  eventually 'stopped: the port is open' is_open
  shell 'systemctl start peerless'
  eventually 'started: shut again' is_shut
  shell 'systemd-analyze security --no-pager peerless.service | tail -1' || true
  shell 'journalctl -u peerless --no-pager -p warning' || true
  shell 'systemctl stop peerless'
  as_host
  shell 'dpkg --purge peerless 2>&1'
  purged
  remove
}

# All parts of a host, encryption and programs included, inside the unit's sandbox.
as_host() {
  cat >"$work/peerless.yaml" <<'YAML'
role: host
underlay: { address: 192.0.2.2, device: A0 }
networks: [{ name: blue, vni: 100, subnet: 10.200.0.0/16, gateway: 10.200.0.1 }]
remotes: [{ host: 192.0.2.1, network: blue, addresses: [10.200.2.0/24] }]
policy: { default: allow, rules: [{ name: no-telnet, direction: in, protocol: tcp, ports: [23], action: deny }] }
fastPath: { mode: tunnel }
encryption: { policy: overlap, keys: { directory: /etc/peerless/keys } }
YAML
  "${PODMAN[@]}" cp "$work/peerless.yaml" "$name:/etc/peerless/peerless.yaml"
  # What systemd mounts on a machine, but not in a container.
  shell 'mount -t bpf bpf /sys/fs/bpf; peerless keys init --directory /etc/peerless/keys >/dev/null
    mkdir -p /etc/systemd/system/peerless.service.d; cp /usr/share/peerless/systemd/peerless-host.conf /etc/systemd/system/peerless.service.d/host.conf
    systemctl daemon-reload; systemctl start peerless'
  bounded 000000c000003401
  expect 'parts of a host that do not follow' '' "$(shell 'peerless host status' | sed -n '/^FOLLOWS/,$p' | grep -v ' following \|^FOLLOWS' || true)"
  shell 'systemctl stop peerless'
  expect 'tables and devices of a host left' '' "$(net /usr/sbin/nft list tables; net ip -br link | sed -n '/^pl/p')"
}

version=$(node -p 'require("./package.json").version')
next=$version+1
say "building $version and $next"
images
first=$(basename "$(packaging/build --compression none --output "$work/deb")")
second=$(basename "$(packaging/build --compression none --output "$work/deb" --version "$next")")
[ "$which" = systemd ] || bare
[ "$which" = bare ] || under_systemd
say 'all as it should be'
