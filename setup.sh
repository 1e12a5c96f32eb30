#!/bin/sh
# Gets a machine ready for billcycle: `make` runs it before everything else, and
# it does nothing where nothing is missing. The one thing it may install is
# PostgreSQL, from the system's own packages: only its programs, no service.
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
        say "PostgreSQL $min or newer is missing, and installing it takes root. As root, type:"
        fail "    apt-get update && apt-get install -y --no-install-recommends postgresql"
    fi
}

# Debian's package would make a database cluster and start it. We start our own
# server on a folder of our own, so a setting keeps it from that, for as long as
# the installation takes.
apt_install() {
    setting=/etc/postgresql-common/createcluster.d/billcycle.conf
    as_root mkdir -p "${setting%/*}"
    say "installing PostgreSQL from the system's packages"
    as_root sh -c "echo 'create_main_cluster = false' > $setting"
    trap 'as_root rm -f "$setting"' EXIT
    quiet="-q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300" # a new machine may be busy updating itself
    # shellcheck disable=SC2086
    as_root DEBIAN_FRONTEND=noninteractive apt-get $quiet update >&2 ||
        say "apt-get update failed; going on with the package lists that are here"
    # shellcheck disable=SC2086
    as_root DEBIAN_FRONTEND=noninteractive apt-get $quiet install -y --no-install-recommends postgresql >&2 ||
        fail "apt-get could not install postgresql; what it said stands above"
    as_root rm -f "$setting"
    trap - EXIT
}

command -v go >/dev/null || fail "there is no Go on this machine (or not in PATH). billcycle is built with Go 1.26 or newer: https://go.dev/dl/"

[ -z "${BILLCYCLE_DATABASE:-}" ] || exit 0 # a server of your own
has_postgres && exit 0
if command -v apt-get >/dev/null; then
    apt_install
    has_postgres || fail "the system's packages have no PostgreSQL $min or newer. Install one from https://www.postgresql.org/download/, or name a server of yours in BILLCYCLE_DATABASE."
    exit 0
fi

say "PostgreSQL $min or newer is missing (initdb and postgres). Install it, then run make again:"
if   command -v brew >/dev/null; then say "    brew install postgresql@17"
elif command -v dnf  >/dev/null; then say "    sudo dnf install -y postgresql-server"
elif command -v apk  >/dev/null; then say "    apk add postgresql"
else say "    https://www.postgresql.org/download/"
fi
fail "Or name a server of yours in BILLCYCLE_DATABASE."
