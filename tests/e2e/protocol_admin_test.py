"""protocol_admin_test.py - docs/rules.md: list, show, evict."""

from harness import (Client, Server, check, check_eq, diag, elapsed, eventually, fence_of, json_of,
                     main, poll_in, temp_file, test, token_of)


def pages(c, prefix, text="list"):
    """All pages of a list."""
    found, cursor, n = [], "", 0
    while cursor is not None:
        page = json_of(c.req("list", prefix, cursor))
        check_eq(list(page), ["resources", "cursor"], f"{text}: the keys of a page")
        check(len(page["resources"]) <= 100, f"{text}: {len(page['resources'])} on a page")
        found += page["resources"]
        cursor, n = page["cursor"], n + 1
        check(n < 100, f"{text}: it does not end")
    return found


@test("list goes through all keys with a prefix, once each", rules=["P42", "P48"])
def list_pages():
    with Server(["--max-locks", "2000"]) as server, Client(server) as c:
        for i in range(450):
            c.ask("l", f"a/{i}", "0")
            c.ask("sl", f"a/{i}", "0 3")
            c.ask("l", f"b/{i}", "0")
        c.lines(1350)
        for prefix, want in [
                ("*", 1350), ("a/", 900), ("b/", 450), ("b", 450), ("a/44", 22), ("a/449", 2),
                ("c", 0), ("a/4499", 0), ("/", 0), ("a*", 0), ("k" * 256, 0)]:
            found = [(x["kind"], x["key"]) for x in pages(c, prefix, prefix)]
            check_eq(len(found), want, f"found with {prefix}")
            check_eq(len(set(found)), want, f"different ones with {prefix}")
            check(prefix == "*" or all(k.startswith(prefix) for _, k in found), prefix)
        token_of(c.req("l", "**", "0"))
        check_eq([x["key"] for x in pages(c, "**")], ["**"], "a prefix that begins with *")
        for cursor in ["x", "1", "1-", "-1", "64-1", "1-1x", "9" * 40, "1-0", "99999-1"]:
            check_eq(c.req("list", "*", cursor), "error", f"cursor {cursor}")
        check_eq(c.req("ping"), "ok", "still open")


@test("list says kind, key, limit, holders, waiters", rules=["P42", "P48"])
def list_members():
    with Server() as server:
        c, w = server.client(), server.client()
        token_of(c.req("l", "lock", "0"))
        token_of(c.req("sl", "sem", "0 7"))
        token_of(c.req("sl", "sem", "0 7"))
        c.req("r", "idle", token_of(c.req("l", "idle", "0")))
        w.ask("l", "lock", "20")
        eventually(lambda: '"waiters":1' in c.req("list", "lock"))
        found = pages(c, "*")
        for x in found:
            check_eq(list(x), ["kind", "key", "limit", "holders", "waiters", "oldest_wait_s"],
                     "members")
        check_eq(sorted(tuple(x.values())[:5] for x in found),
                 [("lock", "idle", 1, 0, 0), ("lock", "lock", 1, 1, 1), ("sem", "sem", 7, 2, 0)],
                 "summaries")


@test("list says how long the first of each queue has waited", rules=["P48"])
def list_oldest_wait():
    with Server() as server:
        c = server.client()
        waited = lambda: {x["key"]: x["oldest_wait_s"] for x in pages(c, "*")}
        token = token_of(c.req("l", "key", "0"))
        token_of(c.req("l", "other", "0"))
        check_eq(waited(), {"key": 0.0, "other": 0.0}, "nobody waits")
        first, second = server.client(), server.client()
        first.ask("l", "key", "100")
        eventually(lambda: waited()["key"] >= 1.5, timeout=10)
        took = elapsed()
        check_eq(second.req("e", "key"), "queued", "e")
        check(waited()["key"] >= 1.5, "a second one behind it")
        check_eq(c.req("r", "key", token), "ok", "r")
        token_of(first.line())
        check(waited()["key"] <= took() + 0.01, "the first was granted, the second counts")
        check_eq(waited()["other"], 0.0, "the other key")


@test("a page of what changes meanwhile still has what did not change", rules=["P48"])
def list_changing():
    with Server(["--max-locks", "3000", "--gc-interval", "1", "--gc-max-idle", "0"]) as server:
        c, other = server.client(), server.client()
        for i in range(1000):
            c.ask("l", f"stays-{i}", "0")
        c.lines(1000)
        found, cursor, n = [], "", 0
        while cursor is not None:
            page = json_of(c.req("list", "*", cursor))
            found += [x["key"] for x in page["resources"] if x["key"].startswith("stays-")]
            cursor = page["cursor"]
            for k in range(40):
                token_of(other.req("l", f"new-{n}-{k}", "0"))
            n += 1
            check(n < 200, "it does not end")
        check_eq(sorted(found), sorted(f"stays-{i}" for i in range(1000)), "what stayed")


@test("list of a large table disturbs nobody", rules=["P49"], deadline=60)
def list_large():
    n = 20000
    with Server(["--max-locks", str(n)], workers=1) as server:
        c, asker = server.client(), server.client()
        for at in range(0, n, 2000):
            c.send("".join(f"l\nkey-{i}\n0\n" for i in range(at, at + 2000)))
            c.lines(2000)
        for _ in range(200):
            asker.ask("list", "none")
        slowest = beside = 0
        while not poll_in(asker.sock, 0):
            took = elapsed()
            check_eq(c.req("ping"), "ok", "ping")
            slowest = max(slowest, took())
            beside += 1
        for _ in range(50):
            took = elapsed()
            check_eq(c.req("ping"), "ok", "ping")
            slowest = max(slowest, took())
        for reply in asker.lines(200):
            check_eq(json_of(reply), {"resources": [], "cursor": None}, "nothing found")
        diag(f"{beside} pings before the first reply, the slowest took {slowest * 1000:.1f} ms")
        check(slowest < 8, f"a ping took {slowest * 1000:.0f} ms")


@test("show says who holds and who waits", rules=["P43", "P47"])
def show():
    with Server(["--default-lease-ttl", "300"]) as server:
        holder, second = server.client(source="127.0.0.5"), server.client(source="127.0.0.6")
        token = token_of(holder.req("l", "key", "0 200"))
        check_eq(second.req("e", "key"), "queued", "e")
        third = server.client()
        third.ask("l", "key", "20")
        shown = eventually(lambda: (lambda s: s if s["waiters"] == 2 else None)(
            json_of(second.req("show", "key", "lock"))))
        check_eq(list(shown)[:3], ["kind", "key", "limit"], "the first members")
        check_eq((shown["kind"], shown["key"], shown["limit"]), ("lock", "key", 1), "the resource")
        check_eq(len(shown["holders"]), 1, "holders")
        h = shown["holders"][0]
        check_eq(list(h), ["conn_id", "addr", "fence", "held_s", "lease_expires_in_s"], "members")
        check_eq((h["addr"], h["fence"]), (holder.local, str(fence_of(token))), "the holder")
        check(0 <= h["held_s"] < 10 and 190 < h["lease_expires_in_s"] <= 200, f"times: {h}")
        check(isinstance(h["held_s"], float) and isinstance(h["lease_expires_in_s"], float), f"{h}")
        check_eq([list(q) for q in shown["queue"]], [["conn_id", "addr", "waiting_s"]] * 2, "queue")
        check_eq([q["addr"] for q in shown["queue"]], [second.local, third.local], "in order")
        check(all(0 <= q["waiting_s"] < 10 for q in shown["queue"]), "times")
        check_eq(len({h["conn_id"]} | {q["conn_id"] for q in shown["queue"]}), 3, "connections")
        for key, kind in [("key", "sem"), ("other", "lock"), ("other", "sem")]:
            check_eq(second.req("show", key, kind), "error", f"{key} {kind}")
        for _ in range(3):
            token_of(holder.req("sl", "sem", "0 5"))
        shown = json_of(holder.req("show", "sem", " sem "))
        check_eq((shown["kind"], shown["limit"], len(shown["holders"]), shown["queue"]),
                 ("sem", 5, 3, []), "a semaphore")
        check_eq(len({x["fence"] for x in shown["holders"]}), 3, "fences")
        holder.req("r", "idle", token_of(holder.req("l", "idle", "0")))
        shown = json_of(holder.req("show", "idle", "lock"))
        check_eq((shown["holders"], shown["queue"]), ([], []), "an idle one")


@test("show has the first 100 of the queue and the number of all", rules=["P47"])
def show_long():
    with Server() as server:
        holder = server.client()
        token_of(holder.req("l", "key", "0"))
        waiters = []
        for i in range(130):
            waiters.append(server.client())
            waiters[-1].req("e", "key")
        shown = json_of(holder.req("show", "key", "lock"))
        check_eq((shown["waiters"], len(shown["queue"])), (130, 100), "waiters")
        check_eq([q["addr"] for q in shown["queue"]], [w.local for w in waiters[:100]], "in order")


def guarded(*args):
    return Server(["--auth-token-file", temp_file("user-secret\n"),
                   "--admin-token-file", temp_file("admin-secret\n"), *args])


@test("evict takes the slot from its holder, which passes on", rules=["P44", "P50", "P52"])
def evict():
    with guarded() as server:
        admin, user, waiter = server.client(), server.client(), server.client()
        check_eq(admin.req("auth", "", "admin-secret"), "ok", "the admin's auth")
        for c in [user, waiter]:
            check_eq(c.req("auth", "", "user-secret"), "ok", "auth")
        token = token_of(user.req("l", "key", "0"))
        waiter.ask("l", "key", "20")
        eventually(lambda: json_of(admin.req("show", "key", "lock"))["waiters"] == 1)
        since = server.mark()
        check_eq(admin.req("evict", "key", "lock 1"), "error", "no such fence")
        check_eq(admin.req("evict", "key", "sem"), "error", "no such semaphore")
        check_eq(admin.req("evict", "none", "lock"), "error", "no such key")
        waiter.expect_silence(0.1)
        check_eq(admin.req("evict", "key", "lock"), "ok", "evict")
        second = token_of(waiter.line())
        check(second > token, "the next fence")
        check_eq(user.req("n", "key", token), "error", "the renew of the one evicted")
        check_eq(user.req("r", "key", token), "error", "its release")
        check_eq(user.req("ping"), "ok", "its connection stays")
        check_eq(admin.req("evict", "key", f"lock {fence_of(token)}"), "error", "an old fence")
        check_eq(admin.req("evict", "key", f"lock {fence_of(second)}"), "ok", "with its fence")
        check_eq(admin.req("evict", "key", "lock"), "error", "nobody holds it")
        # One of several holders of a semaphore.
        tokens = [token_of(user.req("sl", "sem", "0 3")) for _ in range(3)]
        check_eq(admin.req("evict", "sem", f"sem {fence_of(tokens[1])}"), "ok", "the second")
        check_eq([user.req("sn", "sem", t) for t in tokens], ["ok 33", "error", "ok 33"], "renews")
        server.wait_log(r" info evict .*key=sem ", since=since)
        lines = server.logged(r" info evict ", since)
        check_eq(len(lines), 8, "audit lines")
        check("kind=lock" in lines[0] and "key=key" in lines[0] and "fence=1 " in lines[0] and
              "result=error" in lines[0] and f"peer={admin.local}" in lines[0], lines[0])
        check("result=ok" in lines[3] and f"peer={admin.local}" in lines[3], lines[3])
        check(f"fence={fence_of(second)} " in lines[5] and "result=ok" in lines[5], lines[5])


@test("evict needs the admin token", rules=["P50", "P66"])
def evict_refused():
    with guarded() as server:
        user = server.client()
        check_eq(user.req("auth", "", "user-secret"), "ok", "auth")
        token = token_of(user.req("l", "key", "0"))
        check_eq(user.req("evict", "key", "lock"), "error", "a user's evict")
        check_eq(user.req("auth", "", "admin-secret"), "error", "a second auth changes nothing")
        check_eq(user.req("evict", "key", "lock"), "error", "a user's evict")
        check_eq(user.req("n", "key", token), "ok 33", "it is still held")
    for args in [[], ["--auth-token-file", temp_file("user-secret\n")]]:
        with Server(args) as server, Client(server) as c:
            if args:
                check_eq(c.req("auth", "", "user-secret"), "ok", "auth")
            token = token_of(c.req("l", "key", "0"))
            check_eq(c.req("evict", "key", "lock"), "error", "without an admin token")
            check_eq(c.req("n", "key", token), "ok 33", "it is still held")


@test("an admin token without a user token", rules=["P50", "P72"])
def admin_only():
    with Server(["--admin-token-file", temp_file("admin-secret\n")]) as server:
        with Client(server) as c:
            token = token_of(c.req("l", "key", "0"))
            check_eq(c.req("auth", "", "wrong"), "error", "a wrong token")
            check_eq(c.req("evict", "key", "lock"), "error", "evict without auth")
            check_eq(c.req("auth", "", "admin-secret"), "ok", "auth")
            check_eq(c.req("evict", "key", "lock"), "ok", "evict")
            check_eq(c.req("n", "key", token), "error", "it is gone")


if __name__ == "__main__":
    main()
