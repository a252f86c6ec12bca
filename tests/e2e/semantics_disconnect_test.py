#!/usr/bin/env python3
"""semantics_disconnect_test.py - clients that leave: idle, holding, queued, blocked."""

import os
import random
import socket
import subprocess
import time

from harness import (Server, check, check_eq, diag, elapsed, eventually, in_threads, json_of, main,
                     test, token_of, waiters)

PROMPT = 1.0  # "at once", and "tens of ms", on a busy machine: the best, or the median, of several
HALF_CLOSE = 0.25  # a FIN within this time of the request is a half-close


def stats_of(client):
    return json_of(client.req("stats"))


def queue(client, key):
    return [x["addr"] for x in json_of(client.req("show", key, "lock"))["queue"]]


def half_closed(server, data, wait=0, before=None):
    """A client that has sent this and its FIN, `wait` seconds later and not much more."""
    while True:
        c = server.client()
        if before:
            before(c)
        took = elapsed()
        c.send(data)
        time.sleep(wait)
        c.half_close()
        if took() < 0.2:
            return c
        c.reset()  # this test was kept from running, and the FIN came late


def blocked(server, watch, key, arg="60", cmd="l"):
    """A client whose request for this key waits."""
    before = waiters(watch, key)
    c = server.client()
    c.ask(cmd, key, arg)
    eventually(lambda: waiters(watch, key) == before + 1, text="it waits")
    return c


@test("with auto-release a disconnect passes all slots on at once",
      rules=["S42", "S12", "S41", "C23"])
def auto_release():
    for leave in ("close", "reset"):
        with Server(workers=4) as server:
            times = []
            for turn in range(3):
                a, b, watch = (server.client() for _ in range(3))
                k, e, s = (f"{x}{turn}" for x in "kes")
                token_of(a.req("l", k, "0 300"))
                token_of(a.req("e", e, "300"), "acquired")
                for _ in range(2):
                    token_of(a.req("sl", s, "0 2 300"))
                check_eq(b.req("e", k), "queued", "k")
                check_eq(b.req("e", e), "queued", "e")
                check_eq(b.req("se", s, "2"), "queued", "s")
                getattr(a, leave)()
                took = elapsed()
                token_of(b.req("w", k, "9"))
                token_of(b.req("w", e, "9"))
                token_of(b.req("sw", s, "9"))
                times.append(took())
                check_eq([x for x in stats_of(watch)["semaphores"] if x["key"] == s],
                         [{"key": s, "limit": 2, "holders": 1, "waiters": 0}], "one slot is free")
            check(min(times) < PROMPT, f"it took {times} s")


@test("promoted and not yet waited for: released by a disconnect too", rules=["S42", "S48"])
def promoted_is_released():
    with Server(workers=4) as server:
        a, b, c = (server.client() for _ in range(3))
        token = token_of(a.req("l", "k", "0"))
        check_eq(b.req("e", "k"), "queued", "b")
        check_eq(c.req("e", "k"), "queued", "c")
        check_eq(a.req("r", "k", token), "ok", "the release promotes b")
        b.close()
        token_of(c.req("w", "k", "5"))


@test("without auto-release slots stay till their lease ends or somebody releases them",
      rules=["S43", "S66", "C23"])
def no_auto_release():
    with Server(["--no-auto-release-on-disconnect"], workers=4) as server:
        a, b = server.client(), server.client()
        since = elapsed()
        token_of(a.req("l", "short", "0 1"))
        long = token_of(a.req("l", "long", "0 60"))
        renewed = token_of(a.req("sl", "sem", "0 1 60"))
        pending = token_of(a.req("e", "enqueued", "60"), "acquired")
        held = token_of(b.req("l", "other", "0"))
        check_eq(a.req("e", "other"), "queued", "a's place in a queue")
        check_eq(waiters(b, "other"), 1, "a waits")
        a.close()
        eventually(lambda: waiters(b, "other") == 0, text="a's place goes all the same")
        check_eq(b.req("r", "other", held), "ok", "the release")
        for key in ("long", "enqueued"):
            check_eq(b.req("l", key, "0"), "timeout", f"{key} is kept")
        short = b.req("l", "short", "0")
        check(short == "timeout" or since() >= 1, "short is kept while its lease lasts")
        check_eq(b.req("r", "long", long), "ok", "the release by token")
        check_eq(b.req("r", "enqueued", pending), "ok", "the release by token")
        check_eq(b.req("sn", "sem", renewed + " 1"), "ok 1", "a renew by token")
        token_of(b.req("l", "short", "9") if short == "timeout" else short)
        check(since() >= 1, "the lease of the short one has ended")
        token_of(b.req("l", "long", "0"))
        token_of(b.req("l", "enqueued", "0"))
        token_of(b.req("sl", "sem", "9 1"))


@test("queued and blocked requests of a closed connection go, whatever it held", rules=["S41"])
def waiters_go():
    for flags in ([], ["--no-auto-release-on-disconnect"]):
        with Server(flags, workers=4) as server:
            watch = server.client()
            token = token_of(watch.req("l", "k", "0"))
            a = server.client()
            check_eq(a.req("e", "k"), "queued", "e")
            b = blocked(server, watch, "k")
            time.sleep(HALF_CLOSE * 1.2)
            a.close()
            b.close()
            eventually(lambda: waiters(watch, "k") == 0, text="both places go")
            check_eq(watch.req("r", "k", token), "ok", "the release")
            token_of(watch.req("l", "k", "0"))


@test("a connection that owns 10,000 locks and 1,000 places disturbs nobody when it ends",
      rules=["S44", "S42", "S41", "S66"], deadline=90)
def large_owner():
    with Server(["--max-locks", "20000", "--read-timeout", "600"], workers=4) as server:
        a, b, watch = (server.client() for _ in range(3))
        check_eq(watch.req("ping"), "ok", "ping")
        for at in range(0, 1000, 100):
            b.send("".join(f"l\nb{i}\n0 300\n" for i in range(at, at + 100)))
            for reply in b.lines(100):
                token_of(reply)
        for at in range(0, 10000, 100):
            a.send("".join(f"l\na{i}\n0 300\n" for i in range(at, at + 100)))
            for reply in a.lines(100):
                token_of(reply)
        for at in range(0, 1000, 100):
            a.send("".join(f"e\nb{i}\n300\n" for i in range(at, at + 100)))
            check_eq(set(a.lines(100)), {"queued"}, "a's places")
        stats = stats_of(watch)
        check_eq((len(stats["locks"]), sum(x["waiters"] for x in stats["locks"])), (11000, 1000),
                 "locks and waiters")
        a.close()
        took, slowest = elapsed(), 0.0
        turn = 0
        while True:
            one = elapsed()
            reply = watch.req("l", f"other{turn}", "0")
            slowest = max(slowest, one())
            watch.req("r", f"other{turn}", token_of(reply))
            turn += 1
            reply = watch.req("l", "a9999", "0")
            if reply != "timeout" and turn % 20 == 0 or turn > 100000:
                break
            if reply != "timeout":
                watch.req("r", "a9999", token_of(reply))
        check(turn <= 100000, "a9999 is released")
        eventually(lambda: stats_of(watch)["connections"] == 2, 10, "the connection has ended")
        diag(f"gone after {took() * 1000:.0f} ms; slowest other request {slowest * 1000:.1f} ms")
        check(slowest < 8, f"another request took {slowest * 1000:.0f} ms")
        stats = stats_of(watch)
        check_eq(sum(x["waiters"] for x in stats["locks"]), 0, "waiters")
        check_eq(len(stats["locks"]), 1001, "locks: b's, and a9999")


@test("FIN within 250 ms of a blocking request: it waits on, gets the answer, then the end",
      rules=["S46"])
def half_close():
    def run(how):
        watch = server.client()
        key = f"k{how}"
        token = token_of(watch.req("l", key, "0"))
        a = half_closed(server, f"l\n{key}\n60\n", how)
        eventually(lambda: queue(watch, key) == [a.local], text="it waits")
        time.sleep(0.6)
        check_eq(queue(watch, key), [a.local], "it still waits")
        check_eq(watch.req("r", key, token), "ok", "the release")
        token_of(a.line())
        a.expect_close(how="fin")
        # What it was given ended with it: it had said that nothing would follow.
        token_of(watch.req("l", key, "9"))

    with Server(workers=4) as server:
        in_threads(run, [0, 0.05, 0.1])


@test("a half-closed blocked request times out and is answered", rules=["S46", "S27"])
def half_close_timeout():
    with Server() as server:
        watch = server.client()
        token_of(watch.req("l", "k", "0"))
        a = half_closed(server, "l\nk\n1\n")
        a.expect("timeout")
        a.expect_close(how="fin")


@test("several requests and a FIN at once: all are answered, the blocking ones in turn",
      rules=["S46", "S49", "S67"])
def half_close_pipelined():
    with Server() as server:
        watch = server.client()
        tokens = [token_of(watch.req("l", f"k{i}", "0")) for i in range(2)]
        a = server.client()
        a.send("ping\n\n\nl\nk0\n20\nping\n\n\nl\nk1\n20\nping\n\n\n")
        a.half_close()
        a.expect("ok", "ping")
        for i, token in enumerate(tokens):
            time.sleep(0.4)
            a.expect_silence(0)
            check_eq(watch.req("r", f"k{i}", token), "ok", "the release")
            token_of(a.line())
            a.expect("ok", "the ping behind it")
        a.expect_close(how="fin")


@test("FIN later than 250 ms: the waiter is cancelled promptly, the others move up",
      rules=["S47", "S11", "S41"])
def late_fin():
    with Server(workers=4) as server:
        watch = server.client()
        token = token_of(watch.req("l", "k", "0"))
        pairs = []
        for _ in range(10):
            pairs.append((blocked(server, watch, "k"), blocked(server, watch, "k")))
        time.sleep(HALF_CLOSE * 1.2)
        times = []
        for n, (goes, _) in enumerate(pairs):
            took = elapsed()
            goes.half_close()
            eventually(lambda: waiters(watch, "k") == 19 - n, text="it is cancelled")
            times.append(took())
            goes.expect_close()
        times.sort()
        diag(f"cancelled after {times[5] * 1000:.1f} ms (median), {times[-1] * 1000:.1f} ms (max)")
        check(times[5] < PROMPT, "at once")
        for _, stays in pairs:
            check_eq(watch.req("r", "k", token), "ok", "the release")
            token = token_of(stays.line())


@test("RST while blocked: cancelled at once, also within 250 ms", rules=["S45", "S41"])
def reset():
    with Server(workers=4) as server:
        watch = server.client()
        token = token_of(watch.req("l", "k", "0"))
        times = []
        for _ in range(20):
            a = server.client()
            a.ask("l", "k", "20")
            eventually(lambda: waiters(watch, "k") == 1, text="it waits")
            took = elapsed()
            a.reset()
            eventually(lambda: waiters(watch, "k") == 0, text="it is cancelled")
            times.append(took())
        check(sorted(times)[10] < PROMPT, f"it took {sorted(times)[10] * 1000:.0f} ms")
        check_eq(watch.req("r", "k", token), "ok", "the release")
        token_of(watch.req("l", "k", "0"))


@test("RST after a half-close: cancelled at once", rules=["S45"])
def reset_after_half_close():
    with Server() as server:
        watch = server.client()
        token_of(watch.req("l", "k", "0"))
        a = half_closed(server, "l\nk\n60\n")
        eventually(lambda: queue(watch, "k") == [a.local], text="it waits")
        a.expect_silence(0.1)
        a.reset()
        eventually(lambda: waiters(watch, "k") == 0, 5, text="it is cancelled")


@test("a late FIN with a whole request behind the blocked one discards nothing",
      rules=["S49", "S67"])
def late_fin_with_request():
    with Server(workers=4) as server:
        watch = server.client()
        for behind, answers in (("ping\n\n\n", ["ok"]), ("x\n\n\n", ["error"]),
                                ("ping\n\n\nping\n\n", ["ok"]), ("ping\n\n\n" * 400, ["ok"] * 400)):
            token = token_of(watch.req("l", "k", "0"))
            a = blocked(server, watch, "k")
            a.send(behind)
            time.sleep(HALF_CLOSE * 1.4)
            a.half_close()
            time.sleep(0.15)
            check_eq(waiters(watch, "k"), 1, "it still waits")
            check_eq(watch.req("r", "k", token), "ok", "the release")
            token_of(a.line())
            check_eq(a.lines(len(answers)), answers, "what was behind it")
            a.expect_close(how="fin")
            eventually(lambda: not stats_of(watch)["locks"], text="it is released")


@test("a late FIN with a part of a request behind the blocked one cancels it", rules=["S47"])
def late_fin_with_part():
    with Server(workers=4) as server:
        watch = server.client()
        token_of(watch.req("l", "k", "0"))
        a = blocked(server, watch, "k")
        a.send("ping\n\n")
        time.sleep(HALF_CLOSE * 1.4)
        a.half_close()
        eventually(lambda: waiters(watch, "k") == 0, 5, "it is cancelled")
        a.expect_close()


@test("a w that blocks is watched in the same way", rules=["S45", "S46", "S47", "S41"])
def blocked_w():
    with Server(workers=4) as server:
        watch = server.client()
        token = token_of(watch.req("l", "k", "0"))
        gone, dead = server.client(), server.client()

        def enqueued(c):
            check_eq(c.req("e", "k"), "queued", "e")
            time.sleep(HALF_CLOSE * 1.2)  # since e; what counts is w

        for c in (gone, dead):
            enqueued(c)
        half = half_closed(server, "w\nk\n60\n", before=enqueued)
        for c in (gone, dead):  # when the ping is answered what came with it is being waited for
            c.send("ping\n\n\nw\nk\n60\n")
            c.expect("ok", "ping")
        time.sleep(0.05)
        dead.reset()
        eventually(lambda: queue(watch, "k") == [gone.local, half.local], 10, "a reset one goes")
        time.sleep(HALF_CLOSE * 1.4)
        gone.half_close()
        eventually(lambda: queue(watch, "k") == [half.local], 10, "a late FIN cancels")
        check_eq(watch.req("r", "k", token), "ok", "the release")
        token_of(half.line())
        half.expect_close(how="fin")


@test("a grant that races with a cancellation goes on to the next, many times",
      rules=["S48", "S12", "S63"], deadline=120)
def grant_races_cancellation():
    def run(i):
        chance = random.Random(i)
        a, last = server.client(), server.client()
        key = f"k{i}"
        for turn in range(200):
            token = token_of(a.req("l", key, "0"))
            b = blocked(server, last, key)
            check_eq(last.req("e", key), "queued", "the next one")
            wait = chance.random() * 0.0004
            first = chance.random() < 0.5

            def leave():
                if turn % 3 == 0:
                    b.sock.shutdown(socket.SHUT_RDWR)
                    b.close()
                else:
                    b.reset()

            def spin():
                took = elapsed()
                while took() < wait:
                    pass

            if first:
                leave()
                spin()
            a.ask("r", key, token)
            if not first:
                spin()
                leave()
            a.expect("ok", "the release")
            reply = last.req("w", key, "9")
            check_eq(last.req("r", key, token_of(reply)), "ok", "the next one's release")
        token_of(a.req("l", key, "0"))

    with Server(workers=4) as server:
        in_threads(run, range(6))


@test("the documented pipe into nc works: half-close, wait, answer", rules=["S46"])
def pipe_into_nc():
    with Server() as server:
        watch = server.client()
        for turn in range(5):  # nc may be kept from running, and its FIN come late
            token = token_of(watch.req("l", "foo", "0"))
            reader, writer = os.pipe()
            os.write(writer, b"l\nfoo\n60\n")
            os.close(writer)
            p = subprocess.Popen(["nc", "-N", "127.0.0.1", str(server.port)], stdin=reader,
                                 stdout=subprocess.PIPE)
            os.close(reader)
            eventually(lambda: waiters(watch, "foo") == 1 or p.poll() is not None, 10, "it waits")
            time.sleep(0.5)
            waits = waiters(watch, "foo")
            check_eq(watch.req("r", "foo", token), "ok", "the release")
            answer = p.stdout.read().decode()
            check_eq(p.wait(10), 0, "nc's exit status")
            if waits or answer:
                break
        check_eq(waits, 1, "it still waits")
        token_of(answer.rstrip("\n"))


if __name__ == "__main__":
    main(jobs=18)
