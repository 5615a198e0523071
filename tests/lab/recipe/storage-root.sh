#!/bin/sh
# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Result: root.tar (the storage guest's packages), vmlinuz and initrd.img.
# Environment: BASE (result of base.sh), ZFS (result of zfs-modules.sh).
# shellcheck source=tests/lab/recipe/common.sh
. "$RECIPE/common.sh"

unpack "$BASE/root.tar"
# A small initial RAM disk: an emulated processor takes seconds to unpack the usual one.
mkdir -p "$ROOT/etc/initramfs-tools/conf.d"
printf 'MODULES=list\nCOMPRESS=gzip\n' >"$ROOT/etc/initramfs-tools/conf.d/lab"
printf 'virtio_pci\nvirtio_blk\next4\n' >"$ROOT/etc/initramfs-tools/modules"
mkdir "$ROOT/var/tmp/debs"
cp "$ZFS"/debs/*.deb "$ROOT/var/tmp/debs/"
install systemd-sysv systemd udev dbus kmod iproute2 procps tzdata less e2fsprogs \
  openssh-server openssh-client python3 cron logrotate sqlite3 attr acl rsync xxd \
  nfs-kernel-server targetcli-fb initramfs-tools
# The kernel's dependency linux-image-amd64 is left out: it would ask for a newer kernel one day.
within sh -c 'apt-get install -y --no-install-recommends /var/tmp/debs/linux-image-[0-9]*.deb \
  /var/tmp/debs/zfsutils-linux_*.deb /var/tmp/debs/lib*.deb'
rm -r "$ROOT/var/tmp/debs"
tar -C "$ROOT/usr/lib/modules" -xf "$ZFS/modules.tar"
kernel=$(ls "$ROOT/usr/lib/modules")
within depmod "$kernel"
within update-initramfs -u -k "$kernel"
cp "$ROOT/boot/vmlinuz-$kernel" "$OUT/vmlinuz"
cp "$ROOT/boot/initrd.img-$kernel" "$OUT/initrd.img"
finish
tar -C "$ROOT" -cf "$OUT/root.tar" .
rm -rf "$ROOT"
