#!/usr/bin/env bash
# A throw-away bucket that speaks S3, for tests, on a free loopback port: Moto's server, from the Python package index.
#
#   deploy/s3.sh start FOLDER      installs it into FOLDER, starts it, and prints "ENDPOINT BUCKET ACCESS_KEY SECRET_KEY"
#   deploy/s3.sh stop FOLDER       ends it and removes FOLDER
#
# Needs python3 with pip. What is stored is kept in memory.
set -euo pipefail
[ $# = 2 ] || { sed -n '2,7p' "$0" >&2; exit 2; }
action=$1 folder=$2
case "$action" in
  start)
    mkdir -p "$folder"
    # Nothing of what it finds installed on the machine is used, so that conflicts with that are of no interest.
    python3 -m pip install --quiet --target "$folder/packages" 'moto[s3]==5.*' flask flask-cors 2>"$folder/pip.log" ||
      { cat "$folder/pip.log" >&2; echo "s3: moto cannot be installed" >&2; exit 1; }
    port=$("$(dirname "$0")/free-ports" 1)
    cd "$folder"
    PYTHONPATH=$folder/packages setsid python3 -m moto.server -H 127.0.0.1 -p "$port" </dev/null >"$folder/log" 2>&1 &
    echo $! >"$folder/pid"
    for _ in $(seq 600); do
      if curl -sf -o /dev/null -X PUT "http://127.0.0.1:$port/bigdata-test"; then
        echo "http://127.0.0.1:$port bigdata-test key secret"
        exit
      fi
      sleep 0.2
    done
    cat "$folder/log" >&2; echo "s3: it does not answer" >&2; exit 1
    ;;
  stop)
    if [ -s "$folder/pid" ]; then kill "$(cat "$folder/pid")" 2>/dev/null || true; fi
    rm -rf "$folder"
    ;;
  *) sed -n '2,7p' "$0" >&2; exit 2 ;;
esac
