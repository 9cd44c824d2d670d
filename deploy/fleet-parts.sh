# The parts of a fleet on one machine: where each is, and how it is made, started and found. Read by `fleet`.
# shellcheck shell=bash disable=SC2154

# Fleets of one machine differ in their first port alone; everything else that must differ follows from it.
derive_addresses() {
  [[ "$base" =~ ^[1-9][0-9]+$ ]] && [ $((base % 100)) = 0 ] && [ "$base" -ge 1100 ] && [ "$base" -le 32600 ] ||
    fail "BIGDATA_FLEET_PORTS is $base; it must be a multiple of 100 between 1100 and 32600"
  number=$((base / 100))
  # Agents listen on addresses of their own; nodes get theirs from a block of 4096 that no other fleet has, and that lies
  # outside of the blocks of `bigdata up`.
  agents_net=127.$((224 + number / 256)).$((number % 256))
  nodes_net=127.$((128 + number / 16)).$((number % 16 * 16)).0/20
  uid_first=$((1910000000 + number * 5000))
  machines='' outside=127.0.0.1
  export MESOS_CLUSTER_RUN=$dir/mesos MESOS_CLUSTER_PORT=$((base + 50)) MESOS_CLUSTER_NET=$agents_net
  tools=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
  PATH=${tools:+$tools:}$PATH
  if [ "$own_machines" = 1 ]; then derive_machines; outside=$machines_net.254; fi
}

address_of() {
  local n=${1##*-}
  case "$1" in
    postgres) echo "127.0.0.1:$((base + 1))" ;;
    rabbitmq) echo "127.0.0.1:$((base + 2))" ;;
    mesos-master) echo "$outside:$((base + 50))" ;;
    mesos-agent-*) echo "$agents_net.$n:5051" ;;
    registry-*) echo "127.0.0.1:$((base + 10 + n))" ;;
    # Executors ask it.
    framework-*) echo "$outside:$((base + 20 + n))" ;;
    orchestrator-*) echo "127.0.0.1:$((base + 30 + n))" ;;
    gateway-*) echo "127.0.0.1:$((base + 40 + n))" ;;
  esac
}

postgres_url() { echo "postgres://bigdata:$(cat "$dir/keys/postgres.password")@$(address_of postgres)/bigdata"; }
rabbitmq_url() { echo "amqp://guest:guest@$(address_of rabbitmq)/%2f"; }
# Where it speaks TLS as well: where openssl was there to make a certificate.
rabbitmq_tls_url() { echo "amqps://guest:guest@127.0.0.1:$((base + 5))/%2f"; }
both() { echo "http://$(address_of "$1-1"),http://$(address_of "$1-2")"; }

# Keys and settings, where they are missing.
make_fleet() {
  mkdir -p "$dir/log" "$dir/run" "$dir/bin" "$dir/mesos" "$dir/keys" "$dir/work" "$dir/backups"
  chmod 755 "$dir"
  chmod 700 "$dir/keys"
  local key
  for key in registry.key orchestrator.key control.key internal.token; do
    if [ ! -s "$dir/keys/$key" ]; then (umask 077; head -c 32 /dev/urandom | base64 -w0 >"$dir/keys/$key.new"; mv "$dir/keys/$key.new" "$dir/keys/$key"); fi
  done
  if [ ! -s "$dir/keys/postgres.password" ]; then (umask 077; head -c 18 /dev/urandom | base64 -w0 | tr '/+' 'ab' >"$dir/keys/postgres.password"); fi
  printf 'base=%q\nbin=%q\nown_machines=%q\n' "$base" "$bin" "$own_machines" >"$dir/fleet.env"
  if [ -n "$machines" ]; then make_machines; fi
  (umask 077; settings >"$dir/fleet.toml.new"; mv "$dir/fleet.toml.new" "$dir/fleet.toml")
}

# One file for all; what differs between replicas is in their environment.
settings() {
  local uids=''
  if [ "$(id -u)" = 0 ]; then uids="uid_pool = { first = $uid_first, last = $((uid_first + 3999)) }"; fi
  cat <<END
# Made by deploy/fleet, and made again at each 'fleet up'.
[database]
url = "$(postgres_url)"

[bus]
url = "$(rabbitmq_url)"

[log]
filter = "info"
json = true

[internal]
token_file = "$dir/keys/internal.token"

[registry]
key_file = "$dir/keys/registry.key"
program = "$dir/bin/bigdata"

[framework]
url = "$(both framework)"
registry = "$(both registry)"
masters = ["http://$(address_of mesos-master)"]
user = "$(id -un)"
executor_command = ["$dir/bin/bigdata-executor"]
control_key_file = "$dir/keys/control.key"
$uids

[orchestrator]
registry = "$(both registry)"
gateway = "$(both gateway)"
program = "$dir/bin/bigdata"
vault_key = "$dir/keys/orchestrator.key"
backups_url = "$dir/backups"

[gateway]
registry = "$(both registry)"
framework = "$(both framework)"
orchestrator = "$(both orchestrator)"
END
}

# take PROGRAM [NAME]: puts a program into the fleet's own folder, so that a build in the meantime changes nothing that runs.
take() {
  local from=$bin/$1 to=$dir/bin/${2:-$1}
  [ -x "$from" ] || fail "there is no $from: build it (cargo build -p $1), or set BIGDATA_BIN"
  if [ "$from" -ef "$to" ]; then return; fi
  ln -f "$from" "$to.new" 2>/dev/null || cp "$from" "$to.new"
  mv -f "$to.new" "$to"
}

# The instant of a process's start tells it from a later one of the same number.
started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" { print $20 }'; }
remember() { echo "$2 $(started_at "$2")" >"$dir/run/$1.pid"; }

pid_of() {
  local pid started
  read -r pid started 2>/dev/null <"$dir/run/$1.pid" && [ -n "$started" ] && [ "$(started_at "$pid")" = "$started" ] && echo "$pid"
}
is_running() { pid_of "$1" >/dev/null; }

start_part() {
  local name=$1 log="$dir/log/$1.log"
  if is_running "$name"; then return; fi
  case "$name" in
    postgres) start_postgres "$log" ;;
    rabbitmq) start_rabbitmq "$log" ;;
    mesos-master) start_mesos "$name" master ;;
    mesos-agent-*) start_mesos "$name" "agent${name##*-}" ;;
    *) start_service "$name" "$log" ;;
  esac
}

start_postgres() {
  local data=$dir/postgres/data own=()
  mkdir -p "$dir/postgres"
  if [ "$(id -u)" = 0 ]; then own=(setpriv --reuid postgres --regid postgres --clear-groups); chown postgres "$dir/postgres"; fi
  if [ ! -f "$data/made" ]; then
    rm -rf "$data"
    install -m 600 ${own[0]:+-o postgres} "$dir/keys/postgres.password" "$dir/postgres/password"
    (cd / && "${own[@]}" initdb --pgdata="$data" --auth=scram-sha-256 --username=bigdata --pwfile="$dir/postgres/password" \
      --encoding=UTF8 --locale=C >>"$1" 2>&1) || { tail -n 20 "$1" >&2; fail "Postgres cannot be made"; }
    rm "$dir/postgres/password"
  fi
  # A killed server's children hold its memory for a moment, and a new one would refuse to start.
  await 60 "the former Postgres does not end" no_process_in "$data"
  (cd / && exec setsid "${own[@]}" postgres -D "$data" -p $((base + 1)) -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c max_connections=300 </dev/null >>"$1" 2>&1) &
  remember postgres $!
  await_alive postgres 120
  if [ ! -f "$data/made" ]; then
    psql --quiet "$(postgres_url | sed 's|/bigdata$|/postgres|')" -c 'CREATE DATABASE bigdata' 2>>"$1" || fail "Postgres has no database: $1 says why"
    touch "$data/made"
  fi
}

start_rabbitmq() {
  local tls_port=
  if command -v openssl >/dev/null; then tls_port=$((base + 5)); fi
  BIGDATA_RABBITMQ_TLS_PORT=$tls_port BIGDATA_RABBITMQ_PORTS="$((base + 2)) $((base + 3)) $((base + 4))" "$here/rabbitmq.sh" start "$dir/rabbitmq" >>"$1" 2>&1 8>&- ||
    { tail -n 20 "$1" >&2; fail "RabbitMQ does not start"; }
  remember rabbitmq "$(cat "$dir/rabbitmq/pid")"
}

start_mesos() {
  ln -sfn "../mesos/$2.log" "$dir/log/$1.log"
  if [ "$2" != master ]; then take bigdata-executor; take bigdata; fi
  if [ ! -x "${MESOS_CLUSTER_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/mesos-cluster}/libexec/mesos-fetcher" ]; then "$here/mesos/mesos-cluster" install; fi
  local network=loopback:fleet-$base:$nodes_net
  if [ -n "$machines" ] && [ "$2" != master ]; then network=pool:$(nodes_of "${2#agent}"); fi
  if [ -n "${BIGDATA_FLEET_NETWORK:-}" ]; then network=$BIGDATA_FLEET_NETWORK; fi
  # An agent that was started again kills executors that are not back in time: after 2 s by Mesos's own default, which a busy
  # machine may need for anything. It is back itself when this has passed, and launches wait 15 s for it.
  export MESOS_EXECUTOR_REREGISTRATION_TIMEOUT=${MESOS_EXECUTOR_REREGISTRATION_TIMEOUT:-8secs}
  MESOS_ATTRIBUTES="rack:r${2#agent};bigdata_net:$network${BIGDATA_FLEET_ATTRIBUTES:+;$BIGDATA_FLEET_ATTRIBUTES}" "$here/mesos/mesos-cluster" start "$2"
  remember "$1" "$(cat "$dir/mesos/$2.pid")"
}

start_service() {
  local name=$1 service=${1%-*} n=${1##*-} variables
  take "bigdata-$service" "$name"
  take bigdata
  variables=("BIGDATA__${service^^}__LISTEN=$(address_of "$name")")
  if [ "$service" = orchestrator ]; then
    mkdir -p "$dir/work/$n"
    # Replicas on one machine must not run scripts as the same users.
    variables+=("BIGDATA__ORCHESTRATOR__WORK_DIR=$dir/work/$n" "BIGDATA__ORCHESTRATOR__SCRIPT_UID_FIRST=$((uid_first + 4000 + 100 * n))")
  fi
  (cd "$dir" && exec env "${variables[@]}" PATH="$dir/bin:$PATH" setsid "$dir/bin/$name" --config "$dir/fleet.toml" </dev/null >>"$2" 2>&1) &
  remember "$name" $!
  await_alive "$name" 120
}
