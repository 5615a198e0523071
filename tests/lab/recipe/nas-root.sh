#!/bin/sh
# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Result: root/, the tree in which the NAS' sshd runs. It has accounts of its own, so the lab
# makes none on the machine and needs no SSH server there.
# Environment: BASE (result of base.sh).
# shellcheck source=tests/lab/recipe/common.sh
. "$RECIPE/common.sh"

unpack "$BASE/root.tar"
install openssh-server rsync
rm -f "$ROOT"/etc/ssh/ssh_host_*
mkdir -p "$ROOT/volume1" "$ROOT/etc/lab" "$ROOT/run/sshd"
# One person's files, several credentials: the accounts share the user id that DSM gives its
# first user.
# Debian has an account of its own named backup.
within userdel backup
for user in backup offsite pruner shell; do
  within useradd --no-create-home --home-dir /volume1 --non-unique --uid 1026 --gid users \
    --password '*' --shell /bin/sh "$user"
done
finish
