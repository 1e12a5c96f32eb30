#!/bin/sh
# Gets a machine ready for billcycle: `make` runs it before everything else, and
# it does nothing where nothing is missing. What it may install is PostgreSQL,
# from the system's own packages: only its programs, no service; and for the
# tests (setup.sh tests) the programs that read statements back.
set -eu

min=15 # the oldest PostgreSQL that will do; postgres.MinMajor says why

say() { echo "setup: $*" >&2; }
fail() { say "$@"; exit 1; }

# The folders of postgres/programs.go: where packages put the servers' programs.
folders() {
    for program in initdb postgres; do
        path=$(command -v "$program") && dirname "$(readlink -f "$path" || echo "$path")"
    done
    for dir in /usr/lib/postgresql/*/bin \
               /usr/pgsql-*/bin \
               /usr/libexec/postgresql* \
               /opt/homebrew/opt/postgresql@*/bin \
               /usr/local/opt/postgresql@*/bin \
               /Applications/Postgres.app/Contents/Versions/*/bin \
               /usr/local/pgsql/bin; do
        echo "$dir"
    done
}

has_postgres() {
    folders | {
        while IFS= read -r dir; do
            [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] || continue
            major=$("$dir/postgres" --version 2>/dev/null | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
            [ "${major:-0}" -ge "$min" ] && exit 0
        done
        exit 1
    }
}

# as_root runs a command as root: as we are, by sudo without a password, or, if
# a person sits there, by sudo with one.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        env "$@"
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        sudo env "$@"
    else
        say "$missing missing, and installing takes root. As root, type:"
        fail "    apt-get update && apt-get install -y --no-install-recommends $packages"
    fi
}

# Debian's package would make a database cluster and start it. We start our own
# server on a folder of our own, so a setting keeps it from that, for as long as
# the installation takes.
apt_install() {
    setting=/etc/postgresql-common/createcluster.d/billcycle.conf
    as_root mkdir -p "${setting%/*}"
    say "installing from the system's packages: $packages"
    as_root sh -c "echo 'create_main_cluster = false' > $setting"
    trap 'as_root rm -f "$setting"' EXIT
    quiet="-q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300" # a new machine may be busy updating itself
    # shellcheck disable=SC2086
    as_root DEBIAN_FRONTEND=noninteractive apt-get $quiet update >&2 ||
        say "apt-get update failed; going on with the package lists that are here"
    # shellcheck disable=SC2086
    as_root DEBIAN_FRONTEND=noninteractive apt-get $quiet install -y --no-install-recommends $packages >&2 ||
        fail "apt-get could not install $packages; what it said stands above"
    as_root rm -f "$setting"
    trap - EXIT
}

# need notes that a program is missing, and the package that has it.
missing='' packages=''
need() {
    missing="${missing:+$missing, }$1"
    packages="${packages:+$packages }$2"
}

command -v go >/dev/null || fail "there is no Go on this machine (or not in PATH). billcycle is built with Go 1.26 or newer: https://go.dev/dl/"

if [ "${1:-}" = tests ]; then
    for tool in pdftotext:poppler-utils qpdf:qpdf zbarimg:zbar-tools dmtxread:dmtx-utils tesseract:tesseract-ocr; do
        command -v "${tool%:*}" >/dev/null || need "${tool%:*}" "${tool#*:}"
    done
fi
# A server of your own needs none here.
[ -n "${BILLCYCLE_DATABASE:-}" ] || has_postgres || need "PostgreSQL $min or newer" postgresql
[ -n "$packages" ] || exit 0
if command -v apt-get >/dev/null; then
    apt_install
    [ -n "${BILLCYCLE_DATABASE:-}" ] || has_postgres || fail "the system's packages have no PostgreSQL $min or newer. Install one from https://www.postgresql.org/download/, or name a server of yours in BILLCYCLE_DATABASE."
    exit 0
fi

say "missing: $missing. Install it, then run make again:"
if   command -v brew >/dev/null; then say "    brew install postgresql@17"
elif command -v dnf  >/dev/null; then say "    sudo dnf install -y postgresql-server"
elif command -v apk  >/dev/null; then say "    apk add postgresql"
else say "    https://www.postgresql.org/download/"
fi
fail "Or name a server of yours in BILLCYCLE_DATABASE."
