#!/usr/bin/env bash
# A throw-away Postgres server for tests, on a Unix socket and a free loopback port, with nothing worth keeping.
#
#   deploy/postgres.sh start FOLDER    makes a new server in FOLDER and prints its URL
#   deploy/postgres.sh stop FOLDER     ends it and removes FOLDER
#
# Needs Debian's package postgresql (or initdb and pg_ctl on PATH). As root it runs as the user postgres.
set -euo pipefail
action=${1:?start or stop} folder=${2:?a folder}
tools=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
PATH=${tools:+$tools:}$PATH
as_owner() { if [ "$(id -u)" = 0 ]; then su postgres -s /bin/bash -c "PATH=$PATH; $1"; else bash -c "$1"; fi; }

case "$action" in
  start)
    mkdir -p "$folder"
    if [ "$(id -u)" = 0 ]; then chown postgres "$folder"; fi
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    as_owner "initdb --pgdata='$folder/data' --auth=trust --username=bigdata --no-sync --encoding=UTF8 --locale=C" >"$folder/initdb.log" 2>&1 ||
      { cat "$folder/initdb.log" >&2; exit 1; }
    as_owner "pg_ctl --pgdata='$folder/data' --log='$folder/log' --wait --options='-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$folder -c fsync=off -c max_connections=300' start" >/dev/null ||
      { cat "$folder/log" >&2; exit 1; }
    echo "postgres://bigdata@127.0.0.1:$port/postgres" ;;
  stop)
    as_owner "pg_ctl --pgdata='$folder/data' --mode=immediate stop" >/dev/null 2>&1 || true
    rm -rf "$folder" ;;
  *) sed -n '2,7p' "$0" >&2; exit 2 ;;
esac
