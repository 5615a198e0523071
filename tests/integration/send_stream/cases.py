# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Every kind of change to a file system, as cases that run in the storage guest.

Each case is a generator that gets a directory of its own. What it does before
its first ``yield`` is in the base snapshot. Then it changes things; after the
second ``yield`` the dataset has been mounted anew, so that freed object numbers
are given out again; after the third the newer snapshot has been taken.
"""

from __future__ import annotations

from tests.integration.send_stream import content, names
from tests.integration.send_stream.tools import Case

CASES: tuple[Case, ...] = (
    content.created,
    content.same_size_and_mtime,
    content.one_block_of_a_large_file,
    content.appended,
    content.cut,
    content.cut_and_grown_again,
    content.cut_grown_and_end_written,
    content.grown_by_a_hole,
    content.hole_punched,
    content.zeros_written,
    content.hole_filled,
    content.huge_and_sparse,
    content.written_through_a_map,
    content.reflinked,
    content.embedded_blocks,
    content.block_size_grows,
    content.rewritten_as_it_was,
    content.sparse_untouched,
    content.sparse_metadata,
    content.mode_owner_and_times,
    content.xattrs,
    content.spill_block_changed,
    content.acls,
    names.entries_come_and_go,
    names.entry_came_and_went,
    names.renamed,
    names.directory_moved,
    names.exchanged,
    names.saved_by_rename,
    names.hard_links,
    names.hard_link_with_orphaned_parent,
    names.hard_link_made_and_removed,
    names.symlinks,
    names.kinds_swap,
    names.deleted,
    names.large_directory,
    names.names_of_any_bytes,
    names.temporary_file_linked,
    names.unlinked_while_open,
    names.numbers_reused,
    names.numbers_cross_kinds,
)

# Where the stream may say more than the truth: content written again as it was, zeros written
# into a hole, an entry added and removed again, a directory that took the number of one alike.
MAY_SAY_MORE = frozenset(
    {
        "rewritten_as_it_was",
        "hole_filled",
        "entry_came_and_went",
        "numbers_reused",
        "numbers_cross_kinds",
    }
)
