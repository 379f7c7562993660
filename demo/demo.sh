#!/usr/bin/env bash
# The main job, seen once: a sample Supabase + Keycloak stack on a private server, one backup set of it, and its restore by hand, with
# nothing but sha256sum, gunzip, psql and tar. Needs no terminal, touches nothing outside a temporary directory, and cleans up after
# itself however it ends.
#   SCALE=100 bash demo/demo.sh     more rows (1000 is about 1.5 GB)
#   BACKUPD=… SAMPLE_STORAGE=…      these programs, and nothing is compiled
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/needs.sh
if [ -n "${BACKUPD:-}" ] && [ -n "${SAMPLE_STORAGE:-}" ]; then
  need "${sample_packages[@]}"
else
  need_build "${stack_packages[@]}"
fi
need_temporary
. tests/stack.sh

say() { printf '\n== %s\n' "$*"; }
fail() { printf '\nDEMO FAILED: %s\n' "$*" >&2; exit 1; }

hashes=$PWD/tests/fixtures/table_hashes.sql

backupd=${BACKUPD:-} sample_storage=${SAMPLE_STORAGE:-}
if [ -z "$backupd" ] || [ -z "$sample_storage" ]; then
  say "building backupd"
  cargo build --release --locked --quiet -p backupd
  cargo build --locked --quiet -p tests --example sample_storage
  target=$(target_directory)
  backupd=$target/release/backupd sample_storage=$target/debug/examples/sample_storage
fi

say "a sample stack: PostgreSQL $(postgres --version | grep -o '[0-9][0-9.]*' | head -n 1), databases postgres and keycloak, a storage tree"
source_port=$(start_server source) || fail "the sample server did not start"
load_stack "$source_port" "${SCALE:-10}"
"$sample_storage" "$work/storage"
mkdir "$work/backups"

# The settings a user would give, and no others.
settings=(
  PATH="$PATH"
  DATABASE_URL="$(database_url "$source_port" postgres)"
  KC_DB_URL="jdbc:postgresql://127.0.0.1:$source_port/keycloak"
  KC_DB_USERNAME=keycloak
  KC_DB_PASSWORD="$kc_password"
  SUPABASE_STORAGE_PATH="$work/storage"
  BACKUP_DIR="$work/backups"
)
for arguments in check run list "verify latest" "verify --drill latest"; do
  say "backupd $arguments"
  # shellcheck disable=SC2086 # arguments are words
  env -i "${settings[@]}" "$backupd" $arguments || fail "backupd $arguments: exit code $?"
done
set=$(find "$work/backups" -mindepth 1 -maxdepth 1 -type d -name '[0-9]*Z')
ls -l "$set"

say "the restore by hand, on an empty server, without backupd"
target_port=$(start_server target) || fail "the empty server did not start"
mkdir "$work/restored"
# README's lines, and no others.
recipe=$(sed -n '/By hand, without backupd:$/,/^No line/s/^    //p' README.md |
  sed -e "s|/backups/20261120T020000Z|$set|" -e "s|/srv/supabase/volumes/storage|$work/restored|")
printf '%s\n' "$recipe"
on "$target_port" bash -e -o pipefail -c "$recipe" >/dev/null || fail "README's lines"

say "comparing"
# Everything that a role or database carries beside its tables, passwords included.
properties() {
  on "$1" psql -XqAt -d postgres -c "
    SELECT 'role', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit,
      rolvaliduntil, md5(rolpassword), shobj_description(oid, 'pg_authid') FROM pg_authid WHERE rolname !~ '^pg_';
    SELECT 'member', roleid::regrole, member::regrole, admin_option FROM pg_auth_members;
    SELECT 'setting', d.datname, setrole::regrole, setconfig FROM pg_db_role_setting LEFT JOIN pg_database d ON d.oid = setdatabase;
    SELECT 'database', datname, datdba::regrole, ARRAY(SELECT unnest(datacl)::text ORDER BY 1), pg_encoding_to_char(encoding), datcollate,
      shobj_description(oid, 'pg_database') FROM pg_database WHERE datname IN ('postgres', 'keycloak')" | LC_ALL=C sort
}
tree() {
  (
    cd "$1"
    find . -printf '%p|%y|%m|%U:%G|%T@|%l|%n\n' | LC_ALL=C sort
    find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    find . -print0 | LC_ALL=C sort -z | xargs -0 getfattr -h -d -m - -e hex 2>/dev/null
  )
}
for database in postgres keycloak; do
  for side in source target; do
    port=${side}_port
    on "${!port}" psql -XqAt -d "$database" -f "$hashes" >"$work/$database.$side"
  done
  diff "$work/$database.source" "$work/$database.target" || fail "$database differs after the restore"
  printf '%-10s %s tables, %s rows: the same\n' "$database" "$(grep -c '^\["r"' "$work/$database.source")" \
    "$(grep '^\["r"' "$work/$database.source" | sed 's/.*, \([0-9]*\), [^,]*$/\1/' | paste -sd+ | awk -F+ '{ for (i = 1; i <= NF; i++) n += $i; print n }')"
done
diff <(properties "$source_port") <(properties "$target_port") || fail "roles or database settings differ after the restore"
printf '%-10s roles, memberships, passwords, settings, owners: the same\n' server
diff <(tree "$work/storage") <(tree "$work/restored") || fail "the storage tree differs after the restore"
printf '%-10s %s files: names, bytes, modes, owners, times, attributes, links: the same\n' storage "$(find "$work/storage" -type f -printf x | wc -c)"

say "DEMO PASSED: one set of three stores, verified, and restored by hand to the same content"
