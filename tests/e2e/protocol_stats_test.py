"""protocol_stats_test.py - docs/rules.md, "stats"."""

import json
import os
import re
import signal
import threading
import time

from harness import (Client, Server, check, check_eq, diag, elapsed, eventually, in_threads,
                     json_of, main, poll_in, test, token_of)

ARRAYS = ["locks", "semaphores", "idle_locks", "idle_semaphores"]


def fill(server, n, key=lambda i: b"%05d-" % i + b"\"\\" * 125):
    """n locks of long keys that a connection holds; JSON doubles their length."""
    c = server.client()
    step = 2000
    for at in range(0, n, step):
        part = range(at, min(at + step, n))
        c.send(b"".join(b"l\n%b\n0 900\n" % key(i) for i in part))
        for reply in c.lines(len(part)):
            token_of(reply)
    return c


@test("an empty table: the keys in order, no null, no space", rules=["P75", "P40", "P80"])
def empty():
    with Server() as server, Client(server) as c:
        check_eq(c.req("stats"), 'ok {"connections":1,"locks":[],"semaphores":[],"idle_locks":[],'
                 '"idle_semaphores":[]}', "stats")


@test("each resource is in the array where it belongs", rules=[
    "P75", "P76", "P77", "P78", "P79", "P81", "P40"])
def classes():
    with Server(["--gc-max-idle", "60"]) as server:
        took = elapsed()
        a, b = server.client(), server.client()
        ids = {}
        for c, name in [(a, "of a"), (b, "of b")]:
            token_of(c.req("l", name.replace(" ", "-"), "0 50"))
            ids[name.replace(" ", "-")] = json_of(c.req("show", name.replace(" ", "-"), "lock"))[
                "holders"][0]["conn_id"]
        token_of(a.req("sl", "one", "0 1 70"))
        token_of(a.req("sl", "two", "0 2"))
        token_of(b.req("sl", "five", "0 5"))
        token_of(a.req("sl", "five", "0 5"))
        for kind, r, arg in [("l", "r", "0"), ("sl", "sr", "0 1"), ("sl", "sr", "0 9")]:
            key = f"idle-{kind}-{arg[-1]}"
            check_eq(a.req(r, key, token_of(a.req(kind, key, arg))), "ok", "a release")
        check_eq(b.req("e", "of-a"), "queued", "e")
        check_eq(b.req("se", "one", "1"), "queued", "se")
        text = b.req("stats")
        stats = json_of(text)
        check_eq(list(stats), ["connections"] + ARRAYS, "the keys")
        check_eq(stats["connections"], 2, "connections")
        check(", " not in text and ": " not in text, "it is compact")
        # Order of members and that seconds have a fraction: in the text itself.
        s = r"[0-9]+\.[0-9]+"
        lock = r'{"key":"[^"]+","owner_conn_id":[0-9]+,"lease_expires_in_s":%s,"waiters":[0-9]}' % s
        sem = r'{"key":"[^"]+","limit":[0-9]+,"holders":[0-9]+,"waiters":[0-9]+}'
        idle = r'{"key":"[^"]+","idle_s":%s}' % s
        form = "|".join([lock, sem, idle])
        check(re.fullmatch(r'ok {"connections":2,"locks":\[(%s,){2}%s\],"semaphores":\[%s,%s\],'
                           r'"idle_locks":\[%s,%s\],"idle_semaphores":\[%s\]}'
                           % (lock, lock, sem, sem, idle, idle, idle), text), f"{form}: {text}")
        locks = {x["key"]: x for x in stats["locks"]}
        check_eq({k: x["waiters"] for k, x in locks.items()}, {"of-a": 1, "of-b": 0, "one": 1},
                 "locks and their waiters")
        check_eq(locks["of-a"]["owner_conn_id"], ids["of-a"], "owner of a's")
        check_eq(locks["of-b"]["owner_conn_id"], ids["of-b"], "owner of b's")
        check_eq(locks["one"]["owner_conn_id"], ids["of-a"], "owner of the semaphore of one")
        for key, lease in [("of-a", 50), ("of-b", 50), ("one", 70)]:
            left = locks[key]["lease_expires_in_s"]
            check(lease - took() - 0.1 < left <= lease, f"{key}: {left} of {lease} s")
        sems = sorted((x["key"], x["limit"], x["holders"]) for x in stats["semaphores"])
        check_eq(sems, [("five", 5, 2), ("two", 2, 1)], "semaphores")
        check_eq(sorted(x["key"] for x in stats["idle_locks"]), ["idle-l-0", "idle-sl-1"], "idle")
        check_eq([x["key"] for x in stats["idle_semaphores"]], ["idle-sl-9"], "idle semaphores")
        for x in stats["idle_locks"] + stats["idle_semaphores"]:
            check(0 <= x["idle_s"] < 10, f"{x}")


@test("waiters are counted; five slots, three waiters", rules=["P77", "P76"])
def waiters():
    with Server() as server:
        a = server.client()
        for _ in range(2):
            token_of(a.req("sl", "sem", "0 2"))
        token_of(a.req("l", "lock", "0"))
        for i in range(3):
            server.client().ask("sl", "sem", "20 2")
            server.client().ask("l", "lock", "20")
        eventually(lambda: (lambda s: s["semaphores"] == [
            {"key": "sem", "limit": 2, "holders": 2, "waiters": 3}] and
            s["locks"][0]["waiters"] == 3)(json_of(a.req("stats"))))


@test("seconds are never negative and always fractions", rules=["P81", "P78"])
def seconds():
    with Server(["--lease-sweep-interval", "5"]) as server, Client(server) as c:
        token_of(c.req("l", "lock", "0 1"))
        token_of(c.req("l", "longer", "0 60"))
        end, seen = elapsed(), set()
        while end() < 2:
            text = c.req("stats")
            for name, number in re.findall(r'"(lease_expires_in_s|idle_s)":([^,}]*)', text):
                seen.add(name)
                check(re.fullmatch(r"[0-9]+\.[0-9]+", number), f"{name} {number}")
                check(float(number) <= 60, f"{name} {number}")
        diag(f"seen: {sorted(seen)}")
        check("lease_expires_in_s" in seen, "it was seen")


@test("connections are TCP connections, the caller's too", rules=["P80"])
def connections():
    with Server() as server:
        clients = [server.client() for _ in range(20)]
        for c in clients:
            check_eq(c.req("ping"), "ok", "ping")
        check_eq(json_of(clients[0].req("stats"))["connections"], 20, "connections")
        for c in clients[10:]:
            c.close()
        eventually(lambda: json_of(clients[0].req("stats"))["connections"] == 10)


@test("keys that are not UTF-8 are shown with U+FFFD, others as they are", rules=["P82", "P11"])
def replaced():
    keys = [b"\xff", b"a\xc3", b"\xc3(", b"\xe2\x82", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80",
            b"\xf0\x9f\x98\x80", "ö€".encode(), b"\0\x01\x1f\x7f", b"\"\\/", b"\xe2\x80\xa8",
            b"\x80\x80", b"ok\xf0\x9f\x98ok", b"\xf4\x90\x80\x80", b"\xef\xbf\xbd", b"\xff" * 256]
    with Server() as server, Client(server) as c:
        for key in keys:
            token_of(c.req("l", key, "0"))
        text = c.req("stats")
        text.encode()  # surrogates here would be bytes that are not UTF-8
        shown = sorted(x["key"] for x in json_of(text)["locks"])
        check_eq(shown, sorted(k.decode("utf-8", "replace") for k in keys), "keys")
        listed = sorted(x["key"] for x in json_of(c.req("list", "*"))["resources"])
        check_eq(listed, shown, "keys as list shows them")
        check_eq(json_of(c.req("show", b"\xff", "lock"))["key"], "\ufffd", "key as show shows it")


@test("tokens are never shown", rules=["P83"])
def no_tokens():
    with Server() as server, Client(server) as c:
        token = token_of(c.req("l", "key", "0"))
        sem = token_of(c.req("sl", "key", "0 3"))
        queued = c.req("e", "key")
        check_eq(queued, "queued", "e")
        text = "".join([c.req("stats"), c.req("list", "*"), c.req("show", "key", "lock"),
                        c.req("show", "key", "sem")])
        for t in [token, sem]:
            for part in [t, t[16:], t[:16], str(int(t[16:], 16))]:
                check(part not in text, f"{part} of {t} is shown")


@test("stats of megabytes, read slowly, disturbs nobody", rules=["P84", "P85"], deadline=120,
      alone=True)
def large():
    n = 20000
    with Server(["--max-locks", str(n), "--write-timeout", "60"], workers=1) as server:
        fill(server, n)
        other, beside = server.client(), 0
        for _ in range(10):  # this test may not run just then
            slow, now = server.client(rcvbuf=16384), 0
            slow.ask("stats")
            while not poll_in(slow.sock, 0):
                check_eq(other.req("ping"), "ok", "ping")
                now += 1
            beside = max(beside, now)
            if beside >= 5:
                break
            slow.reset()
        # Made in one go, it would let one or two pass.
        check(beside >= 5, f"only {beside} pings were answered while the reply was made")
        took, slowest, got = elapsed(), 0, bytearray()
        while took() < 1:  # some hundred KiB meanwhile
            got += slow.sock.recv(4096)
            t = elapsed()
            check_eq(other.req("ping"), "ok", "ping")
            slowest = max(slowest, t())
            time.sleep(0.01)
        check(len(got) < 1 << 20, "too much for a slow reader")
        askers = [server.client() for _ in range(8)]
        sizes = []

        def ask(c):
            room = bytearray(1 << 18)  # nothing is kept: the interpreter is shared with the pings
            for _ in range(2):
                c.ask("stats")
                size = n = 0
                while not n or room[n - 1] != 10:
                    n = c.sock.recv_into(room)
                    check(n, "the reply ends early")
                    size += n
                sizes.append(size)

        threads = [threading.Thread(target=ask, args=(c,), daemon=True) for c in askers]
        for t in threads:
            t.start()
        worst = 0
        while any(t.is_alive() for t in threads):
            t = elapsed()
            check_eq(other.req("ping"), "ok", "ping")
            worst = max(worst, t())
        check_eq(len(sizes), 16, "replies")
        check(min(sizes) > 5 << 20, f"a reply has only {min(sizes)} bytes")
        while not got.endswith(b"\n"):
            piece = slow.sock.recv(1 << 20)
            check(piece, f"the slow reader's reply ends after {len(got)} bytes")
            got += piece
        check_eq(got.count(b"\n"), 1, "lines")
        check_eq(len(json.loads(got[3:])["locks"]), n, "locks in the slow reader's reply")
        check_eq(slow.req("ping"), "ok", "the slow reader afterwards")
        diag(f"{len(got)} bytes; {beside} pings while it was made; the slowest beside a slow "
             f"reader {slowest * 1000:.1f} ms, beside 8 askers {worst * 1000:.1f} ms")
        check(slowest < 8, f"a ping beside a slow reader took {slowest * 1000:.0f} ms")
        check(worst < 8, f"a ping beside 8 askers took {worst * 1000:.0f} ms")


@test("each of many askers sees what it did before it asked", rules=["P85"])
def own_changes():
    with Server(["--max-locks", "4000"]) as server:
        fill(server, 500)

        def one(i):
            with Client(server) as c:
                for k in range(10):
                    c.send(f"l\nmine-{i}-{k}\n0\nstats\n\n\n")
                    token = token_of(c.line())
                    stats = json_of(c.line())
                    check(f"mine-{i}-{k}" in [x["key"] for x in stats["locks"]], "it is not there")
                    c.send(f"r\nmine-{i}-{k}\n{token}\nstats\n\n\n")
                    c.expect("ok")
                    stats = json_of(c.line())
                    check(f"mine-{i}-{k}" not in [x["key"] for x in stats["locks"]], "still there")
                    check(f"mine-{i}-{k}" in [x["key"] for x in stats["idle_locks"]], "not idle")

        in_threads(one, range(8))


@test("stats pipelined behind and before others keeps the order", rules=["P84", "P3"])
def pipelined():
    with Server() as server, Client(server) as c:
        c.send(b"ping\n\n\nstats\n\n\nl\nk\n0\nstats\n\n\nl\nk\n0\n" * 50)
        for i in range(50):
            c.expect("ok")
            json_of(c.line())
            if i == 0:
                token_of(c.line())
            else:
                c.expect("timeout")
            check_eq(len(json_of(c.line())["locks"]), 1, "locks")
            c.expect("timeout")


@test("workers that die while a long reply is read do not tear it", rules=["P86", "P84"],
      deadline=90)
def torn():
    n = 12000
    with Server(["--max-locks", str(n)], expect_log=["worker died", "shards repaired"]) as server:
        fill(server, n)
        c = server.client(rcvbuf=16384)
        for _ in range(2):
            c.ask("stats")
            c.ask("ping")
            got = c.sock.recv(4096)
            before = server.worker_pids()
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
            pieces, ends = [got], got.count(b"\n")
            while ends < 2:
                pieces.append(c.sock.recv(1 << 20))
                check(pieces[-1], f"the reply ends after {sum(map(len, pieces))} bytes")
                ends += pieces[-1].count(b"\n")
            reply, ping, rest = b"".join(pieces).split(b"\n")
            check_eq((ping, rest), (b"ok", b""), "behind it")
            check_eq(len(json.loads(reply[3:])["locks"]), n, "locks")
            # A worker must live for a moment, or its death counts as one at its start.
            eventually(lambda: len(server.worker_pids()) == 2 and
                       not set(before) & set(server.worker_pids()), 10)


@test("an asker that leaves while its reply is made or sent", rules=["P84"])
def leaving():
    n = 3000
    with Server(["--max-locks", str(n)]) as server:
        fill(server, n)
        pids = server.worker_pids()
        for i in range(30):
            c = Client(server, rcvbuf=4096)
            c.ask("stats")
            if i % 3 == 0:
                c.reset()
            elif i % 3 == 1:
                c.sock.recv(1000)
                c.reset()
            else:
                c.half_close()
                c.close()
        with Client(server) as c:
            check_eq(len(json_of(c.req("stats"))["locks"]), n, "locks")
        with Client(server) as c:  # a half-close is none: the whole reply comes
            c.ask("stats")
            c.half_close()
            check_eq(len(json_of(c.line())["locks"]), n, "locks")
            c.expect_close(how="fin")
        check_eq(server.worker_pids(), pids, "workers")


if __name__ == "__main__":
    main()
