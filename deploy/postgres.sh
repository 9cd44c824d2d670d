#!/usr/bin/env bash
# A throw-away Postgres server for tests, on a Unix socket and a free loopback port, with nothing worth keeping.
#
#   deploy/postgres.sh start FOLDER    makes a new server in FOLDER and prints its URL; again: starts it on its data
#   deploy/postgres.sh kill FOLDER     kills it with SIGKILL and keeps its data
#   deploy/postgres.sh stop FOLDER     ends it and removes FOLDER
#
# BIGDATA_POSTGRES_OPTIONS  more options of the server, such as `-c fsync=on`: without it nothing is synced to the disk
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
    if [ ! -s "$folder/port" ]; then
      "$(dirname "$0")/free-ports" 1 >"$folder/port"
      as_owner "initdb --pgdata='$folder/data' --auth=trust --username=bigdata --no-sync --encoding=UTF8 --locale=C" >"$folder/initdb.log" 2>&1 ||
        { cat "$folder/initdb.log" >&2; exit 1; }
    fi
    port=$(cat "$folder/port")
    as_owner "pg_ctl --pgdata='$folder/data' --log='$folder/log' --wait --timeout=180 --options='-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$folder -c fsync=off -c max_connections=300 ${BIGDATA_POSTGRES_OPTIONS:-}' start" >/dev/null ||
      { cat "$folder/log" >&2; exit 1; }
    echo "postgres://bigdata@127.0.0.1:$port/postgres" ;;
  kill)
    # Its children end when they miss it; a server that starts before they have refuses to.
    pid=$(head -n 1 "$folder/data/postmaster.pid")
    children=$(pgrep -P "$pid" || true)
    kill -KILL "$pid"
    for child in $pid $children; do while kill -0 "$child" 2>/dev/null; do sleep 0.02; done; done ;;
  stop)
    as_owner "pg_ctl --pgdata='$folder/data' --mode=immediate stop" >/dev/null 2>&1 || true
    rm -rf "$folder" ;;
  *) sed -n '2,10p' "$0" >&2; exit 2 ;;
esac
