#!/usr/bin/env bash
# backupd beside what the user has today, on the same data, in one run, one after the other. Prints figures and ratios, asserts nothing.
#   EVENTS=3200000 SCALE=50 FILES=42000 BYTES=1600000000 SMALL_FILES=500000 bash bench/bench.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/needs.sh
need_rust
need "${stack_packages[@]}" pigz zstd time bc python3
need_temporary
. tests/stack.sh

echo "building, and making data (some minutes)" >&2
cargo build --release --locked --quiet -p backupd
cargo build --release --locked --quiet -p tests --example sample_storage
cargo build --release --locked --quiet -p postgres --example cost
target=$(target_directory)
port=$(start_server bench)
load_stack "$port" "${SCALE:-50}"
on "$port" psql -Xq -d postgres -v ON_ERROR_STOP=1 -v events="${EVENTS:-3200000}" -f bench/data.sql
"$target/release/examples/sample_storage" "$work/storage" "${FILES:-42000}" "${BYTES:-1600000000}"
mkdir "$work/out" "$work/backups"
export PGHOST=127.0.0.1 PGPORT=$port PGUSER=$admin PGPASSWORD=$password
out=$work/out/file

printf 'machine: %s cores, %s; PostgreSQL %s\n' "$(nproc)" "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(postgres --version | grep -o '[0-9][0-9.]*' | head -n 1)"
printf 'database: %s on the server, %s as plain SQL\n' "$(psql -XAtqd postgres -c 'SELECT pg_size_pretty(pg_database_size(current_database()))')" \
  "$(pg_dump postgres | wc -c | numfmt --to=iec)B"
printf 'storage:  %s in %s files\n\n' "$(tar -C "$work/storage" -cf - . | wc -c | numfmt --to=iec)B" "$(find "$work/storage" -type f | wc -l)"

# row NAME BYTES WALL CPU KIB: a line of the table, with its ratio to the first of its block.
first=
row() {
  [ -n "$first" ] || first=$3
  printf '%-44s %8.2f s %8.2f s %7.1f MiB %8sB %6.2fx\n' "$1" "$3" "$4" "$(bc -l <<<"$5/1024")" "$(numfmt --to=iec --format=%.1f "$2")" "$(bc -l <<<"$first/$3")"
}
# measure NAME COMMAND: a pipeline that writes $out.
measure() {
  rm -f "$out"; sync
  /usr/bin/time -o "$work/time" -f '%e %U %S %M' bash -o pipefail -c "$2"
  read -r wall user system kib <"$work/time"
  row "$1" "$(stat -c %s "$out")" "$wall" "$(bc -l <<<"$user+$system")" "$kib"
}
# ours NAME STEP FILE SETTING...: a whole run, and the step that does what the pipelines above do.
ours() {
  local name=$1 step=$2 file=$3 set
  shift 3
  rm -rf "$work/backups"; mkdir "$work/backups"; sync
  env -i PATH="$PATH" BACKUP_DIR="$work/backups" BACKUP_LOG=error DATABASE_URL="$(database_url "$port" postgres)" \
    SUPABASE_STORAGE_PATH="$work/storage" "$@" \
    /usr/bin/time -o "$work/time" -f '%e %U %S %M' "$target/release/backupd" run --json >"$work/manifest.json"
  read -r wall user system kib <"$work/time"
  set=$(find "$work/backups" -mindepth 1 -maxdepth 1 -name '[0-9]*Z')
  local cpu seconds
  cpu=$(bc -l <<<"$user+$system")
  if [ -n "$step" ]; then
    seconds=$(python3 -c 'import json,sys; m=json.load(open(sys.argv[1])); print([s["duration_ms"] for s in m["steps"] if s["name"]==sys.argv[2]][0]/1000)' "$work/manifest.json" "$step")
    row "$name: the step, flushed to disk" "$(stat -c %s "$set/$file")" "$seconds" "$cpu" "$kib"
    row "$name: whole run with read-back" "$(stat -c %s "$set/$file")" "$wall" "$cpu" "$kib"
  else
    row "$name" "$(du -sb "$set" | cut -f1)" "$wall" "$cpu" "$kib"
  fi
}
heading() { first=; printf '%-44s %10s %10s %11s %9s %7s\n' "$1" wall 'client CPU' 'peak memory' size speed; }

heading 'DATABASE (CPU of backupd: the whole run)'
measure 'pg_dump | gzip' "pg_dump postgres | gzip > $out"
measure 'pg_dump | pigz' "pg_dump postgres | pigz > $out"
measure 'pg_dump | zstd -T0' "pg_dump postgres | zstd -q -T0 -o $out"
ours 'backupd, gzip' supabase supabase_db.sql.gz BACKUP_SOURCES=supabase
ours 'backupd, zstd' supabase supabase_db.sql.zst BACKUP_SOURCES=supabase BACKUP_COMPRESSION=zstd
# Of one core: digests are taken by a thread of their own between pg_dump and the compressing threads, the census before the dump.
read -r digests census < <(pg_dump postgres | "$target/release/examples/cost" "$(database_url "$port" postgres)")
printf 'of a dump step: digests and counts of all rows %s s of one core, beside pg_dump; census %s s\n' "$digests" "$census"
echo
heading 'STORAGE'
measure 'tar -czf' "tar -C $work/storage -czf $out ."
measure 'tar --xattrs | pigz' "tar --xattrs -C $work/storage -cf - . | pigz > $out"
measure 'tar --xattrs | zstd -T0' "tar --xattrs -C $work/storage -cf - . | zstd -q -T0 -o $out"
ours 'backupd, gzip' storage storage_buckets.tar.gz BACKUP_SOURCES=storage
ours 'backupd, zstd' storage storage_buckets.tar.zst BACKUP_SOURCES=storage BACKUP_COMPRESSION=zstd
echo
# 500 bytes each, half of them noise, 1,000 in a directory; all of it in the page cache, for all lines.
small=${SMALL_FILES:-500000}
python3 - "$work/small" "$small" <<'PYTHON'
import os, sys
root, count = sys.argv[1], int(sys.argv[2])
for number in range(count):
    directory = f"{root}/{number // 1000:05}"
    if number % 1000 == 0:
        os.makedirs(directory)
    with open(f"{directory}/{number:08}.txt", "w") as file:
        file.write(os.urandom(250).hex())
PYTHON
heading "STORAGE, $small FILES OF 500 BYTES"
measure 'tar -czf' "tar -C $work/small -czf $out ."
measure 'tar --xattrs | zstd -T0' "tar --xattrs -C $work/small -cf - . | zstd -q -T0 -o $out"
ours 'backupd, gzip' storage storage_buckets.tar.gz BACKUP_SOURCES=storage SUPABASE_STORAGE_PATH="$work/small"
ours 'backupd, zstd' storage storage_buckets.tar.zst BACKUP_SOURCES=storage SUPABASE_STORAGE_PATH="$work/small" BACKUP_COMPRESSION=zstd
rm -rf "$work/small"
echo
heading 'MEMORY WHEN THE DATA DOUBLES (speed: data x1 / x2)'
ours 'backupd, database and storage' '' '' BACKUP_SOURCES=supabase,storage
ours 'backupd, both of them twice' '' '' BACKUP_SOURCES=supabase,storage BACKUP_EXTRA_DATABASES="again=$(database_url "$port" postgres)" BACKUP_EXTRA_PATHS="twice=$work/storage"
echo
# Into an empty database of the same server; backupd's lines count every table's rows and rebuild statistics besides.
headed_restore() { first=; printf '%-44s %10s %10s %11s %9s %7s\n' "$1" wall 'client CPU' 'peak memory' 'dump' speed; }
# restores NAME DUMP COMMAND: into the empty database `target`.
restores() {
  dropdb --if-exists --force target 2>/dev/null; createdb -T template0 target; psql -Xqd postgres -c CHECKPOINT
  /usr/bin/time -o "$work/time" -f '%e %U %S %M' bash -o pipefail -c "$3" >/dev/null 2>&1
  read -r wall user system kib <"$work/time"
  row "$1" "$(stat -c %s "$2")" "$wall" "$(bc -l <<<"$user+$system")" "$kib"
  dropdb --if-exists --force target 2>/dev/null
}
# restores_ours NAME DUMP OPTION...: backupd makes the database itself.
restores_ours() {
  local name=$1 dump=$2
  shift 2
  dropdb --if-exists --force target 2>/dev/null; psql -Xqd postgres -c CHECKPOINT
  env -i PATH="$PATH" BACKUP_DIR="$work/backups" BACKUP_LOG=error DATABASE_URL="$(database_url "$port" postgres)" \
    /usr/bin/time -o "$work/time" -f '%e %U %S %M' "$target/release/backupd" restore --yes --only supabase --into target "$@" >/dev/null
  read -r wall user system kib <"$work/time"
  row "$name" "$(stat -c %s "$dump")" "$wall" "$(bc -l <<<"$user+$system")" "$kib"
  dropdb --if-exists --force target 2>/dev/null
}
headed_restore 'RESTORE (a set of SQL text; for pg_restore an archive)'
ours 'backupd run (for comparison)' '' '' BACKUP_SOURCES=supabase >/dev/null
dump=$(find "$work/backups" -name supabase_db.sql.gz); archive=$work/out/archive; first=
pg_dump -Fc -f "$archive" postgres
restores 'gunzip -c | psql' "$dump" "gunzip -c $dump | psql -Xq -d target"
restores 'gunzip -c | psql, ANALYZE' "$dump" "gunzip -c $dump | psql -Xq -d target && psql -Xq -d target -c ANALYZE"
restores 'pg_restore -j2' "$archive" "pg_restore -j2 -d target $archive"
restores 'pg_restore -j2, ANALYZE' "$archive" "pg_restore -j2 -d target $archive && psql -Xq -d target -c ANALYZE"
restores_ours 'backupd restore --jobs 1' "$dump" --jobs 1
restores_ours 'backupd restore --jobs 2' "$dump" --jobs 2
echo
headed_restore 'DRILL of the last set (scratch server, census)'
env -i PATH="$PATH" BACKUP_DIR="$work/backups" BACKUP_LOG=error /usr/bin/time -o "$work/time" -f '%e %U %S %M' \
  "$target/release/backupd" verify --drill | tail -n 1
read -r wall user system kib <"$work/time"
row 'backupd verify --drill' "$(stat -c %s "$dump")" "$wall" "$(bc -l <<<"$user+$system")" "$kib"
