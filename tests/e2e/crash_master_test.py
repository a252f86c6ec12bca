#!/usr/bin/env python3
"""crash_master_test.py - the master dies at each numbered place that it passes, before and after each
of its system calls and between the steps of each hand-over, at the first, second and third pass. Its
workers serve on, and the next master finds them: what was held is held, who waits is granted."""

import os
import signal
import subprocess
import threading
import time

from harness import (BRIEF, Client, Failure, check, check_eq, elapsed, eventually, fail, fence_of,
                     main, test, token_of)
from points import FAIL, MASTER, ROWS, CrashServer, errors

PER_IP = 12
# Places that need something to go wrong first.
NO_DESCRIPTOR = dict(name="ACCEPT", action=FAIL, error=errors("EMFILE"))
FIRST = {
    "ACCEPT_WATCH": NO_DESCRIPTOR,
    "SPARE_CLOSE": NO_DESCRIPTOR,
    "SPARE_ACCEPT": NO_DESCRIPTOR,
    "SPARE_REFUSE": NO_DESCRIPTOR,
    "SPARE_OPEN": NO_DESCRIPTOR,
    "CHILD_PAIR_OURS": dict(name="CHILD_FORK", action=FAIL, error=errors("EAGAIN")),
    "RENDEZVOUS_GIVE_UP": dict(name="RENDEZVOUS_LISTEN", action=FAIL, error=errors("EACCES")),
}
# Those that only the second master passes, or only with workers of the first.
SECOND = {"RENDEZVOUS_CALL", "RENDEZVOUS_CONNECT", "ADOPT_CLOSE", "ADOPT_STAT", "ADOPT_STAT_TOO",
          "ADOPT_PIDFD", "ADOPT_POLL", "INHERIT_WATCH", "INHERIT_WATCH_PIDFD", "BURY_PIDFD",
          "BURY_UNWATCH_PIDFD", "CHILD_KILL_ADOPTED"}
# Guards against what no worker ever sends; and what only connections without a heir, workers that do
# not answer and --discard-region come to: see master_death_test.py.
NEVER = {"MASTER_STRAY", "NOTIFY_BARRIER", "PASS_STRAY", "PASS_PARTLY", "KEEPER_SHUTDOWN", "KEEPER_LATE",
         "END_PIDFD", "END_KILL", "END_WAIT", "DISCARD_HEAR", "RENDEZVOUS_WHO",
         # crash_reload_test.py: by a surplus worker's connections; by the process that reads the
         # settings; when that hangs.
         "KEEPER_MOVED", "RELOAD_TIED", "RELOAD_SIGNALS", "RELOAD_WRITE", "RELOAD_KILL",
         "RELOAD_ABANDON", "RELOAD_USELESS"}
# Of an upgrade and a restart: see upgrade_test.py; of the fence state file: see crash_fences_test.py.
UPGRADE = ("UPGRADE_", "BEQUEST_", "SAVE_", "FENCE_")
HOLD = 600  # seconds of lease


def nuisance(server, over, source, n):
    """Clients that come and go, more than one address may have; whatever happens to them. Their address
    is not the server's: they might get the port that the next master is to have."""
    while not over.is_set():
        clients = []
        try:
            for _ in range(n):
                clients.append(Client(("127.0.0.1", server.port), source=source, timeout=1))
                clients[-1].send("l\nkey\n0\n")
            clients[0].req("ping")
        except (Failure, OSError):
            time.sleep(0.002)
        for c in clients:
            try:
                c.reset()  # thousands that linger would use up the ports
            except OSError:
                pass
        time.sleep(0.003)


def trouble(server, row, over, troubled):
    """What makes the master pass the rarer places: deaths, hangs, SIGHUP."""
    over.wait(0.3)
    while not over.is_set():
        troubled.set()
        try:
            pids = server.worker_pids()
            if row.name in ("CHILD_KILL", "CHILD_KILL_ADOPTED") and pids:
                os.kill(pids[0], signal.SIGSTOP)
                over.wait(1)
            elif len(pids) > 1:  # or nobody would be left to keep the table
                os.kill(pids[-1], signal.SIGKILL)
                os.kill(server.pid, signal.SIGHUP)
        except OSError:
            pass  # whom it was meant for has just died
        over.wait(0.05)


def arm(board, row, side, nth):
    first = FIRST.get(row.name)
    if first:
        board.then(row.name, side, role=MASTER)
        board.arm(role=MASTER, nth=nth, **first)
    else:
        board.arm(row.name, side, nth, role=MASTER)


class Clients:
    """One who holds a lock, one who waits for it; those of them that got as far as that."""

    def __init__(self, server):
        self.holder = self.waiter = self.token = None
        try:
            self.holder = server.client(source="127.0.0.3", timeout=20)
            self.token = token_of(self.holder.req("l", "key", f"0 {HOLD}"))
            self.waiter = server.client(source="127.0.0.3", timeout=20)
            check_eq(self.waiter.req("ping"), "ok", "a ping")
            self.waiter.ask("l", "key", HOLD)
        except (Failure, OSError):
            self.waiter = None

    def served_on(self, troubled):
        """By the workers alone. One that dies with its master takes its connections with it."""
        if self.token and not troubled:
            check_eq(self.holder.req("n", "key", f"{self.token} {HOLD}"), f"ok {HOLD}", "a renew")

    def served_again(self, server, troubled):
        stranger = server.client(source="127.0.0.4", timeout=20)
        if self.token:
            check_eq(stranger.req("l", "key", "0"), "timeout", "a try at what is held")
            holder = stranger if troubled else self.holder
            check_eq(holder.req("n", "key", f"{self.token} {HOLD}"), f"ok {HOLD}", "a renew")
            check_eq(holder.req("r", "key", self.token), "ok", "the release")
        if self.waiter and not troubled:
            next_token = token_of(self.waiter.line())
            check(fence_of(next_token) > fence_of(self.token), "the fence grows")
            check_eq(self.waiter.req("r", "key", next_token), "ok", "its release")
        # A waiter whose worker died is gone; one whose worker lived was granted and left.
        if self.waiter:
            self.waiter.close()
        fresh = token_of(stranger.req("l", "key", "20"))
        check_eq(stranger.req("r", "key", fresh), "ok", "a lock and its release")


def wait_for_end(server, row, side, nth):
    """Its exit code. What went wrong first may have led elsewhere: then it has to go wrong again."""
    again = 0
    waiting = elapsed()
    while waiting() < 60:
        try:
            return server.proc.wait(0.5)
        except subprocess.TimeoutExpired:
            if row.name in FIRST and server.board.fired > again:
                again = server.board.fired
                arm(server.board, row, side, nth)
    fail(f"the master does not pass {row.name} {server.board.passes(row.name, side)}")


def bother(server, row, side, nth, ends):
    """Clients and deaths until the master is dead; whether workers were killed for it."""
    over, troubled = threading.Event(), threading.Event()
    threads = [threading.Thread(target=nuisance, args=(server, over, "127.0.0.8", 3)),
               threading.Thread(target=nuisance, args=(server, over, "127.0.0.9", PER_IP + 2)),
               threading.Thread(target=trouble, args=(server, row, over, troubled))]
    for t in threads:
        t.start()
    try:
        if ends:
            over.set()
            server.kill(signal.SIGTERM)
            server.wait_log(" draining: ", 20)
            server.kill(signal.SIGTERM)
        code = wait_for_end(server, row, side, nth)
    finally:
        over.set()
        for t in threads:
            t.join(30)
    check_eq(code, -signal.SIGKILL, "how it ended")
    return troubled.is_set()


def die_once(row, side, nth):
    server = CrashServer(["--max-connections-per-ip", str(PER_IP)],
                         expect_log=["worker died", "worker hangs", "cannot accept connections",
                                     "worker cannot be started", "no rendezvous",
                                     "cannot be adopted"])
    server.dies_with_master = False
    ends = row.name == "MASTER_DISMISS"
    clients = troubled = None
    if row.name in SECOND:
        server.start()
        clients = Clients(server)
        server.master_dies()
    arm(server.board, row, side, nth)
    try:
        server.start_again() if server.port else server.start()
    except Failure:
        pass  # it died before it was ready
    if server.port and not clients:
        clients = Clients(server)
    if server.port:
        troubled = bother(server, row, side, nth, ends)
    check_eq(server.board.pid, server.pid, "who died")
    server.signal_members(signal.SIGCONT)  # who hangs cannot hear that the master is gone
    if ends:
        eventually(lambda: not server.members(), 30, "no process is left of a server that was ending")
        server.destroy()
        return
    if clients:
        clients.served_on(troubled)
    server.start_again() if server.port else server.start()
    if clients:
        clients.served_again(server, troubled)
    server.stop(30)
    eventually(lambda: not server.members(), 30, "no process of it is left")


def place_test(row):
    def body():
        for side in row.sides:
            # A worker that was taken over dies but once.
            once = row.who == "START" or row.name in SECOND or BRIEF
            for nth in [1] if once else [1, 2, 3]:
                die_once(row, side, nth)

    return body


for row in ROWS:
    if row.who in ("MASTER", "START", "BOTH") and row.name not in NEVER and \
            not row.name.startswith(UPGRADE):
        where = "before, after" if len(row.sides) == 2 else "at"
        function = place_test(row)
        function.__name__ = row.name
        test(f"the master dies {where} {row.name}: {row.what}", deadline=300)(function)

if __name__ == "__main__":
    main(jobs=4)
