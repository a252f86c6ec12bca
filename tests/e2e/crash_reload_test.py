#!/usr/bin/env python3
"""crash_reload_test.py - who takes part in a reload dies at each of its numbered places, and where a
surplus worker's connections change hands: all workers end up with the same settings, no client
notices."""

import os
import signal

from harness import BRIEF, check, check_eq, eventually, main, temp_dir, test, token_of
from load import Load
from points import AFTER, BEFORE, FAIL, MASTER, ROWS, WORKER, CrashServer, errors

PASSES = (2,) if BRIEF else (1, 2, 3)
SCRIPTS = ["pairs", "two_phase", "semaphores", "churn", "half_closes", "bytewise", "timeouts"]
NUMBERS = (4, 1, 3, 2)
READER = ("RELOAD_TIED", "RELOAD_SIGNALS", "RELOAD_WRITE")  # of the process that reads the settings


class Site(CrashServer):
    """Its settings: max_lease_ttl says which generation it is."""

    def __init__(self, **options):
        self.conf = f"{temp_dir()}/conf"
        self.turn = 0
        self.write()
        super().__init__(["--config", self.conf], workers=0, **options)

    def write(self):
        with open(self.conf + ".new", "w") as f:
            f.write(f"workers = {NUMBERS[self.turn % 4]}\nmax_lease_ttl = {100000 + self.turn}\n")
        os.rename(self.conf + ".new", self.conf)

    def reload(self):
        """The next settings; False: they were refused."""
        self.turn += 1
        self.write()
        since = self.mark()
        self.kill(signal.SIGHUP)
        return "result=done" in self.wait_log(" reload proc=master result=.*", 20, since)[0]

    def check_all(self):
        """Each worker serves with the settings of the last reload."""
        eventually(lambda: len(self.worker_pids()) == NUMBERS[self.turn % 4], 20, "the workers")
        for i, c in enumerate([self.client() for _ in range(8)]):
            check_eq(c.req("l", f"probe{i}", f"0 {100001 + self.turn}"), "error", "above the maximum")
            token = token_of(c.req("l", f"probe{i}", f"0 {100000 + self.turn}"))
            check_eq(c.req("r", f"probe{i}", token), "ok", "the release")
            c.close()


def die_during_reload(server, load, row, side, nth):
    board = server.board
    fired = board.fired
    board.arm(row.name, side, nth, role=WORKER)
    for _ in range(40):
        # Older ones are all with the first worker soon: there may be one only.
        fresh = [server.client() for _ in range(8)]
        for c in fresh:
            c.send("ping\n\n\nl\nh0\n600\n")
            c.expect("ok", "the ping before it waits")
        server.reload()
        load.check()
        for c in fresh:
            c.expect_silence(0)
            c.close()
        if board.fired > fired:
            break
    check(board.fired > fired, f"{row.name} is passed {nth} times, not {board.passes(row.name, side)}")
    check(server.reload(), "the next reload is done")
    server.check_all()


def place_test(row):
    def body():
        with Site(expect_log=["worker died", "worker hangs", "refused"]) as server:
            load = Load(server, SCRIPTS)
            holder, blocked = server.client(), [server.client() for _ in range(16)]
            tokens = [token_of(holder.req("l", f"h{i}", "0 1000")) for i in range(16)]
            for i, c in enumerate(blocked):
                c.send(f"l\nh{i}\n600 1000\nping\n\n\npi")
            for side in row.sides:
                for nth in (1,) if row.name in READER else PASSES:
                    die_during_reload(server, load, row, side, nth)
            for i, c in enumerate(blocked):
                check_eq(holder.req("r", f"h{i}", tokens[i]), "ok", "the release")
                token_of(c.line())
                c.expect("ok", "the ping behind it")
                c.send("ng\n\n\n")
                c.expect("ok", "the ping that came in halves")
            load.stop()

    return body


for row in ROWS:
    if row.name in READER or (row.who == "WORKER" and row.name.startswith(("RELOAD_", "HANDOVER_"))):
        where = "before, after" if len(row.sides) == 2 else "at"
        function = place_test(row)
        function.__name__ = row.name
        test(f"who passes it dies {where} {row.name}: {row.what}", deadline=300)(function)


@test("a worker that cannot read the settings is replaced by one that has them", deadline=120)
def cannot_read():
    with Site(expect_log=["new settings cannot be", "does not take", "worker died"]) as server:
        clients = [server.client() for _ in range(12)]
        tokens = [token_of(c.req("l", f"k{i}", "0 1000")) for i, c in enumerate(clients)]
        # None of the four can: those that become surplus just leave, the others are replaced.
        server.board.arm("RELOAD_READ", action=FAIL, error=errors("EIO"), role=WORKER, again=3)
        check(server.reload(), "the reload is done")
        check(server.logged("does not take the new settings"), "who did not take them")
        server.check_all()
        for i, c in enumerate(clients):
            check_eq(c.req("r", f"k{i}", tokens[i]), "ok", "the release")


@test("the master dies where a connection is between two workers: only that one may be lost",
      deadline=120)
def keeper_moved():
    with Site(expect_log=["worker died"]) as server:
        clients = [server.client() for _ in range(20)]
        tokens = [token_of(c.req("l", f"k{i}", "0 1000")) for i, c in enumerate(clients)]
        server.board.arm("KEEPER_MOVED", BEFORE, 3, role=MASTER)
        server.turn += 1
        server.write()
        server.kill(signal.SIGHUP)
        check_eq(server.proc.wait(20), -signal.SIGKILL, "how it ended")
        server.start_again()
        eventually(lambda: len(server.worker_pids()) == NUMBERS[1], 20, "the workers")
        for i, c in enumerate(clients):
            c = server.client() if c.is_closed() else c
            check_eq(c.req("n", f"k{i}", f"{tokens[i]} 1000"), "ok 1000", "a renew")


@test("the master dies as it stops the process that reads the settings", deadline=120)
def abandoned():
    for side in (BEFORE, AFTER):
        with Site() as server:
            os.unlink(server.conf)
            os.mkfifo(server.conf)
            server.board.arm("RELOAD_ABANDON", side, role=MASTER)
            since = server.mark()
            server.kill(signal.SIGHUP)
            server.wait_log("reading the settings", 20, since)
            server.kill(signal.SIGTERM)
            check_eq(server.proc.wait(20), -signal.SIGKILL, "how the master ended")
            server.write()
            server.start_again()
            eventually(lambda: server.members() == sorted([server.pid] + server.worker_pids()), 20,
                       "who reads has ended, too")


if __name__ == "__main__":
    main(jobs=3)
