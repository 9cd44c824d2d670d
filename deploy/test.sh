#!/usr/bin/env bash
# Runs every check and every test of the project: style, lints, unit and integration tests, the conformance suites on
# Postgres, RabbitMQ, ZooKeeper, a bucket and a real Apache Mesos, and the end-to-end tests on one machine and on a fleet. It installs what it needs from the package index of
# Debian or Ubuntu where it may (as root), and says what is missing where it may not.
#
#   deploy/test.sh             everything
#   deploy/test.sh -p NAME     what follows is handed to `cargo test` in place of --workspace
#
# BIGDATA_SWEEP_ROUNDS  rounds of the kill -9 sweep (20)
# BIGDATA_SWEEP_SEED    its seed (a new one each time; it is printed)
# BIGDATA_PRODUCT_ROUNDS  kills of a MariaDB primary under load (5)
# BIGDATA_FLEET_ROUNDS  faults of each of the fleet's sweeps (4; 0: each of them), and BIGDATA_FLEET_SEED, which choose them
# BIGDATA_FLEET_LATE_SECONDS  how late events are where that is the fault (10; with BIGDATA_FLEET_ROUNDS=0 1800)
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s\n' "$*"; }

step "what the tests need"
packages=()
need() { if ! eval "$1" >/dev/null 2>&1; then packages+=("$2"); fi; }
need "command -v gcc" gcc
need "command -v g++" g++
need "command -v curl" curl
need "command -v http" httpie
need "ls /usr/lib/postgresql/*/bin/initdb || command -v initdb" postgresql
need "command -v rabbitmq-server || ls /usr/lib/rabbitmq/bin" rabbitmq-server
need "ls /usr/share/zookeeper/bin" zookeeper
need "command -v setpriv" util-linux
need "command -v openssl" openssl
need "command -v mariadbd" mariadb-server
need "command -v mariabackup" mariadb-backup
need "command -v slurmctld" slurm-wlm
need "ldconfig -p | grep -q libnss_wrapper" libnss-wrapper
need "command -v podman" podman
need "command -v runc" runc
need "ls /bin/busybox" busybox-static
need "ls /usr/sbin/glusterd" glusterfs-server
need "ls /usr/lib/cni/bridge || ls /usr/lib/podman/netavark" containernetworking-plugins
need "command -v iptables" iptables
need "command -v ip" iproute2
need "command -v docker-registry" docker-registry
need "command -v htpasswd" apache2-utils
need "command -v strip" binutils
need "ldconfig -p | grep -q libsvn_subr" libsvn1
need "ldconfig -p | grep -q libapr-1" libapr1
need "ldconfig -p | grep -q libsasl2" libsasl2-2
if [ ${#packages[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
  else
    echo "missing: ${packages[*]} (sudo apt-get install ${packages[*]})" >&2; exit 1
  fi
fi
python3 -m pip --version >/dev/null 2>&1 || echo "note: without pip neither Apache Mesos nor Moto can be fetched" >&2

step "a throw-away Postgres, RabbitMQ and bucket"
work=$(mktemp -d)
chmod 755 "$work"
trap 'deploy/postgres.sh stop "$work/postgres"; deploy/rabbitmq.sh stop "$work/rabbitmq"; deploy/s3.sh stop "$work/s3"; deploy/mesos/mesos-cluster down >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
BIGDATA_TEST_POSTGRES_URL=$(deploy/postgres.sh start "$work/postgres")
BIGDATA_TEST_RABBITMQ_URL=$(deploy/rabbitmq.sh start "$work/rabbitmq")
BIGDATA_TEST_S3=$(deploy/s3.sh start "$work/s3")
export BIGDATA_TEST_POSTGRES_URL BIGDATA_TEST_RABBITMQ_URL BIGDATA_TEST_S3
export BIGDATA_REQUIRE_POSTGRES=1 BIGDATA_REQUIRE_RABBITMQ=1 BIGDATA_REQUIRE_S3=1 BIGDATA_REQUIRE_MESOS=1 BIGDATA_TEST_FLEET=1 BIGDATA_REQUIRE_PODMAN=1
echo "$BIGDATA_TEST_POSTGRES_URL $BIGDATA_TEST_RABBITMQ_URL $BIGDATA_TEST_S3"

step "Apache Mesos 1.11"
deploy/mesos/mesos-cluster install
echo "installed"

# The fleet's agents have machines of their own, as far as the network goes, where that can be made.
if [ "$(id -u)" = 0 ] && ip netns add bigdata-trial 2>/dev/null; then
  ip netns delete bigdata-trial
  export BIGDATA_FLEET_MACHINES=${BIGDATA_FLEET_MACHINES:-1}
fi
export BIGDATA_SWEEP_ROUNDS=${BIGDATA_SWEEP_ROUNDS:-20} BIGDATA_FLEET_ROUNDS=${BIGDATA_FLEET_ROUNDS:-4}
if [ $# -gt 0 ]; then
  step "cargo test $*"
  cargo test "$@"
  exit
fi
step "cargo fmt"
cargo fmt --all --check
step "cargo clippy"
cargo clippy --workspace --all-targets --quiet -- -D warnings
# The fleet's programs, which no test of another crate builds.
step "cargo build"
cargo build --workspace --bins --quiet
# One that fails does not hide the others: each crate's tests run, and the exit code says whether any failed.
step "cargo test"
cargo test --workspace --no-fail-fast
