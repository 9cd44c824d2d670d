# The agents of a fleet on machines of their own: a network namespace for each, joined by a bridge. Read by `fleet`.
# shellcheck shell=bash disable=SC2154
#
# Machine N has the address $machines_net.N, as its agent, and 32 addresses for its nodes that are routed to it; the control
# plane is at $machines_net.254. Whoever cuts a machine off takes its cables out: nothing on it ends. By a second cable the
# bridges br-lan of all machines are one network without addresses, which containers may be connected with.

derive_machines() {
  machines_net=10.$((192 + number / 256)).$((number % 256))
  machines=bdf$number
  agents_net=$machines_net
  export MESOS_CLUSTER_NET=$agents_net MESOS_CLUSTER_HOST=$machines_net.254 MESOS_CLUSTER_NAMESPACES=$machines-
}

# nodes_of MACHINE: the addresses of its nodes.
nodes_of() { echo "$machines_net.$((32 * $1))/27"; }

make_machines() {
  [ "$(id -u)" = 0 ] || fail "machines of their own are network namespaces, which only root may make"
  # Each step is taken where it is missing: one that was interrupted before may have made a part.
  make_bridge "$machines"
  ip address replace "$machines_net.254/24" dev "$machines"
  make_bridge "$machines-lan"
  local n machine
  for n in 1 2 3; do
    machine=$machines-$n
    if [ ! -e "/run/netns/$machine" ]; then ip netns add "$machine"; fi
    ip -n "$machine" link set lo up
    make_cable "$machine" "$machine" eth0 "$machines"
    ip -n "$machine" address replace "$machines_net.$n/24" dev eth0
    # The machine answers for each of its nodes' addresses; the bridge is one network, so neighbours ask for them.
    ip -n "$machine" route replace local "$(nodes_of "$n")" dev lo
    make_cable "$machine" "$machines-lan-$n" eth1 "$machines-lan"
    make_bridge br-lan "$machine"
    ip -n "$machine" link set eth1 master br-lan
  done
}

# make_bridge NAME [MACHINE]: on this machine, or on that one.
make_bridge() {
  local there=()
  if [ -n "${2:-}" ]; then there=(-n "$2"); fi
  if ! ip "${there[@]}" link show "$1" >/dev/null 2>&1; then ip "${there[@]}" link add "$1" type bridge; fi
  ip "${there[@]}" link set "$1" up
}

# make_cable MACHINE END DEVICE BRIDGE: from a machine's device to a bridge. One that was taken out stays out.
make_cable() {
  if ! ip link show "$2" >/dev/null 2>&1; then ip link add "$2" up master "$4" type veth peer name "$3" netns "$1"; fi
  ip -n "$1" link set "$3" up
}

# machine_of NAME: its network namespace, and its end of the cable.
machine_of() {
  case "$1" in mesos-agent-*) ;; *) fail "$1 has no machine of its own: agents have" ;; esac
  [ -n "$machines" ] || fail "this fleet's agents share one machine: it was made without BIGDATA_FLEET_MACHINES=1"
  echo "$machines-${1##*-}"
}

# set_cable NAME up|down: joins an agent's machine to the others, or cuts it off: as a whole, or not at all.
set_cable() {
  local machine cable cables
  machine=$(machine_of "$1")
  cables=("$machine" "$machines-lan-${1##*-}")
  for cable in "${cables[@]}"; do
    ip link show "$cable" >/dev/null 2>&1 || fail "the machine of $1 has not all of its cables: bring the fleet up again"
  done
  for cable in "${cables[@]}"; do ip link set "$cable" "$2"; done
}

# run_inside NAME COMMAND...
run_inside() {
  local machine
  machine=$(machine_of "$1")
  shift
  exec nsenter "--net=/run/netns/$machine" "$@"
}

end_machines() {
  local n
  for n in 1 2 3; do
    if [ -e "/run/netns/$machines-$n" ]; then
      ip netns pids "$machines-$n" | xargs -r kill -KILL 2>/dev/null || true
      ip netns delete "$machines-$n"
    fi
    ip link delete "$machines-$n" 2>/dev/null || true
    ip link delete "$machines-lan-$n" 2>/dev/null || true
  done
  ip link delete "$machines" 2>/dev/null || true
  ip link delete "$machines-lan" 2>/dev/null || true
}
