# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage lab: a guest with real OpenZFS and an SFTP NAS on one machine."""
