#!/usr/bin/env python3
"""semantics_limits_test.py - limits, collection of idle resources, and the invariants under load."""

import collections
import random
import threading
import time

from harness import (Server, check, check_eq, diag, elapsed, eventually, fence_of, in_threads,
                     json_of, main, test, token_of)


SLACK = 3.0  # for what only the machine can delay


def stats_of(client):
    return json_of(client.req("stats"))


def resources(stats):
    return sum(len(stats[x]) for x in ("locks", "semaphores", "idle_locks", "idle_semaphores"))


def release(client, key, reply):
    check_eq(client.req("r", key, token_of(reply)), "ok", f"the release of {key}")


@test("--max-locks counts locks and semaphores, held, waited for and idle", rules=["S50", "S51"])
def max_locks():
    with Server(["--max-locks", "4"]) as server:
        a, b = server.client(), server.client()
        tokens = {k: token_of(a.req("l", k, "0")) for k in ("a", "b")}
        token_of(a.req("sl", "a", "0 5"))
        token_of(a.req("e", "d"), "acquired")
        for cmd, arg in (("l", "0"), ("l", "5"), ("e", ""), ("sl", "0 2"), ("se", "2")):
            check_eq(b.req(cmd, "x", arg), "error_max_locks", f"{cmd} {arg}")
        check_eq(b.req("l", "a", "0"), "timeout", "a key that is there")
        check_eq(resources(stats_of(a)), 4, "resources")
        check_eq(a.req("r", "b", tokens["b"]), "ok", "the release")
        check_eq(resources(stats_of(a)), 4, "an idle one counts")
        token_of(b.req("l", "x", "0"))
        stats = stats_of(a)
        check_eq((resources(stats), stats["idle_locks"]), (4, []), "it made room")
        check_eq(b.req("l", "b", "0"), "error_max_locks", "none is idle")


@test("at --max-locks the longest idle resource goes first", rules=["S51"])
def longest_idle_first():
    with Server(["--max-locks", "30"], workers=4) as server:
        clients = [server.client() for _ in range(4)]
        a = clients[0]
        order = [f"k{i}" for i in range(30)]
        held = {k: clients[i % 4].req("l", k, "0") for i, k in enumerate(order)}
        random.shuffle(order)
        for i, k in enumerate(order):
            release(clients[i % 3], k, held[k])
            time.sleep(0.002)
        # Used again: not the longest idle one any more.
        release(a, order[0], a.req("l", order[0], "0"))
        order.append(order.pop(0))
        for i in range(30):
            token_of(clients[i % 4].req("l", f"new{i}", "0"))
            left = {x["key"] for x in stats_of(a)["idle_locks"]}
            check_eq(left, set(order[i + 1:]), f"idle after {i + 1} new ones")
        check_eq(a.req("l", "more", "0"), "error_max_locks", "none is idle")


@test("--max-locks is exact from 8 threads: never one too many, never one refused for nothing",
      rules=["S50", "S51", "S54"], deadline=60)
def max_locks_exact():
    cap, threads = 8, 8
    for flags in ([], ["--gc-interval", "1", "--gc-max-idle", "0"]):
        with Server(["--max-locks", cap] + flags, workers=4) as server:
            rounds = collections.Counter()

            def one_each(i):
                """One key at a time each: there is always room for all."""
                client, chance = server.client(), random.Random(i)
                kinds = (("l", "r", "0 30"), ("sl", "sr", "0 3 30"))
                end = time.monotonic() + 2
                while time.monotonic() < end:
                    acquire, give, arg = kinds[chance.random() < 0.3]
                    key = f"{i}-{chance.randrange(1000)}"
                    token = token_of(client.req(acquire, key, arg))
                    check_eq(client.req(give, key, token), "ok", "the release")
                    rounds["made"] += 1

            def too_many(i):
                """All want more than there is."""
                client, chance = server.client(), random.Random(i)
                end = time.monotonic() + 2
                mine = []
                while time.monotonic() < end or not rounds["refused"]:
                    if mine and (len(mine) > 2 or chance.random() < 0.5):
                        with lock:
                            held[0] -= 1
                        check_eq(client.req("r", *mine.pop()), "ok", "the release")
                        continue
                    key = f"{i}-{chance.randrange(1000)}"
                    reply = client.req("l", key, "0 30")
                    if reply == "error_max_locks":
                        rounds["refused"] += 1
                    elif reply != "timeout":
                        with lock:
                            held[0] += 1
                            check(held[0] <= cap, f"{held[0]} locks held at a time")
                        mine.append((key, token_of(reply)))
                with lock:
                    held[0] -= len(mine)
                client.close()

            lock, held = threading.Lock(), [0]
            in_threads(one_each, range(threads))
            in_threads(too_many, range(threads))
            diag(f"{dict(rounds)} {flags}")
            watch = server.client()
            eventually(lambda: not stats_of(watch)["locks"], text="all are released")
            # And exactly so many more can be had now.
            got = in_threads(lambda i: server.client().req("l", f"last{i}", "0"), range(2 * cap))
            check_eq(sorted(x.split()[0] for x in got),
                     ["error_max_locks"] * cap + ["ok"] * cap, "twice as many at once")


@test("--max-waiters is exact for each resource, from 8 threads", rules=["S52"])
def max_waiters():
    with Server(["--max-waiters", "5"], workers=4) as server:
        a = server.client()
        held = [a.req("l", "k", "0"), a.req("l", "other", "0")]
        check_eq(server.client().req("e", "other"), "queued", "another key's queue")
        clients = [server.client() for _ in range(24)]
        replies = in_threads(lambda c: c.req("e", "k"), clients)
        check_eq(collections.Counter(replies), {"queued": 5, "error_max_waiters": 19}, "replies")
        check_eq(a.req("l", "k", "5"), "error_max_waiters", "one more")
        one = clients[replies.index("queued")]
        check_eq(one.req("w", "k", "0"), "timeout", "one leaves")
        check_eq(clients[replies.index("error_max_waiters")].req("e", "k"), "queued", "its place")
        release(a, "k", held[0])
        check_eq(one.req("e", "k"), "queued", "the place of who was granted")
        check_eq(one.req("se", "s", "1").split()[0], "acquired", "another resource")


def accepted(server, **how):
    """A client if the server serves it, else None: closed without a byte."""
    c = server.client(**how)
    try:
        c.ask("ping")
        while not c.buffer and not c.is_closed():
            time.sleep(0.001)
    except (BrokenPipeError, ConnectionResetError):
        return None
    if c.buffer:
        c.expect("ok", "ping")
        return c
    check_eq(len(c.buffer), 0, "bytes of a refused connection")
    return None


@test("--max-connections is exact; who is refused is closed without a byte, and hears it at once",
      rules=["S53", "C14"])
def max_connections():
    with Server(["--max-connections", "10"], workers=4) as server:
        got = in_threads(lambda _: accepted(server), range(30))
        clients = [c for c in got if c]
        check_eq(len(clients), 10, "connections served")
        check_eq(stats_of(clients[0])["connections"], 10, "connections counted")
        silent = server.client()
        silent.expect_close()
        for _ in range(20):
            clients.pop().close()
            clients.insert(0, eventually(lambda: accepted(server), 10, "a place is free again"))
            check(not accepted(server), "one too many")
        clients.pop().reset()
        check(eventually(lambda: accepted(server)), "the place of a reset one")
        eventually(lambda: server.logged("connection refused"), text="it is logged")


@test("--max-connections-per-ip is exact for each address", rules=["S53", "C15"])
def max_connections_per_ip():
    with Server(["--max-connections-per-ip", "3"], workers=4) as server:
        sources = [f"127.0.0.{i}" for i in range(2, 8)]
        got = in_threads(lambda s: accepted(server, source=s), sources * 5)
        count = collections.Counter(s for s, c in zip(sources * 5, got) if c)
        check_eq(count, {s: 3 for s in sources}, "connections of each")
        next(c for s, c in zip(sources * 5, got) if c and s == sources[0]).close()
        check(eventually(lambda: accepted(server, source=sources[0])), "its place is free again")
        check(not accepted(server, source=sources[0]), "one too many")
        check(not accepted(server, source=sources[1]), "another's place is not")


@test("release, renew and disconnect work in a full table", rules=["S54"])
def full_table():
    with Server(["--max-locks", "200", "--max-waiters", "1"], workers=4) as server:
        a, b, c = (server.client() for _ in range(3))
        tokens = {f"k{i}": token_of((a, b)[i % 2].req("l", f"k{i}", "0")) for i in range(200)}
        check_eq(c.req("l", "x", "0"), "error_max_locks", "it is full")
        for key, token in tokens.items():
            check_eq(c.req("n", key, token + " 60"), "ok 60", "a renew")
        check_eq(c.req("e", "k0"), "queued", "a place in a queue of one")
        for i in range(0, 20, 2):
            check_eq(c.req("r", f"k{i}", tokens[f"k{i}"]), "ok", "a release")
        token_of(c.req("w", "k0", "0"))
        b.close()
        eventually(lambda: len(stats_of(c)["locks"]) == 91, text="b's locks are released")
        for i in range(109):
            token_of(c.req("l", f"new{i}", "0"))
        check_eq(c.req("l", "x", "0"), "error_max_locks", "it is full again")


@test("idle resources are collected after --gc-max-idle, at --gc-interval", rules=["S55"])
def collection():
    def run(case):
        idle, latest = case
        flags = ["--gc-interval", "1", "--gc-max-idle", str(idle)]
        with Server(flags, workers=4) as server:
            a, b = server.client(), server.client()
            whole = elapsed()
            for i in range(50):
                release(a, f"k{i}", a.req("l", f"k{i}", "0"))
            held = a.req("l", "held", "0")
            release(b, "waited", b.req("l", "waited", "0"))
            token_of(b.req("l", "waited", "0"))
            check_eq(a.req("e", "waited"), "queued", "a waiter")
            token = token_of(a.req("sl", "s", "0 4"))
            took = elapsed()
            check_eq(a.req("sr", "s", token), "ok", "the last release")
            keys = {x["key"] for x in stats_of(a)["idle_locks"]}
            if whole() < idle:
                check_eq(keys, {f"k{i}" for i in range(50)}, "idle ones")
            eventually(lambda: resources(stats_of(a)) == 2, 10, "all idle ones are collected")
            check(idle <= took() < latest, f"idle {idle}: after {took():.2f} s")
            check_eq(b.req("l", "held", "0"), "timeout", "what is held stays")
            release(a, "held", held)

    in_threads(run, [(0, 1.6 + SLACK), (1, 2.7 + SLACK), (2, 3.7 + SLACK)])


class Log:
    """What clients saw."""

    def __init__(self):
        self.grants = []  # (key, fence, when it was asked for, read, and given back)
        self.lock = threading.Lock()


def random_client(server, seed, keys, seconds, log, counts):
    """Random requests on few keys. Every request must have one reply; leases never end here."""
    chance = random.Random(seed)
    client = server.client()
    held = []  # [key, token, asked, granted]
    mine = []
    end = time.monotonic() + seconds
    turns = 0

    def give_back():
        key, token, asked, granted = held.pop(chance.randrange(len(held)))
        leaving = time.monotonic()
        if not any(h[0] == key for h in held) and chance.random() < 0.05:
            renew, arg = ("n", "sn")[keys[key] > 1], f"{token} {chance.randint(30, 90)}"
            check_eq(client.req(renew, key, arg).split()[0], "ok", "a renew")
            leaving = time.monotonic()
        check_eq(client.req("r" if keys[key] == 1 else "sr", key, token), "ok", "a release")
        mine.append((key, fence_of(token), asked, granted, leaving))

    while time.monotonic() < end or turns < 30:  # so that each key comes up
        turns += 1
        if held and (len(held) > 2 or chance.random() < 0.5):
            give_back()
            continue
        key = chance.choice(list(keys))
        limit = "" if keys[key] == 1 else f" {keys[key]}"
        prefix = "s" if limit else ""
        # Who holds something does not wait: others may wait for it.
        timeout = 0 if held else chance.choice([0, 1, 5])
        asked = time.monotonic()
        if chance.random() < 0.6:
            reply = client.req(prefix + "l", key, f"{timeout}{limit} 60")
        else:
            reply = client.req(prefix + "e", key, f"{limit} 60".strip())
            was = reply.split()[0]
            if was == "error_already_enqueued":
                # After an `acquired` without `w` the state stands until the release.
                check(any(h[0] == key for h in held), "e of a key without a state")
            elif was == "queued" or chance.random() < 0.5:
                reply = client.req(prefix + "w", key, timeout)
                check(was == "queued" or reply.startswith("ok "), f"w after {was}: {reply}")
            reply = reply.replace("acquired", "ok")
        counts[reply.split()[0]] += 1
        if reply.startswith("ok "):
            held.append([key, token_of(reply), asked, time.monotonic()])
        elif chance.random() < 0.05 and not held:
            client.close()
            client = server.client()
    if chance.random() < 0.5:
        while held:
            give_back()
    now = time.monotonic()
    for key, token, asked, granted in held:  # given back by the disconnect, some time from now on
        mine.append((key, fence_of(token), asked, granted, now))
    check_eq(len(client.buffer), 0, "bytes nobody asked for")
    client.close()
    with log.lock:
        log.grants += mine


def check_history(grants, keys):
    """
    Never more than `limit` holders: a slot was certainly held from the moment its grant was read
    until its release was sent. Fences: unique, and if one grant was read before another was asked
    for, the first one's is smaller.
    """
    check_eq(len({g[1] for g in grants}), len(grants), "fences are unique")
    for key, limit in keys.items():
        mine = sorted(g for g in grants if g[0] == key)
        holders = []
        for _, fence, _, granted, ended in sorted(mine, key=lambda g: g[3]):
            holders = [h for h in holders if h > granted] + [ended]
            check(len(holders) <= limit, f"{key}: {len(holders)} holders of {limit} at {fence}")
    by_read = sorted(grants, key=lambda g: g[3])
    latest, at = 0, 0
    for g in sorted(grants, key=lambda g: g[2]):
        while at < len(by_read) and by_read[at][3] < g[2]:
            latest = max(latest, by_read[at][1])
            at += 1
        check(g[1] > latest, f"{g[0]}: fence {g[1]} after {latest} had been seen")


@test("the invariants hold under a random load from many clients on 4 workers",
      rules=["S62", "S63", "S64", "S65", "S13", "S67", "S68", "S66"], deadline=60)
def random_load():
    seed = random.randrange(1 << 30)
    diag(f"seed {seed}")
    keys = {"a": 1, "b": 1, "c": 1, "s": 2, "t": 5}
    log, counts = Log(), collections.Counter()
    with Server(["--max-locks", "100"], workers=4) as server:
        watch = server.client()

        def look(_):
            end = time.monotonic() + 4
            while time.monotonic() < end:
                stats = stats_of(watch)
                for x in stats["semaphores"]:
                    check(x["holders"] <= x["limit"] == keys[x["key"]], f"stats show {x}")
                    check(x["holders"] == x["limit"] or not x["waiters"],
                          f"a free slot beside a waiter: {x}")
                for x in stats["locks"]:
                    check(x["owner_conn_id"] or not x["waiters"],
                          f"a free slot beside a waiter: {x}")
                time.sleep(0.005)

        def run(i):
            if i == 0:
                look(i)
            else:
                random_client(server, seed + i, keys, 4, log, counts)

        in_threads(run, range(17))
        check_history(log.grants, keys)
        diag(f"{len(log.grants)} grants, {dict(counts)}")
        eventually(lambda: stats_of(watch)["connections"] == 1, 10, "all have left")
        stats = stats_of(watch)
        check_eq((stats["locks"], stats["semaphores"]), ([], []), "nothing of them remains")
        check_eq(len(stats["idle_locks"]) + len(stats["idle_semaphores"]), len(keys), "idle keys")
        for key, limit in keys.items():
            arg = "0" if limit == 1 else f"0 {limit}"
            for _ in range(limit):
                token_of(watch.req("l" if limit == 1 else "sl", key, arg))
            check_eq(watch.req("l" if limit == 1 else "sl", key, arg), "timeout", "and no more")


@test("FIFO under load: who was seen queued before another asked is granted before it",
      rules=["S10", "S11", "S13", "S65"], deadline=60)
def fifo_under_load():
    with Server(workers=4) as server:
        log = []
        lock = threading.Lock()

        def run(i):
            client, chance = server.client(), random.Random(i)
            end = time.monotonic() + 3
            mine = []
            while time.monotonic() < end:
                before = time.monotonic()
                if client.req("e", "k", "60") == "queued":
                    queued = time.monotonic()  # certainly in the queue from here on
                    if chance.random() < 0.1:
                        check(client.req("w", "k", "0").split()[0] in ("timeout", "ok"), "w 0")
                        client.close()
                        client = server.client()
                        continue
                    token = token_of(client.req("w", "k", "20"))
                    mine.append((before, queued, fence_of(token)))
                else:
                    token = token_of(client.req("w", "k", "0"))
                check_eq(client.req("r", "k", token), "ok", "the release")
            with lock:
                log.extend(mine)

        in_threads(run, range(16))
        log.sort(key=lambda x: x[1])
        latest, at = 0, 0
        for before, _, fence in sorted(log):
            while at < len(log) and log[at][1] < before:
                latest = max(latest, log[at][2])
                at += 1
            check(fence > latest, f"{fence} was granted before {latest}, queued before it")
        diag(f"{len(log)} waits in order")


@test("fences come from the wall clock, and a warning says so", rules=["S56", "C33"])
def fence_seed():
    with Server() as server:
        a = server.client()
        before = time.time_ns()
        fence = fence_of(token_of(a.req("l", "k", "0")))
        check(before - 60 * 10**9 < fence <= time.time_ns() + 10**9, f"fence {fence} at {before}")
        check(server.logged(" warn .*fences are seeded from the clock"), "the warning")


if __name__ == "__main__":
    main(jobs=7)
