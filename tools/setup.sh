#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
#
# Makes .venv and the collection tree; called by `make setup` and by everything that needs
# them. A second run compares a stamp and ends at once.
#
# The interpreter is $PYTHON when set, else the first of python3, python3.11 to python3.13
# that ansible-core 2.19 runs on. On Debian, what is missing is installed with apt (root).
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd "$root"
# The Makefile puts our own environment first; its interpreter can't make its successor.
PATH=$(printf '%s' "$PATH" | sed "s#$root/\.venv/bin:##g")

# Candidates are run, not looked up: a pyenv shim is on PATH for versions that it then
# refuses to run. Prints the real interpreter, past any shim.
usable_python() {
    "$1" -c '
import ensurepip, sys, venv
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(1)
print(sys.executable)' 2>/dev/null
}

find_python() {
    for candidate in ${PYTHON:-python3 /usr/bin/python3 python3.11 python3.12 python3.13}; do
        if usable_python "$candidate"; then
            return 0
        fi
    done
    return 1
}

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

apt_install() {
    if ! command -v apt-get >/dev/null; then
        fail "missing: $*; this machine has no apt-get, install them and run it again"
    fi
    if [ "$(id -u)" != 0 ]; then
        fail "missing: $*; run as root, or first: apt-get install -y $*"
    fi
    printf 'setup: apt-get install %s\n' "$*"
    log=.cache/apt.log
    if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
        --no-install-recommends "$@"; } >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        fail "apt-get could not install: $*"
    fi
}

mkdir -p .cache
if command -v flock >/dev/null && [ -z "${HOMELAB_BACKUP_SETUP_LOCKED:-}" ]; then
    HOMELAB_BACKUP_SETUP_LOCKED=1 exec flock .cache/setup.lock sh "$0" "$@"
fi

# The collection's import name needs a parent directory ansible_collections/homelab.
link=.cache/collections/ansible_collections/homelab/backup
if [ ! -e "$link/galaxy.yml" ]; then
    mkdir -p "${link%/*}"
    ln -sfn ../../../.. "$link"
fi

stamp=.venv/.setup-stamp
wanted="$root $(cat requirements.txt requirements-dev.txt constraints.txt tools/setup.sh | sha256sum)"
if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

started=$(date +%s)
set --
for tool in git make; do
    command -v "$tool" >/dev/null || set -- "$@" "$tool"
done
# Tests speak SFTP with OpenSSH's own server, as a child process; it is no service.
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && [ ! -x /usr/lib/openssh/sftp-server ]; then
    set -- "$@" openssh-sftp-server
fi
if ! python=$(find_python); then
    set -- "$@" python3 python3-venv
fi
if [ $# != 0 ]; then
    apt_install "$@"
    python=$(find_python) || fail \
        "no Python 3.11, 3.12 or 3.13 with the venv module was found;" \
        "install one and name it: make setup PYTHON=PATH_OF_PYTHON"
fi

# An environment of another place or interpreter can't be repaired: its scripts carry paths.
case "$(cat "$stamp" 2>/dev/null)" in
"$root "*) ;;
*) rm -rf .venv ;;
esac
rm -f "$stamp"
if [ ! -x .venv/bin/python ]; then
    printf 'setup: environment with %s (%s)\n' "$python" "$("$python" --version)"
    "$python" -m venv .venv
fi
printf 'setup: installing requirements-dev.txt\n'
if ! .venv/bin/python -m pip install --disable-pip-version-check -q \
    -r requirements-dev.txt >.cache/pip.log 2>&1; then
    cat .cache/pip.log >&2
    fail "pip could not install requirements-dev.txt"
fi
printf '%s\n' "$wanted" >"$stamp"
printf 'setup: done in %s s\n' "$(($(date +%s) - started))"
