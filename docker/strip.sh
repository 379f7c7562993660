#!/bin/sh
# Run last while the image is built: takes away what only installs and administers (package manager, Perl, accounts, PAM, mount), character
# sets that nothing here reads, libraries that nothing here loads, and every setuid bit. What is left must have the libraries that it loads.
set -eu
gone='apt libapt-pkg* perl-base debconf passwd login* mount libpam-modules libpam-modules-bin libpam-runtime liblastlog2* libsqlite3-0 sqv gpgv libseccomp2 ncurses-bin sysvinit-utils init-system-helpers libsemanage* libsepol2 debian-archive-keyring libhogweed* libnettle* diffutils bsdutils hostname libsasl2-modules-db libdb5.3* libgcrypt20 libgpg-error0'
installed=
for name in $gone; do
  # shellcheck disable=SC2086 # a pattern
  installed="$installed $(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$name" 2>/dev/null | sed -n 's/^installed //p')"
done
rm -f /var/lib/dpkg/info/*.prerm /var/lib/dpkg/info/*.postrm
# shellcheck disable=SC2086 # words
dpkg --purge --force-all $installed >/dev/null 2>&1
# What of util-linux and libxslt needs them.
rm -f /usr/bin/su /usr/sbin/runuser /usr/bin/lslogins /usr/lib/*/libexslt.so*
# Programs that only a build needs.
rm -f /usr/bin/openssl /usr/bin/localedef
# Its list of what is installed stays, for scanners; itself goes.
dpkg-query -L dpkg | while read -r file; do [ ! -f "$file" ] || rm -f "$file"; done
awk -v RS= -v ORS='\n\n' '!/^Package: dpkg\n/' /var/lib/dpkg/status >/tmp/status
mv /tmp/status /var/lib/dpkg/status
rm -rf /var/lib/dpkg/info /var/lib/dpkg/*-old /usr/lib/*/gconv /usr/share/debconf /usr/share/perl* /usr/lib/*/perl-base /etc/apt /var/cache/* /var/log/*
find / -xdev -type f -perm /6000 -exec chmod a-s {} +
missing=$(find /usr -xdev -type f \( -path '*/bin/*' -o -path '*/sbin/*' -o -name '*.so' -o -name '*.so.*' \) -exec ldd {} + 2>/dev/null | grep -F 'not found' || true)
[ -z "$missing" ] || { echo "a library is missing: $missing" >&2; exit 1; }
