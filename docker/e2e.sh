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
. docker/stack.sh

cleanup() {
  status=$?
  trap - EXIT
  set +e
  unset COMPOSE_FILE
  if [ -z "${KEEP:-}" ]; then
    # Those that use networks of others first.
    for stack in own stack keycloak; do
      cd "$work/$stack" && docker compose down -v -t 5 >/dev/null 2>&1
    done
    cd "$root" && rm -rf "$work"
  fi
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

need_compose
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

stock_stack "$work/stack" supabase keycloak
"$target/debug/examples/sample_storage" "$work/stack/volumes/storage"
port=$((20000 + RANDOM % 10000))
export BACKUP_PORT=$port BACKUP_CONTAINER=$project BACKUP_HOST_DIR=$work/backups
cd "$work/stack"

say "from nothing to healthy, by docs/install.md"
docker compose up -d --wait keycloak-db db >/dev/null 2>&1 || fail "the databases did not start"
# As in a stock stack: the server's alone.
docker run --rm -v "${project}_db-config:/c" --entrypoint sh --user 0:0 backupd:local -c 'echo 0123456789abcdef >/c/pgsodium_root.key; chown 101 /c/*; chmod 0600 /c/*'
page docs/install.md "From nothing to the first good set" | grep -v -e trigger -e status >"$work/install"
printf '%s\n' "$encoded" "$kc_password" >"$work/answers"
up_at=$SECONDS
bash -euo pipefail "$work/install" <"$work/answers" >"$work/out" 2>&1 || { cat "$work/out"; fail "the commands of docs/install.md"; }
cat "$work/out"
backup=$project # its name, as in `docker exec backup backupd trigger`
becomes healthy 120
echo "healthy $((SECONDS - up_at)) s after the first command"
good_at=$(docker exec "$backup" backupd status --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["last_run"]["ended_at"])')
healthy_at=$(docker inspect -f '{{range .State.Health.Log}}{{if eq .ExitCode 0}}{{.End.UTC.Format "2006-01-02T15:04:05Z"}}{{"\n"}}{{end}}{{end}}' "$backup" | head -n 1)
late=$(($(date -d "$healthy_at" +%s) - $(date -d "$good_at" +%s)))
[ "$late" -le 15 ] || fail "healthy $late s after the first good set"
[ "$(sets)" = "$(sets | grep 'succeeded True catch-up$')" ] || fail "the first set is not a good one by catch-up: $(sets)"
[ "$(count)" -eq 1 ] || fail "not one set: $(sets)"
for tree in env settings secrets db-config; do
  docker exec "$backup" backupd show | grep -q "extra_$tree" || fail "the set has no $tree"
done
# The same healthcheck, in a hurry.
cat >fast.yml <<YAML
services:
  backup:
    healthcheck: {interval: 2s, retries: 2}
YAML
export COMPOSE_FILE=docker-compose.yml:compose.backup.yml:fast.yml
docker compose up -d backup >/dev/null 2>&1
becomes healthy 60

say "docker exec backup backupd trigger"
exits 0 trigger
grep -q 'good: every byte was read back' "$work/out" || fail "trigger does not say that the set is good"
exits 0 list
cat "$work/out"
[ "$(count)" -eq 2 ] || fail "not two sets"

say "who it is, and what it may"
# Of the daemon: user, and the one capability, to read.
who=$(docker exec "$backup" sh -c 'for p in /proc/[0-9]*; do
  [ "$(cat $p/comm)" = backupd ] && grep -qa serve $p/cmdline && sed -n "s/^\(Uid\|CapEff\|NoNewPrivs\):\t//p" $p/status
done; true' | xargs)
[ "$who" = '10001 10001 10001 10001 0000000000000004 1' ] || fail "backupd is not uid 10001 with DAC_READ_SEARCH alone: $who"
! docker exec "$backup" touch /usr/x 2>/dev/null || fail "the root file system can be written to"
[ "$(docker inspect -f '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}' "$backup")" = 'true [ALL] [no-new-privileges:true]' ] ||
  fail "not read-only without capabilities: $(docker inspect -f '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}' "$backup")"
curl -fsS "http://127.0.0.1:$port/health" >/dev/null || fail "the status server's port is not published on loopback"

say "the database goes away: exit 1, unhealthy, nothing made; it comes back: healthy again by itself"
docker compose stop -t 5 db >/dev/null 2>&1
exits 1 trigger
grep -q 'cannot be reached' "$work/out" || { cat "$work/out"; fail "the reason is not told"; }
becomes unhealthy 60
[ "$(count)" -eq 2 ] || fail "a set was made without its database"
docker compose start db >/dev/null 2>&1
becomes healthy 180
sets | tail -n 1

say "Keycloak's database goes away: the set is marked failed; it comes back: healthy again by itself"
docker compose stop -t 5 keycloak-db >/dev/null 2>&1
exits 1 trigger
becomes unhealthy 60
sets | tail -n 1 | grep -q 'failed False trigger$' || fail "the set is not marked failed: $(sets)"
docker compose start keycloak-db >/dev/null 2>&1
becomes healthy 180

say "a restart keeps health and history"
before=$(sets)
docker compose restart backup >/dev/null 2>&1
becomes healthy 60
[ "$(sets)" = "$before" ] || fail "the sets changed"
docker exec "$backup" backupd status

say "docker stop during a run: no half set"
docker exec -d "$(docker compose ps -q db)" sh -c "PGPASSWORD=\$(cat /run/password) psql -h 127.0.0.1 -U supabase_admin -d postgres -c 'BEGIN; LOCK TABLE public.events; SELECT pg_sleep(120)'"
for _ in $(seq 100); do
  docker exec "$(docker compose ps -q db)" sh -c "PGPASSWORD=\$(cat /run/password) psql -XAtq -h 127.0.0.1 -U supabase_admin -d postgres -c \"SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'public.events'::regclass AND granted\"" | grep -q 1 && break
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
docker exec "$(docker compose ps -q db)" sh -c "PGPASSWORD=\$(cat /run/password) psql -XAtq -h 127.0.0.1 -U supabase_admin -d postgres -c \"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()\"" >/dev/null
docker compose start backup >/dev/null 2>&1
until sets | tail -n 1 | grep -q 'succeeded True catch-up$'; do
  [ $((SECONDS - stop_at)) -lt 120 ] || fail "the run that was cut off was not made up for: $(sets)"
  sleep 0.5
done
becomes healthy 60

say "files that only their owner may read are in the set; without root's power to read they fail their step by name"
[ -z "$(docker exec "$backup" find /backups ! -user 10001)" ] || fail "sets of another owner"
mkdir -p volumes/storage/stub/stub/private/secret.txt
echo private >volumes/storage/stub/stub/private/secret.txt/v1
chmod 0600 volumes/storage/stub/stub/private/secret.txt/v1
exits 0 trigger
chmod -R a+rX secrets
BACKUP_USER=10001:10001 docker compose up -d backup >/dev/null 2>&1
becomes healthy 60
exits 1 trigger
grep -q 'private/secret.txt' "$work/out" || { cat "$work/out"; fail "the file is not named"; }
rm -r volumes/storage/stub/stub/private
docker compose up -d backup >/dev/null 2>&1
exits 0 trigger --wait
becomes healthy 60

say "a drill: the newest good set is restored into a private server inside the container, and compared"
exits 0 verify --drill
cat "$work/out"
grep -q 'is PROVEN' "$work/out" || fail "the drill does not prove the set"
exits 0 status
grep -q 'last drill.*proven' "$work/out" || { cat "$work/out"; fail "status does not know the drill"; }
[ -z "$(docker exec "$backup" sh -c 'ls /backups/.backupd | grep scratch; pgrep postgres')" ] || fail "the drill left something"

say "the worst day (docs/disaster-recovery.md): the plan, the databases, one table, Storage, one object"
exits 0 trigger
told db postgres >"$work/supabase.before"
told keycloak-db keycloak >"$work/keycloak.before"
docker compose exec -T -e "PGPASSWORD=$password" db psql -h 127.0.0.1 -q -c 'DROP SCHEMA auth CASCADE; TRUNCATE public.posts CASCADE; ALTER DATABASE postgres RESET ALL'
docker compose exec -T -e "PGPASSWORD=$password" keycloak-db psql -h 127.0.0.1 -q -d keycloak -c 'DROP TABLE realm CASCADE'
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
files_of volumes/storage >"$work/storage.before"
rm -r volumes/storage/stub/stub/avatars
in_place() { docker compose run --rm --no-deps -T restore latest --allow-outside-links --only storage "$@" >"$work/out" 2>&1 || { cat "$work/out"; fail "restore --only storage $*"; }; }
in_place --yes
grep -q 'the tree before is kept as /storage/storage.before-' "$work/out" || { cat "$work/out"; fail "where the old tree is, is not told"; }
files_of volumes/storage | diff "$work/storage.before" - >"$work/diff" || { head "$work/diff"; fail "Storage is another after the restore"; }
rm -r volumes/storage/stub/stub/documents/readme.txt
in_place --object documents/readme.txt
[ -s volumes/storage/stub/stub/documents/readme.txt/* ] || fail "the object is not back"
exits 0 trigger
becomes healthy 60

say "no secret is told"
docker inspect "$backup" >"$work/told"
docker logs "$backup" >>"$work/told" 2>&1
curl -fsS "http://127.0.0.1:$port/" "http://127.0.0.1:$port/metrics" "http://127.0.0.1:$port/health" >>"$work/told"
for secret in "$password" "$encoded" "$kc_password"; do
  ! grep -qF "$secret" "$work/told" || fail "a password is in docker inspect, docker logs or the status server's answers"
done
docker stats --no-stream --format 'memory now: {{.MemUsage}}' "$backup"

say "alone, in a directory of its own, on the stack's network"
unset COMPOSE_FILE
export BACKUP_PORT=$((port + 1)) BACKUP_CONTAINER=$project-alone BACKUP_HOST_DIR=$work/alone
install -d -o 10001 -g 10001 -m 0700 "$BACKUP_HOST_DIR"
mkdir "$work/own"
cd "$work/own"
cp -r ../stack/secrets .
page docs/install.md "Beside a running stack" >"$work/beside"
bash -euo pipefail "$work/beside" >"$work/out" 2>&1 || { cat "$work/out"; fail "the commands of docs/install.md, beside a stack"; }
docker compose up -d backup >/dev/null 2>&1 || { docker compose up -d backup; fail "it does not stand alone"; }
backup=$project-alone
becomes healthy 120
for tree in env settings own secrets db-config; do
  docker exec "$backup" backupd show | grep -q "extra_$tree" || fail "the set has no $tree"
done

say "Keycloak in a project of its own: check, run, and a restore when it and its network are gone"
cd "$work/stack"
docker compose rm -sfv backup keycloak-db >/dev/null 2>&1
export BACKUP_PORT=$((port + 2)) BACKUP_CONTAINER=$project-second BACKUP_HOST_DIR=$work/second
install -d -o 10001 -g 10001 -m 0700 "$BACKUP_HOST_DIR"
backup=$BACKUP_CONTAINER
mkdir "$work/keycloak"
# keycloak_project SAMPLE
keycloak_project() {
  cat >"$work/keycloak/docker-compose.yml" <<YAML
name: $project-keycloak
services:
  keycloak-db:
    image: backupd-db:local
    environment: {LOAD: "$1", POSTGRES_PASSWORD_FILE: /run/password, KC_PASSWORD_FILE: /run/kc-password}
    volumes: ["$work/db-password:/run/password:ro", "$work/kc-password:/run/kc-password:ro"]
    healthcheck: {interval: 1s, timeout: 5s, retries: 60, start_period: 60s}
YAML
}
in_keycloak() { (cd "$work/keycloak" && docker compose "$@"); }
of_keycloak() { in_keycloak exec -T -e "PGPASSWORD=$password" keycloak-db "$@"; }
keycloak_project keycloak
in_keycloak up -d --wait >/dev/null 2>&1 || fail "Keycloak's project did not start"
page docs/install.md "Keycloak in a project of its own" >"$work/join"
bash -euo pipefail "$work/join" >"$work/out" 2>&1 || { cat "$work/out"; fail "the commands of docs/install.md, Keycloak in a project of its own"; }
docker compose run --rm -T backup check >"$work/out" 2>&1 || { cat "$work/out"; fail "check, with Keycloak in a project of its own"; }
docker compose up -d backup >/dev/null 2>&1 || fail "the daemon did not start on two networks"
becomes healthy 120
of_keycloak pg_dump -h 127.0.0.1 --create keycloak | grep -vE '^\\(un)?restrict ' >"$work/keycloak.before"
# The worst day.
docker compose rm -sf backup >/dev/null 2>&1
in_keycloak down -v -t 5 >/dev/null 2>&1
keycloak_project ''
page docs/disaster-recovery.md "Keycloak in a project of its own" >"$work/recovery"
bash -euo pipefail "$work/recovery" >"$work/out" 2>&1 || { cat "$work/out"; fail "the commands of docs/disaster-recovery.md, Keycloak in a project of its own"; }
# What Keycloak's own database service makes by itself.
of_keycloak psql -h 127.0.0.1 -Xq -c "CREATE ROLE keycloak LOGIN PASSWORD '$kc_password'" -c 'CREATE DATABASE keycloak OWNER keycloak'
docker compose run --rm -T "${restoring[@]}" restore latest --yes --only keycloak >"$work/out" 2>&1 || { cat "$work/out"; fail "Keycloak was not restored over the second network"; }
of_keycloak pg_dump -h 127.0.0.1 --create keycloak | grep -vE '^\\(un)?restrict ' | diff "$work/keycloak.before" - >"$work/diff" ||
  { head "$work/diff"; fail "Keycloak's database is another after the restore"; }

say "all of it holds"
