#!/usr/bin/env python3
"""http_locks_test.py - locks and semaphores by HTTP: each answer of each operation, and one table, one
queue, one order of fences with the line protocol."""

import os
import re
import resource as resource_limits
import signal

from harness import (check, check_eq, elapsed, eventually, fence_of, in_threads, json_of, main,
                     poll_in, shown, temp_dir, test, token_of)
from web import Session, WebServer, path_of

# A session that holds something keeps a server that drains: not for long here. And clients of the line
# protocol may be silent while the test is kept busy.
PATIENT = ["--shutdown-timeout", "1", "--read-timeout", "300"]
NO_TOKEN = "0" * 32


def serve(*args, **options):
    return WebServer(PATIENT + list(args), **options)


def resource(client, key):
    stats = json_of(client.req("stats"))
    found = [x for x in stats["locks"] + stats["semaphores"] if x["key"] == key]
    return found[0] if found else None


def waiters(client, key):
    found = resource(client, key)
    return found["waiters"] if found else 0


def both_kinds(function):
    """function(server, kind): kind of a lock, and of a semaphore of one slot."""
    with serve() as server:
        in_threads(lambda sem: function(server, {"sem": sem} if sem else {}), (None, 1))


@test("a free lock or slot is granted at once, with a token and the lease", rules=["J7"])
def granted():
    def run(server, kind):
        s = server.session()
        for lease, want in ((None, 33), (0, 33), (7, 7), (9223372036, 9223372036)):
            key = f"key-{lease}"
            got = s.acquire(key, 0, lease, **kind)
            token = got.expect(200)["token"]
            check_eq(got.data.decode(),
                     f'{{"status":"ok","token":"{token}","lease_ttl_s":{want}}}\n', "the answer")
            check(re.fullmatch("[0-9a-f]{32}", token), f"a token: {shown(token)}")
            got = s.release(key, token, **kind)
            check_eq((got.status, got.data), (204, b""), "the release")
            s.release(key, token, **kind).expect(404, "not_held")

    both_kinds(run)


@test("a busy one: timeout, at once when it is 0, not before its time else", rules=["J7", "J14"])
def timeouts():
    def run(server, kind):
        holder, s = server.session(), server.session()
        tcp = server.client()
        key = "busy-sem" if kind else "busy-lock"
        holder.token(key, lease=1000, **kind)
        check_eq(s.acquire(key, 0, **kind).data, b'{"status":"timeout"}\n', "a try")
        took = elapsed()
        check_eq(s.acquire(key, 2, **kind).data, b'{"status":"timeout"}\n', "the answer")
        check(took() >= 2, f"it ended after {took():.3f} s")
        check_eq(waiters(tcp, key), 0, "who waits after the timeout")

    both_kinds(run)


@test("renew: what is left; a shorter lease ends earlier; the default", rules=["J8"])
def renewed():
    def run(server, kind):
        s, other = server.session(), server.session()
        key = "key-sem" if kind else "key-lock"
        token = s.token(key, lease=1000, **kind)
        check_eq(other.renew(key, token, 2000, **kind).data, b'{"remaining_s":2000}\n', "a renewal")
        check_eq(other.renew(key, token, **kind).expect(200), {"remaining_s": 33}, "the default")
        check_eq(s.renew(key, token, 1, **kind).expect(200), {"remaining_s": 1}, "a shorter one")
        got = other.acquire(key, 30, **kind).expect(200)
        check_eq(got["status"], "ok", "who waited")
        s.renew(key, token, 9, **kind).expect(404, "not_held")
        s.release(key, token, **kind).expect(404, "not_held")
        other.release(key, got["token"], **kind).expect(204)

    both_kinds(run)


@test("release and renew work from any session and by TCP, and nothing else than the token counts",
      rules=["J8"])
def any_session():
    with serve() as server:
        a, b, tcp = server.session(), server.session(), server.client()
        token = a.token("key", lease=1000)
        for wrong in (NO_TOKEN, "x", "y" * 256, token[:-1] + ("0" if token[-1] != "0" else "1"),
                      token.upper() if token.upper() != token else "Z" * 32):
            b.release("key", wrong).expect(404, "not_held")
            b.renew("key", wrong).expect(404, "not_held")
        b.release("other key", token).expect(400)  # a blank
        b.release("other", token).expect(404, "not_held")
        b.release("key", token, sem=1).expect(404, "not_held")
        check_eq(tcp.req("n", "key", token + " 500"), "ok 500", "a renewal by TCP")
        b.renew("key", token, 600).expect(200)
        check_eq(tcp.req("r", "key", token), "ok", "a release by TCP")
        got = token_of(tcp.req("l", "key", "0"))
        b.release("key", got).expect(204)
        check_eq(tcp.req("r", "key", got), "error", "a second release")


@test("a lease longer than allowed is refused with 400", rules=["J9"])
def max_lease():
    with serve("--max-lease-ttl", "100", "--default-lease-ttl", "50") as server:
        s = server.session()
        for kind in ({}, {"sem": 2}):
            got = s.acquire("key", 0, 101, **kind)
            check("100" in got.expect(400, "bad_request")["detail"], repr(got))
            s.enqueue("key", 101, **kind).expect(400, "bad_request")
            got = s.acquire("key", 0, 100, **kind).expect(200)
            check_eq(got["lease_ttl_s"], 100, "the lease")
            s.renew("key", got["token"], 101, **kind).expect(400, "bad_request")
            s.renew("key", got["token"], 100, **kind).expect(200)
            s.release("key", got["token"], **kind).expect(204)


@test("a semaphore has as many holders as its limit, which is fixed", rules=["J10"])
def semaphores():
    with serve() as server:
        s, tcp = server.session(), server.client()
        tokens = [s.token("sem", sem=3) for _ in range(3)]
        check_eq(s.acquire("sem", 0, sem=3).expect(200), {"status": "timeout"}, "a fourth")
        for what in (lambda: s.acquire("sem", 0, sem=4), lambda: s.enqueue("sem", sem=2)):
            what().expect(409, "limit_mismatch")
        check_eq(tcp.req("sl", "sem", "0 5"), "error_limit_mismatch", "by TCP")
        token_of(tcp.req("sl", "other", "0 1048576"))
        s.acquire("other", 0, sem=1048576).expect(200)
        for token in tokens:
            s.release("sem", token, sem=3).expect(204)
        for limit in (0, 1048577, -1, None):
            s.post("/v1/semaphores/new", {"acquire_timeout_s": 0, "limit": limit}).expect(
                400, "bad_request")


@test("the limits of the table: max_locks, max_waiters", rules=["J10"])
def limits():
    with serve("--max-locks", "2", "--max-waiters", "1") as server:
        s, tcp, look = server.session(), server.client(), server.client()
        tokens = [s.token(f"key-{i}", lease=1000) for i in range(2)]
        s.acquire("new", 0).expect(503, "max_locks")
        s.enqueue("new").expect(503, "max_locks")
        s.acquire("new", 0, sem=2).expect(503, "max_locks")
        tcp.ask("l", "key-0", "1000")
        eventually(lambda: waiters(look, "key-0") == 1, 20, "the waiter")
        s.acquire("key-0", 5).expect(503, "max_waiters")
        s.acquire("key-0", 0).expect(503, "max_waiters")
        s.enqueue("key-0").expect(503, "max_waiters")
        s.release("key-1", tokens[1]).expect(204)
        s.acquire("new", 0).expect(200)


@test("keys of all bytes are the same keys as by TCP", rules=["J11"])
def keys():
    with serve() as server:
        s, tcp = server.session(), server.client()
        for key in (b"a/b", b"%2F", b"/", b"?#&=", b"\xff\x00\x01", "schlüssel".encode(), b"k" * 256,
                    b"..", b".", b"release", b"%"):
            token = s.token(key)
            check_eq(tcp.req("l", key, "0"), "timeout", f"{key!r} by TCP")
            check_eq(tcp.req("r", key, token), "ok", f"the release of {key!r}")
        for key in (b"", b" ", b"a b", b"a\n", b"k" * 257):
            s.post("/v1/locks/" + path_of(key), {"acquire_timeout_s": 0}).expect(400, "bad_request")


@test("TCP clients and sessions stand in one queue, in the order in which they came; fences grow",
      rules=["J11"])
def one_queue():
    with serve(workers=4) as server:
        look, n = server.client(), 6
        for sem in (None, 1):
            kind, words = ({"sem": 1}, ("sl", "sr", " 1")) if sem else ({}, ("l", "r", ""))
            first = server.session()
            token = first.token("queue", lease=1000, **kind)
            fences, line = [fence_of(token)], []
            for i in range(n):
                if i % 3 == 2:  # two of one and one of the other
                    who = server.client()
                    who.ask(words[0], "queue", "1000" + words[2])
                else:
                    who = server.session()
                    body = {"acquire_timeout_s": 1000, **({"limit": 1} if sem else {})}
                    who.ask("POST", f"/v1/{'semaphores' if sem else 'locks'}/queue", body)
                line.append(who)
                eventually(lambda: waiters(look, "queue") == i + 1, 20, "the next in line")
            first.release("queue", token, **kind).expect(204)
            for i, who in enumerate(line):
                if isinstance(who, Session):
                    got = who.answer().expect(200)
                    check_eq(got["status"], "ok", "the grant")
                    token = got["token"]
                    release = lambda: who.release("queue", token, **kind).expect(204)
                else:
                    token = token_of(who.line())
                    release = lambda: check_eq(who.req(words[1], "queue", token), "ok", "release")
                fences.append(fence_of(token))
                check_eq(resource(look, "queue")["waiters"] if not sem else waiters(look, "queue"),
                         n - 1 - i, "who waits still")
                release()
            check_eq(fences, sorted(set(fences)), "fences in the order of grants")


@test("never two holders at once, over both protocols", rules=["J11"], deadline=120)
def exclusion():
    with serve(workers=2) as server:
        inside, wrong, fences = [0], [], []

        def critical(fence):
            inside[0] += 1
            if inside[0] != 1:
                wrong.append(fence)
            fences.append(fence)
            inside[0] -= 1

        def by_http(_):
            s = server.session()
            for _ in range(40):
                token = s.token("shared", 100)
                critical(fence_of(token))
                s.release("shared", token).expect(204)

        def by_tcp(_):
            c = server.client(timeout=60)
            for _ in range(40):
                token = token_of(c.req("l", "shared", "100"))
                critical(fence_of(token))
                check_eq(c.req("r", "shared", token), "ok", "release")

        in_threads(lambda f: f(None), [by_http, by_tcp] * 4)
        check_eq(wrong, [], "fences of who was not alone")
        check_eq(fences, sorted(set(fences)), "fences in the order of grants")
        check_eq(len(fences), 320, "grants")


def fence_writer(server):
    for pid in server.members():
        with open(f"/proc/{pid}/comm") as f:
            if f.read().strip() == "dflockd-fences":
                return pid
    return None


def serve_with_file():
    return serve("--fence-state-file", os.path.join(temp_dir(), "fences"),
                 expect_log=["the fence state file fails", "disk does not answer"])


@test("while the state file fails: 503 fence_persistence for grants and renewals, releases go on",
      rules=["J21"], deadline=60)
def fences_fail():
    with serve_with_file() as server:
        a, b, tcp = server.session(), server.session(), server.client()
        token = a.token("held", lease=30)
        b.ask("POST", "/v1/locks/held", {"acquire_timeout_s": 100, "lease_ttl_s": 10})
        eventually(lambda: waiters(tcp, "held") == 1, 20, "the waiter")
        writer = eventually(lambda: fence_writer(server), 20, "the fence writer")
        soft, hard = resource_limits.prlimit(writer, resource_limits.RLIMIT_FSIZE)
        resource_limits.prlimit(writer, resource_limits.RLIMIT_FSIZE, (0, hard))
        a.acquire("long", 0, 5000).expect(503, "fence_persistence")
        a.acquire("long", 30, 5000).expect(503, "fence_persistence")
        a.enqueue("long", 5000).expect(503, "fence_persistence")
        a.renew("held", token, 5000).expect(503, "fence_persistence")
        a.renew("held", token, 20).expect(200)
        a.release("held", token).expect(204)
        check_eq(b.answer().expect(200)["status"], "ok", "a lease that is on disk already")
        resource_limits.prlimit(writer, resource_limits.RLIMIT_FSIZE, (soft, hard))
        eventually(lambda: a.acquire("long", 0, 5000).status == 200, 30, "a grant again")


@test("grants and renewals that must be written down wait for the disk", rules=["J21"], deadline=60)
def fences_wait():
    with serve_with_file() as server:
        a, b, c = server.session(), server.session(), server.session()
        token = a.token("held", lease=30)
        renewer = Session(server, id=a.id)
        writer = eventually(lambda: fence_writer(server), 20, "the fence writer")
        os.kill(writer, signal.SIGSTOP)
        try:
            b.ask("POST", "/v1/locks/long", {"acquire_timeout_s": 0, "lease_ttl_s": 5000})
            c.ask("POST", "/v1/locks/other/enqueue", {"lease_ttl_s": 5000})
            renewer.ask("POST", "/v1/locks/held/renew", {"token": token, "lease_ttl_s": 5000})
            a.renew("held", token, 20).expect(200)  # on disk already
            a.token("quick", lease=10)
            check(not any(poll_in(x.sock, 0) for x in (b, c, renewer)), "an answer came too early")
        finally:
            os.kill(writer, signal.SIGCONT)
        for x, want in ((b, "ok"), (c, "acquired")):
            check_eq(x.answer().expect(200)["status"], want, "the answer")
        check_eq(renewer.answer().expect(200), {"remaining_s": 5000}, "the renewal")
        check_eq(server.logged("refused"), [], "nothing was refused")


if __name__ == "__main__":
    main()
