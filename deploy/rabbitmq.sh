#!/usr/bin/env bash
# A throw-away RabbitMQ broker for tests, on free loopback ports, with a name, a cookie and an epmd of its own.
#
#   deploy/rabbitmq.sh start FOLDER      makes a new broker in FOLDER and prints its URL; again: starts it on its data
#   deploy/rabbitmq.sh kill FOLDER       kills it with SIGKILL and keeps its data
#   deploy/rabbitmq.sh ctl FOLDER …      rabbitmqctl for it
#   deploy/rabbitmq.sh stop FOLDER       ends it and removes FOLDER
#
# BIGDATA_RABBITMQ_TLS_PORT: where a new broker speaks TLS as well, by a certificate that FOLDER/tls/ca.pem vouches for.
#
# Needs Debian's package rabbitmq-server (or rabbitmq-server and rabbitmqctl on PATH). As root it runs as the user rabbitmq.
set -euo pipefail
usage() { sed -n '2,11p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
action=$1 folder=$2
shift 2
if [ -d /usr/lib/rabbitmq/bin ]; then PATH=/usr/lib/rabbitmq/bin:$PATH; fi
# As another user than root there is nothing to change to.
own=()
if [ "$(id -u)" = 0 ] && id rabbitmq >/dev/null 2>&1; then
  own=(setpriv --reuid rabbitmq --regid rabbitmq --clear-groups)
fi

# Everything that the broker and its tools read: nothing of /etc/rabbitmq, nothing of another broker.
load() {
  read -r port distribution epmd name <"$folder/ports"
  export HOME=$folder ERL_EPMD_PORT=$epmd ERL_EPMD_ADDRESS=127.0.0.1 ERL_CRASH_DUMP_SECONDS=0 LC_ALL=C.UTF-8
  export RABBITMQ_NODENAME=$name RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=$port RABBITMQ_DIST_PORT=$distribution
  export RABBITMQ_CONF_ENV_FILE=$folder/none RABBITMQ_CONFIG_FILE=$folder/rabbitmq.conf RABBITMQ_ADVANCED_CONFIG_FILE=$folder/none
  export RABBITMQ_ENABLED_PLUGINS_FILE=$folder/plugins RABBITMQ_MNESIA_BASE=$folder/data RABBITMQ_LOG_BASE=$folder/log
  export RABBITMQ_PID_FILE=$folder/pid RABBITMQ_CTL_ERL_ARGS="+S 1:1 +sbwt none"
  # One scheduler that does not spin: a broker among tests on a small machine.
  export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 1:1 +SDcpu 1:1 +SDio 1 +sbwt none +sbwtdcpu none +sbwtdio none"
  cd "$folder"
}
running() { [ -s "$folder/pid" ] && kill -0 "$(cat "$folder/pid")" 2>/dev/null; }
end() {
  if running; then kill -KILL "$(cat "$folder/pid")"; fi
  while running; do sleep 0.02; done
}

# A single broker that comes back forgets to elect the leader of a quorum queue to which a client speaks too early
# (rabbitmq/rabbitmq-server#10070, rabbitmq/ra#179): the queue stands still until somebody asks for the election.
elect() {
  for _ in $(seq 20); do
    if [ "$("${own[@]}" rabbitmqctl --quiet eval "F = [N || {N, follower} <- ets:tab2list(ra_state)], \
        [catch ra:trigger_election({N, node()}) || N <- F], length(F).")" = 0 ]; then return; fi
  done
}

# A throw-away authority in FOLDER/tls, and the broker's certificate by it. The authority's key is not kept.
make_certificates() {
  local tls=$folder/tls
  mkdir -p "$tls"
  {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj '/CN=a throw-away authority' \
      -keyout "$tls/ca.key" -out "$tls/ca.pem"
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost \
      -keyout "$tls/server.key" -out "$tls/server.csr"
    printf '%s\n' subjectAltName=IP:127.0.0.1,DNS:localhost extendedKeyUsage=serverAuth >"$tls/extensions"
    openssl x509 -req -days 30 -in "$tls/server.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -CAcreateserial \
      -extfile "$tls/extensions" -out "$tls/server.pem"
  } >"$folder/openssl.log" 2>&1 || { cat "$folder/openssl.log" >&2; exit 1; }
  rm "$tls/ca.key" "$tls/server.csr" "$tls/extensions"
  chmod 600 "$tls/server.key"
  printf '%s\n' "listeners.ssl.default = 127.0.0.1:$1" "ssl_options.cacertfile = $tls/ca.pem" \
    "ssl_options.certfile = $tls/server.pem" "ssl_options.keyfile = $tls/server.key" \
    "ssl_options.verify = verify_none" "ssl_options.fail_if_no_peer_cert = false" >>"$folder/rabbitmq.conf"
}

case "$action" in
  start)
    mkdir -p "$folder"
    folder=$(cd "$folder" && pwd)
    if [ ! -s "$folder/ports" ]; then
      echo "${BIGDATA_RABBITMQ_PORTS:-$("$(dirname "$0")/free-ports" 3)} bigdata-$$-$RANDOM@localhost" >"$folder/ports"
      printf '%s\n' "vm_memory_high_watermark.absolute = 1GB" "disk_free_limit.absolute = 10MB" "loopback_users.guest = true" \
        "log.file.level = warning" "heartbeat = 10" >"$folder/rabbitmq.conf"
      if [ -n "${BIGDATA_RABBITMQ_TLS_PORT:-}" ]; then make_certificates "$BIGDATA_RABBITMQ_TLS_PORT"; fi
      echo '[].' >"$folder/plugins"
      head -c 24 /dev/urandom | base64 | tr -d '/+=' >"$folder/.erlang.cookie"
      chmod 400 "$folder/.erlang.cookie"
      if [ ${#own[@]} -gt 0 ]; then chown -R rabbitmq:rabbitmq "$folder"; fi
    fi
    load
    again=$([ -d "$folder/data" ] && echo yes || true)
    rm -f "$folder/pid"
    setsid "${own[@]}" rabbitmq-server </dev/null >>"$folder/out" 2>&1 &
    wrapper=$!
    # The broker opens its port as the last thing of its start.
    for _ in $(seq 1800); do
      if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && running; then
        if [ -n "$again" ]; then elect; fi
        echo "amqp://guest:guest@127.0.0.1:$port/%2f"
        exit 0
      fi
      if ! kill -0 "$wrapper" 2>/dev/null; then break; fi
      sleep 0.1
    done
    echo "RabbitMQ does not start:" >&2
    tail -n 30 "$folder/out" >&2
    # One that is only late must not stay: nobody knows of it.
    kill -KILL -- "-$wrapper" 2>/dev/null || true
    end
    exit 1 ;;
  kill)
    end ;;
  ctl)
    folder=$(cd "$folder" && pwd)
    load
    exec "${own[@]}" rabbitmqctl --quiet "$@" ;;
  stop)
    [ -d "$folder" ] || exit 0
    folder=$(cd "$folder" && pwd)
    end
    if [ -s "$folder/ports" ]; then
      load
      # It ends once the last broker has left it, and that it notices at once.
      for _ in $(seq 20); do if epmd -kill 2>/dev/null | grep -q -e Killed -e connect; then break; fi; sleep 0.1; done
    fi
    cd /
    rm -rf "$folder" ;;
  *) usage ;;
esac
