#!/bin/sh
# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Result: modules.tar (OpenZFS for the release's kernel) and debs/ (that very kernel and the
# matching tools), so that the guest needs neither compiler nor headers and both always fit.
# Environment: BASE (result of base.sh).
# shellcheck source=tests/lab/recipe/common.sh
. "$RECIPE/common.sh"

unpack "$BASE/root.tar"
install linux-image-amd64 linux-headers-amd64
install zfs-dkms
within apt-get install -y --no-install-recommends --download-only zfsutils-linux
mkdir "$OUT/debs"
cd "$ROOT/var/cache/apt/archives"
cp linux-image-*.deb zfsutils-linux_*.deb libnvpair*.deb libuutil*.deb libzfs*.deb libzpool*.deb \
  "$OUT/debs/"
cd "$ROOT/usr/lib/modules"
set -- */updates/dkms/zfs.ko*
if [ ! -e "$1" ]; then
  echo "zfs-dkms was installed but made no module; its log:" >&2
  tail -n 30 "$ROOT"/var/lib/dkms/zfs/*/build/make.log >&2 || true
  exit 1
fi
tar -cf "$OUT/modules.tar" ./*/updates
finish
rm -rf "$ROOT"
