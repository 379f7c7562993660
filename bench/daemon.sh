#!/usr/bin/env bash
# What the daemon costs when nothing is to be done, and how fast it answers while a dump takes both cores. Prints figures, asserts nothing.
#   EVENTS=1600000 IDLE=60 bash bench/daemon.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/needs.sh
need_rust
need "${stack_packages[@]}" python3
need_temporary
. tests/stack.sh

echo "building, and making data" >&2
cargo build --release --locked --quiet -p backupd
cargo build --release --locked --quiet -p tests --example sample_storage
target=$(target_directory)
port=$(start_server bench)
load_stack "$port" 10
on "$port" psql -Xq -d postgres -v ON_ERROR_STOP=1 -v events="${EVENTS:-1600000}" -f bench/data.sql
"$target/release/examples/sample_storage" "$work/storage" 2000 200000000
mkdir "$work/backups"

env -i PATH="$PATH" DATABASE_URL="$(database_url "$port" postgres)" KC_DB_URL="jdbc:postgresql://127.0.0.1:$port/keycloak" \
  KC_DB_USERNAME=keycloak KC_DB_PASSWORD="$kc_password" SUPABASE_STORAGE_PATH="$work/storage" BACKUP_DIR="$work/backups" \
  BACKUP_CATCH_UP=false BACKUP_CONTROL_SOCKET="$work/control.sock" BACKUP_HTTP_ADDR=127.0.0.1:$((port + 1)) \
  python3 - "$target/release/backupd" "$((port + 1))" "${IDLE:-60}" <<'PYTHON'
import http.client, os, signal, subprocess, sys, time
from datetime import datetime, timedelta

binary, port, idle = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ticks = os.sysconf("SC_CLK_TCK")

def ask():
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/health")
    connection.getresponse().read()
    connection.close()
    return (time.perf_counter() - began) * 1000

def rss(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

def cpu(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / ticks

def at_rest(pid, words):
    used, began = cpu(pid), time.time()
    time.sleep(idle)
    share = 100 * (cpu(pid) - used) / (time.time() - began)
    print(f"{words}: {rss(pid):.1f} MiB resident, {share:.2f} % of a core over {idle} s")

def start():
    began = time.perf_counter()
    daemon = subprocess.Popen([binary, "serve"], stderr=subprocess.DEVNULL)
    while True:
        try:
            ask()
            break
        except OSError:
            time.sleep(0.001)
    return daemon, (time.perf_counter() - began) * 1000

def stop(daemon):
    daemon.send_signal(signal.SIGTERM)
    daemon.wait()

# more SETS: copies of the newest set, an hour apart, their archives by hard links.
def more(sets):
    root = os.environ["BACKUP_DIR"]
    newest = max(name for name in os.listdir(root) if name[0].isdigit())
    moment = datetime.strptime(newest, "%Y%m%dT%H%M%SZ")
    with open(f"{root}/{newest}/manifest.json") as manifest:
        text = manifest.read()
    for hours in range(1, sets):
        name = (moment - timedelta(hours=hours)).strftime("%Y%m%dT%H%M%SZ")
        os.makedirs(f"{root}/{name}", exist_ok=True)
        for file in os.listdir(f"{root}/{newest}"):
            if file != "manifest.json" and not os.path.exists(f"{root}/{name}/{file}"):
                os.link(f"{root}/{newest}/{file}", f"{root}/{name}/{file}")
        with open(f"{root}/{name}/manifest.json", "w") as manifest:
            manifest.write(text.replace(newest, name))
    return len(text)

daemon, took = start()
try:
    print(f"start-up to the first answer: {took:.0f} ms")
    at_rest(daemon.pid, "idle, before any run")
    run = subprocess.Popen([binary, "trigger"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    times = []
    while run.poll() is None:
        times.append(ask())
        time.sleep(0.005)
    times.sort()
    at = lambda share: times[min(len(times) - 1, int(len(times) * share))]
    print(f"/health while a run is at work, {len(times)} requests: median {at(0.5):.1f} ms, p99 {at(0.99):.1f} ms, most {times[-1]:.1f} ms; trigger exited {run.returncode}")
    at_rest(daemon.pid, "idle, after a run")
finally:
    stop(daemon)
for sets in (1, 100, 1000):
    bytes = more(sets)
    daemon, took = start()
    try:
        at_rest(daemon.pid, f"idle, {sets} sets of a manifest of {bytes / 1024:.0f} KiB, started in {took:.0f} ms")
    finally:
        stop(daemon)
PYTHON
