#!/bin/sh
# Run while the image is built: lays PostgreSQL's programs out below a directory and lists the library packages that they load.
#   postgres-files.sh MAJOR DIRECTORY LIST     in an empty working directory
set -eu
major=$1 root=$2 list=$3

# Unpacked, not installed: the packages would bring LLVM, Perl and a cluster of their own.
apt-get -qq -o APT::Sandbox::User=root download "postgresql-$major" "postgresql-client-$major"
# Small extensions that sets of Supabase often have, so that a drill restores what needs them. Not pg_cron, which no drill lets in, nor
# pgaudit, which a server must load as it starts.
for extension in pgvector pgtap; do
  apt-get -qq -o APT::Sandbox::User=root download "postgresql-$major-$extension" ||
    echo "no postgresql-$major-$extension in this suite: left out" >&2
done
for package in *.deb; do
  dpkg-deb -x "$package" all
done

programs=all/usr/lib/postgresql/$major/bin
libraries=all/usr/lib/postgresql/$major/lib
share=usr/share/postgresql/$major
mkdir -p "$root/usr/lib/postgresql/$major/bin" "$root/${share%/*}"
# To dump and load; to restore by hand; to keep a scratch server.
for program in pg_dump pg_dumpall pg_restore psql createdb dropdb pg_isready initdb pg_ctl postgres; do
  mv "$programs/$program" "$root/usr/lib/postgresql/$major/bin"
done
# llvmjit: the JIT; bitcode: its input; plperl, plpython: extensions between languages that are not here.
rm -rf "$libraries/bitcode" "$libraries/pgxs" "$libraries"/llvmjit* "$libraries"/*plperl* "$libraries"/*plpython*
mv "$libraries" "$root/usr/lib/postgresql/$major/lib"
rm -rf "all/$share/man" "all/$share"/extension/*plperl* "all/$share"/extension/*plpython*
mv "all/$share" "$root/$share"
# Licences, and what was unpacked in the form in which images without dpkg say it: scanners look there.
mkdir -p "$root/var/lib/dpkg/status.d"
for package in *.deb; do
  name=$(dpkg-deb -f "$package" Package)
  install -D -m 0644 "all/usr/share/doc/$name/copyright" "$root/usr/share/doc/$name/copyright"
  dpkg-deb -f "$package" >"$root/var/lib/dpkg/status.d/$name"
done

# What the packages themselves depend on, less LLVM, tells ldd's paths apart; only packages with a library that is loaded go on the list.
needs=$(for package in *.deb; do dpkg-deb -f "$package" Depends; done |
  tr ',' '\n' | sed 's/^ *//; s/[ |].*//' | grep '^lib' | grep -v -e '^libllvm' -e '-perl$' | sort -u)
# shellcheck disable=SC2086 # names are words
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $needs >/dev/null
find "$root/usr/lib/postgresql/$major" -type f \( -path '*/bin/*' -o -name '*.so' -o -name '*.so.*' \) -exec ldd {} + >loaded
if grep -F 'not found' loaded; then
  echo "a library is missing" >&2
  exit 1
fi
sed -n 's/.*=> \(\/[^ ]*\) (.*/\1/p' loaded | sort -u | xargs realpath | grep -v '/postgresql/' | sort -u |
  xargs dpkg-query -S | sed 's/:.*//' | sort -u >"$list"
