#!/usr/bin/env python3
"""crash_master_test.py - the master dies at each numbered place that it passes, before and after each
of its system calls and between the steps of each hand-over, at the first, second and third pass. A
server without a master ends whole: no worker may go on beside the server that is started next."""

import glob
import os
import signal
import subprocess
import threading
import time

from harness import BRIEF, Client, Failure, check_eq, elapsed, eventually, fail, main, test
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
}
# No worker ever sends a socket to the master: the place guards against one that does. The other two are
# passed only when workers are replaced or their connections orphaned.
NEVER = {"MASTER_STRAY", "MASTER_KILL_DEAF", "KEEPER_SHUTDOWN"}


def members(session):
    """Processes of the server, living ones."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.split("/")[2]))
    return found


def nuisance(server, over, source, n):
    """Clients that come and go, more than one address may have; whatever happens to them."""
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
            c.close()


def trouble(server, row, over):
    """What makes the master pass the rarer places: deaths, hangs, SIGHUP."""
    while not over.is_set():
        over.wait(0.05)
        try:
            pids = server.worker_pids()
            if row.name == "MASTER_KILL" and pids:
                os.kill(pids[0], signal.SIGSTOP)
                over.wait(1)
            elif pids:
                os.kill(pids[-1], signal.SIGKILL)
                os.kill(server.pid, signal.SIGHUP)
        except OSError:
            return


def arm(board, row, side, nth):
    first = FIRST.get(row.name)
    if first:
        board.then(row.name, side, role=MASTER)
        board.arm(role=MASTER, nth=nth, **first)
    else:
        board.arm(row.name, side, nth, role=MASTER)


def wait_for_end(server, row, side, nth):
    """Its exit code. What went wrong first may have led elsewhere: then it has to go wrong again."""
    again = 0
    waiting = elapsed()
    while waiting() < 20:
        try:
            return server.proc.wait(0.5)
        except subprocess.TimeoutExpired:
            if row.name in FIRST and server.board.fired > again:
                again = server.board.fired
                arm(server.board, row, side, nth)
    fail(f"the master does not pass {row.name} {server.board.passes(row.name, side)}")


def die_once(row, side, nth):
    server = CrashServer(["--max-connections-per-ip", str(PER_IP)], expect_exit=None)
    board, over = server.board, threading.Event()
    arm(board, row, side, nth)
    threads = []
    try:
        server.start()
    except Failure:
        pass  # it died before it was ready
    if server.port and server.proc.poll() is None:
        threads = [threading.Thread(target=nuisance, args=(server, over, "127.0.0.1", 3)),
                   threading.Thread(target=nuisance, args=(server, over, "127.0.0.9", PER_IP + 2)),
                   threading.Thread(target=trouble, args=(server, row, over))]
        for t in threads:
            t.start()
    try:
        if row.name == "MASTER_DISMISS":
            server.kill(signal.SIGTERM)
            over.set()
        code = wait_for_end(server, row, side, nth)
    finally:
        over.set()
        for t in threads:
            t.join(5)
    check_eq(board.pid, server.pid, "who died")
    check_eq(code, -signal.SIGKILL, "how it ended")
    try:
        os.killpg(server.pid, signal.SIGCONT)  # who hangs cannot hear that the master is gone
    except ProcessLookupError:
        pass
    eventually(lambda: not members(server.pid), 5, "no process of it is left")
    server.destroy()


def place_test(row):
    def body():
        for side in row.sides:
            for nth in [1] if row.who == "START" or BRIEF else [1, 2, 3]:
                die_once(row, side, nth)

    return body


for row in ROWS:
    if row.who in ("MASTER", "START", "BOTH") and row.name not in NEVER:
        where = "before, after" if len(row.sides) == 2 else "at"
        function = place_test(row)
        function.__name__ = row.name
        test(f"the master dies {where} {row.name}: {row.what}", deadline=120)(function)

if __name__ == "__main__":
    main(jobs=4)
