#!/bin/sh
# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Result: root.tar, a minimal Debian with the components main and contrib (OpenZFS is in contrib).
# `contrib` is named in this tree only, never on the machine that builds it.
# shellcheck source=tests/lab/recipe/common.sh
. "$RECIPE/common.sh"

debootstrap --variant=minbase --components=main,contrib \
  --keyring=/usr/share/keyrings/debian-archive-keyring.gpg "$SUITE" "$ROOT" "$MIRROR"
chroot "$ROOT" apt-get clean
tar -C "$ROOT" -cf "$OUT/root.tar" .
rm -rf "$ROOT"
