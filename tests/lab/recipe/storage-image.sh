#!/bin/sh
# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Result: root.raw (sparse, the guest's root disk), vmlinuz and initrd.img.
# Environment: STORAGE_ROOT (result of storage-root.sh), KEYS (the lab's keys), GUEST (files of
# the guest, laid out as from its root directory).
# shellcheck source=tests/lab/recipe/common.sh
. "$RECIPE/common.sh"

mkdir "$ROOT"
tar -C "$ROOT" -xf "$STORAGE_ROOT/root.tar"
cp -r --no-preserve=ownership "$GUEST/." "$ROOT/"
mkdir -p "$ROOT/root/.ssh"
chmod 700 "$ROOT/root/.ssh"
cp "$KEYS/controller.pub" "$ROOT/root/.ssh/authorized_keys"
rm -f "$ROOT"/etc/ssh/ssh_host_*
cp "$KEYS/guest_host" "$ROOT/etc/ssh/ssh_host_ed25519_key"
cp "$KEYS/guest_host.pub" "$ROOT/etc/ssh/ssh_host_ed25519_key.pub"
chown -R 0:0 "$ROOT/root/.ssh" "$ROOT/etc/ssh"
chmod 600 "$ROOT/root/.ssh/authorized_keys" "$ROOT/etc/ssh/ssh_host_ed25519_key"
chroot "$ROOT" systemctl enable ssh.service systemd-networkd.service lab-agent.service cron.service
chroot "$ROOT" systemctl disable apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
  e2scrub_all.timer fstrim.timer systemd-networkd-wait-online.service
chroot "$ROOT" systemctl mask systemd-logind.service systemd-hwdb-update.service \
  getty@tty1.service systemd-timesyncd.service
systemd_id=$(printf 'homelab.backup lab' | md5sum | cut -c 1-32)
echo "$systemd_id" >"$ROOT/etc/machine-id"
chroot "$ROOT" zgenhostid -f 0x10a0010f
truncate -s 6G "$OUT/root.raw"
mke2fs -q -t ext4 -E discard -L lab-root -d "$ROOT" "$OUT/root.raw"
ln "$STORAGE_ROOT/vmlinuz" "$OUT/vmlinuz"
ln "$STORAGE_ROOT/initrd.img" "$OUT/initrd.img"
rm -rf "$ROOT"
