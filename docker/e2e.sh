#!/usr/bin/env bash
# The image as a user runs it: Compose starts a sample Supabase database, a Keycloak database and backupd beside them; things are broken
# and mended, and what the user sees is compared with what is promised. Everything it starts goes when it ends.
#   KEEP=1 bash docker/e2e.sh      leaves the stack running, to look at
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/needs.sh
need_rust
need curl python3 attr
docker info >/dev/null 2>&1 || { echo "please install and start Docker first: no Docker Engine answers" >&2; exit 1; }

root=$PWD
work=$(mktemp -d "${TMPDIR:-/tmp}/backupd-e2e.XXXXXX")
project=backupd-e2e-$$
password='sample p@ss/w0rd#1%' kc_password='sample keycloak:p@ss'
began=$SECONDS

say() { printf '\n== [%s s] %s\n' "$((SECONDS - began))" "$*"; }
fail() {
  printf '\nE2E FAILED: %s\n' "$*" >&2
  docker logs --tail 60 "$backup" >&2 2>/dev/null || true
  exit 1
}

# Compose 2: the plugin, or Debian's, taken out of its package.
if docker compose version >/dev/null 2>&1; then
  composing=(docker compose)
else
  plugin=${CARGO_TARGET_DIR:-$root/target}/docker-compose
  if ! "$plugin" version >/dev/null 2>&1; then
    bash docker/base-images.sh
    mkdir "$work/plugin"
    docker run --rm -v "$work/plugin:/out" debian:trixie-slim sh -c \
      'apt-get update -qq && cd /out && apt-get download -qq docker-compose 2>/dev/null && dpkg-deb -x docker-compose_*.deb .'
    mkdir -p "$(dirname "$plugin")"
    cp "$work/plugin/usr/libexec/docker/cli-plugins/docker-compose" "$plugin"
  fi
  composing=("$plugin")
fi

files=(-f "$work/stack/docker-compose.yml" -f "$work/stack/compose.backup.yml" -f "$work/stack/fast.yml")
compose() { "${composing[@]}" -p "$project" "${files[@]}" "$@"; }
backup=
cleanup() {
  status=$?
  trap - EXIT
  set +e
  if [ -z "${KEEP:-}" ]; then
    "${composing[@]}" -p "$project-alone" -f "$work/stack/compose.backup.yml" -f "$work/stack/compose.alone.yml" down -v -t 5 >/dev/null 2>&1
    compose down -v -t 5 >/dev/null 2>&1
    rm -rf "$work"
  fi
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "building the images"
bash docker/build.sh >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log"; exit 1; }
bash docker/smoke.sh backupd:local 17
# For newer servers; the binary comes out of the build's cache.
SUITE=forky PG_MAJOR=18 bash docker/build.sh forky >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log"; exit 1; }
bash docker/smoke.sh backupd:forky 18
docker build -q -f docker/db/Dockerfile -t backupd-db:local . >/dev/null 2>&1 || fail "the stand-in database's image was not built"
cargo build --locked --quiet -p tests --example sample_storage
target=$(cargo metadata --format-version 1 --no-deps --offline | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
docker image inspect -f 'backupd:local has {{.Size}} bytes' backupd:local

# The stock project's layout, as far as backupd sees it.
mkdir -p "$work/stack/secrets" "$work/stack/volumes"
cp compose.backup.yml compose.alone.yml compose.restore.yml "$work/stack"
cp config/backup.env.example "$work/stack/backup.env"
"$target/debug/examples/sample_storage" "$work/stack/volumes/storage"
# As in a stock stack; the sample has some that only their owner may read.
chmod -R a+rX "$work/stack/volumes/storage"
encoded='sample%20p%40ss%2Fw0rd%231%25'
echo "postgres://supabase_admin:$encoded@db:5432/postgres" >"$work/stack/secrets/database_url"
echo "$kc_password" >"$work/stack/secrets/keycloak_db_password"
chown -R 10001:10001 "$work/stack/secrets" 2>/dev/null || true
chmod 0400 "$work/stack/secrets/"*
chmod 0755 "$work" "$work/stack"
printf '%s' "$password" >"$work/db-password"
printf '%s' "$kc_password" >"$work/kc-password"
chmod 0444 "$work/"*-password
cat >"$work/stack/docker-compose.yml" <<YAML
name: $project
services:
  db: &database
    image: backupd-db:local
    environment: {LOAD: supabase, POSTGRES_PASSWORD_FILE: /run/password, SCALE: "5"}
    volumes: ["$work/db-password:/run/password:ro", "db-data:/data", "db-config:/etc/postgresql-custom"]
    healthcheck: {interval: 1s, timeout: 5s, retries: 60, start_period: 60s}
  keycloak-db:
    image: backupd-db:local
    environment: {LOAD: keycloak, POSTGRES_PASSWORD_FILE: /run/password, KC_PASSWORD_FILE: /run/kc-password}
    volumes: ["$work/db-password:/run/password:ro", "$work/kc-password:/run/kc-password:ro", "kc-data:/data"]
    healthcheck: {interval: 1s, timeout: 5s, retries: 60, start_period: 60s}
volumes: {db-data: , kc-data: , db-config: }
YAML
# The healthcheck that users get, in a hurry.
cat >"$work/stack/fast.yml" <<YAML
services:
  backup:
    healthcheck: {interval: 2s, timeout: 10s, retries: 2, start_period: 120s}
YAML
port=$((20000 + RANDOM % 10000))
export BACKUP_PORT=$port BACKUP_CONTAINER=$project BACKUP_NETWORK=${project}_default BACKUP_IMAGE=backupd:local
cd "$work/stack"

health() { docker inspect -f '{{.State.Health.Status}}' "$backup"; }
# becomes WORD SECONDS: the container's health, as Compose sees it.
becomes() {
  local until=$((SECONDS + $2))
  while [ "$(health)" != "$1" ]; do
    [ "$SECONDS" -lt "$until" ] || fail "the container is $(health), not $1, after $2 s: $(docker exec "$backup" backupd health 2>&1)"
    sleep 0.5
  done
  echo "the container is $1: $(docker exec "$backup" backupd health 2>&1)"
}
# exits CODE COMMAND...: backupd's exit code in the container.
exits() {
  local code=$1 got=0
  shift
  docker exec "$backup" backupd "$@" >"$work/out" 2>&1 || got=$?
  [ "$got" -eq "$code" ] || { cat "$work/out"; fail "backupd $*: exit code $got, not $code"; }
}
sets() { docker exec "$backup" backupd list --json | python3 -c 'import json,sys; [print(s["set"], s["status"], s["good"], s["trigger"]) for s in json.load(sys.stdin)]'; }
count() { sets | wc -l; }

say "from nothing to healthy"
compose up -d keycloak-db db >/dev/null 2>&1 || fail "the databases did not start"
# Keycloak's database is no dependency of backupd's; the first set should have it.
until [ "$(docker inspect -f '{{.State.Health.Status}}' "$(compose ps -q keycloak-db)")" = healthy ]; do sleep 0.5; done
up_at=$SECONDS
compose up -d backup >/dev/null 2>&1 || fail "backup did not start"
backup=$project # its name, as in `docker exec backup backupd trigger`
becomes healthy 120
echo "healthy $((SECONDS - up_at)) s after docker compose up"
[ "$(sets)" = "$(sets | grep 'succeeded True catch-up$')" ] || fail "the first set is not a good one by catch-up: $(sets)"
[ "$(count)" -eq 1 ] || fail "not one set: $(sets)"

say "docker exec backup backupd trigger"
exits 0 trigger
grep -q 'good: every byte was read back' "$work/out" || fail "trigger does not say that the set is good"
exits 0 list
cat "$work/out"
[ "$(count)" -eq 2 ] || fail "not two sets"

say "who it is, and what it may"
[ "$(docker exec "$backup" id -u):$(docker exec "$backup" id -g)" = 10001:10001 ] || fail "not uid 10001"
! docker exec "$backup" touch /usr/x 2>/dev/null || fail "the root file system can be written to"
[ "$(docker inspect -f '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}' "$backup")" = 'true [ALL] [no-new-privileges:true]' ] ||
  fail "not read-only without capabilities: $(docker inspect -f '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}' "$backup")"
docker exec "$backup" cat /proc/1/status | grep -E '^(CapEff|NoNewPrivs)'
curl -fsS "http://127.0.0.1:$port/health" >/dev/null || fail "the status server's port is not published on loopback"

say "the database goes away: exit 1, unhealthy, nothing made; it comes back: healthy again by itself"
compose stop -t 5 db >/dev/null 2>&1
exits 1 trigger
grep -q 'cannot be reached' "$work/out" || { cat "$work/out"; fail "the reason is not told"; }
becomes unhealthy 60
[ "$(count)" -eq 2 ] || fail "a set was made without its database"
compose start db >/dev/null 2>&1
becomes healthy 180
sets | tail -n 1

say "Keycloak's database goes away: the set is marked failed; it comes back: healthy again by itself"
compose stop -t 5 keycloak-db >/dev/null 2>&1
exits 1 trigger
becomes unhealthy 60
sets | tail -n 1 | grep -q 'failed False trigger$' || fail "the set is not marked failed: $(sets)"
compose start keycloak-db >/dev/null 2>&1
becomes healthy 180

say "a restart keeps health and history"
before=$(sets)
compose restart backup >/dev/null 2>&1
becomes healthy 60
[ "$(sets)" = "$before" ] || fail "the sets changed"
docker exec "$backup" backupd status

say "docker stop during a run: no half set"
docker exec -d "$(compose ps -q db)" sh -c "PGPASSWORD=\$(cat /run/password) psql -h 127.0.0.1 -U supabase_admin -d postgres -c 'BEGIN; LOCK TABLE public.events; SELECT pg_sleep(120)'"
for _ in $(seq 100); do
  docker exec "$(compose ps -q db)" sh -c "PGPASSWORD=\$(cat /run/password) psql -XAtq -h 127.0.0.1 -U supabase_admin -d postgres -c \"SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'public.events'::regclass AND granted\"" | grep -q 1 && break
  sleep 0.1
done
run=$(docker exec "$backup" backupd trigger --no-wait)
until docker exec "$backup" backupd status | grep -q "at work since.*: supabase"; do sleep 0.2; done
docker exec "$backup" ls -a /backups | grep -qx ".$run.partial" || fail "no run is at work"
stop_at=$SECONDS
docker stop -t 30 "$backup" >/dev/null
[ $((SECONDS - stop_at)) -le 10 ] || fail "it took $((SECONDS - stop_at)) s to stop"
[ "$(docker inspect -f '{{.State.ExitCode}}' "$backup")" = 0 ] || fail "exit code $(docker inspect -f '{{.State.ExitCode}}' "$backup")"
left=$(docker run --rm --entrypoint ls --volumes-from "$backup" backupd:local -A /backups | grep -F "$run" || true)
[ -z "$left" ] || fail "left behind: $left"
docker exec "$(compose ps -q db)" sh -c "PGPASSWORD=\$(cat /run/password) psql -XAtq -h 127.0.0.1 -U supabase_admin -d postgres -c \"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()\"" >/dev/null
compose start backup >/dev/null 2>&1
until sets | tail -n 1 | grep -q 'succeeded True catch-up$'; do
  [ $((SECONDS - stop_at)) -lt 120 ] || fail "the run that was cut off was not made up for: $(sets)"
  sleep 0.5
done
becomes healthy 60

say "a file that backupd may not read fails the storage step by name; BACKUP_USER=0:0 may read it"
mkdir -p volumes/storage/stub/stub/private/secret.txt
echo private >volumes/storage/stub/stub/private/secret.txt/v1
chmod 0600 volumes/storage/stub/stub/private/secret.txt/v1
exits 1 trigger
grep -q 'private/secret.txt' "$work/out" || { cat "$work/out"; fail "the file is not named"; }
BACKUP_USER=0:0 compose up -d backup >/dev/null 2>&1
backup=$(compose ps -q backup)
exits 0 trigger --wait
docker exec "$backup" sh -c 'for p in /proc/[0-9]*; do [ "$(cat $p/comm)" = backupd ] && grep -E "^(Uid|CapEff)" $p/status; done; true' | sort -u
[ -z "$(docker exec "$backup" find /backups ! -user 10001)" ] || fail "sets of another owner"
rm -r volumes/storage/stub/stub/private
compose up -d backup >/dev/null 2>&1
backup=$(compose ps -q backup)
becomes healthy 60

say "a drill: the newest good set is restored into a private server inside the container, and compared"
exits 0 verify --drill
cat "$work/out"
grep -q 'is PROVEN' "$work/out" || fail "the drill does not prove the set"
exits 0 status
grep -q 'last drill.*proven' "$work/out" || { cat "$work/out"; fail "status does not know the drill"; }
[ -z "$(docker exec "$backup" sh -c 'ls /backups/.backupd | grep scratch; pgrep postgres')" ] || fail "the drill left something"

say "the worst day (docs/disaster-recovery.md): the plan, the databases, one table, Storage, one object"
# told SERVICE DATABASE: all of a database, without what differs between two dumps of the same.
told() { compose exec -T -e "PGPASSWORD=$password" "$1" pg_dump -h 127.0.0.1 --create "$2" | grep -vE '^\\(un)?restrict '; }
exits 0 trigger
told db postgres >"$work/supabase.before"
told keycloak-db keycloak >"$work/keycloak.before"
compose exec -T -e "PGPASSWORD=$password" db psql -h 127.0.0.1 -q -c 'DROP SCHEMA auth CASCADE; TRUNCATE public.posts CASCADE; ALTER DATABASE postgres RESET ALL'
compose exec -T -e "PGPASSWORD=$password" keycloak-db psql -h 127.0.0.1 -q -d keycloak -c 'DROP TABLE realm CASCADE'
restoring=(-e "BACKUP_RESTORE_URLS=keycloak=postgres://supabase_admin:$encoded@keycloak-db:5432/postgres")
exits 0 restore latest --dry-run --only supabase
cat "$work/out"
docker exec "${restoring[@]}" "$backup" backupd restore latest --yes --only supabase,keycloak >"$work/out" 2>&1 || { cat "$work/out"; fail "the databases were not restored"; }
cat "$work/out"
told db postgres | diff -q - "$work/supabase.before" || fail "Supabase's database is another after the restore"
told keycloak-db keycloak | diff -q - "$work/keycloak.before" || fail "Keycloak's database is another after the restore"
exits 0 restore latest --yes --table public.posts --into rescue
exits 1 restore latest --yes --only storage
grep -q 'is mounted read-only' "$work/out" || { cat "$work/out"; fail "a read-only mount is not told"; }
# files_of DIRECTORY: names, owners, modes, content and attributes, without what a restore kept.
files_of() {
  (
    cd "$1"
    find . -path './storage.before-*' -prune -o -mindepth 1 -printf '%p %U:%G %m\n' | LC_ALL=C sort
    find . -path './storage.before-*' -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    find . -path './storage.before-*' -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 getfattr -h -d -m user. 2>/dev/null
  )
}
files_of volumes/storage >"$work/storage.before"
rm -r volumes/storage/stub/stub/avatars
in_place() { compose -f "$work/stack/compose.restore.yml" run --rm --no-deps -T backup restore latest --allow-outside-links --only storage "$@" >"$work/out" 2>&1 || { cat "$work/out"; fail "restore --only storage $*"; }; }
in_place --yes
grep -q 'the tree before is kept as /storage/storage.before-' "$work/out" || { cat "$work/out"; fail "where the old tree is, is not told"; }
files_of volumes/storage | diff "$work/storage.before" - >"$work/diff" || { head "$work/diff"; fail "Storage is another after the restore"; }
rm -r volumes/storage/stub/stub/documents/readme.txt
in_place --object documents/readme.txt
[ -s volumes/storage/stub/stub/documents/readme.txt/* ] || fail "the object is not back"
exits 0 trigger
becomes healthy 60

say "a new machine has nothing but the sets and the image: the Vault's key comes first"
docker run --rm -v "${project}_db-config:/c" --entrypoint sh --user 0:0 backupd:local -c 'echo 0123456789abcdef >/c/pgsodium_root.key'
docker exec -e BACKUP_EXTRA_PATHS=db-config=/db-config "$backup" backupd run >"$work/out" 2>&1 || { cat "$work/out"; fail "no set with the Vault's key"; }
install -d -m 1777 "$work/out-of-set"
docker run --rm -v "${project}_backups:/backups" -v "$work/out-of-set:/out" backupd:local restore latest --only db-config --to /out/db-config ||
  fail "the Vault's key was not restored"
[ "$(cat "$work/out-of-set/db-config/pgsodium_root.key")" = 0123456789abcdef ] || fail "another key came back"

say "no secret is told"
docker inspect "$backup" >"$work/told"
docker logs "$backup" >>"$work/told" 2>&1
curl -fsS "http://127.0.0.1:$port/" "http://127.0.0.1:$port/metrics" "http://127.0.0.1:$port/health" >>"$work/told"
for secret in "$password" "$encoded" "$kc_password"; do
  ! grep -qF "$secret" "$work/told" || fail "a password is in docker inspect, docker logs or the status server's answers"
done
docker stats --no-stream --format 'memory now: {{.MemUsage}}' "$backup"

say "alone, on the stack's network"
alone() { "${composing[@]}" -p "$project-alone" -f compose.backup.yml -f compose.alone.yml -f fast.yml "$@"; }
export BACKUP_DB_CONFIG_VOLUME=${project}_db-config BACKUP_PORT=$((port + 1)) BACKUP_CONTAINER=$project-alone
alone up -d backup >/dev/null 2>&1 || { alone up -d backup; fail "it does not stand alone"; }
backup=$(alone ps -q backup)
becomes healthy 120

say "all of it holds"
