#!/usr/bin/env python3
"""semantics_fifo_test.py - resources, the order of checks, and the one queue of each resource."""

from harness import (Server, check, check_eq, elapsed, eventually, fence_of, json_of, main, poll_in,
                     test, token_of, waiters)


def queue_up(server, watch, key, requests):
    """A client for each request, queued in this order (`show` has it before the next is sent)."""
    clients = []
    for i, (cmd, arg) in enumerate(requests):
        c = server.client()
        c.ask(cmd, key, arg)
        if cmd in ("e", "se"):
            c.expect("queued", f"{cmd} in place {i}")
        # Who waits for a second may have been told that it is over, while this test did not run.
        eventually(lambda: poll_in(c.sock, 0) or c.local in queue(watch, key, cmd),
                   10, f"{i + 1} wait")
        clients.append(c)
    return clients


def queue(client, key, cmd):
    shown = json_of(client.req("show", key, "sem" if cmd.startswith("s") else "lock"))
    return [x["addr"] for x in shown["queue"]]


@test("the first request fixes a resource's limit; another limit changes nothing", rules=["S2"])
def limit_stands():
    with Server() as server:
        a, b = server.client(), server.client()
        token = token_of(a.req("sl", "k", "0 2 30"))
        before = json_of(b.req("stats"))
        for cmd, arg in (("sl", "0 3"), ("sl", "5 1"), ("se", "1"), ("se", "3 9")):
            check_eq(b.req(cmd, "k", arg), "error_limit_mismatch", f"{cmd} {arg}")
        after = json_of(b.req("stats"))
        check_eq(after["semaphores"], [{"key": "k", "limit": 2, "holders": 1, "waiters": 0}],
                 "the semaphore")
        check_eq(before["semaphores"], after["semaphores"], "stats before and after")
        check_eq(b.req("sw", "k", "0"), "error_not_enqueued", "no state was made")
        check_eq(a.req("sr", "k", token), "ok", "the release")
        check_eq(b.req("sl", "k", "0 3"), "error_limit_mismatch", "the limit stands while idle")
        token_of(b.req("sl", "k", "0 2"))


@test("after its collection a resource may have another limit", rules=["S2", "S55"])
def limit_after_collection():
    with Server(["--gc-interval", "1", "--gc-max-idle", "0"]) as server:
        a = server.client()
        check_eq(a.req("sr", "k", token_of(a.req("sl", "k", "0 2"))), "ok", "the release")
        eventually(lambda: not json_of(a.req("stats"))["idle_semaphores"], 10, "it is collected")
        token_of(a.req("sl", "k", "0 5"))


@test("not re-entrant: who holds it queues behind itself", rules=["S3", "S4"])
def not_reentrant():
    with Server() as server:
        a, b = server.client(), server.client()
        token = token_of(a.req("l", "k", "0"))
        check_eq(a.req("l", "k", "0"), "timeout", "a second try")
        a.ask("l", "k", "10")
        a.expect_silence(0.1)
        check_eq(b.req("r", "k", token), "ok", "the release from elsewhere")
        second = token_of(a.line())
        check(second != token, "a new grant has a new token")
        check_eq(a.req("e", "k"), "queued", "an enqueue of one's own lock")
        check_eq(a.req("r", "k", second), "ok", "the release")
        token_of(a.req("w", "k", "0"))


@test("a connection holds many keys and several slots of a semaphore", rules=["S4", "S64"])
def many_slots():
    with Server() as server:
        a, b = server.client(), server.client()
        tokens = [token_of(a.req("sl", "s", "0 3")) for _ in range(3)]
        tokens += [token_of(a.req("l", f"k{i}", "0")) for i in range(20)]
        check_eq(len(set(tokens)), 23, "tokens of 23 grants")
        check_eq(b.req("sl", "s", "0 3"), "timeout", "the fourth slot")
        check_eq(b.req("sr", "s", tokens[1]), "ok", "the release of the second slot")
        check_eq(b.req("sr", "s", tokens[1]), "error", "and once more")
        tokens.append(token_of(b.req("sl", "s", "0 3")))
        check_eq(sorted(tokens), [t for t in sorted(tokens, key=fence_of)], "tokens in fence order")


@test("order of checks: limit, max-locks, expired holders, a free slot, max-waiters",
      rules=["S5", "S6", "S8"])
def order_of_checks():
    with Server(["--max-locks", "2", "--max-waiters", "1"]) as server:
        a, b, c, d = (server.client() for _ in range(4))
        token_of(a.req("sl", "s", "0 1 60"))
        brief = token_of(a.req("l", "k", "0 60"))
        check_eq(b.req("l", "new", "0"), "error_max_locks", "a new key")
        check_eq(b.req("sl", "s", "0 2"), "error_limit_mismatch", "the limit comes before all")
        check_eq(b.req("sl", "new", "0 2"), "error_max_locks", "a new semaphore")
        check_eq(b.req("se", "s", "1"), "queued", "the one waiter")
        check_eq(b.req("se", "s", "7"), "error_already_enqueued", "state before limit")
        check_eq(c.req("se", "s", "7"), "error_limit_mismatch", "limit before max-waiters")
        check_eq(c.req("sl", "s", "0 1"), "error_max_waiters", "a try on a full queue")
        check_eq(c.req("sl", "s", "5 1"), "error_max_waiters", "a request on a full queue")
        check_eq(c.req("se", "s", "1"), "error_max_waiters", "an enqueue on a full queue")
        # The holder of k ends: its slot goes to the waiter first, never to who comes.
        c.ask("l", "k", "60 60")
        eventually(lambda: waiters(d, "k") == 1)
        brief_since = elapsed()
        check_eq(a.req("n", "k", brief + " 1"), "ok 1", "a shorter lease")
        while brief_since() < 1.02:
            answer = d.req("l", "k", "0")
            check(answer in ("error_max_waiters", "timeout"), f"a try answered {answer}")
        check(token_of(c.line()) > brief, "the waiter has the slot")
        check_eq(d.req("l", "k", "0"), "timeout", "the queue is empty again, the slot is taken")


@test("an expired holder is evicted before a try is judged, without waiting for a sweep",
      rules=["S5", "S12"])
def expired_first():
    with Server(["--lease-sweep-interval", "30"]) as server:
        a, b = server.client(), server.client()
        took = elapsed()
        token_of(a.req("l", "k", "0 1"))
        granted = took()
        asked = took()
        while b.req("l", "k", "0") == "timeout":
            # Had its worker not run, the lease would last for up to 3 s longer.
            check(asked < granted + 1 + 3, "the lease has ended long ago")
            asked = took()
        check(took() >= 1, f"it ended after {took():.4f} s")


@test("nobody overtakes a queue, not even for a semaphore with a free slot", rules=["S7", "S10"])
def no_overtaking():
    with Server(workers=4) as server:
        a, watch = server.client(), server.client()
        held = [token_of(a.req("sl", "s", "0 2")) for _ in range(2)]
        c, d = queue_up(server, watch, "s", [("sl", "60 2"), ("se", "2")])
        check_eq(watch.req("sl", "s", "0 2"), "timeout", "a try behind two")
        check_eq(a.req("sr", "s", held[0]), "ok", "a release")
        first = token_of(c.line())
        check_eq(watch.req("sl", "s", "0 2"), "timeout", "a try behind one")
        check_eq(a.req("sr", "s", held[1]), "ok", "a release")
        check_eq(watch.req("sl", "s", "0 2"), "timeout", "no slot is free")
        check(first < token_of(d.req("sw", "s", "0")), "grants in order")


def served_in_order(kind, limit):
    acquire, enqueue, wait, release = (x if kind == "l" else "s" + x for x in "lewr")
    extra = "" if kind == "l" else f" {limit}"
    with Server(workers=4) as server:
        watch, holder = server.client(), server.client()
        tokens = [token_of(holder.req(acquire, "k", "0" + extra)) for _ in range(limit)]
        requests = [(acquire, "60" + extra), (enqueue, extra)] * 20
        clients = queue_up(server, watch, "k", requests)
        fences = [fence_of(t) for t in tokens]
        for i, (c, (cmd, _)) in enumerate(zip(clients, requests)):
            # Nobody behind this one may have been served.
            for later in clients[i:]:
                check(not later.buffer, f"served before place {i}")
            check_eq(holder.req(release, "k", tokens.pop(0)), "ok", f"release {i}")
            tokens.append(token_of(c.line() if cmd == acquire else c.req(wait, "k", "9")))
            fences.append(fence_of(tokens[-1]))
        check_eq(fences, sorted(set(fences)), "fences in the order of grants")


@test("l and e stand in one queue, in order of arrival, across workers",
      rules=["S10", "S13", "S65"])
def fifo_lock():
    served_in_order("l", 1)


@test("sl and se stand in one queue, in order of arrival, across workers",
      rules=["S10", "S13", "S65"])
def fifo_semaphore():
    served_in_order("sl", 3)


@test("who leaves the queue, however, does not change the order of the others",
      rules=["S11", "S12", "S27", "S41"])
def leaving_keeps_order():
    with Server(workers=4) as server:
        watch, holder = server.client(), server.client()
        token = token_of(holder.req("l", "k", "0"))
        clients = queue_up(server, watch, "k",
                           [("l", "60"), ("l", "1"), ("e", ""), ("e", ""), ("l", "60"), ("l", "1"),
                            ("e", ""), ("l", "60")])
        a, times_out, leaves, gives_up, dies, times_out_too, b, c = clients
        check_eq(gives_up.req("w", "k", "0"), "timeout", "w 0")
        leaves.close()
        dies.reset()
        for x in (times_out, times_out_too):
            x.expect("timeout", "the wait of a second")
        eventually(lambda: waiters(watch, "k") == 3, text="three are left")
        for x in (a, b, c):
            check_eq(holder.req("r", "k", token), "ok", "the release")
            token = token_of(x.req("w", "k", "9") if x is b else x.line())
        check_eq(watch.req("l", "k", "0"), "timeout", "c has it")
        check_eq(c.req("r", "k", token), "ok", "the last release")


@test("lock and semaphore of one name are separate", rules=["S9", "S40"])
def separate_kinds():
    with Server() as server:
        a, b = server.client(), server.client()
        lock = token_of(a.req("l", "k", "0"))
        sem = token_of(a.req("sl", "k", "0 1"))
        check_eq(a.req("sr", "k", lock), "error", "sr of a lock's token")
        check_eq(a.req("r", "k", sem), "error", "r of a semaphore's token")
        check_eq(a.req("sn", "k", lock), "error", "sn of a lock's token")
        check_eq(a.req("n", "k", sem), "error", "n of a semaphore's token")
        check_eq(b.req("e", "k"), "queued", "e")
        check_eq(b.req("sw", "k", "0"), "error_not_enqueued", "sw after e")
        check_eq(b.req("se", "k", "1"), "queued", "se")
        check_eq(a.req("sr", "k", sem), "ok", "the semaphore's release")
        check_eq(b.req("w", "k", "0"), "timeout", "the lock is still held")
        token_of(b.req("sw", "k", "0"))
        check_eq(a.req("r", "k", lock), "ok", "the lock's release")
        token_of(b.req("l", "k", "0"))


@test("ids of connections start at 1 and are not used again", rules=["S1"])
def ids():
    with Server() as server:
        seen = []
        for i in range(5):
            with server.client() as c:
                token_of(c.req("l", "k", "9"))
                seen += [x["owner_conn_id"] for x in json_of(c.req("stats"))["locks"]]
        check_eq(seen, [1, 2, 3, 4, 5], "the owners' ids")


if __name__ == "__main__":
    main()
