#!/usr/bin/env bash
# Sourced by demo/demo.sh and bench/bench.sh from the repository's root: private PostgreSQL servers in a temporary directory, $work, and
# the sample stack's content. Whatever ends the script, the servers are stopped and the directory goes.

admin=supabase_admin
password='sample p@ss/w0rd#1%'      # in a URL: sample%20p%40ss%2Fw0rd%231%25
kc_password='sample keycloak:p@ss'
bin=$(for dir in /usr/lib/postgresql/*/bin; do [ -x "$dir/postgres" ] && echo "$dir"; done | sort -V | tail -n 1)
[ -n "$bin" ] || { echo "no PostgreSQL server found in /usr/lib/postgresql" >&2; exit 1; }
PATH=$bin:$PATH

# PostgreSQL refuses to run as root. In a session of its own, a server's start is not cut in two by Ctrl-C: cleanup stops it.
as_server=(setsid -w)
[ "$(id -u)" -ne 0 ] || as_server+=(setpriv --reuid=postgres --regid=postgres --init-groups)

work=$(mktemp -d "${TMPDIR:-/tmp}/backupd-stack.XXXXXX")
cleanup() {
  status=$?
  trap - EXIT
  trap '' INT TERM HUP # a second signal must not stop the cleaning
  set +e
  for server in "$work"/*/data; do
    [ -e "$server/postmaster.pid" ] && "${as_server[@]}" pg_ctl -D "$server" -m immediate -w stop >/dev/null 2>&1
  done
  rm -rf "$work"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
chmod 711 "$work"

# start_server NAME: a private server in $work/NAME; prints its port.
start_server() {
  local home=$work/$1 port
  mkdir "$home"
  printf '%s' "$password" >"$home/password"
  [ "$(id -u)" -ne 0 ] || chown -R postgres "$home"
  (
    cd "$home"
    "${as_server[@]}" initdb -U "$admin" --auth=scram-sha-256 --pwfile="$home/password" --locale=C.UTF-8 --encoding=UTF8 \
      --no-sync -D data >initdb.log 2>&1 || { cat initdb.log >&2; exit 1; }
    # Another program may take the port first; then the next one is tried.
    for _ in $(seq 20); do
      port=$((20000 + RANDOM % 12000))
      if "${as_server[@]}" pg_ctl -D data -w -l log -o "-p $port -k $home -c listen_addresses=127.0.0.1 -c fsync=off -c wal_level=logical" \
        start >/dev/null 2>&1; then
        echo "$port"
        exit 0
      fi
      grep -q 'could not bind' log || break
    done
    cat log >&2
    exit 1
  )
}

# on PORT PROGRAM...: a PostgreSQL client program as the superuser of the server on that port.
on() { PGHOST=127.0.0.1 PGPORT=$1 PGUSER=$admin PGPASSWORD=$password "${@:2}"; }

# load_stack PORT SCALE: both databases' content; SCALE multiplies the large tables (1000 is about 1.5 GB of dump).
load_stack() {
  on "$1" psql -Xq -d postgres -v scale="$2" -v password="$password" -f tests/fixtures/supabase.sql
  on "$1" psql -Xq -d postgres -v scale="$2" -v kc_password="$kc_password" -f tests/fixtures/keycloak.sql
}

# database_url PORT DATABASE: with its password, for DATABASE_URL.
database_url() { echo "postgres://$admin:sample%20p%40ss%2Fw0rd%231%25@127.0.0.1:$1/$2"; }

# target_directory: cargo's.
target_directory() { cargo metadata --format-version 1 --no-deps --offline | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'; }
