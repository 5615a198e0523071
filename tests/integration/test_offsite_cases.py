# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Changes that ``zfs diff`` reports oddly, late or not at all, each through the whole sync.

The names are those of OpenZFS' own test suite (tests/functional/cli_root/zfs_diff: changes, types,
mangle, encrypted; timestamp and cliargs concern zfs' command line only) and of what was found out
about hard links, renamed directories, the delete queue and attribute directories. All cases share
the syncs: in one dataset they are found by stream, in the other by walk.
"""

from __future__ import annotations

import pytest

from tests.integration.offsite.installation import Installation, installed, job_document
from tests.integration.offsite.source_tree import differences
from tests.lab.guest import Guest
from tests.lab.nas import Nas

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.usefixtures("pristine")]

PATCH = (
    'python3 -c \'import os,sys; s=os.stat("{0}"); f=open("{0}","r+b"); f.write(b"PATCH");'
    ' f.close(); os.utime("{0}", ns=(s.st_atime_ns, s.st_mtime_ns))\''
)
MMAP = (
    'python3 -c \'import mmap; f=open("f","r+b"); m=mmap.mmap(f.fileno(),0); m[0:4]=b"mmap";'
    " m.flush()'"
)
TMPFILE = (
    'python3 -c \'import os,time; fd=os.open(".",os.O_TMPFILE|os.O_RDWR); os.write(fd,b"t");'
    ' open("ready","w"); time.sleep(90)\' >/dev/null 2>&1 </dev/null &\n'
    "while [ ! -e ready ]; do sleep 0.2; done"
)
SOCKET = "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'"
TREE = "mkdir -p d/sub; echo 1 >d/a; echo 2 >d/sub/b"
BIG = "head -c 300000 /dev/urandom >f"

# name: what is there at the base, what is done then
CASES: dict[str, tuple[str, str]] = {
    "create": ("true", "echo new >f"),
    "modify": ("echo 1 >f", "echo 2 >>f"),
    "delete": ("echo 1 >f", "rm f"),
    "rename": ("echo 1 >f", "mv f g"),
    "rename_and_modify": ("echo 1 >f", "mv f g; echo 2 >g"),
    "move_to_another_directory": ("echo 1 >f; mkdir d", "mv f d/f"),
    "directory_renamed": (TREE, "mv d e"),
    "directory_renamed_and_child_changed": (TREE, "mv d e; echo changed >e/sub/b"),
    "directory_moved": (f"{TREE}; mkdir p", "mv d p/d"),
    "directory_renamed_and_old_name_anew": (TREE, "mv d e; mkdir d; echo other >d/a"),
    "directories_swapped": (f"{TREE}; mkdir e; echo e >e/a", "mv d t; mv e d; mv t e"),
    "directory_into_its_own_child": (TREE, "mv d/sub x; mv d x/d"),
    "files_swapped": ("echo a >a; echo b >b", "mv a t; mv b a; mv t b"),
    "saved_by_rename": ("echo 1 >f", "echo 2 >n; mv n f"),
    "removed_and_made_anew": ("echo 1 >f", "rm f; echo 2 >f"),
    "file_to_directory": ("echo 1 >x", "rm x; mkdir x; echo 2 >x/y"),
    "directory_to_file": (TREE, "rm -r d; echo 1 >d"),
    "symlink_retargeted": ("ln -s a l", "ln -sfn b l"),
    "file_to_symlink": ("echo 1 >f", "rm f; ln -s gone f"),
    "chmod": ("echo 1 >f", "chmod 600 f"),
    "chown": ("echo 1 >f", "chown 1234:5678 f"),
    "touch": ("echo 1 >f", "touch -d 2001-02-03 f"),
    "xattr": ("echo 1 >f", "setfattr -n user.k -v value f"),
    "xattr_changed": ("echo 1 >f; setfattr -n user.k -v 1 f", "setfattr -n user.k -v 2 f"),
    "posix_acl": ("echo 1 >f; mkdir d", "setfacl -m u:1234:r f; setfacl -dm g:55:rx d"),
    "name_xattrdir": ("mkdir '<xattrdir>'; echo 1 >'<xattrdir>/f'", "echo 2 >'<xattrdir>/f'"),
    "written_by_mmap": (BIG, MMAP),
    "same_size_and_time": (BIG, PATCH.format("f")),
    "reflink_copy": (BIG, "cp --reflink=auto f g"),
    "reflink_over": (f"{BIG}; head -c 300000 /dev/zero >g", "cp --reflink=auto f g"),
    "truncated": (BIG, "truncate -s 1000 f"),
    "cut_and_grown": (BIG, "truncate -s 0 f; truncate -s 300000 f; touch -d 2001-02-03 f"),
    "hole_punched": (BIG, "fallocate -p -o 0 -l 131072 f"),
    "access_time_only": ("echo 1 >f", "touch -a f"),
    "hard_link_added": ("echo 1 >f", "ln f g"),
    "hard_link_removed": ("echo 1 >f; ln f g", "rm g"),
    "first_name_removed": ("echo 1 >f; ln f g", "rm f"),
    "hard_link_moved": ("echo 1 >f; ln f g; mkdir d", "mv g d/h"),
    "link_added_and_removed_elsewhere": ("echo 1 >f; mkdir d", "ln f d/g; rm d/g"),
    "new_file_with_two_names": ("true", "echo 1 >f; ln f g"),
    "orphan_parent_then_modified": ("echo 1 >f; ln f g; rm g", "echo 2 >f"),
    "orphan_parent_then_patched": (f"{BIG}; mkdir d; ln f d/g; rm d/g", PATCH.format("f")),
    "orphan_parent_then_removed": ("echo 1 >f; mkdir d; ln f d/g; rm d/g", "rm f"),
    "download_linked_then_removed": ("mkdir t m; echo 1 >t/f", "ln t/f m/f; rm t/f; echo 2 >>m/f"),
    "both_names_changed_places": (
        "mkdir d e; echo 1 >d/f; ln d/f e/g",
        "mv d/f t; mv e/g d/f; mv t e/g",
    ),
    "linked_files_part": ("echo 1 >f; ln f g", "cp f n; mv n f; echo 2 >>g"),
    "unlinked_while_open": ("echo 1 >f", "sleep 90 <f >/dev/null 2>&1 &\nsleep 0.3; rm f"),
    "tmpfile": ("true", TMPFILE),
    "nothing": (TREE, "true"),
    "changes_of_the_test_suite": (
        (
            "echo 1 >fremoved; echo 2 >frenamed; echo 3 >fmodified;"
            " mkdir dremoved drenamed dmodified;"
            " echo 4 >dmodified/f"
        ),
        (
            "rm fremoved; mv frenamed frenamed.new; touch fmodified; rmdir dremoved;"
            " mv drenamed drenamed.new; touch dmodified/file fcreated; mkdir dcreated"
        ),
    ),
    "types_of_the_test_suite": (
        "true",
        f"touch f; ln -s f l; mknod b b 1 1; mknod c c 1 1; mkfifo p; mkdir d; {SOCKET}",
    ),
    "types_gone": (f"mknod b b 1 1; mkfifo p; {SOCKET}", "rm b p s; echo 1 >p; mkdir b"),
    "mangled_names_of_the_test_suite": (
        "true",
        (
            "touch 'śmieszny żupan' 'достопримечательности';"
            " echo 1 >$'nl\\nname'; echo 2 >$'cr\\r';"
            " echo 3 >$'invalid\\xff'; echo 4 >' '; echo 5 >'digits\\0040123'"
        ),
    ),
    "longest_name": ("true", "touch $(printf 'n%.0s' $(seq 255))"),
    "empty_directory_and_file": ("true", "mkdir -p e/m/p; touch e/t"),
    "dnode_size": (
        "touch f; setfattr -n user.long -v $(printf 'v%.0s' $(seq 3000)) f",
        "echo 1 >f",
    ),
}
SETS = {"stream": ["xattr=sa"], "walk": ["xattr=dir"]}
ENCRYPTED = ["-o", "encryption=on", "-o", "keyformat=passphrase", "-o", "dnodesize=auto"]

Found = dict[str, dict[str, list[str]]]


def play(guest: Guest, dataset: str, part: int) -> None:
    lines = ["set -u"]
    for name, case in CASES.items():
        top = f"/mnt/main/{dataset}/{name}"
        lines.append(f"mkdir -p {top}; cd {top} || exit 1\n{case[part]}\n: done")
    result = guest.run("\n".join(lines), check=True)
    assert result.stderr == ""


@pytest.fixture(scope="module")
def found(guest: Guest, nas: Nas, pristine: float) -> Found:
    """Differences by strategy and case, after one sync of all of them."""
    made: Installation = installed(guest, nas, [job_document("main", "main")])
    answer: Found = {}
    for dataset, options in SETS.items():
        words = [word for option in options for word in ("-o", option)]
        guest.run(
            ["zfs", "create", *ENCRYPTED, "-o", "acltype=posix", *words, f"main/{dataset}"],
            stdin="passphrase\npassphrase\n",
        )
        play(guest, dataset, 0)
    made.ok()
    for strategy in SETS:
        play(guest, strategy, 1)
        ran = made.ok("--strategy", strategy)
        assert ran.strategies[f"main/{strategy}"] == strategy, ran.kept["detection"]
        assert ran.notes == "", ran.notes
        by_case: dict[str, list[str]] = {}
        for path, text in differences(made, ran.kept):
            case = path.split(b"/")[1].decode() if b"/" in path else ""
            by_case.setdefault(case, []).append(f"{path!r}: {text}")
        answer[strategy] = by_case
        if strategy == "stream":
            assert "main/stream/types_of_the_test_suite" not in by_case
            named = "\n".join(ran.kept["not_copied"]["named"])
            for kind in ("block device", "character device", "FIFO", "socket"):
                assert kind in named
    return answer


@pytest.mark.parametrize("strategy", SETS)
@pytest.mark.parametrize("case", CASES)
def test_case(found: Found, case: str, strategy: str) -> None:
    assert found[strategy].get(case, []) == []


@pytest.mark.parametrize("strategy", SETS)
def test_nothing_differs_outside_of_the_cases(found: Found, strategy: str) -> None:
    assert found[strategy].keys() - CASES.keys() == set()
