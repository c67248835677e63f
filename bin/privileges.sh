# shellcheck shell=sh
# Sourced by bin/peerless before it starts the agent. Sets `bound`: the words before the agent's own command line that leave
# it the privileges which its role needs, and no others. docs/install.md has the table.
#
# It is done before Node.js starts, since capabilities belong to threads, and Node.js has ten of them before a line of
# JavaScript runs. Under systemd the unit has bounded the agent already, and nothing is left to do. Where it can't be done
# the agent starts all the same: a switch without failover is worse than one whose agent may too much, and `peerless doctor`
# says which it is.

bound=

# From the agent's own command line; anything in the file but a plain `role: tor` or `role: gateway` is taken for a host's.
find_role() {
  config=/etc/peerless/peerless.yaml
  role=host
  keep=
  shift
  while [ "$#" -gt 0 ]; do
    case $1 in
      --keep-privileges) keep=1 ;;
      -c | --config)
        [ "$#" -lt 2 ] || shift
        config=$1
        ;;
      --config=*) config=${1#*=} ;;
      -c*) config=${1#-c} ;;
    esac
    shift
  done
  [ -r "$config" ] || return 0
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
      'role: tor' | 'role: tor '*) role=tor ;;
      'role: gateway' | 'role: gateway '*) role=gateway ;;
      role:*) ;;
      *) continue ;;
    esac
    return 0
  done <"$config"
}

read_own() {
  uid=1 effective=0 bounding=0 groups=0
  while read -r key first second rest; do
    case $key in
      Uid:) uid=$second ;;
      Groups:) for group in $first $second $rest; do groups=$groups,$group; done ;;
      CapEff:) effective=$((0x$first)) ;;
      CapBnd:) bounding=$((0x$first)) ;;
    esac
  done </proc/self/status
}

want() {
  mask=$((mask | 1 << $1))
  # By number: a setpriv of Debian 11 knows the younger ones by no name.
  set="$set,+cap_$1"
}

# Where the data path of a host is pinned, which is mounted with privileges that the agent will not have.
prepare_bpf() {
  while read -r _ place kind _; do
    [ "$place $kind" != '/sys/fs/bpf bpf' ] || return 0
  done </proc/self/mounts
  if [ "$(readlink /proc/self/ns/mnt)" != "$(readlink /proc/1/ns/mnt)" ] &&
    [ "$(stat -f -c %T /proc/1/root/sys/fs/bpf 2>/dev/null)" = bpf_fs ]; then
    # In a mount namespace of its own (`ip netns exec` makes one) the box's file system is reached through the first process.
    want 19 # CAP_SYS_PTRACE
  else
    mount -t bpf -o mode=0700 bpf /sys/fs/bpf 2>/dev/null || :
  fi
}

find_bound() {
  find_role "$@"
  [ -z "$keep" ] || return 0
  read_own
  # Only root's privileges grow by starting a program; and it takes CAP_SETPCAP to bound them.
  [ "$uid" = 0 ] && [ $((effective & 1 << 8)) != 0 ] || return 0
  mask=0 set=-all
  want 0  # CAP_CHOWN: the control socket is for the group peerless, and a file that is written back keeps its owner
  want 10 # CAP_NET_BIND_SERVICE: the BGP port
  want 12 # CAP_NET_ADMIN: ports, routes, rules
  want 13 # CAP_NET_RAW: ARP, ND, OSPF
  # In somebody else's folder (a laboratory's) its files, its state and its socket are that user's to open, and not root's.
  case $config in
    */*) folder=${config%/*}/ ;;
    *) folder=. ;;
  esac
  { [ -O "$config" ] && [ -O "$folder" ]; } || want 1 # CAP_DAC_OVERRIDE
  if [ "$role" = host ]; then
    want 38 # CAP_PERFMON
    want 39 # CAP_BPF
    prepare_bpf
  fi
  [ $((bounding & ~mask)) != 0 ] || return 0
  # In place of root's right to open everything: the groups that may ask SONiC's Redis, and lldpd.
  while IFS=: read -r group _ id _; do
    case $group in
      redis | _lldpd | adm) groups=$groups,$id ;;
    esac
  done </etc/group
  # Some containers may not choose their groups.
  for groups in "--groups=$groups" ''; do
    bound="setpriv --no-new-privs --inh-caps=-all --bounding-set=$set $groups"
    # shellcheck disable=SC2086
    ! $bound true 2>/dev/null || return 0
  done
  bound=
}

find_bound "$@"
