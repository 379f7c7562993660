#!/bin/sh
# The image's `backupd`. Started as root it steps down to the user backupd, and keeps of these capabilities what the container has
# (cap_add): to read files whoever owns them, and for a restore of Storage to write where others own and to give files their owners.
# So sets have one owner, and PostgreSQL's server, which refuses root, starts.
set -eu
binary=/usr/local/lib/backupd/backupd
[ "$(id -u)" -eq 0 ] || exec "$binary" "$@"
bounding=$(setpriv --dump | sed -n 's/^Capability bounding set: //p')
kept=-all
for capability in dac_read_search chown dac_override fowner; do
  case ",$bounding," in *",$capability,"*) kept=$kept,+$capability ;; esac
done
exec setpriv --reuid=backupd --regid=backupd --clear-groups --inh-caps="$kept" --ambient-caps="$kept" "$binary" "$@"
