#!/usr/bin/env python3
"""crash_poison_test.py - a request that kills its worker each time: it is cut off, all others live."""

import re

from harness import check, check_eq, eventually, json_of, main, temp_file, test, token_of
from load import Load
from points import HANG, KILL, SEGV, WORKER, CrashServer

KEY = b"poison-key"
EXPECTED = ["worker died", "worker hangs", "poison: "]


def poisoned(action, deaths, scripts):
    """One client has locks and then sends poison; returns the log's line about it."""
    with CrashServer(["--max-locks", "5000"], expect_log=EXPECTED) as server:
        load = Load(server, scripts)
        watch, victim = server.client(), server.client()
        token = token_of(victim.req("l", "precious", "0 60"))
        server.board.poison(KEY, action)
        # The reply of what came before it is not lost, what stands behind it is not executed.
        victim.send(b"ping\n\n\nl\n" + KEY + b"\n0 9\nl\nbehind\n0\n")
        victim.expect("ok", "the ping before it")
        victim.expect_close(timeout=60)
        check_eq(server.board.poisoned, deaths, "deaths by it")
        load.check()
        check_eq(watch.req("l", "behind", "0")[:3], "ok ", "what stood behind the poison")
        check_eq(watch.req("l", "precious", "0"), "timeout", "its slots are kept")
        check_eq(watch.req("n", "precious", token + " 60"), "ok 60", "for who has the token")
        check_eq(watch.req("r", "precious", token), "ok", "the release")
        # Another who sends it is cut off as well; the server lives.
        again = server.client()
        again.ask("r", KEY, "0" * 32)
        again.expect_close(timeout=60)
        check_eq(server.board.poisoned, 2 * deaths, "deaths by both")
        server.board.poison(b"", action)
        check_eq(server.client().req("l", KEY, "0")[:3], "ok ", "the key itself is free")
        server.whole()
        load.stop()
        eventually(lambda: len(server.logged("poison: ")) >= 2, 10, "lines about it")
        lines = server.logged("poison: ")
        check_eq(len(lines), 2, "lines about it")
        check('request="l\\x0apoison-key"' in lines[0], f"it says which request: {lines[0]}")
        check('request="r\\x0apoison-key"' in lines[1], f"without its token: {lines[1]}")
        return lines[0]


@test("a request that crashes its worker twice loses its connection, the log says which",
      rules=["S57", "S58"], deadline=120)
def crashes():
    check("crashes=2 deaths=2" in poisoned(SEGV, 2, ["pairs", "churn", "two_phase"]), "two crashes")


@test("one that has its worker killed three times loses its connection", deadline=120)
def kills():
    check("crashes=0 deaths=3" in poisoned(KILL, 3, ["pairs", "churn", "two_phase"]), "three deaths")


@test("one that makes its worker hang three times loses its connection", deadline=180)
def hangs():
    check("crashes=0 deaths=3" in poisoned(HANG, 3, ["pairs"]), "three deaths")


@test("crashes in a row are answered more slowly each time; who was killed is replaced at once",
      deadline=120)
def back_off():
    with CrashServer(expect_log=EXPECTED) as server:
        server.board.poison(KEY, SEGV)
        for _ in range(2):
            client = server.client()
            client.ask("l", KEY, "0")
            client.expect_close(timeout=60)
        waits = [re.search(r"worker=(\d).* restart_in_ms=([\d.]+)", x).groups()
                 for x in server.logged("worker died")]
        check_eq(len(waits), 4, "crashes")
        for worker in "01":
            mine = [float(ms) for w, ms in waits if w == worker]
            check_eq(mine, [0.0, 50.0, 200.0, 1000.0][:len(mine)], "waits of a slot")


@test("deaths while replies are sent are not charged to a request that has only begun", deadline=120)
def only_begun():
    with CrashServer(expect_log=["worker died"], workers=1) as server:
        client = server.client()
        server.board.arm("STREAM_SEND", action=KILL, role=WORKER, again=3)
        client.send(b"ping\n\n\nl\nkey\n")
        client.expect("ok", "the ping, after four deaths")
        check_eq(server.board.fired, 4, "deaths")
        client.send(b"0\n")
        token_of(client.line())
        check(not server.logged("poison"), "nothing was taken for poison")


@test("a secret in a request that is poison is not in the log", deadline=120)
def secrets():
    secret = "open-sesame-open-sesame"
    path = temp_file(secret + "\n")
    with CrashServer(["--auth-token-file", path], expect_log=EXPECTED) as server:
        server.board.poison(KEY, SEGV)
        # Not authenticated: nothing of it may be shown, whatever it is.
        stranger = server.client()
        stranger.ask("l", KEY, "0")
        stranger.expect_close(timeout=60)
        friend = server.client()
        check_eq(friend.req("auth", "_", secret), "ok", "auth")
        friend.send(b"l\n" + KEY + f"\n0\nl\n{secret}\n0\n".encode())
        friend.expect_close(timeout=60)
        eventually(lambda: len(server.logged("poison: ")) >= 2, 5, "lines about it")
        check(not server.logged(secret), "no secret in the log")
        check(server.logged("poison: ")[0].endswith(" request=?"), "nothing of a stranger's is shown")
        check(any('request="l\\x0apoison-key"' in x for x in server.logged("poison: ")),
              "a friend's request is shown")
        server.board.poison(b"", SEGV)
        last = server.client()
        check_eq(last.req("auth", "_", secret), "ok", "auth")
        json_of(last.req("stats"))


if __name__ == "__main__":
    main()
