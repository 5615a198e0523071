# shellcheck shell=sh
# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Read by the other recipe scripts. They run in a mount and a process namespace of their own,
# so what is mounted here disappears with them.
# Environment: OUT (directory for the result), MIRROR (Debian mirror), SUITE (Debian release).

set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
ROOT=$OUT/root

# unpack TAR: a root tree at $ROOT, ready for apt.
unpack() {
  mkdir "$ROOT"
  tar -C "$ROOT" -xf "$1"
  mount -t proc proc "$ROOT/proc"
  mount --bind /dev "$ROOT/dev"
  mount -t devpts -o newinstance,ptmxmode=0666 devpts "$ROOT/dev/pts"
  cp /etc/resolv.conf /etc/hosts "$ROOT/etc/"
  # The machine's own proxy settings, if it has any.
  apt-config dump | grep -i '^Acquire::https\?::Proxy' >"$ROOT/etc/apt/apt.conf.d/90lab" || true
  # An interrupted build is thrown away whole, so nothing needs to reach the disk early.
  echo force-unsafe-io >"$ROOT/etc/dpkg/dpkg.cfg.d/lab"
  cat >>"$ROOT/etc/dpkg/dpkg.cfg.d/lab" <<'DPKG'
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/locale/*
force-confold
DPKG
  printf '#!/bin/sh\nexit 101\n' >"$ROOT/usr/sbin/policy-rc.d"
  chmod 755 "$ROOT/usr/sbin/policy-rc.d"
  within apt-get update
}

within() {
  chroot "$ROOT" "$@"
}

# install PACKAGE...: with dependencies, without recommendations.
install() {
  within apt-get install -y --no-install-recommends "$@"
}

# finish: what only the build needed goes, mounts too.
finish() {
  within apt-get clean
  find "$ROOT/var/lib/apt/lists" -mindepth 1 -delete
  rm -f "$ROOT/usr/sbin/policy-rc.d" "$ROOT/etc/apt/apt.conf.d/90lab" \
    "$ROOT/etc/dpkg/dpkg.cfg.d/lab" "$ROOT/etc/resolv.conf" "$ROOT/etc/hosts"
  umount "$ROOT/dev/pts" "$ROOT/dev" "$ROOT/proc"
}
