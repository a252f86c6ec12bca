#!/usr/bin/env python3
"""http_checks_test.py - what is looked at before a request of HTTP is served, in which order, on every
route of the locks; what keeps a session, and what counts against the caps."""

import os
import re
import signal
import subprocess

from harness import (check, check_eq, elapsed, eventually, in_threads, is_free, json_of, main,
                     temp_file, test, token_of)
from web import Session, WebServer

# A session that holds something keeps a server that drains: not for long here. And clients of the line
# protocol may be silent while the test is kept busy.
PATIENT = ["--shutdown-timeout", "1", "--read-timeout", "300"]
UNKNOWN = "0123456789abcdef0123456789abcdef"
SECRET = "correct horse"
TOKEN = b'{"token":"00000000000000000000000000000000"}'

# What follows the key: a body that is right, one with a field that is not, and what comes of the right one
# when the session has done nothing yet.
LOCKS = {
    "": (b'{"acquire_timeout_s":0}', b'{"acquire_timeout_s":-1}', (200, None)),
    "/release": (TOKEN, b'{"token":""}', (404, "not_held")),
    "/renew": (TOKEN, b'{"token":"x","lease_ttl_s":"1"}', (404, "not_held")),
    "/enqueue": (b"{}", b'{"lease_ttl_s":1.0}', (200, None)),
    "/wait": (b'{"timeout_s":0}', b'{"timeout_s":9223372037}', (409, "not_enqueued")),
}
SEMAPHORES = {
    **LOCKS,
    "": (b'{"limit":1}', b'{"limit":0}', (200, None)),
    "/enqueue": (b'{"limit":1}', b"{}", (200, None)),
}
ROUTES = ([("/v1/locks/", *x) for x in LOCKS.items()] +
          [("/v1/semaphores/", *x) for x in SEMAPHORES.items()])


def refused(reply, status, code, detail=""):
    reply.expect(status, code)
    check(detail in reply.json.get("detail", ""), f"{reply!r}, not about {detail!r}")


def metric(server, name, labels="", **options):
    """The sum of its samples whose labels match."""
    with server.web(**options) as web:
        text = web.get("/metrics", {"Authorization": f"Bearer {SECRET}"}).data.decode()
    return sum(float(x) for x in re.findall(rf"^{name}(?:{{.*{labels}.*}})? (\S+)$", text, re.M))


@test("on every route of the locks: key, session's header, session, body, fields, the operation",
      rules=["J2", "H17"])
def each_route():
    with WebServer(PATIENT) as server:
        web = server.web()
        for i, (kind, what, (good, bad_field, (status, code))) in enumerate(ROUTES):
            with server.session() as session:
                mine = {"X-Dflockd-Session": session.id}
                path, no_key = f"{kind}key-{i}{what}", f"{kind}a%20b{what}"
                for headers in ({}, {"X-Dflockd-Session": UNKNOWN}, mine):
                    refused(web.post(no_key, b"nonsense", headers), 400, "bad_request", "the key")
                for body in (b"nonsense", bad_field, good):
                    refused(web.post(path, body), 400, "bad_request", "X-Dflockd-Session")
                    for id in (UNKNOWN, "x", UNKNOWN.upper()):
                        refused(web.post(path, body, {"X-Dflockd-Session": id}), 410, "session_gone")
                refused(web.post(path, b"nonsense", mine), 400, "bad_request", "JSON")
                refused(web.post(path, b'{"token":0,"token":0}', mine), 400, "bad_request", "twice")
                web.post(path, bad_field, mine).expect(400, "bad_request")
                web.post(path, good, mine).expect(status, code)
                session.end().expect(204)


@test("a session that ends while a request of it is on its way is gone for it", rules=["J2", "J5"])
def gone_meanwhile():
    with WebServer(PATIENT) as server:
        for kind, what, (good, bad_field, _) in ROUTES:
            for body in (good, bad_field, b"nonsense"):
                with server.session() as session:
                    raw = server.raw()
                    raw.send(f"POST {kind}key{what} HTTP/1.1\r\nHost: x\r\n"
                             f"X-Dflockd-Session: {session.id}\r\n"
                             f"Content-Length: {len(body)}\r\n\r\n")
                    raw.send(body[:-1])
                    session.ping().expect(204)
                    session.end().expect(204)
                    raw.send(body[-1:])
                    refused(raw.reply(), 410, "session_gone")
                    raw.close()


@test("what waits for its turn when its session ends hears that it is gone", rules=["J5", "J13"])
def gone_in_line():
    with WebServer(PATIENT) as server:
        holder, look = server.client(), server.client()
        token_of(holder.req("l", "busy", "0 1000"))
        session = server.session()
        first = Session(server, id=session.id)
        first.ask("POST", "/v1/locks/busy", {"acquire_timeout_s": 1000})
        eventually(lambda: json_of(look.req("show", "busy", "lock"))["waiters"] == 1, 20, "it waits")
        line = []
        for kind, what, (good, _, _) in ROUTES:
            if what not in ("/release", "/renew"):
                line.append(Session(server, id=session.id))
                line[-1].ask("POST", f"{kind}key{what}", good)
        for _ in range(10):  # what was asked before has been read then
            session.ping().expect(204)
        session.end().expect(204)
        for waiter in [first, *line]:
            waiter.answer().expect(410, "session_gone")


@test("a session is idle from the end of its last request, not from its beginning", rules=["J3"],
      deadline=60)
def idle_from_the_end():
    with WebServer(PATIENT + ["--http-session-idle-timeout", "2"]) as server:
        holder, look, session = server.client(), server.client(), server.session()
        token_of(holder.req("l", "busy", "0 1000"))
        session.token("held", lease=1000)
        began = elapsed()
        got = session.acquire("busy", 5).expect(200)
        check_eq(got["status"], "timeout", "the long poll, longer than a session may be idle")
        # The end is at 5 s or later, and 4 s more are allowed.
        eventually(lambda: is_free(look, "held"), 30, "the session ends")
        check(began() >= 9, f"the session ended {began():.2f} s after the poll began")
        session.ping().expect(410, "session_gone")


@test("when both caps are reached it is the one of all sessions that is named", rules=["J4"])
def both_caps():
    with WebServer(PATIENT + ["--http-max-sessions", "2", "--http-max-sessions-per-ip", "1"]) as server:
        one, other = server.web(), server.web(source="127.0.0.2")
        one.post("/v1/sessions").expect(200)
        one.post("/v1/sessions").expect(503, "max_sessions_per_ip")
        other.post("/v1/sessions").expect(200)
        for web in (one, other):
            web.post("/v1/sessions").expect(503, "max_sessions")
        server.web(source="127.0.0.3").post("/v1/sessions").expect(503, "max_sessions")


@test("an idle session is given back to its address's cap, as one that is ended", rules=["J4", "J3"])
def cap_after_idle():
    args = ["--http-max-sessions-per-ip", "3", "--http-session-idle-timeout", "2"]
    with WebServer(PATIENT + args) as server:
        web, other = server.web(), server.web(source="127.0.0.2")
        for _ in range(2):
            made = []

            def full():
                reply = web.post("/v1/sessions")
                if reply.status == 200:  # one of before may have ended meanwhile
                    made.append(reply.json["session_id"])
                return reply.code == "max_sessions_per_ip"

            eventually(full, 20, "no more than three")
            check(len(made) >= 3, f"{len(made)} at least")
            for id in made:  # some by DELETE, whoever asks; those that have ended already may be 410
                if id < "8":
                    check(other.delete(f"/v1/sessions/{id}").status in (204, 410), "the end")
            eventually(lambda: metric(server, "dflockd_http_sessions") == 0, 20, "all have ended")


@test("who makes sessions is known still when the process that serves HTTP is another, whatever the cap",
      rules=["J4", "J17"])
def cap_after_death():
    config = temp_file("http_max_sessions_per_ip = 4\n")
    with WebServer(PATIENT + ["--config", config], expect_log=["worker died", "worker hangs"]) as server:
        web, other = server.web(), server.web(source="127.0.0.2")
        ids = [web.post("/v1/sessions").expect(200)["session_id"] for _ in range(4)]
        server.http_dies()
        web.close()
        other.close()
        web.post("/v1/sessions").expect(503, "max_sessions_per_ip")
        web.delete(f"/v1/sessions/{ids.pop()}").expect(204)
        ids.append(web.post("/v1/sessions").expect(200)["session_id"])
        web.post("/v1/sessions").expect(503, "max_sessions_per_ip")
        with open(config, "w", encoding="utf-8") as f:
            f.write("http_max_sessions_per_ip = 2\n")
        since = server.mark()
        server.kill(signal.SIGHUP)
        server.wait_log("reload .*result=done", 20, since)
        server.http_dies()
        web.close()
        for _ in range(2):  # none of them was forgotten: two must end before there is room
            web.post("/v1/sessions").expect(503, "max_sessions_per_ip")
            web.delete(f"/v1/sessions/{ids.pop(0)}").expect(204)
        web.post("/v1/sessions").expect(503, "max_sessions_per_ip")
        other.delete(f"/v1/sessions/{ids.pop(0)}").expect(204)
        web.post("/v1/sessions").expect(200)
        web.post("/v1/sessions").expect(503, "max_sessions_per_ip")


@test("a preflight counts neither in the metrics nor for the rate; the rate is looked at before the token",
      rules=["H11", "H13", "N7"])
def before_the_rate():
    page = "https://page.example"
    secret = temp_file(SECRET + "\n")
    os.chmod(secret, 0o600)
    with WebServer(["--http-cors-allowed-origins", page, "--auth-token-file", secret,
                    "--http-rate-limit-per-ip", "1", "--http-rate-limit-burst", "20"]) as server:
        counted = lambda what: metric(server, "dflockd_http_requests_total", what, source="127.0.0.2")
        preflight = [("Origin", page), ("Access-Control-Request-Method", "POST")]
        raw = server.raw()
        for _ in range(50):  # more than the bucket has
            raw.ask_http("OPTIONS", "/v1/locks/x", preflight)
            check_eq(raw.reply().status, 204, "a preflight")
        check_eq(counted('method="OPTIONS"'), 0, "preflights that are counted")
        for _ in range(60):
            raw.ask_http("GET", "/v1/stats", [("Origin", page)])
        replies = [raw.reply(timeout=60) for _ in range(60)]
        check_eq({x.status for x in replies}, {401, 429}, "without a token")
        check_eq([x.status for x in replies[:20]], [401] * 20, "the bucket was full")
        refused = sum(x.status == 429 for x in replies)
        for x in replies:
            check_eq(x.headers.get("access-control-allow-origin"), page, "the page may read why")
        check_eq(counted('path="/v1/stats",status="429"'), refused, "those above the rate")
        check_eq(metric(server, "dflockd_auth_failures_total", source="127.0.0.2"), 60 - refused,
                 "who is above the rate is not asked for a token")
        raw.ask_http("OPTIONS", "/v1/locks/x", [("Authorization", f"Bearer {SECRET}")])
        check(raw.reply().status in (204, 429), "OPTIONS that is no preflight")
        check_eq(counted('method="OPTIONS"'), 1, "it is counted")


@test("the time of a request is counted in seconds, of a long poll with its wait", rules=["N7"])
def durations():
    with WebServer(PATIENT) as server:
        holder, session = server.client(), server.session()
        token_of(holder.req("l", "busy", "0 1000"))

        def total(what):
            return metric(server, f"dflockd_http_request_duration_seconds_{what}",
                          'path="/v1/locks/{key}"')

        check_eq((total("sum"), total("count")), (0, 0), "before")
        took, want = elapsed(), 0
        for seconds in (1, 2):
            check_eq(session.acquire("busy", seconds).expect(200)["status"], "timeout", "a poll")
            want += seconds
            sum_, most = total("sum"), took()
            check(want <= sum_ <= most, f"{want} s, {most} s at most: {sum_} s counted")
        check_eq(total("count"), 2, "requests")


@test("ids of sessions are random in each of their 128 bits, none is there twice", rules=["J1"])
def ids():
    n = 2000
    with WebServer(["--shutdown-timeout", "1"]) as server:
        def some(i):
            with server.web() as web:
                return [web.post("/v1/sessions").expect(200)["session_id"] for _ in range(n // 4)]

        found = [int(id, 16) for some_ids in in_threads(some, range(4)) for id in some_ids]
        check_eq(len(set(found)), n, "different ids")
        # The deviation is 22; 180 is met once in 10^15 runs.
        set_ = [sum(id >> bit & 1 for id in found) for bit in range(128)]
        check(all(abs(x - n / 2) < 180 for x in set_), f"how often each bit is set: {set_}")
        # Nor does one say anything of the next, or of its slot's last.
        for step in (1, 2, 4, 16):
            same = [sum((a ^ b) >> bit & 1 for a, b in zip(found, found[step:])) for bit in range(128)]
            check(all(abs(x - n / 2) < 200 for x in same), f"how often each bit changes: {same}")
        with server.web() as web:
            last = None
            for _ in range(300):  # all in one slot
                id = int(web.post("/v1/sessions").expect(200)["session_id"], 16)
                check(last is None or 20 < bin(id ^ last).count("1") < 108, f"{id:x} after {last}")
                last = id
                web.delete(f"/v1/sessions/{id:032x}").expect(204)


@test("an error of the server's own is 500 `internal`, without a word about what it was", rules=["H15"])
def internal():
    with WebServer(PATIENT, expect_log=["worker died", "worker hangs", "damaged",
                                       "a request cannot be answered"]) as server:
        session, look = server.session(), server.client()
        token = session.token("key", lease=1000)
        region = server.wait_log(r" region_fd=(\d+)")[1]
        tool = os.path.join(os.environ["top_builddir"], "tests/crash/scribble")
        while not server.logged("beyond repair"):
            # A process that did not run for a while may have put it right by chance: once more then.
            subprocess.run([tool, f"/proc/{server.pid}/fd/{region}", "holder", "key"], check=True,
                           timeout=60, stdout=subprocess.DEVNULL)
            since, waiting = server.mark(), elapsed()
            os.kill(server.worker_pids()[0], signal.SIGSEGV)  # the heir looks at all there is
            server.wait_log("took over", 30, since)
            eventually(lambda: server.logged("beyond repair") or waiting() > 5, 20)
        body = {"": {}, "/release": {"token": token}, "/renew": {"token": token}, "/enqueue": {},
                "/wait": {}}
        for what in body:
            reply = session.post("/v1/locks/key" + what, body[what])
            check_eq((reply.status, reply.data), (500, b'{"error":"internal"}\n'), what)
        # One in 64 shares its fate.
        check(any(session.acquire(f"other-{i}").status == 200 for i in range(20)), "other keys")
        check_eq(look.req("ping"), "ok", "the line protocol")


if __name__ == "__main__":
    main()
