"""protocol_commands_test.py - docs/rules.md, "Commands", "Tokens and fences": each reply of each
command."""

import os
import re
import signal

from harness import (Client, Server, check, check_eq, eventually, fence_of, in_threads, json_of,
                     main, test, token_of)


def grant(reply, lease, word="ok"):
    token = token_of(reply, word)
    check_eq(reply.split()[2], str(lease), "the lease")
    return token


@test("l: ok TOKEN LEASE, timeout", rules=["P30", "P31", "P32", "P2"])
def lock():
    with Server(["--default-lease-ttl", "44"]) as server:
        a, b = server.client(), server.client()
        token = grant(a.req("l", "key", "0"), 44)
        check_eq(b.req("l", "key", "0"), "timeout", "a try")
        check_eq(b.req("l", "key", "1"), "timeout", "a second's wait")
        b.ask("l", "key", "10 12")
        b.expect_silence(0.1)
        check_eq(a.req("r", "key", token), "ok", "the release")
        token = grant(b.line(), 12)  # not what remains
        for arg, lease in [("0 1", 1), ("9223372036 9223372036", 9223372036), ("+0 +7", 7),
                           ("-0 007", 7), (" \t\v\f 0 \v\f\t 8 \t", 8)]:
            grant(a.req("l", "key" + str(len(arg)), arg), lease)


@test("l, sl, e, se: error_max_locks, error_max_waiters", rules=["P32", "P33", "P36", "P37"])
def caps():
    with Server(["--max-locks", "2", "--max-waiters", "1"]) as server:
        a, b, c = server.client(), server.client(), server.client()
        token_of(a.req("l", "lock", "0"))
        token_of(a.req("sl", "sem", "0 2"))
        token_of(a.req("sl", "sem", "0 2"))
        for request in [("l", "x", "0"), ("sl", "x", "0 2"), ("e", "x", ""), ("se", "x", "2"),
                        ("l", "sem", "5"), ("sl", "lock", "5 2"), ("e", "sem"),
                        ("se", "lock", "2")]:
            check_eq(a.req(*request), "error_max_locks", f"{request}")
        b.ask("l", "lock", "20")
        eventually(lambda: json_of(a.req("stats"))["locks"][0]["waiters"] == 1)
        for request in [("l", "lock", "0"), ("l", "lock", "5"), ("e", "lock", "")]:
            check_eq(c.req(*request), "error_max_waiters", f"{request}")
        check_eq(c.req("se", "sem", "2"), "queued", "the semaphore's queue is its own")
        for request in [("sl", "sem", "0 2"), ("sl", "sem", "5 2"), ("se", "sem", "2")]:
            check_eq(a.req(*request), "error_max_waiters", f"{request}")


@test("sl: ok TOKEN LEASE, timeout, error_limit_mismatch", rules=["P33", "P30"])
def semaphore():
    with Server() as server:
        a, b = server.client(), server.client()
        tokens = [grant(a.req("sl", "key", "0 3"), 33), grant(b.req("sl", "key", "0 3 9"), 9),
                  grant(a.req("sl", "key", "5 +03 2000000000"), 2000000000)]
        check_eq(len(set(tokens)), 3, "tokens")
        check_eq(b.req("sl", "key", "0 3"), "timeout", "a fourth")
        for limit in ["1", "2", "4", "1048576"]:
            check_eq(b.req("sl", "key", f"0 {limit}"), "error_limit_mismatch", limit)
            check_eq(b.req("se", "key", limit), "error_limit_mismatch", limit)
        b.ask("sl", "key", "10 3 5")
        b.expect_silence(0.1)
        check_eq(a.req("sr", "key", tokens[1]), "ok", "the release of another's slot")
        grant(b.line(), 5)


@test("r, sr: ok, error", rules=["P34", "P46"])
def release():
    with Server() as server:
        a, b = server.client(), server.client()
        for acquire, arg, r, other in [("l", "0", "r", "sr"), ("sl", "0 3", "sr", "r")]:
            token = token_of(a.req(acquire, "key", arg))
            key = "key"
            for bad in [token[:-1], token + "0", token.upper() if token.upper() != token else "x",
                        "0" * 32, "f" * 32, token[:16] + "0" * 16, "0" * 16 + token[16:],
                        token + " " + token, token + " 5", "x", "-1", "é"]:
                check_eq(b.req(r, key, bad), "error", f"{r} {bad}")
            check_eq(b.req(r, "other", token), "error", "an unknown key")
            check_eq(b.req(other, key, token), "error", "the other kind")
            check_eq(b.req(r, key, f" \t\v{token}\f \r"), "ok", "trimmed, from another connection")
            check_eq(b.req(r, key, token), "error", "twice")
        both = token_of(a.req("l", "both", "0")), token_of(a.req("sl", "both", "0 3"))
        check_eq(a.req("r", "both", both[1]), "error", "r with a semaphore's token")
        check_eq(a.req("sr", "both", both[0]), "error", "sr with a lock's token")
        check_eq(a.req("n", "both", both[1]), "error", "n with a semaphore's token")
        check_eq(a.req("sn", "both", both[0]), "error", "sn with a lock's token")
        check_eq([a.req("r", "both", both[0]), a.req("sr", "both", both[1])], ["ok", "ok"], "both")


@test("n, sn: ok SECONDS, error", rules=["P35", "P45", "P30"])
def renew():
    with Server(["--default-lease-ttl", "55"]) as server:
        a, b = server.client(), server.client()
        for acquire, arg, n, other in [("l", "0 7", "n", "sn"), ("sl", "0 3 7", "sn", "n")]:
            token = grant(a.req(acquire, "key", arg), 7)
            check_eq(a.req(n, "key", token), "ok 55", "bare: the server's default")
            check_eq(b.req(n, "key", f"\t{token}  9 "), "ok 9", "from another connection")
            check_eq(b.req(n, "key", f"{token} 9223372036"), "ok 9223372036", "longer")
            check_eq(b.req(n, "key", f"{token} +5"), "ok 5", "shorter")
            check_eq(b.req(n, "key", token), "ok 55", "bare, again")
            for key, bad in [("other", token), ("key", "0" * 32), ("key", token[:-1] + "x"),
                             ("key", token + "0 5"), ("key", f"{token} 5 5"),
                             ("key", f"5 {token}")]:
                check_eq(b.req(n, key, bad), "error", f"{n} {key} {bad}")
            check_eq(b.req(other, "key", token), "error", "the other kind")


@test("n after the lease's end: error, and the slot passes on at once", rules=["P35"])
def renew_too_late():
    with Server() as server:
        a, b = server.client(), server.client()
        token = token_of(a.req("l", "key", "0 1"))
        b.ask("l", "key", "10")
        token_of(b.line())
        check_eq(a.req("n", "key", token), "error", "the renew")
        check_eq(a.req("r", "key", token), "error", "the release")


@test("e, se: acquired, queued, error_already_enqueued", rules=["P36", "P37"])
def enqueue():
    with Server() as server:
        a, b = server.client(), server.client()
        for e, w, limit, r in [("e", "w", "", "r"), ("se", "sw", "1 ", "sr")]:
            token = grant(a.req(e, "key", limit + "17"), 17, "acquired")
            check_eq(a.req(e, "key", limit), "error_already_enqueued", "a second")
            check_eq(b.req(e, "key", limit), "queued", "busy")
            check_eq(b.req(e, "key", limit + "5"), "error_already_enqueued", "a second")
            check_eq(a.req(r, "key", token), "ok", "the release")
            token = grant(b.req(w, "key", "5"), 33)
            check_eq(a.req(e, "key", limit + "13"), "queued", "again")
            check_eq(b.req(r, "key", token), "ok", "the release")
            token = grant(a.req(w, "key", "0"), 13)
            check_eq(a.req(r, "key", token), "ok", "the end")
        grant(a.req("e", "plain"), 33, "acquired")
        grant(a.req("se", "plain", "4"), 33, "acquired")  # states of their own


@test("w, sw: ok TOKEN LEASE, timeout, error_not_enqueued, error_lease_expired", rules=["P38"])
def wait():
    with Server() as server:
        a, b = server.client(), server.client()
        for e, w, limit in [("e", "w", ""), ("se", "sw", "1 ")]:
            check_eq(a.req(w, "key", "0"), "error_not_enqueued", "nothing to wait for")
            token = grant(a.req(e, "key", limit + "1"), 1, "acquired")
            check_eq(b.req(w, "key", "0"), "error_not_enqueued", "another's")
            eventually(lambda: b.req("l" if e == "e" else "sl", "key", "0 " + limit) != "timeout",
                       10, text="the lease of one second did not end")
            check_eq(a.req(w, "key", "5"), "error_lease_expired", "too late")
            check_eq(a.req(w, "key", "5"), "error_not_enqueued", "the state is gone")
            check_eq(a.req(e, "key", limit), "queued", "behind b")
            check_eq(a.req(w, "key", "0"), "timeout", "at once")
            check_eq(a.req(w, "key", "0"), "error_not_enqueued", "the state is gone")
            check_eq(a.req(e, "key", limit), "queued", "behind b")
            check_eq(a.req(w, "key", "1"), "timeout", "after a second")
            token = token_of(a.req(e, "mine", limit + "6"), "acquired")
            check_eq(a.req(w, "mine", "0"), f"ok {token} 6", "already acquired")


@test("draining: error_draining, who owns nothing is closed", rules=["P32", "P33", "P36", "P37"])
def draining():
    with Server(["--shutdown-timeout", "20"]) as server:
        a, b, c, d = [server.client() for _ in range(4)]
        token = token_of(a.req("l", "key", "0"))
        queued = b.req("e", "key")
        check_eq([queued, c.req("ping")], ["queued", "ok"], "before")
        d.ask("l", "key", "15")
        eventually(lambda: json_of(a.req("stats"))["locks"][0]["waiters"] == 2)
        server.kill(signal.SIGTERM)
        d.expect("error", "the blocked wait")
        for request in [("l", "x", "0"), ("sl", "x", "0 2"), ("e", "x"), ("se", "x", "2")]:
            check_eq(a.req(*request), "error_draining", f"{request}")
        check_eq(c.req("l", "x", "0"), "error_draining", "c, which owns nothing")
        c.expect_close(how="fin")
        check_eq(a.req("n", "key", token), "ok 33", "a renew")
        check_eq(a.req("r", "key", token), "ok", "a release")
        token_of(b.req("w", "key", "0"))
        check_eq(b.req("ping"), "ok", "ping")


@test("ping", rules=["P39", "P8"])
def ping():
    with Server() as server, Client(server) as c:
        for key, arg in [("", ""), ("key", "0"), ("with space\t", "a b c d"), (b"\0\xff", b"\xfe")]:
            check_eq(c.req("ping", key, arg), "ok", f"{key!r} {arg!r}")
            check_eq(json_of(c.req("stats", key, arg))["connections"], 1, f"{key!r} {arg!r}")


@test("words are separated by single spaces, and there are no others", rules=["P51", "P2"])
def vocabulary():
    # Client.line() holds each reply of each test against the vocabulary; here the very bytes.
    with Server() as server, Client(server) as c:
        c.send(b"l\nk\n0 5\nl\nk\n0\ne\nk\n\nx\n\n\nw\nz\n0\nsl\nk\n0 2 3\nsl\nk\n0 3\ne\nz\n4\n")
        n = 8
        eventually(lambda: c.is_closed() or c.buffer.count(b"\n") == n)
        t = rb"[0-9a-f]{32}"
        want = (rb"ok %b 5\ntimeout\nqueued\nerror\nerror_not_enqueued\nok %b 3\n"
                rb"error_limit_mismatch\nacquired %b 4\n" % (t, t, t))
        check(re.fullmatch(want, bytes(c.buffer)), repr(bytes(c.buffer)))
        token = c.lines(n)[0].split()[1]
        c.ask("n", "k", token + " 6")
        eventually(lambda: c.is_closed() or b"\n" in c.buffer)
        check_eq(bytes(c.buffer), b"ok 6\n", "a renew")


@test("commands are case-sensitive and not trimmed", rules=["P28", "P54"])
def commands_exact():
    with Server() as server, Client(server) as c:
        for word in ["L", "PING", "Ping", " ping", "ping ", "\tping", "ping\0", "l\0", "lo", "",
                     "lock", "unlock", "Sl", "sL", "SE", "W", "stat", "statss", "ping\v", "pıng"]:
            check_eq(c.req(word, "key", "0 1"), "error", repr(word))
        check_eq(c.req("ping"), "ok", "still open")


@test("tokens: 16 hex of fence, 16 of salt; no salt comes twice", rules=["P87", "P90", "P30"])
def token_form():
    n = 2000
    with Server() as server, Client(server) as c:
        c.send(b"".join(b"sl\nkey\n0 %d\n" % n for _ in range(n)))
        tokens = [token_of(r) for r in c.lines(n)]
        fences = [fence_of(t) for t in tokens]
        salts = [int(t[16:], 16) for t in tokens]
        check_eq(fences, sorted(set(fences)), "fences increase")
        check_eq(len(set(salts)), n, "different salts")
        for bit in range(64):  # each bit is set in about half: ±9 standard deviations
            ones = sum(s >> bit & 1 for s in salts)
            check(n / 2 - 200 < ones < n / 2 + 200, f"bit {bit} of the salt: {ones} of {n}")
        held = json_of(c.req("show", "key", "sem"))["holders"]
        check(held and {h["fence"] for h in held} <= {str(f) for f in fences},
              "the first half is the fence, big-endian, as show has it")


@test("fences increase over all keys, connections and workers", rules=["P88", "P89"])
def fences():
    with Server(workers=4) as server:
        clients = [server.client() for _ in range(8)]
        last = 0
        for i in range(400):  # one after the other: the order is known
            c = clients[i * 5 % 8]
            key = f"key-{i % 7}"
            token = token_of(c.req("sl", key, "0 1048576"))
            check(fence_of(token) > last, f"grant {i}: fence {fence_of(token)} after {last}")
            last = fence_of(token)

        def fight(c):
            """Grants of one key by many at once; each sees its own in order."""
            mine = []
            for _ in range(100):
                mine.append(token_of(c.req("l", "fought-for", "20")))
                check_eq(c.req("r", "fought-for", mine[-1]), "ok", "the release")
            check_eq(mine, sorted(mine), "one's own tokens")
            return mine

        every = [t for mine in in_threads(fight, clients) for t in mine]
        check_eq(len({fence_of(t) for t in every}), 800, "different fences")
        check(min(map(fence_of, every)) > last, "greater than before")


@test("fences go on after a worker's death and after a restart", rules=["P88"])
def fences_survive():
    with Server(expect_log=["worker died"]) as server:
        a = server.client()
        first = fence_of(token_of(a.req("l", "a", "0")))
        for pid in server.worker_pids():
            os.kill(pid, signal.SIGKILL)
        second = fence_of(token_of(a.req("l", "b", "0")))
        check(second > first, "after the death of all workers")
    with Server() as server:
        third = fence_of(token_of(server.client().req("l", "a", "0")))
        check(third > second, "after a restart")


if __name__ == "__main__":
    main()
