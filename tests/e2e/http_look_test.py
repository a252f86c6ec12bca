"""http_look_test.py - docs/rules.md, "What is seen over HTTP": health, readiness, stats, resources."""

import os
import random
import resource
import urllib.parse

from harness import (SANITIZED, check, check_eq, diag, elapsed, eventually, in_threads, json_of, main,
                     poll_in, temp_dir, test, token_of)
from web import WebServer, take

LIMITS = ["--max-locks", "120000"]


def steady(value):
    """Without what depends on the time."""
    if isinstance(value, dict):
        return {k: steady(v) for k, v in value.items()
                if not k.endswith("_s") or v is None}
    return [steady(v) for v in value] if isinstance(value, list) else value


def query(**parameters):
    return "/v1/resources?" + urllib.parse.urlencode(parameters)


def pages(web, **parameters):
    """All resources, page by page; each page but the last is full."""
    found = []
    while True:
        got = web.get(query(**parameters)).expect(200)
        found += got["resources"]
        if got["cursor"] is None:
            return found
        check_eq(len(got["resources"]), int(parameters.get("limit") or 100), "a page's length")
        parameters["cursor"] = got["cursor"]


@test("health and readiness; HEAD; no cursor, no body", rules=["V1", "V2"])
def health():
    with WebServer() as server, server.web() as web:
        for path in ["/health", "/ready"]:
            check_eq(web.get(path).expect(200), {"status": "ok"}, path)
            check_eq(web.get(path).data, b'{"status":"ok"}\n', f"{path} to the byte")
            check_eq(web.request("HEAD", path).status, 200, f"HEAD {path}")


@test("while the server ends it is not ready, but healthy", rules=["V1", "V2"])
def draining():
    with WebServer(["--shutdown-timeout", "60"]) as server:
        c = take(server, ["held"])
        waiter = server.client()
        with server.web() as web:
            web.get("/health").expect(200)
            server.kill(15)
            got = eventually(lambda: (lambda r: r if r.status == 503 else None)(web.get("/ready")),
                             20, "it stays ready")
            check_eq(got.json, {"status": "draining"}, "what it says")
            check_eq(web.get("/health").expect(200), {"status": "ok"}, "health")
        c.close()
        waiter.close()
        server.exited(60)


@test("a state file that cannot be written: not ready, until it can", rules=["V2"], deadline=90)
def fences():
    path = os.path.join(temp_dir(), "fences")
    fails = ["the fence state file fails", "the fence writer died", "disk does not answer"]
    with WebServer(["--fence-state-file", path], expect_log=fails) as server, server.web() as web:
        token_of(server.client().req("l", "key", "0"))
        writers = [p for p in server.members() if comm(p) == "dflockd-fences"]
        check_eq(len(writers), 1, "fence writers")
        _, most = resource.prlimit(writers[0], resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        c = server.client()

        def ask_much(lease=[100]):
            lease[0] += 100  # a promise that must be written down first
            c.ask("l", f"more{lease[0]}", f"0 {lease[0]}")
            c.line(30)
            return web.get("/ready").status == 503

        eventually(ask_much, 30, "it stays ready")
        check_eq(web.get("/ready").json, {"status": "fence_persistence"}, "what it says")
        web.get("/health").expect(200)
        for pid in server.members():
            if comm(pid) == "dflockd-fences":
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))
        eventually(lambda: web.get("/ready").status == 200, 40, "it is not ready again")


def comm(pid):
    try:
        with open(f"/proc/{pid}/comm") as f:
            return f.read().strip()
    except OSError:
        return ""


@test("stats over HTTP is what the command says; sessions count as connections", rules=["V3"])
def stats():
    with WebServer() as server, server.web() as web:
        c = take(server, ["a", "b\"<", b"bad\xff"])
        token_of(c.req("sl", "pool", "0 5"))
        check_eq(c.req("r", "idle", token_of(c.req("l", "idle", "0"))), "ok", "a release")
        server.client().ask("l", "a", "600")
        eventually(lambda: json_of(c.req("show", "a", "lock"))["waiters"] == 1)
        said, got = json_of(c.req("stats")), web.get("/v1/stats")
        check_eq(steady(got.expect(200)), steady(said), "the two")
        check_eq(list(got.json), list(said), "the order of its members")
        check_eq(got.data[-2:], b"}\n", "its end")
        sessions = [server.session() for _ in range(3)]
        token = sessions[0].token("of-http")
        check_eq(web.get("/v1/stats").expect(200)["connections"], said["connections"] + 3,
                 "connections with sessions")
        check_eq(json_of(c.req("stats"))["connections"], said["connections"] + 3,
                 "as the command says it")
        shown = json_of(c.req("show", "of-http", "lock"))["holders"][0]
        check(shown["addr"].startswith("127.0.0.1:"), f"a session's address: {shown}")
        sessions[0].release("of-http", token).expect(204)
        for s in sessions:
            s.end().expect(204)
        check_eq(web.get("/v1/stats").expect(200)["connections"], said["connections"], "afterwards")


@test("whoever asks for stats sees what was done before, however many ask at once", rules=["V4"],
      deadline=90)
def stats_together():
    with WebServer(LIMITS) as server:
        take(server, [f"many/{i}" for i in range(5000)])  # so that it takes many turns

        def ask(i):
            c = server.client()
            with server.web() as web:
                for n in range(10):
                    token = token_of(c.req("l", f"own-{i}-{n}", "0"))
                    keys = {x["key"] for x in web.get("/v1/stats").expect(200)["locks"]}
                    check(f"own-{i}-{n}" in keys, f"own-{i}-{n} was held before stats was asked for")
                    check_eq(c.req("r", f"own-{i}-{n}", token), "ok", "the release")
                    keys = {x["key"] for x in web.get("/v1/stats").expect(200)["locks"]}
                    check(f"own-{i}-{n}" not in keys, f"own-{i}-{n} was released before")

        in_threads(ask, range(8))


@test("whoever asks for a page sees what was done before, however many ask at once; no two nonces are the "
      "same", rules=["V4", "V16"], deadline=90)
def page_together():
    with WebServer(LIMITS) as server:
        take(server, [f"many/{i}" for i in range(5000)])
        nonces = []

        def ask(i):
            c = server.client()
            with server.web() as web:
                for n in range(10):
                    # The same for all: who asks for what another waits for is answered with it.
                    token = token_of(c.req("l", f"own-{i}-{n}", "0"))
                    got = web.get("/?contains=own&limit=1000")
                    got.expect(200)
                    check(f'id="k-lock-own-{i}-{n}"'.encode() in got.data,
                          f"own-{i}-{n} was held before the page was asked for")
                    said = got.headers["content-security-policy"].split("'nonce-", 1)[1].split("'")[0]
                    check_eq(got.data.count(b'nonce="' + said.encode() + b'"'), 2, "style and script")
                    nonces.append(said)
                    check_eq(c.req("r", f"own-{i}-{n}", token), "ok", "the release")
                    check(f'id="k-lock-own-{i}-{n}"'.encode() not in web.get(
                        "/?contains=own&limit=1000").data, f"own-{i}-{n} was released before")

        in_threads(ask, range(8))
        check_eq(len(set(nonces)), 80, "nonces")


@test("resources: each once, page by page; kinds, prefix, parts of keys, states", rules=["V5"],
      deadline=60)
def resources():
    with WebServer(LIMITS) as server, server.web() as web:
        names = [f"app/{i % 7}/{i}" for i in range(700)]
        c = take(server, names)
        for i in range(30):
            token_of(c.req("sl", f"pool/{i}", "0 3"))
        for i in range(20):
            check_eq(c.req("r", f"idle/{i}", token_of(c.req("l", f"idle/{i}", "0"))), "ok", "release")
        waiter = server.client()
        waiter.ask("l", "app/0/7", "600")
        eventually(lambda: json_of(c.req("show", "app/0/7", "lock"))["waiters"] == 1)
        everything = pages(web)
        keys = [(x["kind"], x["key"]) for x in everything]
        check_eq(len(set(keys)), len(keys), "each once")
        check_eq(sorted(keys), sorted([("lock", n) for n in names] +
                                      [("sem", f"pool/{i}") for i in range(30)] +
                                      [("lock", f"idle/{i}") for i in range(20)]), "all")
        check_eq(sorted(keys), sorted((x["kind"], x["key"]) for x in pages(web, limit=1000)), "at once")
        listed, cursor = [], ""
        while cursor is not None:
            got = json_of(c.req("list", "*", cursor))
            listed += got["resources"]
            cursor = got["cursor"]
        check_eq(sorted((x["kind"], x["key"]) for x in listed), sorted(keys), "as the command lists")
        ours = {(x["kind"], x["key"]): x for x in everything}
        for x in listed:
            got = ours[x["kind"], x["key"]]
            check_eq({k: got[k] for k in x if k != "oldest_wait_s"},
                     {k: v for k, v in x.items() if k != "oldest_wait_s"}, "a summary")
        for want, parameters in [
                (30, {"kind": "sem"}), (720, {"kind": "lock"}), (100, {"prefix": "app/3/"}),
                (20, {"state": "idle"}), (730, {"state": "held"}), (1, {"state": "waiting"}),
                (750, {"state": "any"}), (1, {"contains": "/699"}), (0, {"contains": "nothing"}),
                (20, {"kind": "lock", "prefix": "idle/", "state": "idle", "contains": "/"}),
                (750, {"kind": "", "prefix": "", "contains": "", "state": "", "sort": "", "order": "",
                       "cursor": "", "limit": ""})]:
            check_eq(len(pages(web, **parameters)), want, f"{parameters}")
        check_eq([x["key"] for x in pages(web, contains="a b")], [], "a blank is a blank")


def value(x, sort):
    if sort in ("held_since", "lease_left"):
        holder = x["holder"]
        return holder and (-holder["held_s"] if sort == "held_since" else
                           holder["lease_expires_in_s"])
    if sort == "oldest_wait":
        return x["oldest_wait_s"] if x["waiters"] else None
    return x["waiters"] if sort == "waiters" else 0


@test("resources in each order, both ways, page by page", rules=["V6"], deadline=90)
def sorting():
    with WebServer() as server, server.web() as web:
        rng = random.Random(7)
        c = server.client()
        for i in range(60):
            token_of(c.req("l", f"k{rng.randrange(10 ** 6):06}-{i}", f"0 {rng.randint(300, 900)}"))
        held = [x["key"] for x in pages(web)]
        asked = 0
        for key in held[:10]:
            for _ in range(rng.randint(1, 4)):
                server.client().ask("l", key, "600")
                asked += 1
        for i in range(10):
            check_eq(c.req("r", f"idle{i}", token_of(c.req("l", f"idle{i}", "0"))), "ok", "release")
        eventually(lambda: sum(x["waiters"] for x in pages(web)) == asked, 20, "too few wait")
        for sort in ["key", "waiters", "oldest_wait", "held_since", "lease_left"]:
            defaults = {"waiters": "desc", "oldest_wait": "desc"}.get(sort, "asc")
            for order in ["asc", "desc"]:
                whole = web.get(query(sort=sort, order=order, limit=1000)).expect(200)
                check_eq((len(whole["resources"]), whole["matched"], whole["cursor"]), (70, 70, None),
                         "all at once")
                rows = whole["resources"]
                if sort == "key":
                    check_eq([x["key"] for x in rows],
                             sorted((x["key"] for x in rows), reverse=order == "desc"), "by key")
                values = [value(x, sort) for x in rows]
                some = [v for v in values if v is not None]
                check_eq(values, some + [None] * (len(values) - len(some)), f"{sort}: none comes last")
                for a, b in zip(some, some[1:]):
                    # Each row's time is told a moment later than the one's before.
                    check(a <= b + 2 if order == "asc" else a + 2 >= b, f"{sort} {order}: {a}, {b}")
                names = [x["key"] for x in rows]
                check_eq([x["key"] for x in pages(web, sort=sort, order=order, limit=9)], names,
                         f"{sort} {order}, page by page")
                if order == defaults:
                    check_eq([x["key"] for x in pages(web, sort=sort, limit=100)], names,
                             f"{sort} without an order")
        got = web.get(query(sort="waiters", contains="idle", limit=3)).expect(200)
        check_eq((len(got["resources"]), got["matched"]), (3, 10), "some of what matches")


@test("a summary says who holds it since when, and where the rest is", rules=["V7", "V8"])
def details():
    with WebServer() as server, server.web() as web:
        c = server.client()
        hostile = [b"a/b%2F?x=1&y#z", b"bad\xff\xfe", "日本語".encode(), b"x" * 256, b"..", b"\x01\x00b"]
        tokens = {}
        for key in hostile:
            tokens[key] = token_of(c.req("l", key, "0 500"))
        rows = pages(web)
        check_eq(len(rows), len(hostile), "rows")
        shown = set()
        for row in rows:
            check_eq(set(row), {"kind", "key", "limit", "holders", "waiters", "oldest_wait_s", "idle_s",
                                "holder", "href"}, "members")
            check_eq(row["idle_s"], None, "it is not idle")
            holder = row["holder"]
            check_eq(holder["addr"], c.local, "the holder's address")
            check(0 <= holder["held_s"] < 100 and 400 < holder["lease_expires_in_s"] <= 500, f"{holder}")
            key = urllib.parse.unquote_to_bytes(row["href"].rsplit("/", 1)[1])
            check_eq(holder["fence"], str(int(tokens[key][:16], 16)), "the fence")
            one = web.get(row["href"]).expect(200)
            check_eq(one["key"], row["key"], "the key there")
            if b"\n" not in key and b"\x00" not in key:
                check_eq(steady(one), steady(json_of(c.req("show", key, "lock"))), "as show says")
            shown.add(key)
        check_eq(shown, set(hostile), "all are found by their addresses")
        check_eq(c.req("r", b"..", tokens[b".."]), "ok", "the release")
        row = web.get(query(state="idle")).expect(200)["resources"][0]
        check(row["holder"] is None and row["idle_s"] >= 0, f"an idle one: {row}")


@test("one resource: holders, queue in order; 404; 400 for another kind", rules=["V8"])
def one():
    with WebServer() as server, server.web() as web:
        holder = server.client()
        token_of(holder.req("l", "key", "0"))
        waiters = []
        for i in range(5):
            waiters.append(server.client())
            waiters[-1].ask("l", "key", "600")
            eventually(lambda: web.get("/v1/resources/lock/key").expect(200)["waiters"] == i + 1)
        got = web.get("/v1/resources/lock/key").expect(200)
        check_eq([x["addr"] for x in got["queue"]], [w.local for w in waiters], "the queue")
        check_eq([x["addr"] for x in got["holders"]], [holder.local], "the holder")
        web.get("/v1/resources/sem/key").expect(404, "not_found")
        web.get("/v1/resources/lock/other").expect(404, "not_found")
        for path in ["semaphore/key", "x/key", "%ff/key", "lock/" + "k" * 257, "lock/a%20b", "lock/%0a"]:
            web.get("/v1/resources/" + path).expect(400, "bad_request")


@test("what a query may not be is refused in words", rules=["V9"])
def refusals():
    with WebServer() as server, server.web() as web:
        token_of(server.client().req("l", "key", "0"))
        for text, wants in [
                ("kind=locks", "lock or sem"), ("state=free", "held, waiting, idle or any"),
                ("sort=size", "oldest_wait"), ("sort=key&order=up", "asc or desc"),
                ("order=asc", "beside sort"), ("limit=0", "1 to 1000"), ("limit=1001", "1 to 1000"),
                ("limit=ten", "1 to 1000"), ("limit=1.5", "1 to 1000"), ("limit=99999999999", "1 to 1000"),
                ("cursor=x", "the page before"), ("cursor=64-1", "the page before"),
                ("cursor=0-0", "the page before"), ("cursor=1-1x", "the page before"),
                ("sort=key&cursor=1-1", "the page before"),
                ("cursor=" + "0" * 2000, "the page before"),
                ("prefix=%zz", "percent-encoded"), ("contains=" + "x" * 257, "256 bytes"),
                ("prefx=a", "the query may have"), ("kind=lock&what", "the query may have")]:
            got = web.get("/v1/resources?" + text)
            got.expect(400, "bad_request")
            check(wants in got.json["detail"], f"{text}: {got.json['detail']}")
        web.get("/v1/resources?prefix=" + "x" * 256).expect(200)
        web.get("/v1/resources?&&kind=lock&").expect(200)


@test("100,000 locks: a sorted page, all of stats; meanwhile others are served", rules=["V10"],
      deadline=180, alone=True)
def many():
    with WebServer(LIMITS) as server, server.web() as web, server.web() as other:
        take(server, [f"orders/{i:06}" for i in range(100000)])
        for parameters in [{"sort": "waiters"}, {"sort": "key", "contains": "777"}]:
            t = elapsed()
            got = web.get(query(**parameters)).expect(200)
            diag(f"{parameters}: {1000 * t():.0f} ms, {got['matched']} match")
            check_eq(got["matched"], 280 if "contains" in parameters else 100000, "matches")
        check_eq(len(web.get("/v1/stats").expect(200)["locks"]), 100000, "locks of stats")

        def meanwhile():
            """Others that are served between the request and the first byte of its answer. One may
            have come with it."""
            web.ask("GET", "/v1/stats")
            t, took = elapsed(), []
            while not poll_in(web.sock, 0):
                one = elapsed()
                other.get("/health").expect(200)
                took.append(one())
            diag(f"stats: {1000 * t():.0f} ms, {len(took)} others, at most "
                 f"{1000 * max(took, default=0):.0f} ms")
            web.answer()
            return len(took)

        other.get("/health").expect(200)
        check(any(meanwhile() > 10 for _ in range(20)), "others wait until all is said")


@test("a page of 6 MB is written in steps: meanwhile others are served", rules=["V10"], deadline=180,
      alone=True)
def large_page():
    with WebServer() as server, server.web() as web, server.web() as other:
        take(server, [b"\x01\x02\x1b<&\"'" * 35 + b"%05d" % i for i in range(1000)])

        def meanwhile():
            """Others that are served between the request and the first byte of its answer. To look at
            the table takes next to no time: they are served while the page is written."""
            web.ask("GET", "/?limit=1000")
            took = 0
            while not poll_in(web.sock, 0):
                other.get("/health").expect(200)
                took += 1
            check(len(web.answer().data) > 5 << 20, "the page is small")
            return took

        other.get("/health").expect(200)
        seen = []
        check(any(seen.append(meanwhile()) or seen[-1] > 5 for _ in range(50)),
              f"others wait until it is written: {seen}")
        diag(f"others: {seen}")


@test("who leaves before a long answer is made, or does not read it, disturbs nobody", rules=["V10"],
      deadline=180, alone=True)
def leavers():
    with WebServer(LIMITS) as server, server.web() as web:
        take(server, [f"orders/{i:06}" for i in range(50000)])

        check_eq(len(web.get("/v1/stats").expect(200)["locks"]), 50000, "stats")
        before = server.http_resident()
        spare = 512 << 20 if SANITIZED else 0  # they keep what was freed for a while
        for _ in range(60):  # 4 MiB each
            web.get("/v1/stats").expect(200)
        check(server.http_resident() < before + spare + (100 << 20), "what was answered is kept")
        for _ in range(5):
            gone = [server.raw() for _ in range(40)]
            for i, raw in enumerate(gone):
                raw.ask_http("GET", ["/v1/stats", query(sort="key"), "/"][i % 3])
            for i, raw in enumerate(gone):
                raw.reset() if i % 2 else raw.close()
            web.get("/health").expect(200)
        lazy = [server.raw(rcvbuf=4096) for _ in range(40)]
        for raw in lazy:
            raw.ask_http("GET", "/v1/stats")
        check_eq(len(web.get("/v1/stats").expect(200)["locks"]), 50000, "stats")
        diag(f"{before >> 20} MiB before, {server.http_resident() >> 20} MiB with 40 that do not read")
        check(server.http_resident() < before + spare + (160 << 20), "they take each a copy, without end")
        for raw in lazy:
            raw.close()
        check_eq(web.get(query(sort="key")).expect(200)["matched"], 50000, "resources")


if __name__ == "__main__":
    main()
