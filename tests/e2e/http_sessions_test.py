#!/usr/bin/env python3
"""http_sessions_test.py - sessions of HTTP: how they begin, what keeps them, how they end."""

import http.client
import os
import re
import signal

from harness import (check, check_eq, elapsed, eventually, in_threads, is_free, json_of, main,
                     poll_in, signal_process, temp_file, test, token_of, waiters)
from points import HANG, HTTP, CrashServer
from web import Session, WebServer

# A session that holds something keeps a server that drains: not for long here. And clients of the line
# protocol may be silent while the test is kept busy.
PATIENT = ["--shutdown-timeout", "1", "--read-timeout", "300"]
UNKNOWN = "0123456789abcdef0123456789abcdef"
BAD_IDS = ("", "x", UNKNOWN[:-1], UNKNOWN + "0", UNKNOWN.upper(), UNKNOWN[:-1] + "g",
           "%00" * 32, UNKNOWN[:-1] + " ")


@test("a session begins, is kept and ends", rules=["J1"])
def life():
    with WebServer(PATIENT + ["--http-session-idle-timeout", "7"]) as server:
        web = server.web()
        ids = set()
        for body in (None, b"", b"{}", {"anything": 1}, b"no JSON"):  # the body is ignored
            got = web.post("/v1/sessions", body)
            check_eq(got.data.decode(), '{"session_id":"%s","idle_timeout_s":7}\n' %
                     got.expect(200)["session_id"], "the answer")
            check(re.fullmatch(r"[0-9a-f]{32}", got.json["session_id"]), "the form of an id")
            ids.add(got.json["session_id"])
        check_eq(len(ids), 5, "different ids")
        for id in ids:
            for _ in range(2):
                got = web.post(f"/v1/sessions/{id}/ping")
                check_eq((got.status, got.data), (204, b""), "a ping")
            got = web.delete(f"/v1/sessions/{id}")
            check_eq((got.status, got.data), (204, b""), "the end")
            web.delete(f"/v1/sessions/{id}").expect(410, "session_gone")
            web.post(f"/v1/sessions/{id}/ping").expect(410, "session_gone")


@test("an id that is unknown is 410, one that is none is 400", rules=["J1"])
def strange_ids():
    with WebServer(PATIENT) as server:
        web = server.web()
        web.session()
        web.delete(f"/v1/sessions/{UNKNOWN}").expect(410, "session_gone")
        web.post(f"/v1/sessions/{UNKNOWN}/ping").expect(410, "session_gone")
        web.delete(f"/v1/sessions/{'0' * 32}").expect(410, "session_gone")
        for id in BAD_IDS:
            path = id.replace(" ", "%20")
            web.post(f"/v1/sessions/{path}/ping").expect(400, "bad_request")
            web.delete(f"/v1/sessions/{path}").expect(400, "bad_request")


@test("checks in their order: key, header, session, body, fields", rules=["J2"])
def order_of_checks():
    with WebServer(PATIENT) as server:
        with_session, without = server.session(), server.web()
        gone = server.session()
        gone.end().expect(204)
        long_key, good, bad = "k" * 257, {"acquire_timeout_s": 0}, {"acquire_timeout_s": "10"}
        for session, header in ((without, None), (gone, gone.id), (with_session, with_session.id)):
            got = session.post(f"/v1/locks/{long_key}", bad)
            check("key" in got.expect(400, "bad_request")["detail"], f"{got!r}, with {header}")
        got = without.post("/v1/locks/k", bad)
        check("X-Dflockd-Session" in got.expect(400, "bad_request")["detail"], repr(got))
        gone.post("/v1/locks/k", bad).expect(410, "session_gone")
        for id in BAD_IDS[1:5]:
            without.post("/v1/locks/k", good, {"X-Dflockd-Session": id}).expect(410,
                                                                               "session_gone")
        with_session.post("/v1/locks/k", bad).expect(400, "bad_request")
        with_session.post("/v1/locks/k", good).expect(200)


@test("a session outlives its connections and serves several at once", rules=["J6"])
def many_connections():
    with WebServer(PATIENT) as server:
        first = server.session()
        token = first.token("key")
        first.close()
        first.renew("key", token).expect(200)  # by another connection
        others = [Session(server, id=first.id) for _ in range(8)]
        in_threads(lambda i: others[i].token(f"key-{i}"), range(8))
        others[3].release("key", token).expect(204)


@test("an idle session ends after twice its timeout, its locks are passed on", rules=["J3"])
def idle():
    with WebServer(PATIENT + ["--http-session-idle-timeout", "3"]) as server:
        tcp = server.client()
        idle, busy = server.session(), server.session()
        took, pinged, worst = elapsed(), elapsed(), 0
        idle.token("idle", lease=1000)
        while not is_free(tcp, "idle"):
            check(took() < 25, "the idle session's lock is not free")
            last, pinged = pinged, elapsed()
            got = busy.ping()
            worst = max(worst, last())
            if got.status == 410:  # legal only if this test was kept from asking for so long
                break
        check(took() >= 6, f"it ended after {took():.3f} s")
        check(worst >= 6 or got.status == 204, "a session that is not idle has ended")
        eventually(lambda: is_free(tcp, "idle"), 20, "the lock is free")
        idle.ping().expect(410, "session_gone")


@test("a request in flight keeps a session; 0 is never", rules=["J3"], deadline=60)
def not_idle():
    def in_flight():
        with WebServer(PATIENT + ["--http-session-idle-timeout", "1"]) as server:
            holder, waiter = server.client(), server.session()
            token = token_of(holder.req("l", "key", "0 1000"))
            server.session().token("probe", lease=1000)
            waiter.ask("POST", "/v1/locks/key", {"acquire_timeout_s": 1000})
            eventually(lambda: began() > 5 and is_free(holder, "probe"), 25, "another one ends")
            check_eq(waiters(holder, "key"), 1, "who waits")
            check_eq(holder.req("r", "key", token), "ok", "the release")
            got = waiter.answer().expect(200)
            waiter.release("key", got["token"]).expect(204)

    def never():
        with WebServer(PATIENT + ["--http-session-idle-timeout", "0"]) as server:
            s = server.session()
            eventually(lambda: began() > 5, 20)
            s.ping().expect(204)

    began = elapsed()
    in_threads(lambda f: f(), (in_flight, never))


@test("time in which the server did not run counts for no session", rules=["J3"])
def not_run():
    with WebServer(PATIENT + ["--http-session-idle-timeout", "1"],
                   expect_log=["worker died", "worker hangs"]) as server:
        pid = server.http_pid()
        s, since, ran = server.session(), server.mark(), elapsed()
        eventually(lambda: ran() > 1, 20)
        signal_process(pid, signal.SIGSTOP)
        before, stopped = ran(), elapsed()
        eventually(lambda: stopped() > 1.4, 20)
        ran = elapsed()
        signal_process(pid, signal.SIGCONT)  # or it stood still for so long that it was replaced
        server.wait_log("did not run for a while .*proc=http|took over .*proc=http", 20, since)
        got = s.ping()
        check(got.status == 204 or before + ran() >= 2, f"{got!r}")


@test("as many sessions as there may be, in all and of an address", rules=["J4"])
def caps():
    with WebServer(PATIENT + ["--http-max-sessions", "5"]) as server:
        web = server.web()
        sessions = [server.session() for _ in range(5)]
        web.post("/v1/sessions").expect(503, "max_sessions")
        sessions[2].end().expect(204)
        sessions[2] = server.session()
        web.post("/v1/sessions").expect(503, "max_sessions")
        for s in sessions:
            s.ping().expect(204)
    with WebServer(PATIENT + ["--http-max-sessions-per-ip", "2"]) as server:
        one, other = server.web(source="127.0.0.1"), server.web(source="127.0.0.9")
        ids = [one.post("/v1/sessions").expect(200)["session_id"] for _ in range(2)]
        for _ in range(3):
            one.post("/v1/sessions").expect(503, "max_sessions_per_ip")
        for _ in range(2):
            other.post("/v1/sessions").expect(200)
        other.post("/v1/sessions").expect(503, "max_sessions_per_ip")
        other.delete(f"/v1/sessions/{ids[0]}").expect(204)  # whoever ends it
        one.post("/v1/sessions").expect(200)
        one.post("/v1/sessions").expect(503, "max_sessions_per_ip")


@test("--http-max-sessions is raised by a reload as far as there is room: the log says, and so does the "
      "answer, when it was meant to be more", rules=["J4"], deadline=240)
def room():
    room = 16384
    config = temp_file("http_max_sessions = 5\n")
    with WebServer(PATIENT + ["--config", config, "--http-session-idle-timeout", "0"]) as server:
        web = server.web()
        for _ in range(5):
            web.post("/v1/sessions").expect(200)
        got = web.post("/v1/sessions").expect(503, "max_sessions")
        check_eq(got["detail"], "end sessions, or raise --http-max-sessions (5)", "of the setting")
        with open(config, "w", encoding="utf-8") as f:
            f.write("http_max_sessions = 20000\n")
        since = server.mark()
        server.kill(signal.SIGHUP)
        server.wait_log(f"more sessions than there is room for .*asked=20000 allowed={room}", 20, since)
        server.wait_log(" reload proc=master result=done", 20, since)
        eventually(lambda: web.post("/v1/sessions").status == 200, 20, "the new setting")

        made = server.stats()["connections"]
        raw = server.raw()
        while made < room:
            n = min(128, room - made)
            for _ in range(n):
                raw.ask_http("POST", "/v1/sessions")
            for _ in range(n):
                raw.reply(timeout=60).expect(200)
            made += n
        got = web.post("/v1/sessions").expect(503, "max_sessions")
        check_eq(got["detail"], f"end sessions: there is room for {room}; a larger --http-max-sessions "
                 "needs a restart", "of the room")


@test("DELETE ends waits with 410, and what the session held is another's before the 204",
      rules=["J5"])
def delete_releases():
    with WebServer(PATIENT) as server:
        tcp, session = server.client(), server.session()
        session.token("held", lease=1000)
        check_eq(session.enqueue("queued").expect(200)["status"], "acquired", "an enqueue")
        token_of(tcp.req("l", "busy", "0 1000"))
        polls = [Session(server, id=session.id) for _ in range(3)]
        for p in polls:  # one blocks, the others stand behind it
            p.ask("POST", "/v1/locks/busy", {"acquire_timeout_s": 1000})
        eventually(lambda: waiters(tcp, "busy") == 1, 20, "the wait")
        session.end().expect(204)
        for key in ("held", "queued"):
            check(is_free(tcp, key), f"{key} is not free")
        check_eq(waiters(tcp, "busy"), 0, "who waits")
        for p in polls:
            p.answer().expect(410, "session_gone")


class CrashWebServer(WebServer, CrashServer):
    """One that stands still where a test says."""


@test("a session that owns very much ends in several steps, and DELETE is answered after the last",
      rules=["J5"], deadline=120)
def delete_many():
    with CrashWebServer([*PATIENT, "--max-locks", "10000"]) as server:
        session, other, n = server.session(), server.session(), 2600
        tcp, pid = server.client(), server.http_pid()
        other.token("other", lease=1000)
        for i in range(n):
            session.token(f"key-{i}", lease=1000)
        since = server.mark()
        server.board.arm("CONN_LEAVE", nth=2400, action=HANG, role=HTTP)
        session.ask("DELETE", f"/v1/sessions/{session.id}")
        eventually(lambda: server.board.fired == 1, 20, "it is in the middle")
        check(not poll_in(session.sock, 0.3), "DELETE was answered too early")
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass
        try:
            session.answer().expect(204)
        except (ConnectionError, http.client.HTTPException):
            server.wait_log("took over .*proc=http", 20, since)  # it stood still for too long
        eventually(lambda: sum(x["owner_conn_id"] != 0 for x in
                               json_of(tcp.req("stats"))["locks"]) == 1, 20, "locks that are held")


@test("without auto-release what a session held stays to the end of its lease", rules=["J5"])
def no_auto_release():
    with WebServer(PATIENT + ["--auto-release-on-disconnect=false"]) as server:
        tcp, session = server.client(), server.session()
        token = session.token("key", lease=1000)
        session.enqueue("key").expect(200)
        session.end().expect(204)
        check_eq(waiters(tcp, "key"), 0, "its place in the queue")
        check(not is_free(tcp, "key"), "it was released")
        check_eq(tcp.req("r", "key", token), "ok", "a release by its token")


@test("a session has a connection id that no other has had", rules=["J1"])
def ids():
    with WebServer(PATIENT) as server:
        seen = []
        for i in range(20):
            session, tcp = server.session(), server.client()
            session.token(f"s-{i}")
            token_of(tcp.req("l", f"t-{i}", "0"))
            stats = json_of(tcp.req("stats"))
            seen += [x["owner_conn_id"] for x in stats["locks"] if x["key"] in (f"s-{i}", f"t-{i}")]
            if i % 2:
                session.end().expect(204)
        check_eq(len(set(seen)), 40, f"different ids in {seen}")


if __name__ == "__main__":
    main()
