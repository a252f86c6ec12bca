#!/usr/bin/env python3
"""offenders_test.py - addresses whose first requests are wrong again and again: how long each answer is
held back, and whom that does not delay. docs/rules.md, "Who has not authenticated"."""

import os
import signal

from certs import authority, client_context
from harness import (Server, check, check_eq, diag, elapsed, eventually, in_threads, json_of, main,
                     temp_dir, test)

SECRET = "friends-only"
FAILED = "authentication failed"
DELAYS = [0, 0, 0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 4, 4]  # s


def guarded(args=(), **options):
    return Server(args, env={"DFLOCKD_AUTH_TOKEN": SECRET}, **options)


def friend(server, **options):
    c = server.client(**options)
    check_eq(c.req("auth", "", SECRET), "ok", "the right secret")
    return c


def fail_once(server, request="auth\n\nwrong\n", **options):
    """(client, since before it asked); it has been refused, and may not have been told."""
    n, took = len(server.logged(FAILED)), elapsed()
    c = server.client(**options)
    c.send(request)
    eventually(lambda: len(server.logged(FAILED)) > n, text="it is refused")
    return c, took


def offend(server, n=3, **options):
    """So many are answered at once, or soon."""
    for c, _ in [fail_once(server, **options) for _ in range(n)]:
        c.expect("error_auth")


@test("from the fourth on each answer of an address comes later, by twice as much, 4 s at most; and that "
      "delays nobody", rules=["P94", "P95"])
def schedule():
    with guarded() as server:
        inside = friend(server)
        mine = [fail_once(server, source="127.0.6.1") for _ in DELAYS]
        begun = elapsed()
        for _ in range(20):
            friend(server, source="127.0.6.1").close()
            check_eq(inside.req("ping"), "ok", "a friend")
        for _ in range(3):
            offend(server, 1, source="127.0.6.2")
        # Each of these 23 would have waited for 4 s.
        check(begun() < 11, f"others took {begun():.2f} s")
        found = []

        def answer(i):
            c, took = mine[i]
            c.expect("error_auth", f"failure {i + 1}")
            found.append((i, took()))
            c.expect_close(how="fin")
            check(took() >= DELAYS[i] + 0.1, "the end is 100 ms behind the answer")

        took = elapsed()
        # One waits for the last ones, which are told last.
        in_threads(answer, range(3, len(DELAYS)))
        check(took() < 24, f"{took():.1f} s")
        times = dict(found)
        diag("answers after " + " ".join(f"{times[i]:.2f}" for i in sorted(times)) + " s")
        for i, delay in enumerate(DELAYS[3:], 3):
            check(delay <= times[i] < delay + 6, f"failure {i + 1} was answered after {times[i]:.2f} s")
        for i in range(3):
            answer(i)
        check_eq(len(server.logged(FAILED)), len(DELAYS) + 3, "lines of the log")


@test("what counts: any wrong first request, by TLS and Unix socket too; silence does not", rules=["P94"],
      needs=["tls"])
def what_counts():
    ca = authority()
    path = os.path.join(temp_dir(), "sock")
    tls = client_context(ca)
    wrong = ["ping\n\n\n", "x" * 300 + "\n", "\n\n\n", "auth\n\n" + "x" * 65000 + "\n"]

    def late(server, request, **options):
        c, took = fail_once(server, request, **options)
        c.expect("error_auth")
        check(took() >= 0.1, f"after {took():.3f} s")

    with guarded([*ca.issue("localhost").args, "--unix-socket", path], workers=1) as server:
        for options in (dict(tls=tls, source="127.0.7.1"), dict(unix=path)):
            for request in wrong[:3]:
                fail_once(server, request, **options)[0].expect("error_auth")
            late(server, wrong[3], **options)
    with guarded(["--read-timeout", "1"], workers=1) as server:
        crowd = [server.client(source="127.0.7.2") for _ in range(13)]
        for c in crowd[:3]:
            c.half_close()
        for c in crowd[3:]:
            c.expect("error_auth")
        for c in crowd:
            c.expect_close()
        took = elapsed()
        for _ in range(3):
            offend(server, 1, source="127.0.7.2")
        late(server, wrong[0], source="127.0.7.2")
        check(took() < 12, f"{took():.1f} s")  # behind ten others each would have waited for 4 s


@test("a worker that dies forgets neither the answer that it owes nor who has failed", rules=["P96"])
def deaths():
    with guarded(workers=1, expect_log=["worker died"]) as server:
        offend(server, 5, source="127.0.8.1")
        mine = [fail_once(server, source="127.0.8.1") for _ in range(3)]  # 0.4, 0.8, 1.6 s
        os.kill(server.worker_pids()[0], signal.SIGKILL)
        server.wait_log("took over")
        for (c, took), delay in zip(mine, DELAYS[5:8]):
            c.expect("error_auth")
            check(took() >= delay, f"{took():.2f} s instead of {delay}")
            c.expect_close(how="fin")
        c, took = fail_once(server, source="127.0.8.1")
        c.expect("error_auth")
        check(took() >= 3.2, f"{took():.2f} s")
        check_eq(len(server.logged(FAILED)), 9, "each is refused once")


@test("who waits for a late answer fills a place of a stranger, is not ended for others, may half-close, and "
      "leaves by a reset; a drain waits for none", rules=["P95", "P93"])
def places():
    def once():
        with guarded(["--max-connections", "40"], workers=1) as server:
            inside = friend(server)

            def others():
                return json_of(inside.req("stats"))["connections"] - 1

            for _ in range(9):
                fail_once(server, source="127.0.9.1")[0].reset()
                eventually(lambda: others() == 0, text="who resets has gone")
            took = elapsed()
            mine = [fail_once(server, source="127.0.9.1")[0] for _ in range(4)]  # 4 s each
            mine[1].half_close()
            mine[2].send("auth\n\n" + SECRET + "\n" * 100)
            waits = server.client(source="127.0.9.2")
            waits.ask("auth", "", SECRET)
            waits.expect_silence(1.2)
            if took() >= 4:
                return False
            check_eq(others(), 4, "those inside")
            mine[3].reset()
            waits.expect("ok", "it gets in when one has gone")
            if took() >= 4:
                return False
            for c, what in zip(mine, ("who just waits", "who has half-closed", "who goes on talking")):
                c.expect("error_auth", what)
                check(took() >= 4, f"{took():.2f} s")
                c.expect_close()
            last, took = fail_once(server, source="127.0.9.1")
            server.kill(signal.SIGTERM)
            last.expect("error_auth", "a drain")
            return took() < 4

    # A machine that is busy may keep this test from running for seconds.
    check(any(once() for _ in range(5)), "who waited for room, or for the drain, waited for 4 s")


if __name__ == "__main__":
    main()
