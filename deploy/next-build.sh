#!/usr/bin/env bash
# Builds the services as a later release might be, from these sources and one more migration of each: for the fleet's test of
# an upgrade (BIGDATA_BIN_NEXT=FOLDER).
#
#   deploy/next-build.sh FOLDER [BIN]    the programs go to FOLDER; those without a schema come from BIN (target/debug)
set -euo pipefail
if [ $# -lt 1 ]; then sed -n '2,5p' "$0" >&2; exit 2; fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "$1"
to=$(cd "$1" && pwd)
from=$(cd "${2:-$here/target/debug}" && pwd)
sources=$to/sources
mkdir -p "$sources"
(cd "$here" && git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --preserve=timestamps -t "$sources")
# What an expanding migration does: the former release's replicas go on beside it.
for service in registry framework orchestrator; do
  for database in postgres sqlite; do
    printf 'CREATE TABLE next_release (note TEXT NOT NULL);\nALTER TABLE %s ADD COLUMN next_release TEXT;\n' \
      "$(sed -n 's/^CREATE TABLE \([a-z_]*\).*/\1/p' "$here/$service/migrations/$database"/0100_*.sql | head -n 1)" \
      >"$sources/$service/migrations/$database/0999_next_release.sql"
  done
done
target=${CARGO_TARGET_DIR:-$here/target}/next
(cd "$sources" && CARGO_TARGET_DIR=$target cargo build -p bigdata-registry -p bigdata-framework -p bigdata-orchestrator --bins)
for program in bigdata bigdata-executor bigdata-gateway; do ln -f "$from/$program" "$to/$program" 2>/dev/null || cp "$from/$program" "$to/$program"; done
for program in bigdata-registry bigdata-framework bigdata-orchestrator; do cp "$target/debug/$program" "$to/$program"; done
rm -rf "$sources"
