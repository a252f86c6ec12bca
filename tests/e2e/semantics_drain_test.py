#!/usr/bin/env python3
"""semantics_drain_test.py - SIGTERM and SIGINT: what goes on, what ends, and when."""

import os
import signal
import time

from harness import (Client, Server, check, check_eq, elapsed, eventually, in_threads, json_of,
                     main, test, token_of, waiters)

SLACK = 10.0


def drain(server, signum=signal.SIGTERM):
    """Sends the signal; returns when new connections are no longer served."""
    since = server.mark()
    server.kill(signum)
    server.wait_log(" draining: ", 10, since)


def each_signal(function):
    in_threads(function, [signal.SIGTERM, signal.SIGINT])


@test("blocked waits end with error; the connections stay while they own something",
      rules=["S59", "S60", "S67"])
def blocked_waits():
    def run(signum):
        with Server(workers=4) as server:
            a = server.client()
            tokens = [token_of(a.req("l", f"k{i}", "0")) for i in range(4)]
            blocked = [server.client() for _ in range(12)]
            for i, c in enumerate(blocked):
                if i % 2:
                    check_eq(c.req("e", f"k{i % 4}"), "queued", "e")
                    c.ask("w", f"k{i % 4}", "20")
                else:
                    c.ask("l", f"k{i % 4}", "20")
            eventually(lambda: sum(waiters(a, f"k{i}") for i in range(4)) == 12, text="all wait")
            time.sleep(0.1)
            drain(server, signum)
            for c in blocked:
                c.expect("error", "a blocked wait")
                check_eq(c.req("ping"), "ok", "ping")
            check_eq(sum(waiters(a, f"k{i}") for i in range(4)), 0, "waiters")
            for i, token in enumerate(tokens):
                check_eq(a.req("r", f"k{i}", token), "ok", "the release")

    each_signal(run)


@test("new acquisitions are error_draining, and the end for who owns nothing", rules=["S60", "S59"])
def refused():
    def run(signum):
        with Server(workers=4) as server:
            requests = [("l", "k", "0"), ("l", "k", "5"), ("sl", "s", "0 3"), ("e", "k", ""),
                        ("se", "s", "3"), ("l", "held", "0"), ("e", "held", "")]
            idle = [server.client() for _ in requests]
            a, b = server.client(), server.client()
            held = token_of(a.req("l", "held", "0"))
            sem = token_of(a.req("sl", "sem", "0 2"))
            check_eq(b.req("e", "held"), "queued", "b owns a place in a queue")
            for c in idle:
                check_eq(c.req("ping"), "ok", "ping")
            drain(server, signum)
            try:
                Client(server).expect_close()
            except ConnectionRefusedError:
                pass
            for c, r in zip(idle, requests):
                check_eq(c.req(*r), "error_draining", f"{r} of who owns nothing")
                c.expect_close()
                c.close()
            for r in requests:
                check_eq(a.req(*r), "error_draining", f"{r} of who holds something")
                check_eq(b.req(*r), "error_draining", f"{r} of who is queued")
            check_eq(b.req("l", "bad key", "0"), "error", "a bad request")
            check_eq(a.req("ping"), "ok", "ping")
            eventually(lambda: json_of(a.req("stats"))["connections"] == 2, text="two are left")
            check_eq(a.req("n", "held", held + " 60"), "ok 60", "n")
            check_eq(a.req("sn", "sem", sem + " 60"), "ok 60", "sn")
            check_eq(a.req("r", "held", held), "ok", "r passes the lock on")
            promoted = token_of(b.req("w", "held", "5"))
            check_eq(b.req("sw", "sem", "5"), "error_not_enqueued", "sw")
            check_eq(b.req("r", "held", promoted), "ok", "r")
            check_eq(a.req("sr", "sem", sem), "ok", "sr")
            check_eq(a.req("l", "k", "0"), "error_draining", "l, owning nothing any more")
            a.expect_close()
            a.close()
            b.close()
            check_eq(server.exited(20), 0, "the exit status, when the last one has left")

    each_signal(run)


@test("w during the drain: granted is ok, queued ends with error, w 0 is timeout", rules=["S60"])
def wait_while_draining():
    with Server() as server:
        a, b, c = (server.client() for _ in range(3))
        token_of(a.req("l", "k", "0"))
        token_of(b.req("e", "mine"), "acquired")
        check_eq(b.req("e", "k"), "queued", "b")
        check_eq(c.req("e", "k"), "queued", "c")
        drain(server)
        token_of(b.req("w", "mine", "5"))
        check_eq(b.req("w", "k", "5"), "error", "a wait that would block")
        check_eq(b.req("w", "k", "5"), "error_not_enqueued", "its state is cleared")
        check_eq(c.req("w", "k", "0"), "timeout", "a wait that would not")


@test("a server without connections ends at once", rules=["S61", "C30"])
def nobody_there():
    def run(signum):
        with Server(["--shutdown-timeout", "0"], workers=4) as server:
            with server.client() as c:
                check_eq(c.req("ping"), "ok", "ping")
            took = elapsed()
            server.kill(signum)
            check_eq(server.exited(20), 0, "the exit status")
            check(took() < SLACK, f"it took {took():.2f} s")

    each_signal(run)


@test("--shutdown-timeout ends the drain; the exit status is 0", rules=["S61", "C19", "C30"])
def deadline():
    def run(signum):
        with Server(["--shutdown-timeout", "1"], workers=4) as server:
            a, idle = server.client(), server.client()
            token_of(a.req("l", "k", "0"))
            check_eq(idle.req("ping"), "ok", "ping")
            took = elapsed()
            server.kill(signum)
            for c in (idle, a):
                c.expect_close()
                check(1 <= took() < 1 + SLACK, f"closed after {took():.2f} s")
            check_eq(server.exited(20), 0, "the exit status")

    each_signal(run)


@test("a second signal ends the drain at once; the exit status is 0", rules=["S61", "C30"])
def second_signal():
    def run(case):
        first, second, timeout = case
        with Server(["--shutdown-timeout", timeout], workers=4) as server:
            a = server.client()
            token_of(a.req("l", "k", "0"))
            drain(server, first)
            a.expect_silence(0.5)
            took = elapsed()
            server.kill(second)
            check_eq(server.exited(20), 0, "the exit status")
            check(took() < SLACK, f"it took {took():.2f} s")
            a.expect_close()

    in_threads(run, [(signal.SIGTERM, signal.SIGTERM, 0), (signal.SIGINT, signal.SIGINT, 30),
                     (signal.SIGTERM, signal.SIGINT, 30)])


@test("a stopped worker does not keep the server from ending", rules=["S61"])
def stopped_worker():
    # The test may be kept from running, and the watchdog come before the second signal.
    with Server(["--shutdown-timeout", "0"], workers=2,
                expect_log=["worker hangs", "worker died"]) as server:
        a = server.client()
        token_of(a.req("l", "k", "0"))
        drain(server)
        for pid in server.worker_pids():
            os.kill(pid, signal.SIGSTOP)
        took = elapsed()
        server.kill(signal.SIGTERM)
        check_eq(server.exited(20), 0, "the exit status")
        check(took() < SLACK, f"it took {took():.2f} s")


@test("signals that reach the workers too, as Ctrl-C does, change nothing", rules=["S59", "S61"])
def signal_to_all():
    with Server(workers=4) as server:
        a = server.client()
        token = token_of(a.req("l", "k", "0"))
        workers = server.worker_pids()
        since = server.mark()
        os.killpg(server.pid, signal.SIGINT)  # the session of this server, started by this test
        server.wait_log(" draining: ", 10, since)
        check_eq(a.req("n", "k", token), "ok 33", "the renew")
        check_eq(server.worker_pids(), workers, "the workers live")
        check_eq(a.req("r", "k", token), "ok", "the release")


@test("leases go on ending, and slots passing on, during the drain", rules=["S60", "S12"])
def leases_in_drain():
    with Server(workers=4) as server:
        a, b = server.client(), server.client()
        token = token_of(a.req("l", "k", "0 60"))
        check_eq(b.req("e", "k", "30"), "queued", "b")
        drain(server)
        check_eq(a.req("n", "k", token + " 1"), "ok 1", "a shorter lease")
        eventually(lambda: json_of(b.req("stats"))["locks"][0]["owner_conn_id"] == 2, 10,
                   "the slot passes on")
        token_of(b.req("w", "k", "0"))


@test("a worker that dies during the drain is replaced, and drains too",
      rules=["S57", "S60", "S61"])
def death_in_drain():
    with Server(expect_log=["worker died"], workers=1) as server:
        a, b = server.client(), server.client()
        token = token_of(a.req("l", "k", "0"))
        check_eq(b.req("ping"), "ok", "ping")
        drain(server)
        os.kill(server.worker_pids()[0], signal.SIGKILL)
        check_eq(b.req("l", "other", "0"), "error_draining", "an acquisition")
        b.expect_close()
        b.close()
        check_eq(a.req("n", "k", token), "ok 33", "the renew")
        check_eq(a.req("r", "k", token), "ok", "the release")
        a.close()
        check_eq(server.exited(20), 0, "the exit status")


if __name__ == "__main__":
    main(jobs=12)
