# The parts of a fleet on one machine: whether they answer, whether they are ready, and how they end. Read by `fleet`.
# shellcheck shell=bash disable=SC2154

# await SECONDS REASON COMMAND...: until the command succeeds.
await() {
  local end=$((SECONDS + $1)) reason=$2
  shift 2
  until "$@"; do
    if [ "$SECONDS" -ge "$end" ]; then fail "$reason"; fi
    sleep 0.05
  done
}

# await_alive NAME SECONDS: until it answers, ready or not.
await_alive() {
  local end=$((SECONDS + $2))
  until answers "$1"; do
    if ! is_running "$1"; then tail -n 20 "$dir/log/$1.log" >&2; fail "$1 has ended: $dir/log/$1.log says why"; fi
    if [ "$SECONDS" -ge "$end" ]; then fail "$1 does not answer after $2 s: see $dir/log/$1.log"; fi
    sleep 0.05
  done
}

answers() {
  case "$1" in
    postgres) pg_isready -q -h 127.0.0.1 -p $((base + 1)) ;;
    rabbitmq) amqp_greets ;;
    mesos-master) curl -fs -m 2 -o /dev/null "http://$(address_of "$1")/master/health" ;;
    mesos-agent-*) curl -fs -m 2 -o /dev/null "http://$(address_of "$1")/version" ;;
    *) curl -fs -m 2 -o /dev/null "http://$(address_of "$1")/health" ;;
  esac
}

# A broker answers the protocol's header with its first frame.
amqp_greets() {
  local greeting=
  { exec 3<>"/dev/tcp/127.0.0.1/$((base + 2))" && printf 'AMQP\0\0\11\1' >&3 && LC_ALL=C IFS= read -r -t 2 -n 1 -d x greeting <&3; } 2>/dev/null || true
  exec 3>&- || true
  [ "$greeting" = $'\1' ]
}

# Whether a part can do its work; says what is amiss where it cannot.
ready() {
  case "$1" in
    mesos-agent-*) agent_is_registered "$(address_of "$1")" ;;
    postgres | rabbitmq | mesos-master) answers "$1" || { echo 'does not answer'; return 1; } ;;
    *) service_is_ready "$(address_of "$1")" ;;
  esac
}

agent_is_registered() {
  curl -fs -m 2 "http://$(address_of mesos-master)/master/slaves" 2>/dev/null |
    python3 -c 'import json, sys
sys.exit(not any(agent["active"] and agent["pid"].endswith("@" + sys.argv[1]) for agent in json.load(sys.stdin)["slaves"]))' "$1" 2>/dev/null ||
    { echo 'the master does not know it'; return 1; }
}

service_is_ready() {
  local answer
  answer=$(curl -s -m 3 "http://$1/ready") || { echo 'does not answer'; return 1; }
  # One that takes requests may still wait for what they need to get anywhere.
  if [[ $answer == *'"ready":true'* && $answer == *'"waits_for":{}'* ]]; then return; fi
  echo "$answer" | python3 -c 'import json, sys
waits = json.load(sys.stdin)["waits_for"]
text = "; ".join(f"{name} ({reason})" for name, reason in waits.items())
print("waits for", text[:157] + "..." if len(text) > 160 else text)' 2>/dev/null || echo 'is not ready, and does not say why'
  return 1
}

# send NAME SIGNAL: nothing where it does not run.
send() {
  local pid
  if pid=$(pid_of "$1"); then kill "-$2" "$pid" 2>/dev/null || true; fi
}

is_gone() { ! is_running "$1"; }

# stop_part NAME SECONDS: in order; at once where it does not end in time.
stop_part() {
  if is_gone "$1"; then return; fi
  # To Postgres TERM means: when the last client has gone.
  if [ "$1" = postgres ]; then send "$1" INT; else send "$1" TERM; fi
  local end=$((SECONDS + $2))
  until is_gone "$1"; do
    if [ "$SECONDS" -ge "$end" ]; then say "$1 did not end within $2 s, and is killed"; is_gone "$1" || kill_part "$1" KILL; fi
    sleep 0.05
  done
}

# kill_part NAME SIGNAL: after a KILL, returns when it is gone.
kill_part() {
  is_running "$1" || fail "$1 does not run"
  send "$1" "${2#SIG}"
  case "$2" in KILL | SIGKILL | 9) await 60 "$1 does not end" is_gone "$1" ;; esac
}

processes_in() {
  find /proc -maxdepth 2 -path '/proc/[0-9]*/cwd' \( -lname "$1" -o -lname "$1/*" \) 2>/dev/null | cut -d / -f 3 || true
}
no_process_in() { [ -z "$(processes_in "$1")" ]; }

# Executors outlive their agent, and workloads their executor, as they should; a fleet that ends takes them along.
end_leftovers() {
  local round
  for round in 1 2 3; do
    { processes_in "$dir/mesos"; processes_in "$dir/work"; processes_in "$dir/rabbitmq"; processes_of_uids; } | xargs -r kill -KILL 2>/dev/null || true
    if no_process_in "$dir/mesos" && [ -z "$(processes_of_uids)" ]; then break; fi
    sleep 0.1
  done
  end_engines
  end_containers podman
  end_containers docker
  if [ -s "$dir/rabbitmq/ports" ]; then
    local epmd
    read -r _ _ epmd _ <"$dir/rabbitmq/ports"
    # Whatever becomes of it, the rest goes on.
    (await 5 "RabbitMQ's epmd does not end" end_epmd "$epmd") || true
  fi
}

# The engines of agents' machines, which the tests of containers start in folders of their own, with all that they run: a test
# that was killed has left them. Containers go first, while their engine can still take their networks away.
end_engines() {
  local socket round pid
  if [ ! -d "$dir/engines" ]; then return; fi
  for socket in "$dir"/engines/*/sock; do
    # One that was killed has left its socket behind, at which nobody answers.
    if [ ! -S "$socket" ] || [ -z "$(processes_in "${socket%/sock}")" ]; then continue; fi
    timeout 60 podman --url "unix://$socket" rm --all --force --volumes --time 0 >/dev/null 2>&1 ||
      say "the engine at $socket does not remove its containers: they are killed with it"
  done
  for round in 1 2 3; do
    # What an engine did not remove is a child of what watches it.
    for pid in $(processes_in "$dir/engines"); do
      { ps -o pid= --ppid "$pid"; echo "$pid"; } | xargs -r kill -KILL 2>/dev/null || true
    done
    if no_process_in "$dir/engines"; then break; fi
    sleep 0.1
  done
}

# end_containers ENGINE: those of this fleet's nodes. Their executors, which would have ended them, are gone.
end_containers() {
  if ! command -v "$1" >/dev/null; then return; fi
  local container
  for container in $("$1" ps --all --quiet --filter label=bigdata_folder 2>/dev/null); do
    case "$("$1" inspect --format '{{index .Config.Labels "bigdata_folder"}}' "$container" 2>/dev/null)" in
      "$dir"/mesos/*) "$1" rm --force "$container" >/dev/null || say "$1 keeps the container $container" ;;
    esac
  done
}

# It ends only when the last broker has left it, and that it notices at once.
end_epmd() {
  if ! command -v epmd >/dev/null; then return; fi
  case "$(epmd -port "$1" -kill 2>&1 || true)" in *Killed* | *onnect*) return ;; *) return 1 ;; esac
}

processes_of_uids() {
  if [ "$(id -u)" != 0 ]; then return; fi
  ps -eo pid=,uid= | awk -v first="$uid_first" '$2 >= first && $2 < first + 5000 { print $1 }'
}
