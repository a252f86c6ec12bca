#!/usr/bin/env python3
"""http_midway_test.py - the process that serves HTTP is killed in the middle of a request, of each route,
before and after what it changes is committed: what its client can find out, and do, afterwards."""

import http.client
import json
import os
import signal

from harness import BRIEF, check, check_eq, eventually, json_of, main, signal_process, test, token_of
from points import HANG, HTTP, CrashServer
from web import Session, WebServer

PATIENT = ["--shutdown-timeout", "1", "--read-timeout", "300"]
DIES = ["worker died", "worker hangs"]
GONE = (ConnectionError, http.client.HTTPException)

# Where it is killed, and whether what the request changes has been done then.
PLACES = {"SHARED_LOCKED": False, "SHARED_COMMIT": False, "SHARED_COMMITTED": True, "SHARED_UNLOCKED": True}
if BRIEF:
    PLACES = {"SHARED_COMMIT": False, "SHARED_COMMITTED": True}


class CrashWebServer(WebServer, CrashServer):
    """One that dies where a test says."""


def cut(session, action):
    """It is asked, and there is no answer."""
    try:
        got = action()
    except GONE:
        session.close()
        return
    check(False, f"it was answered: {got!r}")


def shown(look, key, kind):
    reply = look.req("show", key, "sem" if kind else "lock")
    return json_of(reply) if reply.startswith("ok {") else {"holders": [], "waiters": 0}


class Case:
    """One request that is cut: .kind is {} for a lock, {"sem": 1} for a semaphore."""

    def __init__(self, server, look, place, what, kind):
        self.server, self.look, self.place, self.kind = server, look, place, kind
        self.key = f"{what}-{place}-{len(kind)}"
        self.session = server.session()
        self.done = PLACES[place]

    def dies(self, action):
        since, pid, fired = self.server.mark(), self.server.http_pid(), self.server.board.fired
        self.server.board.arm(self.place, role=HTTP)
        cut(self.session, lambda: action(self.session))
        check_eq(self.server.board.fired, fired + 1, "it died at its place")
        self.server.wait_log("took over .*proc=http", 20, since)
        check(self.server.http_pid() != pid, "another process serves")
        self.session.ping().expect(204)

    def holders(self):
        return len(shown(self.look, self.key, self.kind)["holders"])

    def is_free(self):
        """For others, too."""
        other = self.server.session()
        token = other.token(self.key, **self.kind)
        other.release(self.key, token, **self.kind).expect(204)
        other.end().expect(204)

    def taken_by_line(self):
        """By the line protocol. What it returns releases it."""
        take, give, how = ("sl", "sr", "0 1 1000") if self.kind else ("l", "r", "0 1000")
        token = token_of(self.look.req(take, self.key, how))
        return lambda: check_eq(self.look.req(give, self.key, token), "ok", "the release")

    # Each: asks, is cut, and finds out.

    def acquire(self):
        self.dies(lambda s: s.acquire(self.key, 0, 1000, **self.kind))
        check_eq(self.holders(), int(self.done), "holders")
        got = self.session.acquire(self.key, 0, 1000, **self.kind).expect(200)
        # Done: it is held by a token that nobody was told. The session's end gives it back.
        check_eq(got["status"], "timeout" if self.done else "ok", "asked again")
        self.session.end().expect(204)

    def release(self):
        token = self.session.token(self.key, lease=1000, **self.kind)
        self.dies(lambda s: s.release(self.key, token, **self.kind))
        check_eq(self.holders(), int(not self.done), "holders")
        got = self.session.release(self.key, token, **self.kind)
        got.expect(*((404, "not_held") if self.done else (204,)))
        self.session.end().expect(204)

    def renew(self):
        token = self.session.token(self.key, lease=100, **self.kind)
        self.dies(lambda s: s.renew(self.key, token, 1000, **self.kind))
        left = shown(self.look, self.key, self.kind)["holders"][0]["lease_expires_in_s"]
        check((left > 500) == self.done, f"{left} s are left")
        self.session.renew(self.key, token, 1000, **self.kind).expect(200)
        self.session.release(self.key, token, **self.kind).expect(204)
        self.session.end().expect(204)

    def enqueue(self):
        self.dies(lambda s: s.enqueue(self.key, 1000, **self.kind))
        check_eq(self.holders(), int(self.done), "holders")
        got = self.session.enqueue(self.key, 1000, **self.kind)
        if self.done:  # the wait tells the token
            got.expect(409, "already_enqueued")
        else:
            check_eq(got.expect(200)["status"], "acquired", "asked again")
        got = self.session.wait(self.key, 0, **self.kind).expect(200)
        check_eq(got["status"], "ok", "the wait")
        self.session.release(self.key, got["token"], **self.kind).expect(204)
        self.session.end().expect(204)

    def wait(self):
        token = self.session.enqueue(self.key, 1000, **self.kind).expect(200)["token"]
        self.dies(lambda s: s.wait(self.key, 10, **self.kind))
        check_eq(self.holders(), 1, "holders")
        got = self.session.wait(self.key, 0, **self.kind)
        if self.done:
            got.expect(409, "not_enqueued")
        else:
            check_eq(got.expect(200)["token"], token, "asked again")
        self.session.release(self.key, token, **self.kind).expect(204)
        self.session.end().expect(204)

    def blocked_acquire(self):
        give_back = self.taken_by_line()
        self.dies(lambda s: s.acquire(self.key, 100, 1000, **self.kind))
        check_eq(shown(self.look, self.key, self.kind)["waiters"], 0, "nobody waits whom nobody could tell")
        check_eq(self.session.acquire(self.key, 0, **self.kind).expect(200)["status"], "timeout", "again")
        give_back()
        self.session.end().expect(204)

    def blocked_wait(self):
        give_back = self.taken_by_line()
        check_eq(self.session.enqueue(self.key, 1000, **self.kind).expect(200)["status"], "queued", "enqueue")
        self.dies(lambda s: s.wait(self.key, 100, **self.kind))
        check_eq(shown(self.look, self.key, self.kind)["waiters"], 1, "its place is kept")
        give_back()
        got = self.session.wait(self.key, 20, **self.kind).expect(200)
        check_eq(got["status"], "ok", "asked again")
        self.session.release(self.key, got["token"], **self.kind).expect(204)
        self.session.end().expect(204)

    def delete(self):
        self.session.token(self.key, lease=1000, **self.kind)
        server, since, fired = self.server, self.server.mark(), self.server.board.fired
        server.board.arm(self.place, role=HTTP)
        cut(self.session, self.session.end)
        check_eq(server.board.fired, fired + 1, "it died at its place")
        server.wait_log("took over .*proc=http", 20, since)
        # It had begun: it is ended by the heir.
        eventually(lambda: self.session.ping().status == 410, 20, "the session ends")


def operations(kind):
    with CrashWebServer([*PATIENT, "--max-locks", "1000"], workers=1, expect_log=DIES) as server:
        look, kept, waiter = server.client(), server.client(), server.client()
        token = token_of(kept.req("l", "kept", "0 1000"))
        waiter.ask("l", "kept", "1000")
        for place in PLACES:
            for what in ("acquire", "release", "renew", "enqueue", "wait", "blocked_acquire", "blocked_wait",
                         "delete"):
                case = Case(server, look, place, what, kind)
                getattr(case, what)()
                case.is_free()
        # The line protocol has noticed nothing.
        check_eq(kept.req("n", "kept", token + " 900"), "ok 900", "a renewal")
        check_eq(kept.req("r", "kept", token), "ok", "a release")
        token_of(waiter.line())


@test("it is killed in the middle of each operation on locks, before and after the commit: the session "
      "lives, and its client finds out and goes on", rules=["J17"], deadline=240)
def locks():
    operations({})


@test("the same with semaphores", rules=["J17"], deadline=240)
def semaphores():
    operations({"sem": 1})


@test("who leaves when its grant is on the way, and nobody can know yet, hears of none: it passes on",
      rules=["J15", "H9"], deadline=120)
def leaves_meanwhile():
    with CrashWebServer(PATIENT, workers=1, expect_log=DIES) as server:
        tcp, behind, look = server.client(), server.client(), server.client()
        session = server.session()
        for how in ("reset", "close", "half_close"):
            for what in ("", "/wait"):
                token, fired = token_of(tcp.req("l", "key", "0 1000")), server.board.fired
                if what:
                    check_eq(session.enqueue("key", 1000).expect(200)["status"], "queued", "an enqueue")
                raw = server.raw()
                raw.ask_http("POST", f"/v1/locks/key{what}", [("X-Dflockd-Session", session.id)],
                             b'{"timeout_s":1000}' if what else
                             b'{"acquire_timeout_s":1000,"lease_ttl_s":1000}')
                for _ in range(10):  # what was asked before has been read when later requests are answered
                    session.ping().expect(204)
                eventually(lambda: shown(look, "key", {})["waiters"] == 1, 20, "it waits")
                behind.ask("l", "key", "1000 1000")
                eventually(lambda: shown(look, "key", {})["waiters"] == 2, 20, "another waits")
                pid = server.http_pid()
                # It stands still when it has looked who has left, and is about to deliver.
                server.board.arm("SHARED_LOCKED", action=HANG, role=HTTP)
                check_eq(tcp.req("r", "key", token), "ok", "the release")
                eventually(lambda: server.board.fired > fired, 20, "it delivers")
                getattr(raw, how)()
                signal_process(pid, signal.SIGCONT)
                check_eq(behind.req("r", "key", token_of(behind.line())), "ok", "the one behind")
                eventually(lambda: new_ping(session), 20, "the session lives")


def new_ping(session):
    """It may have stood still for so long that it was replaced."""
    try:
        return session.ping().status == 204
    except GONE:
        session.close()
        return False


@test("it is killed while requests of every route have come and are not served: each is cut, nothing has "
      "changed, and asked again it is as if asked for the first time", rules=["J17"], deadline=120)
def unserved():
    with WebServer(PATIENT, expect_log=DIES) as server:
        tcp, session, other = server.client(), server.session(), server.session()
        tokens = {key: session.token(key, lease=1000) for key in ("renew", "release")}
        semaphores = {key: session.token(key, lease=1000, sem=2) for key in ("renew", "release")}
        for sem in (None, 1):
            check_eq(session.enqueue("wait", 1000, sem=sem).expect(200)["status"], "acquired", "an enqueue")
        held = token_of(tcp.req("l", "tcp", "0 1000"))
        routes = [("GET", path, None, 200) for path in (
            "/health", "/ready", "/metrics", "/v1/openapi.json", "/v1/stats", "/v1/resources",
            "/v1/resources/lock/renew", "/")]
        routes += [("POST", "/v1/sessions", None, 200), ("POST", f"/v1/sessions/{session.id}/ping", None, 204),
                   ("DELETE", f"/v1/sessions/{other.id}", None, 204)]
        for kind, known, more in (("locks", tokens, {}), ("semaphores", semaphores, {"limit": 2})):
            routes += [("POST", f"/v1/{kind}/acquire", {"acquire_timeout_s": 0, **more}, 200),
                       ("POST", f"/v1/{kind}/release/release", {"token": known["release"]}, 204),
                       ("POST", f"/v1/{kind}/renew/renew", {"token": known["renew"]}, 200),
                       ("POST", f"/v1/{kind}/enqueue/enqueue", more, 200),
                       ("POST", f"/v1/{kind}/wait/wait", {"timeout_s": 0}, 200)]
        clients = [Session(server, id=session.id) for _ in routes]
        for client in clients:  # all have connections that are accepted
            client.get("/health").expect(200)
        pid, since = server.http_pid(), server.mark()
        os.kill(pid, signal.SIGSTOP)
        for client, (method, path, body, _) in zip(clients, routes):
            client.ask(method, path, body)
        os.kill(pid, signal.SIGKILL)
        server.wait_log("took over .*proc=http", 20, since)
        for client, route in zip(clients, routes):
            cut(client, client.answer)
        for client, (method, path, body, status) in zip(clients, routes):
            got = client.request(method, path, body)
            check_eq(got.status, status, f"{method} {path}: {got!r}")
            if path.endswith(("acquire", "/wait", "/enqueue")):
                check(json.loads(got.data)["status"] in ("ok", "acquired"), f"{path}: {got!r}")
        check_eq(tcp.req("r", "tcp", held), "ok", "the line protocol")


if __name__ == "__main__":
    main()
