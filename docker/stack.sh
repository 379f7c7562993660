#!/usr/bin/env bash
# Sourced by the end-to-end tests: Docker Compose, a stack like the stock project's, and the commands that our pages give.
#   work      a temporary directory of the caller's
#   project   a name of its own for everything that is started
#   backup    the name of backupd's container, once there is one

password='sample p@ss/w0rd#1%' kc_password='sample keycloak:p@ss'
encoded='sample%20p%40ss%2Fw0rd%231%25'
began=$SECONDS backup=

say() { printf '\n== [%s s] %s\n' "$((SECONDS - began))" "$*"; }

fail() {
  printf '\nE2E FAILED: %s\n' "$*" >&2
  docker logs --tail 60 "$backup" >&2 || true
  exit 1
}

# need_compose: `docker compose`, version 2: the plugin that is there, or Debian's, taken out of its package.
need_compose() {
  docker compose version >/dev/null 2>&1 && return
  local plugin=${CARGO_TARGET_DIR:-$root/target}/docker-compose
  if ! "$plugin" version >/dev/null 2>&1; then
    bash "$root/docker/base-images.sh"
    mkdir "$work/plugin"
    docker run --rm -v "$work/plugin:/out" debian:trixie-slim sh -c \
      'apt-get update -qq && cd /out && apt-get download -qq docker-compose 2>/dev/null && dpkg-deb -x docker-compose_*.deb .'
    mkdir -p "$(dirname "$plugin")"
    cp "$work/plugin/usr/libexec/docker/cli-plugins/docker-compose" "$plugin"
  fi
  mkdir -p "$work/docker/cli-plugins"
  [ ! -e "${DOCKER_CONFIG:-$HOME/.docker}/config.json" ] || cp "${DOCKER_CONFIG:-$HOME/.docker}/config.json" "$work/docker"
  ln -sf "$(realpath "$plugin")" "$work/docker/cli-plugins/docker-compose"
  export DOCKER_CONFIG=$work/docker
}

# stock_stack DIRECTORY SUPABASE KEYCLOAK: a Compose project as far as backupd sees it, with those samples (LOAD) in its databases.
stock_stack() {
  mkdir -p "$1/volumes/storage"
  printf '%s' "$password" >"$work/db-password"
  printf '%s' "$kc_password" >"$work/kc-password"
  chmod 0444 "$work/"*-password
  chmod 0755 "$work" "$1"
  cat >"$1/docker-compose.yml" <<YAML
name: $project
services:
  db:
    image: backupd-db:local
    environment: {LOAD: "$2", POSTGRES_PASSWORD_FILE: /run/password, SCALE: "5"}
    volumes: ["$work/db-password:/run/password:ro", "db-data:/data", "db-config:/etc/postgresql-custom"]
    healthcheck: {interval: 1s, timeout: 5s, retries: 60, start_period: 60s}
  keycloak-db:
    image: backupd-db:local
    environment: {LOAD: "$3", POSTGRES_PASSWORD_FILE: /run/password, KC_PASSWORD_FILE: /run/kc-password}
    volumes: ["$work/db-password:/run/password:ro", "$work/kc-password:/run/kc-password:ro", "kc-data:/data"]
    healthcheck: {interval: 1s, timeout: 5s, retries: 60, start_period: 60s}
volumes: {db-data: , kc-data: , db-config: }
YAML
}

# page FILE HEADING: the blocks ```sh below a heading of one of our pages, as a script for this machine: other directories, another
# container's name, no sudo, and the image that is there already.
page() {
  awk -v heading="## $2" '/^## / {inside = $0 == heading} /^ *```/ {block = inside && /```sh$/; next} block {sub(/^   +/, ""); print}' "$root/$1" |
    sed -e "s#/srv/backups#$BACKUP_HOST_DIR#g" -e 's/sudo //g' -e "s#\.\./backupd\>#$root#g" -e "s/exec backup /exec $BACKUP_CONTAINER /g" \
      -e 's/&& make image)/)/' -e "s/supabase_\(default\|db-config\)/${project}_\1/g" -e "s#/srv/backupd-image#$work/backupd-image#g" -e "s#/srv/supabase#$work/stack#g" \
      -e "s/=keycloak_default/=${project}-keycloak_default/" -e "s/^COMPOSE_PROJECT_NAME=backup$/COMPOSE_PROJECT_NAME=$project-alone/"
}

# told SERVICE DATABASE: all of a database, without what differs between two dumps of the same.
told() {
  docker compose exec -T -e "PGPASSWORD=$password" "$1" pg_dump -h 127.0.0.1 --create "$2" | grep -vE '^\\(un)?restrict '
}

# files_of DIRECTORY: names, owners, modes, content and attributes, without what a restore kept.
files_of() {
  (
    cd "$1"
    find . -path './storage.before-*' -prune -o -mindepth 1 -printf '%p %U:%G %m\n' | LC_ALL=C sort
    find . -path './storage.before-*' -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    find . -path './storage.before-*' -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 getfattr -h -d -m user. 2>/dev/null
  )
}

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
