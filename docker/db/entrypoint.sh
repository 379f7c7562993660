#!/usr/bin/env bash
# Entrypoint of the stand-in database: makes the cluster and loads the samples on the first start, then is the server.
# LOAD="supabase keycloak" (either, both, none), SCALE, POSTGRES_PASSWORD, KC_PASSWORD; a password also as NAME_FILE.
set -euo pipefail

# secret NAME: the setting, from its file or itself.
secret() {
  local file=${1}_FILE
  if [ -n "${!file:-}" ]; then cat "${!file}"; else printf '%s' "${!1:?is not set, and neither is $file}"; fi
}

cluster=/data/cluster
if [ ! -e /data/loaded ]; then
  PGPASSWORD=$(secret POSTGRES_PASSWORD)
  export PGPASSWORD
  # Left from a start that did not come to its end.
  rm -rf "$cluster"
  initdb -U "$PGUSER" --auth=scram-sha-256 --pwfile=<(printf '%s' "$PGPASSWORD") --locale=C.UTF-8 --encoding=UTF8 --no-sync -D "$cluster" >/dev/null
  # As in a stock Supabase server: logical WAL, passwords from any address, and no replication line.
  printf '%s\n' "listen_addresses = '*'" 'wal_level = logical' 'max_wal_senders = 10' 'max_replication_slots = 5' 'fsync = off' \
    "unix_socket_directories = '/tmp'" "timezone = 'UTC'" >>"$cluster/postgresql.conf"
  printf '%s\n' 'local all all scram-sha-256' 'host all all all scram-sha-256' >"$cluster/pg_hba.conf"

  # Nobody connects to a server that is still being loaded.
  pg_ctl -D "$cluster" -w -s -o "-c listen_addresses=''" start
  for sample in ${LOAD-supabase keycloak}; do
    variables=(-v "scale=${SCALE:-1}" -v "password=$PGPASSWORD")
    [ "$sample" != keycloak ] || variables+=(-v "kc_password=$(secret KC_PASSWORD)")
    psql -h /tmp -Xq "${variables[@]}" -f "/fixtures/$sample.sql"
  done
  pg_ctl -D "$cluster" -w -s -m fast stop
  touch /data/loaded
  unset PGPASSWORD
fi
exec postgres -D "$cluster" "$@"
