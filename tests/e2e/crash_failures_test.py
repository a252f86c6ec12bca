#!/usr/bin/env python3
"""crash_failures_test.py - what a takeover needs and does not get: descriptors, memory, processes; and
heirs that die themselves. Nothing is lost, the log says what is tried again, and it is."""

import os
import resource
import signal
import threading

from harness import (SANITIZED, Client, Failure, check, check_eq, diag, eventually, json_of, main, stopped, test,
                     token_of)
from load import Load
from points import FAIL, HANG, KILL, MASTER, SEGV, WORKER, CrashServer, errors

SCRIPTS = ["pairs", "two_phase", "semaphores", "churn", "half_closes"]
DIED = ["worker died", "worker hangs"]


def kill_one(server):
    def killed():
        pids = server.worker_pids()
        if pids:
            os.kill(pids[0], signal.SIGKILL)  # one that ends just now is not there: the next one
        return pids

    eventually(killed, 20, "there is a worker to kill")


def fail_once(server, name, error, role, log, provoke, times=3):
    """The call fails `times` times while clients are served; the log says so, none of them notices."""
    # Out of descriptors a new connection may be refused at once: then nobody comes.
    load = Load(server, SCRIPTS[:3] if name == "ACCEPT" else SCRIPTS)
    eventually(lambda: len(load.rounds) == len(load.threads), 20, "everybody is served")
    for n in range(times):
        since = server.mark()
        fired = server.board.fired
        server.board.arm(name, action=FAIL, error=errors(error), role=role)
        if name == "ACCEPT":
            Client(("127.0.0.1", server.port)).close()
        if provoke:
            provoke(server)
        eventually(lambda: server.board.fired > fired, 20, f"{name} fails")
        if log:
            server.wait_log(log, 20, since)
        server.whole()
        load.check()
    load.stop()


ROWS = [
    ("CHILD_FORK", "EAGAIN", MASTER, r"worker cannot be started, will try again", kill_one),
    ("CHILD_FORK", "ENOMEM", MASTER, r"worker cannot be started, will try again", kill_one),
    ("PASS_PAIR", "EMFILE", MASTER, r"worker cannot be started, will try again", kill_one),
    ("PASS_PAIR", "ENFILE", MASTER, r"worker cannot be started, will try again", kill_one),
    ("LOOP_EPOLL", "EMFILE", WORKER, r"worker cannot start", kill_one),
    ("LOOP_EVENTFD", "ENFILE", WORKER, r"worker cannot start", kill_one),
    ("LOOP_WATCH", "ENOSPC", WORKER, r"worker cannot start", kill_one),
    ("CONFINE_RULES", "EMFILE", WORKER, r"worker cannot start", kill_one),
    ("PASS_SEND", "ETOOMANYREFS", MASTER, None, None),
    ("PASS_SEND", "ENOBUFS", MASTER, None, None),
    ("PASS_SEND", "ENOMEM", MASTER, None, None),
    ("PASS_SEND", "EAGAIN", MASTER, None, None),
    ("CONN_WATCH", "ENOSPC", WORKER, r"the master will hand it over again", None),
    ("CONN_WATCH", "ENOMEM", WORKER, r"the master will hand it over again", kill_one),
    ("ACCEPT", "ENFILE", MASTER, r"cannot accept connections, will try again", None),
    ("ACCEPT", "ENOMEM", MASTER, r"cannot accept connections, will try again", None),
]


def row_test(name, error, role, log, provoke):
    def body():
        with CrashServer(["--max-locks", "5000"], expect_log=DIED + [log or "$^"]) as server:
            fail_once(server, name, error, role, log, provoke)

    return body


for i, row in enumerate(ROWS):
    if SANITIZED and row[0].startswith("CONFINE_"):
        continue  # a sanitized worker has no sandbox
    function = row_test(*row)
    function.__name__ = f"{row[0]}_{row[1]}"
    when = " as a worker starts" if row[4] else ""
    test(f"{row[0]} fails with {row[1]}{when}: tried again, nothing is lost", deadline=240)(function)


def hung(server, pid):
    """It was stopped for too long, because this test was, and its master has killed it for that."""
    return server.logged(rf"worker hangs, killing it .*pid={pid}\b")


@test("a signal to the whole group that meets a worker in its first moments does not end it",
      deadline=120)
def newborn_and_ctrl_c():
    with CrashServer(workers=2) as server:
        a = server.client()
        token = token_of(a.req("l", "k", "0"))
        settled, fired = server.board.passes("TAKEOVER_SETTLED"), server.board.fired
        server.board.arm("LOOP_EPOLL", action=HANG, role=WORKER)
        kill_one(server)
        eventually(lambda: server.board.fired > fired, 20, "the next one has begun")
        newborn = server.board.pid
        try:
            # Or SIGCONT might come before it stops itself.
            eventually(lambda: stopped(newborn), 20, "it has stopped")
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
                os.kill(newborn, signum)
        except (Failure, ProcessLookupError):
            check(hung(server, newborn), "it is there")
        eventually(lambda: server.board.passes("TAKEOVER_SETTLED") > settled, 20, "somebody serves")
        check(newborn in server.worker_pids() or hung(server, newborn), "it serves")
        check_eq(a.req("r", "k", token), "ok", "the release")


@test("a document cannot be made at the start: the worker starts later", deadline=120)
def no_document():
    server = CrashServer(expect_log=["worker cannot be started"])
    server.board.arm("CHILD_DOCUMENT", action=FAIL, error=errors("EMFILE"))
    with server:
        server.wait_log("worker cannot be started, will try again.*Too many open files")
        token_of(server.client().req("l", "key", "0"))


def heirs_die(action):
    with CrashServer(["--max-locks", "5000"], expect_log=DIED) as server:
        load = Load(server, SCRIPTS)
        for name in ("TAKEOVER_RECOVERED", "TAKEOVER_COUNTED", "TAKEOVER_BUFFERS",
                     "TAKEOVER_EXTEND", "TAKEOVER_ADOPT", "TAKEOVER_ADOPTED"):
            fired, settled = server.board.fired, server.board.passes("TAKEOVER_SETTLED")
            # The first dies in the middle of a request: it must not be blamed for the others.
            server.board.then(name, action=action, role=WORKER, again=3)
            server.board.arm("SHARED_LOCKED", role=WORKER)
            eventually(lambda: server.board.fired == fired + 5, 40, f"four heirs die at {name}")
            eventually(lambda: server.board.passes("TAKEOVER_SETTLED") > settled, 30, "one lives")
            load.check()
        server.whole()
        load.stop()
        diag(f"{len(server.logged('worker died'))} deaths, {load.rounds}")
        check(not server.logged("poison"), "no request was taken for poison")


@test("four heirs in a row are killed at each step of a takeover: nothing is lost", deadline=240)
def heirs_killed():
    heirs_die(KILL)


@test("four heirs in a row crash at each step of a takeover: slower, nothing is lost", deadline=300)
def heirs_crash():
    heirs_die(SEGV)


def limit_files(pid, n):
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (n, hard))
    return soft


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def ask_later(server, n, done):
    """Connects and asks at once; the answers come when there is room again."""
    clients = [server.client(timeout=30) for _ in range(n)]
    for c in clients:
        c.ask("ping")
    for c in clients:
        c.expect("ok", "the ping of a connection that had to wait")
    done.append(len(clients))


@test("workers out of descriptors: the kernel drops sockets on their way (MSG_CTRUNC), they come again",
      deadline=120)
def worker_out_of_descriptors():
    with CrashServer(expect_log=["the master will hand it over again"]) as server:
        load = Load(server, ["pairs", "two_phase"])
        eventually(lambda: len(load.rounds) == 2, 20, "everybody is served")
        pids = server.worker_pids()
        soft = [limit_files(pid, open_files(pid)) for pid in pids]
        done, n = [], 6
        thread = threading.Thread(target=ask_later, args=(server, n, done))
        thread.start()
        server.wait_log("no resources for a connection, the master will hand it over again", 20)
        for pid in pids:
            limit_files(pid, soft[0])
        thread.join(30)
        check_eq(done, [n], "connections that were served after all")
        load.stop()


@test("the master out of descriptors while a worker dies: it is replaced later, nothing is lost",
      deadline=120)
def master_out_of_descriptors():
    with CrashServer(expect_log=DIED + ["cannot be started", "cannot accept"]) as server:
        holder, waiter = server.client(timeout=30), server.client(timeout=30)
        token = token_of(holder.req("l", "key", "0 60"))
        waiter.ask("l", "key", "60")
        load = Load(server, ["pairs", "two_phase"])
        eventually(lambda: len(load.rounds) == 2, 20, "everybody is served")
        soft = limit_files(server.pid, open_files(server.pid))
        for pid in server.worker_pids():
            os.kill(pid, signal.SIGKILL)
        server.wait_log("worker cannot be started, will try again", 20)
        limit_files(server.pid, soft)
        server.whole()
        check_eq(holder.req("r", "key", token), "ok", "the release")
        token = token_of(waiter.line())
        load.stop()
        watch = server.client()
        # What the load still held is given back by its disconnects.
        eventually(lambda: [x["key"] for x in json_of(watch.req("stats"))["locks"]] == ["key"], 20,
                   "the waiter has it")


if __name__ == "__main__":
    main(jobs=3)
