#!/usr/bin/env bash
# From one major version of PostgreSQL to another, by the image: a set of a server is restored into it again, and into a newer one, and
# everything that pg_dump tells of the database is the same. Everything it starts goes when it ends.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/needs.sh
need python3
docker info >/dev/null 2>&1 || { echo "please install and start Docker first: no Docker Engine answers" >&2; exit 1; }
bash docker/base-images.sh trixie bookworm
image=${IMAGE:-backupd:local}
docker image inspect "$image" >/dev/null 2>&1 || bash docker/build.sh

password='sample p@ss/w0rd#1%' encoded='sample%20p%40ss%2Fw0rd%231%25' network=backupd-restore-$$
say() { printf '\n== %s\n' "$*"; }
fail() { printf '\nE2E FAILED: %s\n' "$*" >&2; exit 1; }
cleanup() {
  status=$?
  trap - EXIT
  set +e
  docker ps -aq --filter "label=$network" | xargs -r docker rm -fv >/dev/null 2>&1
  docker volume rm "$network-old" "$network-newest" >/dev/null 2>&1
  docker network rm "$network" >/dev/null 2>&1
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
docker network create "$network" >/dev/null
docker volume create "$network-old" >/dev/null
docker volume create "$network-newest" >/dev/null

# server NAME MAJOR SUITE SAMPLES: a database server of the network, loaded.
server() {
  docker build -q --build-arg "SUITE=$3" --build-arg "PG_MAJOR=$2" -f docker/db/Dockerfile -t "backupd-db:$2" . >/dev/null 2>&1 ||
    fail "the stand-in database of version $2 was not built"
  docker run -d --label "$network" --network "$network" --name "$network-$1" --network-alias "$1" -e "LOAD=$4" \
    -e "POSTGRES_PASSWORD=$password" -e KC_PASSWORD=x "backupd-db:$2" \
    -c shared_preload_libraries=pg_cron -c cron.database_name=postgres -c cron.use_background_workers=on >/dev/null
  until [ "$(docker inspect -f '{{.State.Health.Status}}' "$network-$1")" = healthy ]; do
    [ "$(docker inspect -f '{{.State.Running}}' "$network-$1")" = true ] || { docker logs "$network-$1"; fail "server $1 ended"; }
    sleep 0.5
  done
}
# sql SERVER STATEMENTS [DATABASE]
sql() { docker exec -e "PGPASSWORD=$password" "$network-$1" psql -h 127.0.0.1 -XqAt -v ON_ERROR_STOP=1 -c "$2" "${3:-postgres}"; }
# within SECONDS SERVER CONDITION: waits for it.
within() {
  local until=$((SECONDS + $1))
  until [ "$(sql "$2" "SELECT $3")" = t ]; do
    [ "$SECONDS" -lt "$until" ] || fail "$2: not within $1 s: $3"
    sleep 0.2
  done
}
# told SERVER: all of its database, by the same pg_dump, without what differs between two dumps and two servers.
told() {
  docker run --rm --label "$network" --network "$network" --entrypoint pg_dump -e "PGPASSWORD=$password" "$image" \
    -h "$1" -U supabase_admin --create postgres | grep -vE '^\\(un)?restrict |^-- Dumped (from|by)'
}
# backupd SERVER ARGUMENTS...: on the sets of the server that `from` names, its own without.
backupd() {
  local name=$1 sets=${from:-$1}
  shift
  docker run --rm --label "$network" --network "$network" -v "$network-$sets:/backups" -e BACKUP_SOURCES=supabase -e BACKUP_LOG=warn \
    -e BACKUP_DUMP_FORMAT="${format:-plain}" -e "DATABASE_URL=postgres://supabase_admin:$encoded@$name:5432/postgres" "$image" "$@"
}

server old 15 bookworm supabase
server new 17 trixie ''
server newest 17 trixie supabase
for name in old newest; do
  sql "$name" "CREATE EXTENSION pg_cron WITH SCHEMA pg_catalog; SELECT cron.schedule('nightly', '0 3 * * *', 'VACUUM')" >/dev/null
done
for format in plain custom; do
  for name in old newest; do
    say "$name ($(sql "$name" 'SHOW server_version')), $format: into itself"
    backupd "$name" run | tail -n 1
    told "$name" >"/tmp/$network.before"
    sql "$name" 'DROP SCHEMA auth CASCADE; DROP TABLE public.posts CASCADE; ALTER DATABASE postgres RESET ALL'
    backupd "$name" restore --yes --drop-old --jobs 2
    told "$name" | diff "/tmp/$network.before" - >"/tmp/$network.diff" || true
    [ ! -s "/tmp/$network.diff" ] || { head -n 20 "/tmp/$network.diff"; fail "$name is another after its restore"; }
    [ "$(sql "$name" 'SELECT count(*) FROM cron.job')" = 1 ] || fail "pg_cron's job is not back"
    say "$name, $format: the drill, by the image's own server"
    backupd "$name" verify --drill | tail -n 3
    say "$name, $format: into a new server of version 17"
    from=$name backupd new restore --yes --roles --drop-old
    # Before 16 a view's columns are written with their table's name.
    views() { sed -E 's/\<(events|posts)\.(kind|id|title|created_at)\>/\2/g' "$@"; }
    told new | views | diff <(views "/tmp/$network.before") - >"/tmp/$network.diff" || true
    [ ! -s "/tmp/$network.diff" ] || { head -n 20 "/tmp/$network.diff"; fail "the new server has another database than $name"; }
    sleep 1
  done
done

# Its own history is long enough that a job which was active at once would run in the middle of it; each run tells what it found.
say "pg_cron $(sql newest "SELECT extversion FROM pg_extension WHERE extname = 'pg_cron'"), a job each second and one each minute: into itself"
sql newest "INSERT INTO cron.job_run_details (jobid, runid, command, status, start_time, end_time)
    SELECT 1, nextval('cron.runid_seq'), 'VACUUM', 'succeeded', now(), now() FROM generate_series(1, 300000);
  CREATE TABLE public.ticks (at timestamptz, runs bigint, posts bigint);
  CREATE VIEW public.tick AS SELECT clock_timestamp(), (SELECT count(*) FROM cron.job_run_details) runs, (SELECT count(*) FROM public.posts) posts;
  SELECT cron.schedule('minutely', '* * * * *', 'SELECT 1'),
    cron.schedule('secondly', '1 second', 'INSERT INTO public.ticks SELECT * FROM public.tick')" >/dev/null
within 10 newest "count(*) >= 2 FROM public.ticks"
posts=$(sql newest 'SELECT count(*) FROM public.posts') jobs=$(sql newest 'SELECT j FROM cron.job j ORDER BY jobid')
backupd newest run | tail -n 1
runs=$(backupd newest show --json | python3 -c 'import json,sys
print(*[t["rows"] for a in json.load(sys.stdin)["artifacts"] for t in a.get("tables") or [] if t["table"] == "cron.job_run_details"])')
began=$(sql newest 'SELECT clock_timestamp()')
backupd newest restore --yes --jobs 2
within 10 newest "count(*) > 0 FROM public.ticks WHERE at > '$began'"
early=$(sql newest "SELECT count(*) FROM public.ticks WHERE at > '$began' AND (runs < $runs OR posts < $posts)")
[ "$early" = 0 ] || fail "a job ran $early times on what was not all there"
[ "$(sql newest 'SELECT j FROM cron.job j ORDER BY jobid')" = "$jobs" ] || fail "pg_cron's jobs are others: $(sql newest 'SELECT j FROM cron.job j')"
history="SELECT d FROM cron.job_run_details d WHERE start_time <= '$began'"
sql newest "$history" | LC_ALL=C sort >"/tmp/$network.runs"
[ "$(wc -l <"/tmp/$network.runs")" = "$runs" ] || fail "$(wc -l <"/tmp/$network.runs") runs of pg_cron's are back, not $runs"
sql newest "$history" "$(sql newest "SELECT datname FROM pg_database WHERE datname LIKE 'postgres_before_%'")" | LC_ALL=C sort >"/tmp/$network.all"
# One that was at work when the set was made is marked by pg_cron itself as it starts on what came back.
LC_ALL=C comm -23 "/tmp/$network.runs" "/tmp/$network.all" | { grep -v 'server restarted' || true; } >"/tmp/$network.diff"
[ ! -s "/tmp/$network.diff" ] || { head "/tmp/$network.diff"; fail "runs of pg_cron's came back as they never were"; }
rm -f "/tmp/$network".*
say "all versions hold"
