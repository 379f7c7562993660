#!/usr/bin/env bash
# Tries an image as it is meant to run (read-only, no capabilities, its own user): backupd, PostgreSQL's programs, a scratch server.
#   docker/smoke.sh IMAGE PG_MAJOR
set -euo pipefail
image=${1:?image} major=${2:?PostgreSQL major}

fail() { echo "SMOKE FAILED: $image: $*" >&2; exit 1; }

# inside COMMAND...: in a fresh container, with the program that it names instead of backupd.
inside() {
  docker run --rm -i --init --read-only --cap-drop ALL --security-opt no-new-privileges --network none \
    --tmpfs /tmp:mode=1777 --tmpfs /run/backupd:mode=1777 --entrypoint "$1" "$image" "${@:2}"
}

inside backupd --version | grep -q '^backupd [0-9]' || fail "backupd --version"
status=0
inside backupd check >/dev/null 2>&1 || status=$?
[ "$status" -eq 2 ] || fail "backupd check without settings: exit code $status, not 2"
[ "$(inside id -u):$(inside id -g)" = 10001:10001 ] || fail "user $(inside id)"
[ "$(inside stat -c '%U %a' /backups)" = 'backupd 700' ] || fail "/backups: $(inside stat -c '%U %a' /backups)"
for program in pg_dump pg_dumpall pg_restore psql createdb dropdb pg_isready postgres initdb pg_ctl; do
  version=$(inside "$program" --version) || fail "$program does not run"
  [[ $version =~ \(PostgreSQL\)\ $major([.]|[a-z]|$|\ ) ]] || fail "$program: $version"
done
[ -z "$(inside find / -xdev \( -name 'libLLVM*' -o -name 'llvmjit*' -o -name bitcode \) -print 2>/dev/null)" ] || fail "LLVM is in the image"
[ -z "$(inside find / -xdev -type f -perm /6000 2>/dev/null)" ] || fail "setuid files: $(inside find / -xdev -type f -perm /6000 2>/dev/null)"
[ -z "$(inside sh -c 'command -v apt-get dpkg perl su mount')" ] || fail "there are $(inside sh -c 'command -v apt-get dpkg perl su mount')"
size=$(docker image inspect -f '{{.Size}}' "$image")
[ "$size" -le 130000000 ] || fail "the image has $size bytes"
[ "$(inside sh -c 'wc -l </etc/ssl/certs/ca-certificates.crt')" -gt 1000 ] || fail "no certificate authorities"

# A file of another owner, mode 0600: not readable, unless started as root with the capabilities of compose.backup.yml.
secret=$(mktemp -d)
trap 'rm -rf "$secret"' EXIT
echo 'postgres://user:password@db/postgres' >"$secret/url"
chmod 0755 "$secret"
chmod 0600 "$secret/url"
unreadable() {
  # check fails either way: other settings are missing.
  { docker run --rm --read-only --cap-drop ALL --security-opt no-new-privileges --network none -v "$secret:/secret:ro" \
    -e DATABASE_URL_FILE=/secret/url "$@" "$image" check 2>&1 || true; } | grep -q 'DATABASE_URL_FILE=/secret/url cannot be read'
}
unreadable || fail "a file of mode 0600 of another owner should not be readable"
! unreadable --user 0:0 --cap-add DAC_READ_SEARCH --cap-add SETUID --cap-add SETGID || fail "as root: a file of another owner cannot be read"
docker run --rm --read-only --cap-drop ALL --cap-add SETUID --cap-add SETGID --user 0:0 "$image" --version >/dev/null ||
  fail "as root without DAC_READ_SEARCH"

# A scratch server on memory, as a drill makes one.
inside bash -euo pipefail <<'SCRATCH' | tee "$secret/scratch" || fail "scratch server"
initdb -D /tmp/data -U supabase_admin --locale=C.UTF-8 --encoding=UTF8 --no-sync >/tmp/initdb.log 2>&1 || { cat /tmp/initdb.log; exit 1; }
pg_ctl -D /tmp/data -w -l /tmp/log -o "-c listen_addresses='' -k /tmp -c shared_preload_libraries=pg_stat_statements" start >/dev/null ||
  { cat /tmp/log; exit 1; }
psql -h /tmp -U supabase_admin -d postgres -XqAt -v ON_ERROR_STOP=1 >/tmp/out <<'SQL'
CREATE EXTENSION pgcrypto;
CREATE EXTENSION "uuid-ossp";
CREATE EXTENSION pg_stat_statements;
CREATE EXTENSION pg_trgm;
CREATE EXTENSION postgres_fdw;
CREATE EXTENSION xml2;
SELECT 'CREATE EXTENSION ' || name FROM pg_available_extensions WHERE name IN ('vector', 'pgtap') \gexec
SELECT 'more: ' || string_agg(extname, ' ' ORDER BY extname) FROM pg_extension WHERE extname IN ('vector', 'pgtap');
CREATE COLLATION german (provider = icu, locale = 'de-u-co-phonebk');
SET timezone = 'US/Pacific';
SET timezone = 'Europe/Berlin';
SET jit = on;
SET jit_above_cost = 0;
SELECT 'jit ' || sum(n) FROM generate_series(1, 1000) n;
SET jit = off;
SELECT 'digest ' || encode(digest('a', 'sha256'), 'hex'), uuid_generate_v4() IS NOT NULL, similarity('word', 'words') > 0.5;
SELECT 'icu ' || string_agg(w, ' ' ORDER BY w COLLATE german) FROM unnest('{Af,Äd,Ad}'::text[]) w;
SELECT 'xml ' || xpath('/a/text()', '<a>1</a>')::text;
SELECT 'statements ' || (count(*) > 0) FROM pg_stat_statements;
SQL
for line in 'jit 500500' 'digest ca978112' 'icu Ad Äd Af' 'xml {1}' 'statements true'; do
  grep -q "^$line" /tmp/out || { echo "no '$line' in:"; cat /tmp/out; exit 1; }
done
grep '^more' /tmp/out || true
pg_dump -h /tmp -U supabase_admin -d postgres | grep -q -- '-- PostgreSQL database dump complete'
pg_dumpall -h /tmp -U supabase_admin --roles-only >/dev/null
pg_ctl -D /tmp/data -w -m fast stop >/dev/null
SCRATCH
# Debian's suites differ in what they have.
[ "$major" != 17 ] || grep -qx 'more: pgtap vector' "$secret/scratch" || fail "no pgvector, no pgtap"
echo "smoke: $image with PostgreSQL $major: all right"
