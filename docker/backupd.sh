#!/bin/sh
# The image's `backupd`. Started as root it steps down to the user backupd, and keeps the one capability to read files whoever owns
# them, where it is given (cap_add: DAC_READ_SEARCH). So sets have one owner, and PostgreSQL's server, which refuses root, starts.
set -eu
binary=/usr/local/lib/backupd/backupd
[ "$(id -u)" -eq 0 ] || exec "$binary" "$@"
capabilities=-all
! setpriv --dump | grep -q '^Capability bounding set:.*dac_read_search' || capabilities=-all,+dac_read_search
exec setpriv --reuid=backupd --regid=backupd --clear-groups --inh-caps="$capabilities" --ambient-caps="$capabilities" "$binary" "$@"
