#!/usr/bin/env python3
"""http_twophase_test.py - enqueue and wait by HTTP: every row of the table of states and events."""

from harness import (check, check_eq, elapsed, eventually, fence_of, in_threads, main, test,
                     token_of, waiters)
from web import Session, WebServer

# A session that holds something keeps a server that drains: not for long here. And clients of the line
# protocol may be silent while the test is kept busy.
PATIENT = ["--shutdown-timeout", "1", "--read-timeout", "300"]


def both_kinds(function):
    """function(server, kind) for locks and for semaphores of one slot."""
    with WebServer(PATIENT) as server:
        in_threads(lambda sem: function(server, {"sem": sem} if sem else {}), (None, 1))


def status(reply):
    return reply.expect(200)["status"]


@test("enqueue of a free one: acquired; of a busy one: queued; again: already_enqueued",
      rules=["J12"])
def enqueue():
    def run(server, kind):
        a, b = server.session(), server.session()
        got = a.enqueue("key", 7, **kind)
        token = got.expect(200)["token"]
        check_eq(got.data.decode(),
                 f'{{"status":"acquired","token":"{token}","lease_ttl_s":7}}\n', "the answer")
        check_eq(b.enqueue("key", **kind).data, b'{"status":"queued"}\n', "the other answer")
        for s in (a, b):
            s.enqueue("key", **kind).expect(409, "already_enqueued")
        a.release("key", token, **kind).expect(204)
        check_eq(status(a.enqueue("key", **kind)), "queued", "an enqueue after the release")

    both_kinds(run)


@test("a lock's enqueue may have no body, a semaphore's must", rules=["J12"])
def bodies():
    with WebServer(PATIENT) as server:
        s = server.session()
        got = s.post("/v1/locks/key/enqueue").expect(200)
        check_eq((got["status"], got["lease_ttl_s"]), ("acquired", 33), "without a body")
        s.post("/v1/semaphores/key/enqueue").expect(400, "bad_request")
        s.post("/v1/locks/key/wait").expect(400, "bad_request")
        s.post("/v1/locks/key/enqueue", {"limit": 1}).expect(400, "bad_request")


@test("wait for what was granted: at once, the lease begins anew; then not_enqueued", rules=["J12"])
def wait_granted():
    def run(server, kind):
        s, other = server.session(), server.session()
        token = s.enqueue("key", 8, **kind).expect(200)["token"]
        began = elapsed()
        eventually(lambda: began() > 2, 20)
        got = s.wait("key", 0, **kind).expect(200)
        check_eq(got, {"status": "ok", "token": token, "lease_ttl_s": 8}, "the answer")
        s.wait("key", 0, **kind).expect(409, "not_enqueued")
        check_eq(status(other.acquire("key", 20, **kind)), "ok", "the next one")
        check(began() >= 10, f"{began():.3f} s after the enqueue")

    both_kinds(run)


@test("wait in the queue: granted by a release, with the lease of the enqueue", rules=["J12"])
def wait_queued():
    def run(server, kind):
        a, b = server.session(), server.session()
        token = a.token("key", lease=1000, **kind)
        check_eq(status(b.enqueue("key", 77, **kind)), "queued", "the enqueue")
        path = "/v1/semaphores/key/wait" if kind else "/v1/locks/key/wait"
        b.ask("POST", path, {"timeout_s": 1000})
        a.release("key", token, **kind).expect(204)
        got = b.answer().expect(200)
        check_eq((got["status"], got["lease_ttl_s"]), ("ok", 77), "the answer")
        check(fence_of(got["token"]) > fence_of(token), "its fence grows")
        b.wait("key", 0, **kind).expect(409, "not_enqueued")
        b.release("key", got["token"], **kind).expect(204)

    both_kinds(run)


@test("promoted before the wait: the wait answers at once", rules=["J12"])
def promoted():
    def run(server, kind):
        a, b, c = server.session(), server.session(), server.session()
        token = a.token("key", lease=1000, **kind)
        check_eq(status(b.enqueue("key", 50, **kind)), "queued", "the enqueue")
        a.release("key", token, **kind).expect(204)
        check_eq(status(c.acquire("key", 0, **kind)), "timeout", "it is another's")
        got = b.wait("key", 0, **kind).expect(200)
        check_eq((got["status"], got["lease_ttl_s"]), ("ok", 50), "the answer")

    both_kinds(run)


@test("a wait in vain: timeout, not too early; the place in the queue is gone", rules=["J12", "J14"])
def wait_timeout():
    def run(server, kind):
        a, b, look = server.session(), server.session(), server.client()
        key = "key-sem" if kind else "key-lock"
        a.token(key, lease=1000, **kind)
        for seconds in (0, 2):
            check_eq(status(b.enqueue(key, **kind)), "queued", "the enqueue")
            took = elapsed()
            check_eq(b.wait(key, seconds, **kind).data, b'{"status":"timeout"}\n', "the answer")
            check(took() >= seconds, f"after {took():.3f} s")
            check_eq(waiters(look, key), 0, "who waits")
            b.wait(key, seconds, **kind).expect(409, "not_enqueued")

    both_kinds(run)


@test("the lease ended before the wait: lease_expired, once", rules=["J12"])
def expired():
    def run(server, kind):
        s, other = server.session(), server.session()
        token = s.enqueue("key", 1, **kind).expect(200)["token"]
        check_eq(status(other.acquire("key", 20, **kind)), "ok", "the next one")
        s.release("key", token, **kind).expect(404, "not_held")
        s.wait("key", 5, **kind).expect(409, "lease_expired")
        s.wait("key", 5, **kind).expect(409, "not_enqueued")
        check_eq(status(s.enqueue("key", **kind)), "queued", "another enqueue")

    both_kinds(run)


@test("enqueue and wait are of one session, by whatever connection; kinds are apart", rules=["J12"])
def one_session():
    with WebServer(PATIENT) as server:
        s, other, tcp = server.session(), server.session(), server.client()
        s.enqueue("key").expect(200)
        other.wait("key", 0).expect(409, "not_enqueued")
        check_eq(tcp.req("w", "key", "0"), "error_not_enqueued", "by TCP")
        s.wait("key", 0, sem=1).expect(409, "not_enqueued")
        check_eq(status(s.enqueue("key", sem=1)), "acquired", "a semaphore of the same name")
        check_eq(status(Session(server, id=s.id).wait("key", 0)), "ok", "by another connection")
        check_eq(status(Session(server, id=s.id).wait("key", 0, sem=1)), "ok", "and the semaphore")


@test("enqueue stands in one queue with TCP's", rules=["J11", "J12"])
def one_queue():
    with WebServer(PATIENT) as server:
        a, b, tcp = server.session(), server.session(), server.client()
        token = a.token("key", lease=1000)
        check_eq(status(b.enqueue("key", 100)), "queued", "by HTTP")
        check_eq(tcp.req("e", "key", "100"), "queued", "by TCP")
        check_eq(status(a.enqueue("key", 100)), "queued", "by HTTP again")
        a.release("key", token).expect(204)
        first = b.wait("key", 20).expect(200)["token"]
        b.release("key", first).expect(204)
        second = token_of(tcp.req("w", "key", "20"))
        check_eq(tcp.req("r", "key", second), "ok", "the release")
        third = a.wait("key", 20).expect(200)["token"]
        check(fence_of(token) < fence_of(first) < fence_of(second) < fence_of(third), "fences")


if __name__ == "__main__":
    main()
