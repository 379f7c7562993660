#!/usr/bin/env bash
# The worst day, by our own pages' commands: machine one has weeks of sets and is gone with its volumes; on machine two the stack is empty,
# backupd's daemon is started too early, and a week passes before anybody reads docs/disaster-recovery.md. Everything it starts goes when
# it ends.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/needs.sh
need_rust
need python3 attr
docker info >/dev/null 2>&1 || { echo "please install and start Docker first: no Docker Engine answers" >&2; exit 1; }
docker image inspect backupd:local >/dev/null 2>&1 || bash docker/build.sh

root=$PWD
work=$(mktemp -d "${TMPDIR:-/tmp}/backupd-worst-day.XXXXXX")
project=backupd-worst-day-$$
. docker/stack.sh

cleanup() {
  status=$?
  trap - EXIT
  set +e
  for machine in one two; do
    cd "$work/$machine" 2>/dev/null && docker compose down -v -t 5 --remove-orphans >/dev/null 2>&1
  done
  docker image inspect backupd:local >/dev/null 2>&1 || docker tag "$image" backupd:local
  docker rmi "$image" >/dev/null 2>&1
  rm -rf "$work"
  exit "$status"
}
image=backupd:worst-day-$$
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

need_compose
docker build -q -f docker/db/Dockerfile -t backupd-db:local . >/dev/null 2>&1 || fail "the stand-in database's image was not built"
cargo build --locked --quiet -p tests --example sample_storage
target=$(cargo metadata --format-version 1 --no-deps --offline | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
export BACKUP_PORT=$((20000 + RANDOM % 10000)) BACKUP_CONTAINER=$project BACKUP_HOST_DIR=$work/backups

# machine NAME SUPABASE KEYCLOAK: a stack with these samples, its databases up.
machine() {
  stock_stack "$work/$1" "$2" "$3"
  cd "$work/$1"
  docker compose up -d --wait keycloak-db db >/dev/null 2>&1 || fail "the databases did not start"
}
# install_backupd: beside the stack, by docs/install.md, by somebody who starts the daemon whatever `check` says.
install_backupd() {
  page docs/install.md "From nothing to the first good set" | grep -v -e trigger -e status | sed 's/ check && docker compose up / check; docker compose up /' >"$work/install"
  grep -q ' check; ' "$work/install" || fail "docs/install.md has no line that checks, and starts the daemon"
  printf '%s\n' "$encoded" "$kc_password" >"$work/answers"
  bash -u "$work/install" <"$work/answers" >"$work/out" 2>&1 || { cat "$work/out"; fail "the commands of docs/install.md"; }
  backup=$project
}
# vault_key KEY: into the stack's volume, the server's alone.
vault_key() {
  docker run --rm -v "${project}_db-config:/c" --entrypoint sh --user 0:0 backupd:local -c "echo $1 >/c/pgsodium_root.key; chown 101 /c/*; chmod 0600 /c/*"
}
# says WORDS: the daemon's status, within a while.
says() {
  local until=$((SECONDS + 60))
  until docker exec "$backup" backupd status 2>&1 | tee "$work/out" | grep -q "$1"; do
    [ "$SECONDS" -lt "$until" ] || { cat "$work/out"; fail "status does not say: $1"; }
    sleep 0.5
  done
}
# a_day_passes: while nobody is at work.
a_day_passes() { python3 "$root/docker/older.py" "$BACKUP_HOST_DIR" 1; }
# contents: of the sets' dumps, whose bytes no day changes.
contents() { sha256sum "$BACKUP_HOST_DIR"/2*Z/supabase_db.sql.gz | cut -d ' ' -f 1 | sort; }
none_is_lost() { [ -z "$(contents | comm -13 - "$work/kept")" ] || fail "sets of machine one are lost: $(ls "$BACKUP_HOST_DIR")"; }
query() { docker compose exec -T -e "PGPASSWORD=$password" db psql -h 127.0.0.1 -XqAt -v ON_ERROR_STOP=1 -c "$1"; }

say "machine one: three weeks of sets"
machine one supabase keycloak
"$target/debug/examples/sample_storage" volumes/storage
# The storage service makes no links.
find volumes/storage -type l -delete
vault_key 0123456789abcdef
install_backupd
becomes healthy 120
# Keycloak's role is no superuser: a role that can restore, and the image beside the copies, by the same page.
page docs/install.md "Now, not on the worst day" | sed 's#postgres://postgres:#postgres://supabase_admin:#' >"$work/ahead"
printf '%s\n' "$encoded" | bash -euo pipefail "$work/ahead" >"$work/out" 2>&1 || { cat "$work/out"; fail "the commands of docs/install.md, ahead of the day"; }
becomes healthy 120
docker compose stop -t 30 backup >/dev/null 2>&1
query 'CREATE TABLE public.days (day integer)'
for day in $(seq 21); do
  a_day_passes
  query "INSERT INTO public.days VALUES ($day)"
  docker compose run --rm -T backup run >"$work/out" 2>&1 || { cat "$work/out"; fail "the run of day $day"; }
done
told db postgres >"$work/supabase.before"
told keycloak-db keycloak >"$work/keycloak.before"
files_of volumes/storage >"$work/storage.before"
cp .env "$work/env.before"
contents >"$work/kept"
kept=$(wc -l <"$work/kept")
server=$(grep -oh '"system": *"[0-9]*"' "$BACKUP_HOST_DIR"/2*Z/manifest.json | sed -n 1p)
[ -n "$server" ] || fail "no set tells of which server it is"
echo "$kept sets are kept, none of which retention would keep for its age in a week"
[ "$kept" -ge 7 ] || fail "only $kept sets are kept of three weeks"

say "machine one is gone"
docker compose down -v -t 5 --remove-orphans >/dev/null 2>&1
rm -rf "$work/one"
docker tag backupd:local "$image"

say "machine two: an empty stack, and the daemon too early"
machine two '' ''
# What the stack makes when it starts for the first time: a Vault key of its own, an empty database of Keycloak's. Somebody tries an upload.
docker compose exec -T -e "PGPASSWORD=$password" keycloak-db psql -h 127.0.0.1 -Xq -c "CREATE ROLE keycloak LOGIN PASSWORD '$kc_password'" -c 'CREATE DATABASE keycloak OWNER keycloak'
vault_key 'fedcba9876543210'
mkdir -p volumes/storage/stub/stub/trial && echo trial >volumes/storage/stub/stub/trial/file
install_backupd
for day in $(seq 7); do
  docker compose stop -t 30 backup >/dev/null 2>&1
  a_day_passes
  docker compose start backup >/dev/null 2>&1
  if [ "$day" -le 3 ]; then
    says 'nothing is backed up by itself'
    [ "$(ls "$BACKUP_HOST_DIR" | wc -l)" -eq "$kept" ] || fail "the daemon made a set by itself: $(ls "$BACKUP_HOST_DIR")"
  else
    says '^ANOMALY'
  fi
  # On the third day somebody wants to see it green.
  [ "$day" -ne 3 ] || exits 4 trigger --wait
done
sets
none_is_lost

say "docs/disaster-recovery.md, a new machine"
docker rmi backupd:local >/dev/null
# The daemon comes last: behind the line that starts all but it, it does not run.
page docs/disaster-recovery.md "A new machine" |
  sed "/config --services/a [ -z \"\$(docker ps -q --filter name=^$BACKUP_CONTAINER\$)\" ] || { echo 'the daemon runs before the look'; exit 1; }" >"$work/recovery"
grep -q 'before the look' "$work/recovery" || fail "docs/disaster-recovery.md has no line that starts all but the daemon"
bash -euo pipefail "$work/recovery" >"$work/out" 2>&1 || { cat "$work/out"; fail "the commands of docs/disaster-recovery.md"; }
cat "$work/out"
told db postgres | diff - "$work/supabase.before" >"$work/diff" || { head "$work/diff"; fail "Supabase's database is another"; }
told keycloak-db keycloak | diff - "$work/keycloak.before" >"$work/diff" || { head "$work/diff"; fail "Keycloak's database is another"; }
files_of volumes/storage | diff "$work/storage.before" - >"$work/diff" || { head "$work/diff"; fail "Storage is another"; }
diff .env "$work/env.before" || fail ".env is another"
[ "$(docker compose exec -T -u 0 db cat /etc/postgresql-custom/pgsodium_root.key)" = 0123456789abcdef ] || fail "the Vault's key is another"
becomes healthy 120
sets
none_is_lost

say "accepted, retention goes by the policy again: the last set of machine one stays all the same"
docker compose run --rm -T backup run >"$work/out" 2>&1 || { cat "$work/out"; fail "the run after"; }
[ "$(ls "$BACKUP_HOST_DIR" | wc -l)" -lt "$kept" ] || fail "retention removed nothing: $(sets)"
grep -qF "$server" "$BACKUP_HOST_DIR"/2*Z/manifest.json || fail "the last set of machine one is gone: $(sets)"
say "everything is back, and not one good set was lost that the policy keeps"
