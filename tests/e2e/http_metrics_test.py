#!/usr/bin/env python3
"""http_metrics_test.py - /metrics: each metric is there, of its type, and moves when what it counts
happens; nothing in it names a key or an address."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess

from certs import authority, client_context
from harness import (Client, Failure, Program, check, check_eq, diag, eventually, fail, json_of, main, temp_dir,
                     temp_file, test, token_of)
from points import BEFORE, FAIL, WORKER, CrashServer, errors
from scrape import Scrape, scrape
from web import Web, WebServer

TOP = os.environ["top_srcdir"]

# Every metric, its type, its labels.
METRICS = {
    "dflockd_build_info": ("gauge", {"version"}),
    "dflockd_ready": ("gauge", set()),
    "dflockd_fence_persistence_failing": ("gauge", set()),
    "dflockd_uptime_seconds": ("gauge", set()),
    "dflockd_connections": ("gauge", set()),
    "dflockd_http_sessions": ("gauge", set()),
    "dflockd_region_bytes": ("gauge", {"state"}),
    "dflockd_locks_held": ("gauge", set()),
    "dflockd_lock_waiters": ("gauge", set()),
    "dflockd_semaphore_holders": ("gauge", set()),
    "dflockd_semaphore_waiters": ("gauge", set()),
    "dflockd_keys": ("gauge", {"state"}),
    "dflockd_max_locks": ("gauge", set()),
    "dflockd_shards_quarantined": ("gauge", set()),
    "dflockd_commands_total": ("counter", {"command", "result"}),
    "dflockd_grants_total": ("counter", {"kind", "path"}),
    "dflockd_wait_seconds": ("histogram", {"le"}),
    "dflockd_hold_seconds": ("histogram", {"le"}),
    "dflockd_lease_expirations_total": ("counter", set()),
    "dflockd_limit_rejections_total": ("counter", {"limit"}),
    "dflockd_auth_failures_total": ("counter", set()),
    "dflockd_tls_handshakes_total": ("counter", {"result"}),
    "dflockd_worker_restarts_total": ("counter", set()),
    "dflockd_shard_repairs_total": ("counter", set()),
    "dflockd_connections_poisoned_total": ("counter", set()),
    "dflockd_config_reloads_total": ("counter", {"result"}),
    "dflockd_http_requests_total": ("counter", {"method", "path", "status"}),
    "dflockd_http_request_duration_seconds": ("summary", {"method", "path"}),
    "process_cpu_seconds_total": ("counter", set()),
    "process_resident_memory_bytes": ("gauge", set()),
    "process_virtual_memory_bytes": ("gauge", set()),
    "process_start_time_seconds": ("gauge", set()),
    "process_open_fds": ("gauge", set()),
    "process_max_fds": ("gauge", set()),
}
# What an upgrade does not begin anew and a scrape does not change.
LASTING = ("dflockd_commands", "dflockd_grants", "dflockd_wait", "dflockd_hold", "dflockd_lease",
           "dflockd_lock", "dflockd_semaphore", "dflockd_keys", "dflockd_connections")
OTHER, SAME = os.path.join(os.environ["top_builddir"], "tests/upgrade/dflockd"), os.environ["DFLOCKD"]


def scrape_or_none(server):
    try:
        return scrape(server)
    except OSError:
        return None


def got_metrics(web):
    try:
        return web.get("/metrics")
    except (OSError, http.client.HTTPException):
        web.close()
        return None


def changed(before, after, name):
    return after if after.get(name) != before.get(name) else None


@contextlib.contextmanager
def session(server):
    """One that ends, so that the server need not wait for it when it drains."""
    with server.session() as s:
        yield s
        s.end().expect(204)


class Change:
    """What is counted meanwhile: with Change(server) as c: …; c(name, label=…)"""

    def __init__(self, server, **options):
        self.server, self.options = server, options

    def __enter__(self):
        self.before = scrape(self.server, **self.options)
        return self

    def __exit__(self, *what):
        self.after = what[0] is None and scrape(self.server, **self.options)

    def __call__(self, name, **labels):
        return self.after.get(name, **labels) - self.before.get(name, **labels)

    def expect(self, n, name, **labels):
        check_eq(self(name, **labels), n, f"{name} {labels}")

    def comes(self, n, name, **labels):
        """What is counted a little later."""
        def look():
            self.after = scrape(self.server, **self.options)
            return self(name, **labels) == n
        try:
            eventually(look, 30)
        except Failure:
            fail(f"{name} {labels} changes by {self(name, **labels)}, not {n}")


@test("docs/metrics.md has the same metrics, with the same types and labels", rules=["N1"])
def documented():
    with open(os.path.join(TOP, "docs/metrics.md"), encoding="utf-8") as f:
        rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", f.read(), re.M)
    check_eq({n: (kind, set(re.findall(r"`(\w+)`", labels))) for n, kind, labels in rows}, METRICS,
             "the tables")


@test("each metric is there, with type and help; promtool finds nothing wrong", rules=["N1"])
def all_there():
    with WebServer() as server:
        with session(server) as s, Client(server) as c:
            s.token("k")
            token_of(c.req("sl", "s", "0 3"))
            c.req("nonsense")
            scrape(server)  # so that there are requests of HTTP
            got = scrape(server)
            check_eq(set(got.types), set(METRICS), "the names")
            check_eq(set(got.helps), set(METRICS), "the names that have a help")
            for name, (kind, _) in METRICS.items():
                check_eq(got.types[name], kind, f"the type of {name}")
            for name, labels in got.samples:
                family = got.family(name)
                has = {k for k, _ in labels}
                want = METRICS[family][1]
                if METRICS[family][0] == "histogram" and not name.endswith("_bucket"):
                    want = want - {"le"}
                check_eq(has, want, f"the labels of {name}")
            check_eq({got.family(name) for name, _ in got.samples}, set(METRICS),
                     "metrics with samples")
            p = subprocess.run(["promtool", "check", "metrics"], input=got.text.encode(),
                               capture_output=True)
            check_eq((p.returncode, p.stdout + p.stderr), (0, b""), "promtool check metrics")


def words():
    with open(os.path.join(TOP, "src/proto/reply.def"), encoding="utf-8") as f:
        return set(re.findall(r'^REPLY\(\w+,\s*"(\w+)"', f.read(), re.M))


@test("who leaves before the answer has had none: it is a request of HTTP, and no command", rules=["N2"])
def left():
    with WebServer() as server:
        with Client(server) as holder, session(server) as s, Change(server) as c:
            holder.req("l", "k", "0")
            for _ in range(5):
                s.ask("POST", "/v1/locks/k", {"acquire_timeout_s": 1000})
                eventually(lambda: json_of(holder.req("show", "k", "lock"))["waiters"] == 1, 20, "it waits")
                s.close()
                eventually(lambda: json_of(holder.req("show", "k", "lock"))["waiters"] == 0, 20, "it left")
        c.comes(5, "dflockd_http_requests_total", path="/v1/locks/{key}", status="499")
        c.expect(1, "dflockd_commands_total", command="l", result="ok")


@test("commands of both protocols are counted by their result", rules=["N2"])
def commands():
    with WebServer(["--max-waiters", "2"]) as server:
        with Client(server) as a, Client(server) as b, session(server) as s, Change(server) as c:
            t = token_of(a.req("l", "k", "0"))
            check_eq(b.req("l", "k", "0"), "timeout", "a lock that is held")
            a.req("n", "k", t)
            a.req("n", "k", "0" * 32)
            a.req("r", "k", t)
            a.req("r", "k", t)
            a.req("sl", "m", "0 2")
            a.req("sl", "m", "0 3")
            t = token_of(a.req("e", "q"), "acquired")
            check_eq(b.req("e", "q"), "queued", "enqueue")
            b.req("e", "q")
            b.req("w", "q", "0")
            b.req("w", "q", "1")
            a.req("w", "q", "1")
            b.req("ping")
            b.req("stats")
            b.req("list", "*")
            b.req("show", "k", "lock")
            b.req("show", "none", "lock")
            b.req("evict", "k", "lock")
            b.req("auth", "", "x")
            b.req("nonsense")
            b.req("l", "k", "x")
            h = s.token("h")
            s.acquire("h").expect(200)
            s.renew("h", h).expect(200)
            s.release("h", h).expect(204)
            s.release("h", h).expect(404)
            s.acquire("m", sem=7).expect(409, "limit_mismatch")
            s.enqueue("q").expect(200)
            s.enqueue("q").expect(409, "already_enqueued")
            s.wait("none", 1).expect(409, "not_enqueued")
            s.ping().expect(204)
            a.ask("l", "blocked", "0")
            token_of(a.line())
            b.ask("l", "blocked", "1")
            check_eq(b.line(), "timeout", "a wait that is over")
            others = scrape(server).get("dflockd_lock_waiters")
            for wait in ("l", "w"):  # granted while it waits
                t = token_of(a.req("sl", "d" + wait, "0 1"))
                if wait == "w":
                    check_eq(b.req("se", "dw", "1"), "queued", "enqueue")
                b.ask("s" + wait, "d" + wait, "30 1" if wait == "l" else "30")
                eventually(lambda: scrape(server).get("dflockd_lock_waiters") == others + 1, 20,
                           "it waits")
                check_eq(a.req("sr", "d" + wait, t), "ok", "the release")
                token_of(b.line())
            check_eq(s.enqueue("fresh").expect(200)["status"], "acquired", "enqueue")
        want = {
            ("l", "ok"): 3, ("l", "timeout"): 3, ("l", "error"): 1, ("n", "ok"): 2,
            ("n", "error"): 1, ("r", "ok"): 2, ("r", "error"): 2, ("sl", "ok"): 4,
            ("sr", "ok"): 2, ("se", "queued"): 1, ("sw", "ok"): 1,
            ("sl", "error_limit_mismatch"): 2, ("e", "acquired"): 2, ("e", "queued"): 2,
            ("e", "error_already_enqueued"): 2, ("w", "timeout"): 1, ("w", "ok"): 1,
            ("w", "error_not_enqueued"): 2, ("ping", "ok"): 2, ("stats", "ok"): 1,
            ("list", "ok"): 1, ("show", "ok"): 1, ("show", "error"): 1, ("evict", "error"): 1,
            ("auth", "error"): 1, ("unknown", "error"): 1,
        }
        got = {}
        for (name, labels), n in c.after.samples.items():
            if name == "dflockd_commands_total":
                labels = dict(labels)
                check(labels["result"] in words(), f"a result that is none: {labels}")
                n -= c.before.get(name, **labels)
                if n:
                    got[labels["command"], labels["result"]] = n
        check_eq(got, want, "the commands that were counted")


@test("grants at once and after a wait, by kind; the wait's length", rules=["N3"])
def grants():
    with WebServer() as server:
        with Client(server) as a, Client(server) as b, session(server) as s, Change(server) as c:
            t = token_of(a.req("l", "k", "0"))
            b.ask("l", "k", "30")
            eventually(lambda: scrape(server).get("dflockd_lock_waiters") == 1, 20, "it waits")
            check_eq(a.req("r", "k", t), "ok", "the release")
            token_of(b.line())
            m = [token_of(a.req("sl", "m", "0 2")), token_of(a.req("sl", "m", "0 2"))]
            s.enqueue("m", sem=2).expect(200)
            check_eq(a.req("sr", "m", m[0]), "ok", "the release")
            check_eq(s.wait("m", 30, sem=2).expect(200)["status"], "ok", "the wait")
            token_of(a.req("sl", "one", "0 1"))  # stats lists it among the locks
            t = token_of(a.req("l", "long", "0"))
            b.ask("l", "long", "30")
            check_eq(a.req("l", "long", "2"), "timeout", "two seconds")
            check_eq(a.req("r", "long", t), "ok", "the release")
            token_of(b.line())
        c.expect(3, "dflockd_grants_total", kind="lock", path="fast")
        c.expect(2, "dflockd_grants_total", kind="lock", path="queued")
        c.expect(2, "dflockd_grants_total", kind="semaphore", path="fast")
        c.expect(1, "dflockd_grants_total", kind="semaphore", path="queued")
        c.expect(3, "dflockd_wait_seconds_count")
        c.expect(3, "dflockd_wait_seconds_bucket", le="+Inf")
        check(c("dflockd_wait_seconds_bucket", le="1") <= 2, "one has waited for two seconds")
        check(c("dflockd_wait_seconds_sum") >= 2, "the sum of all waits")


@test("buckets are cumulative, from a millisecond to an hour", rules=["N3"])
def buckets():
    with WebServer() as server:
        with Client(server) as a:
            for i in range(20):
                t = token_of(a.req("l", "k", "0"))
                a.req("r", "k", t)
        got = scrape(server)
        for name in ("dflockd_wait_seconds", "dflockd_hold_seconds"):
            found = [(float(dict(labels)["le"]), n) for (m, labels), n in got.samples.items()
                     if m == name + "_bucket"]
            check_eq(found, sorted(found), "they are in order, and never decrease")
            check_eq((found[0][0], found[-2][0], found[-1][0]), (0.001, 3600, float("inf")),
                     "the bounds")
            check_eq(found[-1][1], got.get(name + "_count"), "the count")
        check_eq(got.get("dflockd_hold_seconds_count"), 20, "holds")


@test("a hold ends by release, expiry, disconnect and evict, and is counted each time",
      rules=["N4"])
def holds():
    with WebServer(["--admin-token-file", temp_file(b"boss\n"),
                    "--lease-sweep-interval", "1"]) as server:
        with Client(server) as a, Change(server) as c:
            t = token_of(a.req("l", "k", "0"))
            check_eq(a.req("r", "k", t), "ok", "release")
        c.expect(1, "dflockd_hold_seconds_count")
        c.expect(0, "dflockd_lease_expirations_total")
        with Client(server) as a:
            with Change(server) as c:
                token_of(a.req("l", "k", "0 1"))
            c.comes(1, "dflockd_hold_seconds_count")
            c.comes(1, "dflockd_lease_expirations_total")
            check(c("dflockd_hold_seconds_sum") >= 1, "it was held for its lease")
        with Change(server) as c:
            with Client(server) as a:
                token_of(a.req("l", "k", "0 60"))
        c.comes(1, "dflockd_hold_seconds_count")
        with Client(server) as a, Change(server) as c:
            token_of(a.req("l", "k", "0 60"))
            check_eq(a.req("auth", "", "boss"), "ok", "the admin")
            check_eq(a.req("evict", "k", "lock"), "ok", "evict")
        c.expect(1, "dflockd_hold_seconds_count")
        c.expect(0, "dflockd_lease_expirations_total")


@test("what is held and waited for is counted to the unit, as stats shows it", rules=["N5"])
def gauges():
    with WebServer() as server:
        with Client(server) as a, Client(server) as b, session(server) as s:
            tokens = {f"k{i}": token_of(a.req("l", f"k{i}", "0 600")) for i in range(100)}
            for i in range(7):
                token_of(a.req("sl", "m", "0 7 600"))
            token_of(a.req("sl", "one", "0 1 600"))
            for i in range(5):
                check_eq(b.req("e", f"k{i}"), "queued", "a waiter")
            for i in range(3):
                check_eq(s.enqueue(f"k{i}").expect(200)["status"], "queued", "a waiter")
            check_eq(b.req("se", "m", "7"), "queued", "a waiter")
            for i in range(90, 100):
                check_eq(a.req("r", f"k{i}", tokens[f"k{i}"]), "ok", "a release")
            got = scrape(server)
            stats = json.loads(a.req("stats")[3:])
            check_eq(got.get("dflockd_locks_held"),
                     sum(x["owner_conn_id"] != 0 for x in stats["locks"]), "locks held")
            check_eq(got.get("dflockd_locks_held"), 91, "locks held")
            check_eq(got.get("dflockd_lock_waiters"), sum(x["waiters"] for x in stats["locks"]),
                     "waiters")
            check_eq(got.get("dflockd_lock_waiters"), 8, "waiters")
            check_eq(got.get("dflockd_semaphore_holders"), 7, "holders of semaphores")
            check_eq(got.get("dflockd_semaphore_waiters"), 1, "waiters for semaphores")
            check_eq(got.get("dflockd_keys", state="active"), 92, "keys in use")
            check_eq(got.get("dflockd_keys", state="idle"), len(stats["idle_locks"]), "idle keys")
            check_eq(got.get("dflockd_connections"), stats["connections"], "connections")
            check_eq(got.get("dflockd_http_sessions"), 1, "sessions")
            check_eq(got.get("dflockd_max_locks"), 1024, "keys there may be")
        eventually(lambda: [scrape(server).get(f"dflockd_{x}") for x in
                            ("locks_held", "lock_waiters", "semaphore_holders",
                             "semaphore_waiters", "connections", "http_sessions")] == [0] * 6,
                   30, "nothing is left")


def crowded(server, n):
    """n idle keys, some held."""
    with Client(server) as c:
        for begin in range(0, n, 1000):
            for i in range(begin, begin + 1000):
                c.ask("e", f"key{i}", "600")
            for _ in range(1000):
                token_of(c.line(), "acquired")
        yield c


@test("a scrape costs the same whatever the table holds; used memory grows with it", rules=["N6"],
      deadline=200)
def large():
    with WebServer(["--max-locks", "60000"]) as server:
        small = scrape(server)
        for _ in crowded(server, 50000):
            for _ in range(20):
                got = scrape(server)
            check_eq(got.get("dflockd_locks_held"), 50000, "locks held")
            check_eq(got.get("dflockd_region_bytes", state="reserved"),
                     small.get("dflockd_region_bytes", state="reserved"), "the region's size")
            grown = (got.get("dflockd_region_bytes", state="used") -
                     small.get("dflockd_region_bytes", state="used"))
            check(grown > 50000 * 200, f"memory in use has grown by {grown}")
            n = got.get("dflockd_http_request_duration_seconds_count", path="/metrics")
            took = got.get("dflockd_http_request_duration_seconds_sum", path="/metrics")
            diag(f"a scrape takes {1000 * took / n:.2f} ms with 50,000 locks held")
            check(took / n < 0.5, f"{took / n} s a scrape")


@test("requests of HTTP are counted by method, template and status, never by what a client chose",
      rules=["N7"])
def requests():
    with WebServer() as server:
        with session(server) as s, Web(server) as web, Change(server) as c:
            s.token("secret/key")
            s.acquire("secret/key").expect(200)
            web.get("/health").expect(200)
            web.get("/health").expect(200)
            web.request("HEAD", "/health")
            web.get("/secret").expect(404)
            web.get("/secret/other?x=secret").expect(404)
            web.delete("/health").expect(405)
            web.request("PUT", "/health")
            web.request("PATCH", "/v1/secret")
            web.delete("/v1/sessions/secret").expect(400)
        check("secret" not in c.after.text and "127.0.0.1" not in c.after.text, "a client's words")
        n = "dflockd_http_requests_total"
        c.expect(2, n, method="POST", path="/v1/locks/{key}", status="200")
        c.expect(2, n, method="GET", path="/health", status="200")
        c.expect(1, n, method="HEAD", path="/health", status="200")
        c.expect(2, n, method="GET", path="unmatched", status="404")
        c.expect(1, n, method="DELETE", path="/health", status="405")
        c.expect(2, n, method="OTHER")
        c.expect(1, n, method="DELETE", path="/v1/sessions/{id}", status="400")
        d = "dflockd_http_request_duration_seconds"
        c.expect(2, d + "_count", method="POST", path="/v1/locks/{key}")
        check(c(d + "_sum", method="POST", path="/v1/locks/{key}") > 0, "the time they took")


@test("refusals are counted by the limit that they met", rules=["N8"])
def limits():
    with WebServer(["--max-locks", "3", "--max-waiters", "1", "--max-connections", "6",
                    "--max-connections-per-ip", "5"]) as server:
        with Client(server) as a, Client(server) as b, Change(server) as c:
            for i in range(3):
                token_of(a.req("l", f"k{i}", "0 60"))
            check_eq(a.req("l", "k3", "0"), "error_max_locks", "too many keys")
            check_eq(b.req("e", "k0"), "queued", "a waiter")
            check_eq(a.req("l", "k0", "1"), "error_max_waiters", "too many waiters")
            with session(server) as s:
                s.acquire("k4").expect(503, "max_locks")
                s.acquire("k0", timeout=1).expect(503, "max_waiters")
            more = [Client(server) for _ in range(3)]
            check_eq([x.req("ping") for x in more], ["ok"] * 3, "five connections")
            Client(server).expect_close()
            Client(server).expect_close()
            other = Client(server, source="127.0.0.2")
            check_eq(other.req("ping"), "ok", "the sixth, from elsewhere")
            Client(server, source="127.0.0.3").expect_close()
        n = "dflockd_limit_rejections_total"
        c.expect(2, n, limit="max_locks")
        c.expect(2, n, limit="max_waiters")
        c.expect(2, n, limit="max_connections_per_ip")
        c.expect(1, n, limit="max_connections")


@test("strangers who are ended to make room are counted", rules=["N8", "P93"])
def strangers():
    word = {"Authorization": "Bearer word"}
    with WebServer(["--auth-token-file", temp_file(b"word\n"), "--max-connections", "40"]) as server:
        n = "dflockd_limit_rejections_total"
        check_eq(scrape(server, word).get(n, limit="unauthenticated"), 0, "nobody yet")
        crowd = [Client(server) for _ in range(4)]
        with Client(server) as c:
            check_eq(c.req("auth", "", "word"), "ok", "who waited")
        eventually(lambda: any(x.is_closed() for x in crowd), text="one has gone")
        count = scrape(server, word).get(n, limit="unauthenticated")
        check(1 <= count <= 4, f"{count} made room")
        for x in crowd:
            x.close()


@test("refusals of HTTP's own limits are counted, too", rules=["N8"])
def http_limits():
    with WebServer(["--http-max-sessions", "3", "--http-max-sessions-per-ip", "2",
                    "--http-max-connections-per-ip", "4"]) as server:
        before = scrape(server, source="127.0.0.9")
        with session(server), session(server), server.web() as web:
            web.post("/v1/sessions").expect(503, "max_sessions_per_ip")
            with Web(server, source="127.0.0.2") as other:
                s = other.post("/v1/sessions").expect(200)["session_id"]
                other.post("/v1/sessions").expect(503, "max_sessions")
                other.delete(f"/v1/sessions/{s}").expect(204)
            server.raw().ask_http("GET", "/health")
            server.raw().expect_close()
        after = scrape(server, source="127.0.0.9")
        for limit in ("http_max_sessions", "http_max_sessions_per_ip",
                      "http_max_connections_per_ip"):
            n = "dflockd_limit_rejections_total"
            check_eq(after.get(n, limit=limit) - before.get(n, limit=limit), 1, limit)


@test("requests above an address's rate are counted", rules=["N8"])
def rate():
    with WebServer(["--http-rate-limit-per-ip", "1", "--http-rate-limit-burst", "3"]) as server:
        with server.web() as web:
            seen = [web.get("/v1/openapi.json").status for _ in range(20)]
        check_eq(set(seen), {200, 429}, "some are too many")
        got = scrape(server, source="127.0.0.2")
        check_eq(got.get("dflockd_limit_rejections_total", limit="http_rate_limit_per_ip"),
                 seen.count(429), "those")
        check_eq(got.get("dflockd_http_requests_total", status="429"), seen.count(429), "those")


@test("failed authentications are counted, of both protocols", rules=["N9"])
def failures():
    with WebServer(["--auth-token-file", temp_file(b"word\n")]) as server:
        word = {"Authorization": "Bearer word"}
        before = scrape(server, word)
        with Client(server) as c:
            check_eq(c.req("auth", "", "wrong"), "error_auth", "a wrong word")
        with Client(server) as c:
            check_eq(c.req("ping"), "error_auth", "none")
        with server.web() as web:
            web.get("/v1/stats").expect(401, "unauthorized")
            web.get("/metrics").expect(401, "unauthorized")
            web.get("/v1/stats", {"Authorization": "Bearer wrong"}).expect(401, "unauthorized")
        after = scrape(server, word)
        check_eq(after.get("dflockd_auth_failures_total") -
                 before.get("dflockd_auth_failures_total"), 5, "failures")
        check_eq(after.get("dflockd_commands_total", command="auth", result="error_auth"), 1,
                 "auth")
        check_eq(after.get("dflockd_commands_total", command="ping", result="error_auth"), 1,
                 "another command")


@test("TLS handshakes are counted, good and bad, of both protocols; a port scan is none",
      rules=["N10"], needs=["tls"])
def handshakes():
    ca = authority()
    cert = ca.issue("localhost")
    trusts, not_it = client_context(ca), client_context(authority("other"))
    with WebServer(cert.args) as server:
        before = scrape(server, tls=trusts)
        for _ in range(2):
            with Client(server, tls=trusts) as c:
                check_eq(c.req("ping"), "ok", "a good one")
        for port in (server.port, server.http_port):
            try:
                with socket.create_connection(("127.0.0.1", port)) as s:
                    not_it.wrap_socket(s, server_hostname="localhost")
                check(False, "who does not trust the server has connected")
            except ssl.SSLError:
                pass
            with socket.create_connection(("127.0.0.1", port)):
                pass
        with socket.create_connection(("127.0.0.1", server.port)) as s:
            s.sendall(b"l\nk\n0\n")
            s.settimeout(20)
            try:
                check_eq(s.recv(100), b"", "plain text")
            except ConnectionResetError:
                pass

        def counted():
            after = scrape(server, tls=trusts)
            return [after.get("dflockd_tls_handshakes_total", result=x) -
                    before.get("dflockd_tls_handshakes_total", result=x) for x in ("ok", "error")]
        n = [0]

        def look():
            n[0] += 1
            ok, error = counted()
            return (ok, error) == (2 + n[0], 3)
        eventually(look, 30, "two good ones and those of the scrapes, and three bad ones")


@test("kill -9: restarts are counted, counts survive every worker's death, gauges stay exact",
      rules=["N11"])
def deaths():
    with WebServer(expect_log=["worker died", "repaired"]) as server:
        with Client(server) as a, session(server) as s, Change(server) as c:
            for i in range(10):
                token_of(a.req("l", f"k{i}", "0 600"))
            s.token("h", lease=600)
            s.acquire("h").expect(200)
            for n, pid in enumerate(server.worker_pids() + [server.http_pid()]):
                os.kill(pid, signal.SIGKILL)
                eventually(lambda: pid not in server.members(), 20, "it is gone")

                def restarts():
                    try:
                        return scrape(server).get("dflockd_worker_restarts_total")
                    except OSError:
                        return None  # the one that serves HTTP has died
                eventually(lambda: restarts() == n + 1, 30, "a restart is counted")
            check_eq(a.req("ping"), "ok", "the connection lives")
            s.close()  # its connection has died, the session has not
            s.ping().expect(204)
        c.expect(11, "dflockd_grants_total", kind="lock", path="fast")
        c.expect(11, "dflockd_commands_total", command="l", result="ok")
        c.expect(1, "dflockd_commands_total", command="l", result="timeout")
        c.expect(1, "dflockd_http_requests_total", path="/v1/sessions/{id}/ping")
        c.expect(2, "dflockd_http_requests_total", path="/v1/locks/{key}")
        c.expect(11, "dflockd_locks_held")


@test("counters go on after an upgrade, also to a program of another layout", rules=["N11"],
      deadline=200)
def upgrades():
    program = Program()
    with WebServer(["--admin-token-file", temp_file(b"boss\n")], program=program.path) as server:
        with Client(server) as a, Client(server) as b:
            t = token_of(a.req("l", "k", "0 600"))
            b.ask("l", "k", "600")
            eventually(lambda: scrape(server).get("dflockd_lock_waiters") == 1, 20, "it waits")
            check_eq(a.req("r", "k", t), "ok", "the release")
            token_of(b.line())
            token_of(a.req("sl", "m", "0 3 600"))
            a.req("nonsense")
            before = scrape(server)
            for target in (OTHER, SAME, SAME):
                program.becomes(target)
                since = server.mark()
                server.kill(signal.SIGUSR2)
                server.wait_log("upgraded: all workers run this program", 60, since)
                server.http_port = server._http_port(since)
                after = eventually(lambda: scrape_or_none(server), 30, "it serves HTTP again")
                for name, labels in before.samples:
                    if not name.startswith(LASTING):
                        continue
                    check_eq(after.samples.get((name, labels)), before.samples[name, labels],
                             f"{name} {labels} after an upgrade")
            check_eq(a.req("ping"), "ok", "the connection lives")


@test("a repair of the table is counted", rules=["N12"])
def repairs():
    with CrashServer(["--http-port", "auto"]) as server:
        port = int(server.wait_log(r" serving HTTP .*address=\S*:(\d+)$")[1])
        with Web(("127.0.0.1", port)) as web, Client(server) as c:
            before = Scrape(web.get("/metrics").data.decode())
            server.board.arm("SHARED_COMMIT", BEFORE, role=WORKER)
            token_of(c.req("l", "k", "0"))
            after = eventually(lambda: changed(before, Scrape(web.get("/metrics").data.decode()),
                                               "dflockd_shard_repairs_total"), 30,
                               "a repair is counted")
            check_eq(after.get("dflockd_shards_quarantined"), 0, "parts beyond repair")


@test("a call that fails, or a death, costs a scrape a number, or its connection; the next has all",
      rules=["N1"])
def torn():
    with CrashServer(["--http-port", "auto"]) as server:
        port = int(server.wait_log(r" serving HTTP .*address=\S*:(\d+)$")[1])
        with Web(("127.0.0.1", port)) as web:
            server.board.arm("HTTP_MEMORY", action=FAIL, error=errors("EBADF"))
            got = Scrape(web.get("/metrics").data.decode())
            check(("dflockd_region_bytes", (("state", "used"),)) not in got.samples, "not known")
            check(got.get("dflockd_region_bytes", state="reserved") > 0, "all else")
            server.board.arm("HTTP_MEMORY")
            # The client of this test asks again when its connection is gone.
            got = Scrape(eventually(lambda: got_metrics(web), 30, "a scrape").data.decode())
            check(got.get("dflockd_region_bytes", state="used") > 0, "known")
            server.wait_log("worker died", 20)


@test("reloads are counted, good and bad", rules=["N12"])
def reloads():
    path = os.path.join(temp_dir(), "conf")

    def write(text):
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)

    write("max_locks = 100\n")
    with WebServer(["--config", path], expect_log=["reload", "configuration"]) as server:
        check_eq(scrape(server).get("dflockd_max_locks"), 100, "the setting")
        with Change(server) as c:
            write("max_locks = 90\n")
            server.kill(signal.SIGHUP)
            server.wait_log(r" reload proc=master result=done", 30)
            since = server.mark()
            write("max_locks = nonsense\n")
            server.kill(signal.SIGHUP)
            server.wait_log(r" reload proc=master result=.*refused", 30, since)
        c.comes(1, "dflockd_config_reloads_total", result="ok")
        c.expect(1, "dflockd_config_reloads_total", result="error")
        check_eq(c.after.get("dflockd_max_locks"), 90, "the setting")


@test("ready and uptime say what they mean", rules=["N13"])
def readiness():
    with WebServer() as server:
        with Client(server) as a:
            token_of(a.req("l", "k", "0 60"))
            got = scrape(server)
            with server.web() as web:
                web.get("/ready").expect(200)
            check_eq((got.get("dflockd_ready"), got.get("dflockd_fence_persistence_failing")),
                     (1, 0), "a server that serves")
            eventually(lambda: scrape(server).get("dflockd_uptime_seconds") >
                       got.get("dflockd_uptime_seconds") >= 0, 20, "time goes by")
            eventually(lambda: scrape(server).get("process_cpu_seconds_total") >
                       got.get("process_cpu_seconds_total"), 20, "and some of the processor's")
            with server.web() as web:
                web.get("/health").expect(200)
                server.kill(signal.SIGTERM)
                server.wait_log("drain", 20)
                eventually(lambda: Scrape(web.get("/metrics").data.decode())
                           .get("dflockd_ready") == 0, 20, "it drains")
                web.get("/ready").expect(503)
            a.close()
            server.exited()


if __name__ == "__main__":
    main()
