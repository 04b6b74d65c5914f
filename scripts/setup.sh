#!/bin/sh
# Makes .venv and brings in what brique needs. Usage: scripts/setup.sh run|dev|bench
# Debian packages are installed where that is allowed (root, or sudo without a password); what cannot be installed is
# named with the command that would.
set -eu
cd "$(dirname "$0")/.."
what=${1:-run}
python=${PYTHON:-python3}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then sudo -n "$@"
    else return 1
    fi
}

need_package() { # need_package PACKAGE WHY
    command -v dpkg-query >/dev/null 2>&1 || { echo "brique: please install $1 ($2)" >&2; return 0; }
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ] && return 0
    echo "brique: installing $1 ($2)"
    if ! { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends "$1"; } >"/tmp/brique-apt-$(id -u).log" 2>&1; then
        echo "brique: could not install $1 ($2). To install it: sudo apt-get install $1" >&2
    fi
}

command -v "$python" >/dev/null || { echo "brique needs Python 3.11 or newer: sudo apt-get install python3" >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "brique needs Python 3.11 or newer; $python is $("$python" -V). Set PYTHON=/path/to/python3.11" >&2; exit 1; }
"$python" -c 'import ensurepip, venv' 2>/dev/null || need_package python3-venv "virtual environments"

if [ ! -x .venv/bin/python ]; then
    "$python" -m venv .venv
fi
lock="requirements/$what.txt"
stamp=".venv/.brique-$what"
if [ ! -f "$stamp" ] || ! cmp -s "$lock" "$stamp"; then
    echo "brique: installing Python packages ($lock)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
    cp "$lock" "$stamp"
fi
if [ ! -f .venv/.brique-self ] || [ pyproject.toml -nt .venv/.brique-self ]; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
    touch .venv/.brique-self
fi

need_package postgresql "the demo's ERP and the tests"
if [ "$what" != run ]; then
    need_package chromium "the tests in a browser"
    need_package mariadb-server "the tests with MariaDB"
    need_package unixodbc "the tests over ODBC"
    need_package odbc-postgresql "the tests over ODBC"
    need_package libsqliteodbc "the tests over ODBC"
    need_package redis-server "the tests of publishing"
fi
if [ "$what" = bench ]; then
    need_package wrk "load in the benchmarks"
    need_package nginx "a peer in the benchmarks"
fi
