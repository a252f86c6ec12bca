#!/usr/bin/env python3
"""crash_fences_test.py - the fence writer dies before and after each of its system calls, or one of
them fails: it is replaced, or tries again; fences go on growing, also over a crash of everything."""

import os
import signal

from harness import (check, check_eq, eventually, fence_of, in_threads, main, signal_process,
                     temp_dir, test)
from points import FAIL, HANG, KILL, MASTER, ROWS, WRITER, CrashServer, errors

EXPECTED = ["the fence state file fails", "the fence writer died", "could not be brought up to date",
            "disk does not answer"]
# What it does only when it starts: its predecessor has to die. When there is no file: it is removed.
BORN = {"FENCE_NAME", "FENCE_PDEATHSIG", "FENCE_OPEN", "FENCE_LOOK", "FENCE_LOCK", "FENCE_READ"}
MADE = {"FENCE_CLOSE", "FENCE_LINK", "FENCE_UNLINK", "FENCE_OPEN_DIR", "FENCE_SYNC_DIR",
        "FENCE_CLOSE_DIR"}
# Only before the server serves: then it does not start.
FIRST = {"FENCE_STATFS", "FENCE_REPORT", "FENCE_REPORTED"}
RARE = {"FENCE_HOLDER": "somebody else must have the lock for two seconds (fences_test)"}
# Errors that nobody need notice.
HARMLESS = {"FENCE_NAME", "FENCE_PDEATHSIG", "FENCE_CLOSE", "FENCE_UNLINK", "FENCE_CLOSE_DIR"}


class Asker:
    """Asks for longer and longer leases: each has to be written down."""

    def __init__(self, server):
        self.server, self.lease, self.last, self.n = server, 1000, 0, 0

    def ask(self):
        """Whether it was granted; then its fence is above all others."""
        self.lease += 1000
        self.n += 1
        client = self.server.client(timeout=30)
        reply = client.req("l", f"key{self.n % 20}", f"0 {self.lease}")
        client.close()
        if not reply.startswith("ok "):
            return False
        fence = fence_of(reply.split()[1])
        check(fence > self.last, f"fence {fence} after {self.last}")
        self.last = fence
        return True


def provoke(server, asker, row, path, fired):
    """Has the writer pass the place."""
    def again():
        if row.name in BORN and server.board.writer and server.board.fired == fired:
            signal_process(server.board.writer, signal.SIGKILL)
        if row.name in MADE and os.path.exists(path) and server.board.fired == fired:
            os.unlink(path)
        asker.ask()
        return server.board.fired > fired

    eventually(again, 40, f"{row.name} is passed")


def restarted(path, asker):
    with CrashServer(["--fence-state-file", path, "--cold-start-delay", "0"],
                     expect_log=EXPECTED) as server:
        asker.server = server
        check(asker.ask(), "a lock after the restart")


def serving(row, action, error, path):
    server = CrashServer(["--fence-state-file", path], expect_log=EXPECTED, expect_exit=None).start()
    asker = Asker(server)
    check(asker.ask(), "the first lock")
    for side in row.sides if action == KILL else [0]:
        fired = server.board.fired
        server.board.arm(row.name, side, action=action, error=error, role=WRITER)
        provoke(server, asker, row, path, fired)
        eventually(asker.ask, 30, "locks are granted again")
    os.killpg(server.pid, signal.SIGKILL)
    server.exited()
    restarted(path, asker)


def starting(row, action, error, path):
    for side in row.sides if action == KILL else [0]:
        server = CrashServer(["--fence-state-file", path], expect_log=EXPECTED)
        asker = Asker(server)
        server.board.arm(row.name, side, action=action, error=error, role=WRITER)
        try:
            server.start()
        except AssertionError:
            check(row.name != "FENCE_STATFS" or action == KILL, "a warning that cannot be given")
        eventually(lambda: server.board.fired > 0, 30, "the place is passed")
        server.destroy()
        restarted(path, asker)


def place_test(row, action, error=0):
    def body():
        path = os.path.join(temp_dir(), "fences")
        (starting if row.name in FIRST else serving)(row, action, error, path)

    return body


for row in ROWS:
    if row.who == "WRITER" and row.name not in RARE:
        where = "before, after" if len(row.sides) == 2 else "at"
        function = place_test(row, KILL)
        function.__name__ = row.name
        test(f"the fence writer dies {where} {row.name}: {row.what}", deadline=300)(function)
        if len(row.sides) == 2:
            function = place_test(row, FAIL, errors("EIO"))
            function.__name__ = f"{row.name}_fails"
            test(f"{row.name} fails", deadline=300)(function)


# What the master does for it, before it serves.
MASTERS = [row for row in ROWS if row.who == "START" and row.name.startswith("FENCE_") and
           row.name not in ("FENCE_REAP", "FENCE_GIVE_UP")]


@test("the master dies before and after each of its calls that start the fence writer: the next one "
      "starts, fences grow", deadline=300)
def master_dies():
    def run(row):
        path = os.path.join(temp_dir(), "fences")
        asker = Asker(None)
        restarted(path, asker)
        for side in row.sides:
            server = CrashServer(["--fence-state-file", path], expect_log=EXPECTED)
            server.board.arm(row.name, side, role=MASTER)
            try:
                server.start()
            except AssertionError:
                pass
            eventually(lambda: server.board.fired == 1, 30, "it is passed")
            server.destroy()
            restarted(path, asker)

    check_eq(len(MASTERS), 6, "calls")
    in_threads(run, MASTERS)


@test("a fence writer that hangs as the server ends is not waited for", deadline=180)
def hangs_at_the_end():
    path = os.path.join(temp_dir(), "fences")
    server = CrashServer(["--fence-state-file", path], expect_log=EXPECTED)
    server.start()
    asker = Asker(server)
    check(asker.ask(), "a lock")
    server.board.arm("FENCE_WRITE", action=HANG, role=WRITER)
    server.kill(signal.SIGTERM)
    check_eq(server.exited(30), 0, "the exit status")
    check(server.logged("the next start waits longer than it needs to"), "the log")
    restarted(path, asker)


@test("the fence writer dies as the server ends: the next start may wait, and fences grow", deadline=180)
def at_the_end():
    for name in ("FENCE_WRITE", "FENCE_SYNC"):
        path = os.path.join(temp_dir(), "fences")
        server = CrashServer(["--fence-state-file", path], expect_log=EXPECTED).start()
        asker = Asker(server)
        check(asker.ask(), "a lock")
        server.board.arm(name, role=WRITER)
        server.kill(signal.SIGTERM)
        check_eq(server.exited(30), 0, "the exit status")
        check_eq(server.board.fired, 1, "deaths")
        restarted(path, asker)


if __name__ == "__main__":
    main(jobs=4)
