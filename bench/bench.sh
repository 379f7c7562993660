#!/usr/bin/env bash
# backupd beside what the user has today, on the same data, in one run. Prints figures and ratios, asserts nothing.
#   bash bench/bench.sh [PART...]     database, cost, storage, small, memory, restore, drill; without, all of them
#   EVENTS=3200000 SCALE=50 FILES=42000 BYTES=1600000000 SMALL_FILES=500000 ROUNDS=3
# EVENTS and SCALE make the database (3200000 and 50: 1.1 GB as SQL), FILES and BYTES the storage, ROUNDS is how often what is compared by
# medians takes its turn. A first look in a few minutes: EVENTS=300000 SCALE=10 FILES=2000 BYTES=100000000 bash bench/bench.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/needs.sh
parts=${*:-database cost storage small memory restore drill}
for part in $parts; do
  [[ $part =~ ^(database|cost|storage|small|memory|restore|drill)$ ]] || { echo "there is no part $part" >&2; exit 2; }
done
# wants PART...: whether one of these is to be measured.
wants() {
  local part
  for part in "$@"; do [[ " $parts " != *" $part "* ]] || return 0; done
  return 1
}
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
mkdir "$work/out" "$work/backups" "$work/storage"
! wants storage memory || "$target/release/examples/sample_storage" "$work/storage" "${FILES:-42000}" "${BYTES:-1600000000}"
rounds=${ROUNDS:-3}
export PGHOST=127.0.0.1 PGPORT=$port PGUSER=$admin PGPASSWORD=$password
# Nothing of before is in the way of what is measured.
psql -Xqd postgres -c 'VACUUM ANALYZE' -c CHECKPOINT
out=$work/out/file

printf 'machine: %s cores, %s; PostgreSQL %s\n' "$(nproc)" "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(postgres --version | grep -o '[0-9][0-9.]*' | head -n 1)"
printf 'database: %s on the server, %s as plain SQL\n' "$(psql -XAtqd postgres -c 'SELECT pg_size_pretty(pg_database_size(current_database()))')" \
  "$(pg_dump postgres | wc -c | numfmt --to=iec)B"
! wants storage memory || printf 'storage:  %s in %s files\n' "$(tar -C "$work/storage" -cf - . | wc -c | numfmt --to=iec)B" "$(find "$work/storage" -type f | wc -l)"
echo

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

if wants database; then
  heading 'DATABASE (CPU of backupd: the whole run)'
  measure 'pg_dump | gzip' "pg_dump postgres | gzip > $out"
  measure 'pg_dump | pigz' "pg_dump postgres | pigz > $out"
  measure 'pg_dump | zstd -T0' "pg_dump postgres | zstd -q -T0 -o $out"
  ours 'backupd, gzip' supabase supabase_db.sql.gz BACKUP_SOURCES=supabase
  ours 'backupd, zstd' supabase supabase_db.sql.zst BACKUP_SOURCES=supabase BACKUP_COMPRESSION=zstd
  echo
fi
if wants cost; then
  # As backupd dumps it, with and without, in turns.
  read -r without with census < <("$target/release/examples/cost" "$(database_url "$port" postgres)" "$work/out" "$rounds")
  printf 'COST OF DIGESTS AND CENSUS (medians of %s)\n' "$rounds"
  printf '%-44s %8.2f s\n' 'dump without digests' "$without" 'dump with digests and rows of every table' "$with" 'census' "$census"
  printf '%-44s %+8.1f %%\n' 'of both, to the dump step' "$(bc -l <<<"(($with+$census)/$without-1)*100")"
  # How fast a dump can be: pg_dump alone, to nowhere and into a pipe.
  measure 'pg_dump, thrown away' "pg_dump postgres > /dev/null; : > $out"
  measure 'pg_dump | cat, thrown away' "pg_dump postgres | cat > /dev/null; : > $out"
  echo
fi
if wants storage; then
  heading 'STORAGE'
  measure 'tar -czf' "tar -C $work/storage -czf $out ."
  measure 'tar --xattrs | pigz' "tar --xattrs -C $work/storage -cf - . | pigz > $out"
  measure 'tar --xattrs | zstd -T0' "tar --xattrs -C $work/storage -cf - . | zstd -q -T0 -o $out"
  ours 'backupd, gzip' storage storage_buckets.tar.gz BACKUP_SOURCES=storage
  ours 'backupd, zstd' storage storage_buckets.tar.zst BACKUP_SOURCES=storage BACKUP_COMPRESSION=zstd
  echo
fi
if wants small; then
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
fi
if wants memory; then
  heading 'MEMORY WHEN THE DATA DOUBLES (speed: data x1 / x2)'
  ours 'backupd, database and storage' '' '' BACKUP_SOURCES=supabase,storage
  ours 'backupd, both of them twice' '' '' BACKUP_SOURCES=supabase,storage BACKUP_EXTRA_DATABASES="again=$(database_url "$port" postgres)" BACKUP_EXTRA_PATHS="twice=$work/storage"
  echo
fi

# backupd COMMAND...: on the set that `restore` and `drill` measure.
backupd() {
  env -i PATH="$PATH" BACKUP_DIR="$work/backups" BACKUP_LOG=error DATABASE_URL="$(database_url "$port" postgres)" \
    /usr/bin/time -o "$work/time" -f '%e %U %S %M' "$target/release/backupd" "$@"
}
# restores NAME COMMAND...: one turn, into the database `target`, which is empty or, for backupd, is none. Its figures are kept.
restores() {
  local name=$1
  shift
  dropdb --if-exists --force target 2>/dev/null
  [ "$1" = backupd ] || createdb -T template0 target
  psql -Xqd postgres -c CHECKPOINT; sync
  if [ "$1" = backupd ]; then "$@" >/dev/null; else
    # What the dump cannot give by hand (owners of event triggers) is said, and does not count here.
    /usr/bin/time -o "$work/time" -f '%e %U %S %M' bash -o pipefail -c "$1" >/dev/null 2>&1 || true
    sed -i '/^Command/d' "$work/time"
  fi
  printf '%s|%s\n' "$name" "$(cat "$work/time")" >>"$work/turns"
  dropdb --if-exists --force target 2>/dev/null
}
if wants restore drill; then
  ours 'backupd run (for comparison)' '' '' BACKUP_SOURCES=supabase >/dev/null
  dump=$(find "$work/backups" -name supabase_db.sql.gz)
fi
if wants restore; then
  archive=$work/out/archive
  pg_dump -Fc -f "$archive" postgres
  for _ in $(seq "$rounds"); do
    restores 'gunzip -c | psql, ANALYZE' "gunzip -c $dump | psql -Xq -d target; psql -Xq -d target -c ANALYZE"
    restores 'pg_restore -j2 of an archive, ANALYZE' "pg_restore -j2 -d target $archive; psql -Xq -d target -c ANALYZE"
    restores 'backupd restore --jobs 2' backupd restore --yes --only supabase --into target --jobs 2
    restores 'backupd restore --jobs 1' backupd restore --yes --only supabase --into target --jobs 1
  done
  printf 'RESTORE (medians of %s turns; backupd counts every table, too; speed is to pg_restore)\n' "$rounds"
  python3 - "$work/turns" <<'PYTHON'
import statistics, sys
turns = {}
for line in open(sys.argv[1]):
    name, figures = line.strip().rsplit("|", 1)
    turns.setdefault(name, []).append([float(figure) for figure in figures.split()])
medians = {name: [statistics.median(column) for column in zip(*figures)] for name, figures in turns.items()}
base = next(wall for name, (wall, *_) in medians.items() if name.startswith("pg_restore"))
for name, (wall, user, system, kib) in medians.items():
    walls = " ".join(f"{figures[0]:.1f}" for figures in turns[name])
    print(f"{name:<44} {wall:8.2f} s {user + system:8.2f} s {kib / 1024:7.1f} MiB {base / wall:6.2f}x   ({walls})")
PYTHON
  echo
fi
if wants drill; then
  heading 'DRILL of the last set (scratch server, census)'
  backupd verify --drill | tail -n 1
  read -r wall user system kib <"$work/time"
  row 'backupd verify --drill' "$(stat -c %s "$dump")" "$wall" "$(bc -l <<<"$user+$system")" "$kib"
fi
