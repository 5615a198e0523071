# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Runs in the guest: a process that has the runner's modules loaded and forks one for each run.

Starting Python and importing takes an emulated guest longer than a run. Each fork gets the
arguments, environment and standard files of its client and ends as the runner would.

With ``KILL_AT=n`` in its environment a fork kills itself (SIGKILL) at its n-th external step:
before and after each program, before and after each request to the NAS, before and after each
commit of the index, before and after each file that is replaced. ``KILL_AT=0`` only counts.
The steps go to the file that ``KILL_LOG`` names; ``KILL_SIGNAL`` is another signal's number.
"""

import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import traceback

SOCKET = "/run/offsite-warm.sock"
PACKAGE = "ansible_collections.homelab.backup.plugins.module_utils"
SFTP_NAMES = {
    3: "open",
    4: "close",
    5: "read",
    6: "write",
    7: "lstat",
    8: "fstat",
    9: "setstat",
    10: "fsetstat",
    11: "opendir",
    12: "readdir",
    13: "remove",
    14: "mkdir",
    15: "rmdir",
    16: "realpath",
    17: "stat",
    18: "rename",
    200: "extended",
}


def serve(unpacked):
    sys.path.insert(0, unpacked)
    module = load("_runner.main")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SOCKET)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(SOCKET)
    server.listen(16)
    if os.fork():
        return
    os.setsid()
    quiet = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(quiet, number)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, dummy = server.accept()
        if os.fork() == 0:
            server.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            handle(connection, module)
            os._exit(0)
        connection.close()


def handle(connection, module):
    message, descriptors = socket.recv_fds(connection, 65_536, 3)[:2]
    request = json.loads(message)
    pid = os.fork()
    if pid == 0:
        connection.close()
        become(request, descriptors, module)
    for descriptor in descriptors:
        os.close(descriptor)
    connection.sendall(b"%d\n" % pid)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    connection.sendall(b"%d\n" % status)


def become(request, descriptors, module):
    status = 70
    try:
        os.setsid()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir("/root")
        sys.argv = request["argv"]
        if "KILL_AT" in os.environ:
            install_kills(int(os.environ["KILL_AT"]), os.environ["KILL_LOG"])
        try:
            module.main()
        except SystemExit as leave:
            status = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    finally:
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class Kills:
    """Counts external steps and ends this process at one of them."""

    def __init__(self, at, log):
        self.at = at
        self.count = 0
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def step(self, what):
        self.count += 1
        os.write(self.log, f"{self.count}\t{what}\n".encode())
        if self.count == self.at:
            os.kill(os.getpid(), int(os.environ.get("KILL_SIGNAL", signal.SIGKILL)))


def load(name):
    return importlib.import_module(f"{PACKAGE}.{name}")


def install_kills(at, log):
    kills = Kills(at, log)
    wrap_programs(kills, load("_core.process").SubprocessCommands)
    wrap_requests(kills, load("_sftp.connection").Connection)
    wrap_commits(kills, load("_offsite.index").Index)
    wrap_replacements(kills)


def wrap_programs(kills, commands):
    run, start = commands.run, commands.start

    def started(self, argv):
        kills.step("before " + " ".join(argv[:2]))
        process = start(self, argv)
        kills.step("started " + " ".join(argv[:2]))
        return process

    def ran(self, argv, **options):
        done = run(self, argv, **options)
        kills.step("after " + " ".join(argv[:2]))
        return done

    commands.start, commands.run = started, ran


def wrap_requests(kills, connection):
    queue = connection._queue

    def queued(self, packet):
        name = SFTP_NAMES.get(packet[4], str(packet[4]))
        kills.step(f"before sftp {name}")
        queue(self, packet)
        if kills.count + 1 == kills.at:
            while self._flush():
                pass
        kills.step(f"after sftp {name}")

    connection._queue = queued


def wrap_commits(kills, index):
    class Commits:
        def __init__(self, context):
            self.context = context

        def __enter__(self):
            return self.context.__enter__()

        def __exit__(self, kind, error, trace):
            if kind is None:
                kills.step("before commit")
            answer = self.context.__exit__(kind, error, trace)
            if kind is None:
                kills.step("after commit")
            return answer

    transaction = index.transaction
    index.transaction = lambda self: Commits(transaction(self))


def wrap_replacements(kills):
    replace = os.replace

    def replaced(source, target, **options):
        kills.step(f"before replacing {os.path.basename(target)}")
        replace(source, target, **options)
        kills.step(f"after replacing {os.path.basename(target)}")

    os.replace = replaced


if __name__ == "__main__":
    serve(sys.argv[1])
