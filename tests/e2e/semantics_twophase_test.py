#!/usr/bin/env python3
"""semantics_twophase_test.py - e and w: every row of the table of states and events."""

import itertools
import time

from harness import (Server, check, check_eq, diag, elapsed, eventually, in_threads, json_of, main,
                     test, token_of, waiters)

SLACK = 8.0
KINDS = (("e", "w", "r", "n", "l", "", ""), ("se", "sw", "sr", "sn", "sl", "1 ", " 1"))


def both_kinds(function):
    """Runs function(server, Kind) for locks and for semaphores of limit 1."""
    with Server(workers=4) as server:
        in_threads(lambda k: function(server, Kind(*k)), KINDS)


class Kind:
    def __init__(self, e, w, r, n, l, limit, limit_after):
        self.e, self.w, self.r, self.n, self.l = e, w, r, n, l
        self.limit, self.limit_after = limit, limit_after  # "1 " before a lease, " 1" after a timeout

    def take(self, client, key, lease=30):
        return token_of(client.req(self.l, key, f"0{self.limit_after} {lease}"))

    def free(self, client, key):
        """Whether the key can be had now; it is given back."""
        reply = client.req(self.l, key, "0" + self.limit_after)
        if reply == "timeout":
            return False
        check_eq(client.req(self.r, key, token_of(reply)), "ok", "the release")
        return True


def fresh(key):
    """Keys for as many turns as it takes until one is not held up beyond a lease."""
    return (f"{key}-{turn}" for turn in itertools.count())


@test("e of a free slot: acquired, the lease runs, w is optional", rules=["S28", "S31", "S39"])
def enqueue_free():
    def run(server, k):
        a, b = server.client(), server.client()
        key = k.e
        took = elapsed()
        reply = a.req(k.e, key, k.limit + "1")
        check_eq(reply, f"acquired {token_of(reply, 'acquired')} 1", "the reply")
        token_of(b.req(k.l, key, "9" + k.limit_after))
        check(1 <= took() < 1 + SLACK, f"the lease ended after {took():.3f} s, without any w")

    both_kinds(run)


@test("without a lease e gets the default one", rules=["S28", "S39"])
def enqueue_default():
    def run(server, k):
        a = server.client()
        reply = a.req(k.e, k.e, k.limit)
        check_eq(reply, f"acquired {token_of(reply, 'acquired')} 33", "the reply")
        reply = a.req(k.w, k.e, "0")
        check_eq(reply, f"ok {token_of(reply)} 33", "w")

    both_kinds(run)


@test("w of a granted slot: the lease restarts in full, the state is cleared",
      rules=["S32", "S39", "S37"])
def wait_granted():
    def run(server, k):
        a, b = server.client(), server.client()
        for key in fresh(k.e):
            since = elapsed()
            token = token_of(a.req(k.e, key, k.limit + "2"), "acquired")
            time.sleep(1.2)
            took = elapsed()
            reply = a.req(k.w, key, "5")
            if reply != "error_lease_expired" or since() < 2:
                break
        check_eq(reply, f"ok {token} 2", "w, at once, with the same token")
        check_eq(a.req(k.w, key, "0"), "error_not_enqueued", "a second w")
        token_of(b.req(k.l, key, "9" + k.limit_after))
        check(2 <= took() < 2 + SLACK, f"the lease lasted {took():.3f} s from w on")

    both_kinds(run)


@test("a renew before w: w restarts the lease given to e", rules=["S32", "S39", "S21"])
def renew_then_wait():
    def run(server, k):
        a, b = server.client(), server.client()
        for key in fresh(k.e):
            since = elapsed()
            token = token_of(a.req(k.e, key, k.limit + "1"), "acquired")
            reply = a.req(k.n, key, token + " 50")
            if reply != "error" or since() < 1:
                break
        check_eq(reply, "ok 50", "the renew")
        took = elapsed()
        check_eq(a.req(k.w, key, "0"), f"ok {token} 1", "w")
        token_of(b.req(k.l, key, "9" + k.limit_after))
        check(1 <= took() < 1 + SLACK, f"the lease lasted {took():.3f} s from w on")

    both_kinds(run)


@test("e of a busy slot is queued; w blocks, and on the grant the lease restarts",
      rules=["S29", "S35", "S39", "S37"])
def wait_queued():
    def run(server, k):
        a, b, c = (server.client() for _ in range(3))
        token = k.take(a, k.e)
        check_eq(b.req(k.e, k.e, k.limit + "1"), "queued", "e")
        b.ask(k.w, k.e, "60")
        b.expect_silence(0.3)
        took = elapsed()
        check_eq(a.req(k.r, k.e, token), "ok", "the release")
        reply = b.line()
        check_eq(reply, f"ok {token_of(reply)} 1", "w")
        check_eq(b.req(k.w, k.e, "0"), "error_not_enqueued", "the state is cleared")
        token_of(c.req(k.l, k.e, "9" + k.limit_after))
        check(1 <= took() < 1 + SLACK, f"the lease lasted {took():.3f} s")

    both_kinds(run)


@test("promotion while queued: granted without a w, the lease starts then",
      rules=["S31", "S33", "S12"])
def promotion():
    def run(server, k):
        a, b, c = (server.client() for _ in range(3))
        token = k.take(a, k.e)
        check_eq(b.req(k.e, k.e, k.limit + "1"), "queued", "e")
        time.sleep(1.1)
        took = elapsed()
        check_eq(a.req(k.r, k.e, token), "ok", "the release")
        check(not k.free(c, k.e) or took() >= 1, "b has the slot")
        token_of(c.req(k.l, k.e, "9" + k.limit_after))
        check(1 <= took() < 1 + SLACK, f"b had it for {took():.3f} s")
        check_eq(b.req(k.w, k.e, "5"), "error_lease_expired", "w, too late")
        check_eq(b.req(k.w, k.e, "5"), "error_not_enqueued", "and once more")

    both_kinds(run)


@test("a second e while a state exists is already enqueued, until it is cleared",
      rules=["S30", "S38", "S6"])
def already_enqueued():
    def run(server, k):
        a, b = server.client(), server.client()

        def enqueue(client=a):
            return client.req(k.e, k.e, k.limit)

        token = token_of(enqueue(), "acquired")
        check_eq(enqueue(), "error_already_enqueued", "after acquired")
        check_eq(enqueue(b), "queued", "another connection")
        check_eq(enqueue(b), "error_already_enqueued", "while queued")
        check_eq(a.req(k.w, k.e, "0").split()[1], token, "w clears")
        check_eq(enqueue(), "queued", "after w")
        check_eq(enqueue(), "error_already_enqueued", "once more")
        check_eq(b.req(k.r, k.e, token), "ok", "a release from elsewhere")
        check_eq(enqueue(b), "error_already_enqueued", "promoted, but not yet waited for")
        second = token_of(b.req(k.w, k.e, "0"))
        check_eq(a.req(k.w, k.e, "0"), "timeout", "a w whose time is up clears")
        check_eq(b.req(k.r, k.e, second), "ok", "the release")
        third = token_of(enqueue(), "acquired")
        check_eq(b.req(k.r, k.e, third), "ok", "the release of the token clears")
        check_eq(a.req(k.w, k.e, "0"), "error_not_enqueued", "nothing is left")
        token_of(enqueue(), "acquired")

    both_kinds(run)


@test("the end of a lease clears for e, a disconnect for the next connection",
      rules=["S30", "S33", "S34", "S41"])
def cleared_by_end():
    def run(server, k):
        a, b = server.client(), server.client()
        token_of(a.req(k.e, k.e, k.limit + "1"), "acquired")
        eventually(lambda: k.free(b, k.e), 10, "the lease ends")
        token = token_of(a.req(k.e, k.e, k.limit + "20"), "acquired")
        check_eq(a.req(k.w, k.e, "0"), f"ok {token} 20", "the new one")
        check_eq(b.req(k.e, k.e, k.limit), "queued", "b")
        b.close()
        eventually(lambda: waiters(a, k.e) == 0, text="b's place is gone")

    both_kinds(run)


@test("w of an ended lease is error_lease_expired, noticed before or not",
      rules=["S33", "S34", "S37"])
def wait_ended():
    def run(server, k):
        a, b, c = (server.client() for _ in range(3))
        took = elapsed()
        token_of(a.req(k.e, k.e + "1", k.limit + "1"), "acquired")
        # Noticed: somebody else has had it meanwhile.
        while not k.free(c, k.e + "1"):
            check(took() < 1 + 2 * SLACK, "the lease ends")
        check_eq(a.req(k.w, k.e + "1", "0"), "error_lease_expired", "w after the end was noticed")
        check_eq(a.req(k.w, k.e + "1", "0"), "error_not_enqueued", "the state is cleared")
        # While the connection's worker does not run, what it is sent may be in time, and is taken
        # for that.
        for turn in range(5):
            key = f"{k.e}2-{turn}"
            token = token_of(b.req(k.e, key, k.limit + "1"), "acquired")
            time.sleep(1.1)
            reply = b.req(k.w, key, "5")
            if reply != f"ok {token} 1":
                break
        check_eq(reply, "error_lease_expired", "w after the end")
        check_eq(b.req(k.w, key, "5"), "error_not_enqueued", "the state is cleared")

    both_kinds(run)


@test("w at the very moment of the end: ok in time, else lease expired; the slot is not lost",
      rules=["S32", "S33", "S26"])
def wait_race():
    counts = {}

    def run(i):
        a, b = server.client(), server.client()
        for turn in range(3):
            key = f"k{i}-{turn}"
            token = token_of(a.req("e", key, "1"), "acquired")
            since = time.monotonic()
            time.sleep(max(0, since + 1 + (i % 8 - 4) * 0.0005 - time.monotonic()))
            restarted = elapsed()
            reply = a.req("w", key, "0")
            counts[reply[:5]] = counts.get(reply[:5], 0) + 1
            if reply == "error_lease_expired":
                check_eq(a.req("r", key, token), "error", "the release")
                token_of(b.req("l", key, "0"))
                continue
            check_eq(reply, f"ok {token} 1", "w")
            replies = b.req("l", key, "0"), a.req("r", key, token)
            if restarted() < 1:  # else that lease may have ended as well
                check_eq(replies, ("timeout", "ok"), "it is held, and released")
            if replies[0] == "timeout":
                token_of(b.req("l", key, "0"))

    with Server(workers=4) as server:
        in_threads(run, range(16))
    diag(f"answers: {counts}")


@test("w whose time is up leaves the queue and clears the state", rules=["S36", "S27", "S25"])
def wait_timeout():
    def run(server, k):
        a, b = server.client(), server.client()
        token = k.take(a, k.e)
        for timeout in (0, 1):
            check_eq(b.req(k.e, k.e, k.limit), "queued", "e")
            check_eq(waiters(a, k.e), 1, "b waits")
            took = elapsed()
            check_eq(b.req(k.w, k.e, timeout), "timeout", "w")
            check(timeout <= took() < timeout + SLACK, f"it took {took():.3f} s")
            check_eq(waiters(a, k.e), 0, "b has left")
            check_eq(b.req(k.w, k.e, timeout), "error_not_enqueued", "the state is cleared")
        check_eq(a.req(k.r, k.e, token), "ok", "the release")
        check(k.free(b, k.e), "nobody was granted")

    both_kinds(run)


@test("w without e is error_not_enqueued", rules=["S37", "S40"])
def wait_none():
    def run(server, k):
        a, b = server.client(), server.client()
        check_eq(a.req(k.w, k.e, "5"), "error_not_enqueued", "no such key")
        token = k.take(a, k.e)
        check_eq(a.req(k.w, k.e, "5"), "error_not_enqueued", "held by l is no state")
        check_eq(b.req(k.e, k.e, k.limit), "queued", "e of b")
        check_eq(a.req(k.w, k.e, "5"), "error_not_enqueued", "w from another connection")
        check_eq(a.req(k.r, k.e, token), "ok", "the release")
        check_eq(a.req(k.w, k.e, "5"), "error_not_enqueued", "w from another connection")
        token_of(b.req(k.w, k.e, "5"))

    both_kinds(run)


@test("states of several keys of one connection do not touch each other", rules=["S30", "S40"])
def many_states():
    with Server(workers=4) as server:
        a, b = server.client(), server.client()
        held = {i: token_of(b.req("l", f"k{i}", "0")) for i in range(0, 40, 2)}
        for i in range(40):
            reply = a.req("e", f"k{i}")
            check_eq(reply.split()[0], "queued" if i in held else "acquired", f"e of k{i}")
        for i, token in held.items():
            check_eq(b.req("r", f"k{i}", token), "ok", "the release")
        for i in reversed(range(40)):
            token_of(a.req("w", f"k{i}", "0"))


@test("a token that was granted once is not granted again by w", rules=["S64", "S38"])
def token_once():
    with Server() as server:
        a, b = server.client(), server.client()
        first = token_of(a.req("e", "k"), "acquired")
        check_eq(b.req("r", "k", first), "ok", "the release")
        second = token_of(a.req("e", "k"), "acquired")
        check(second > first, "a new token")
        # The old token's release must not clear the state of the new one.
        check_eq(b.req("r", "k", first), "error", "the old token")
        check_eq(a.req("w", "k", "0").split()[1], second, "w")


@test("a release by token ends a blocked w's grant, and w still gets one answer",
      rules=["S38", "S67"])
def release_of_promoted():
    with Server() as server:
        a, b = server.client(), server.client()
        token = token_of(a.req("e", "k"), "acquired")
        a.ask("w", "k", "5")
        check_eq(token_of(a.line()), token, "w")
        check_eq(b.req("r", "k", token), "ok", "the release")
        check_eq(a.req("w", "k", "0"), "error_not_enqueued", "w")


def expire_all(server, client, keys):
    """Two-phase grants of this connection, all lapsed."""
    for at in range(0, len(keys), 50):
        client.send("".join(f"e\n{key}\n1\n" for key in keys[at:at + 50]))
        for reply in client.lines(len(keys[at:at + 50])):
            token_of(reply, "acquired")
    with server.client() as c:
        eventually(lambda: not json_of(c.req("stats"))["locks"], 15, "all leases end")


@test("tombstones: 1,024 a connection, the oldest goes first", rules=["S34", "S33"], deadline=60)
def tombstones():
    def run(parts):
        a, b = server.client(), server.client()
        keys = [f"t{i:04}" for i in range(1100)]
        each = len(keys) // parts
        for at in range(0, len(keys), each):
            expire_all(server, a, keys[at:at + each])
        check_eq(a.req("w", "none", "0"), "error_not_enqueued", "a look at the bound")
        answers = {key: a.req("w", key, "0") for key in reversed(keys)}
        lapsed = [key for key in keys if answers[key] == "error_lease_expired"]
        gone = [key for key in keys if answers[key] == "error_not_enqueued"]
        check_eq(len(lapsed) + len(gone), len(keys), "nothing else")
        check_eq(len(lapsed), 1024, "tombstones that were kept")
        # The oldest, but of those that were noticed at once it may be any.
        check(keys.index(gone[-1]) < each, f"the youngest that went is {gone[-1]}")
        check_eq(b.req("w", keys[-1], "0"), "error_not_enqueued", "they are one connection's")

    with Server(["--max-locks", "3000", "--gc-interval", "1", "--gc-max-idle", "0"]) as server:
        run(2)
    with Server(["--max-locks", "3000"], workers=1) as server:
        run(1)


@test("a tombstone keeps and counts its resource until w, e or disconnect",
      rules=["S34", "S50", "S51", "S66"])
def tombstone_counts():
    with Server(["--max-locks", "3", "--gc-interval", "1", "--gc-max-idle", "0"]) as server:
        a, b = server.client(), server.client()
        for key in ("x", "y", "z"):
            token_of(a.req("e", key, "1"), "acquired")
        eventually(lambda: not json_of(b.req("stats"))["locks"], 10, "the leases end")
        time.sleep(1.2)  # several collections
        check_eq(b.req("l", "new", "0"), "error_max_locks", "three tombstones")
        check_eq(a.req("w", "x", "0"), "error_lease_expired", "w")
        check_eq(b.req("r", "new", token_of(b.req("l", "new", "0"))), "ok", "there is room for one")
        token = token_of(a.req("e", "y"), "acquired")
        check_eq(a.req("r", "y", token), "ok", "the release")
        token_of(b.req("l", "n1", "0"))
        token_of(b.req("l", "n2", "0"))
        check_eq(b.req("l", "n3", "0"), "error_max_locks", "the last tombstone")
        a.close()
        took = elapsed()
        while b.req("l", "n3", "0") == "error_max_locks":
            check(took() < 10, "the disconnect takes the last tombstone away")
        check_eq(b.req("l", "n4", "0"), "error_max_locks", "three are held")


if __name__ == "__main__":
    main(jobs=16)
