"""http_framing_test.py - docs/rules.md, "HTTP: connections": what is a request, and where it ends."""

import json
import os
import time

from certs import client_context, server_certificate
from harness import check, check_eq, elapsed, eventually, in_threads, main, shown, test
from web import WebServer

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD_MAX = 16384
BODY_MAX = 1 << 20


def refused(raw, request, status=400, what=""):
    """It is answered with this status and the connection ends; nothing else is served."""
    raw.send(request)
    reply = raw.reply()
    check_eq(reply.status, status, f"{what or shown(request)}: {reply!r}")
    raw.expect_close()


@test("two readers could disagree about where a request ends: 400, and the connection ends",
      rules=["H1", "H2"])
def smuggling():
    post = b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\n"
    cases = {
        "two lengths": post + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        "two different lengths": post + b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
        "a length in two numbers": post + b"Content-Length: 2, 2\r\n\r\n{}",
        "a signed length": post + b"Content-Length: +2\r\n\r\n{}",
        "a negative length": post + b"Content-Length: -2\r\n\r\n{}",
        "a hexadecimal length": post + b"Content-Length: 0x2\r\n\r\n{}",
        "an empty length": post + b"Content-Length:\r\n\r\n{}",
        "a length beside a coding": post + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
                                           b"0\r\n\r\n",
        "a coding beside a length": post + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
                                           b"0\r\n\r\n",
        "another coding": post + b"Transfer-Encoding: gzip\r\n\r\n",
        "two codings": post + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "a coding twice": post + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
                                 b"0\r\n\r\n",
        "a coding by another name": post + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "chunked in HTTP/1.0": b"POST /v1/sessions HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"
                               b"0\r\n\r\n",
        "a blank before the colon": b"GET /health HTTP/1.1\r\nHost: x\r\nX-Any : 1\r\n\r\n",
        "a length with a blank before the colon":
            post + b"Content-Length : 34\r\n\r\n" + HEALTH,
        "a folded line": b"GET /health HTTP/1.1\r\nHost: x\r\nX-Any: 1\r\n  2\r\n\r\n",
        "a coding on a folded line":
            post + b"X-Any: 1\r\n Transfer-Encoding: chunked\r\n\r\n",
        "lines that end with LF alone": b"GET /health HTTP/1.1\nHost: x\n\n",
        "one line that ends with LF alone": b"GET /health HTTP/1.1\r\nHost: x\r\nA: 1\nB: 2\r\n\r\n",
        "a CR in a line": b"GET /health HTTP/1.1\r\nHost: x\r\nA: 1\rB: 2\r\n\r\n",
        "a NUL in a value": b"GET /health HTTP/1.1\r\nHost: x\r\nA: 1\x002\r\n\r\n",
        "a NUL in a name": b"GET /health HTTP/1.1\r\nHost: x\r\nA\x00B: 1\r\n\r\n",
        "a NUL in the target": b"GET /health\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        "a control character": b"GET /health HTTP/1.1\r\nHost: x\r\nA: \x012\r\n\r\n",
        "no name": b"GET /health HTTP/1.1\r\nHost: x\r\n: 1\r\n\r\n",
        "no colon": b"GET /health HTTP/1.1\r\nHost: x\r\nAny\r\n\r\n",
        "two hosts": b"GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "no host": b"GET /health HTTP/1.1\r\n\r\n",
        "a body that HEAD has not": b"HEAD /health HTTP/1.1\r\nHost: x\r\nContent-Length: 34\r\n\r\n",
        "a body of an unknown method": b"BREW /health HTTP/1.1\r\nHost: x\r\nContent-Length: 34\r\n\r\n"
                                       + HEALTH,
        "a body of TRACE": b"TRACE /health HTTP/1.1\r\nHost: x\r\nContent-Length: 34\r\n\r\n" + HEALTH,
        "another version": b"GET /health HTTP/1.2\r\nHost: x\r\n\r\n",
        "an old version": b"GET /health HTTP/0.9\r\nHost: x\r\n\r\n",
        "a version to come": b"GET /health HTTP/2.0\r\nHost: x\r\n\r\n",
        "a tunnel": b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        "no version": b"GET /health\r\nHost: x\r\n\r\n",
        "an empty line": b"\r\n\r\n",
        "an empty line before a request": b"\r\n",
        "no HTTP at all": b"l\nkey\n0\n\r\n\r\n",
    }
    with WebServer() as server:
        other = server.web()

        def one(case):
            what, request = case
            # What follows would be a request, were it read as one.
            raw = server.raw()
            raw.send(request + HEALTH)
            reply = raw.reply(head=request.startswith(b"HEAD"))
            check_eq(reply.status, 400, f"{what}: {reply!r}")
            raw.expect_close()

        in_threads(one, cases.items())
        check_eq(other.get("/health").status, 200, "others are served")


@test("a chunked body is read, and the connection ends after its answer", rules=["H2"])
def chunked():
    with WebServer() as server:
        session = server.session()
        body = b'{"acquire_timeout_s":0}'
        for cut in [(len(body),), (1, len(body) - 1), (1,) * len(body)]:
            raw = server.raw()
            raw.send(b"POST /v1/locks/chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                     b"X-Dflockd-Session: %b\r\n\r\n" % session.id.encode())
            at = 0
            for n in cut:
                raw.send(b"%x\r\n%b\r\n" % (n, body[at:at + n]))
                at += n
            raw.send(b"0\r\n\r\n" + HEALTH)
            reply = raw.reply()
            check_eq(reply.headers.get("connection"), "close", "Connection")
            session.release("chunked", reply.expect(200)["token"]).expect(204)
            raw.expect_close()
        for size, status in ((b"2 ;a=b", 200), (b"2 ; a", 200), (b"2 ", 200), (b"2;a=b", 413), (b"2;a", 413),
                             (b"2\t;a", 413)):
            raw = server.raw()
            raw.send(b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n"
                     b"{}\r\n0\r\n\r\n" % size + HEALTH)
            check_eq(raw.reply().status, status, f"a chunk's extension: {shown(size)}")
            raw.expect_close()
        for bad in [b"x\r\n", b"-1\r\n", b"5g\r\n"]:
            raw = server.raw()
            raw.send(b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + bad)
            check(raw.reply().status in (400, 413), "a bad chunk is refused")
            raw.expect_close()


@test("requests may be pipelined, in any pieces; answers come in order", rules=["H3"])
def pipelining():
    with WebServer() as server:
        requests, want = [], []
        for i in range(60):
            if i % 3 == 2:
                body = b'{"i":%d}' % i
                requests.append(b"POST /v1/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
                                % (len(body), body))
                want.append(404)
            else:
                requests.append(HEALTH if i % 3 else HEALTH.replace(b"/health", b"/nothing"))
                want.append(200 if i % 3 else 404)
        stream = b"".join(requests)
        for size in [len(stream), 1, 7, 1000]:
            raw = server.raw()
            for at in range(0, len(stream), size):
                raw.send(stream[at:at + size])
            check_eq([raw.reply().status for _ in want], want, f"in pieces of {size}")
            raw.send(HEALTH)
            check_eq(raw.reply().status, 200, "it is kept alive")


@test("what is pipelined behind a long poll is no leave, and is served after it", rules=["H3", "H12"])
def pipelined_behind_a_wait():
    with WebServer() as server:
        holder, waiter = server.session(), server.session()
        token = holder.token("key")
        raw = server.raw()
        raw.ask_http("POST", "/v1/locks/key", [("X-Dflockd-Session", waiter.id)],
                     b'{"acquire_timeout_s":60}')
        raw.send(HEALTH * 3)
        eventually(lambda: waits(server, "key"), 10, "it waits")
        holder.release("key", token).expect(204)
        check_eq(raw.reply().expect(200)["status"], "ok", "the grant")
        check_eq([raw.reply().status for _ in range(3)], [200] * 3, "what was behind it")
        waiter.end().expect(204)


def waits(server, key):
    """Somebody waits for the key."""
    with server.client() as c:
        reply = c.req("show", key, "lock")
        return reply.startswith("ok {") and json.loads(reply[3:]).get("waiters")


@test("a head has at most 16 KiB, a body 1 MiB", rules=["H4"])
def sizes():
    with WebServer() as server:
        session = server.session()
        raw = server.raw()
        filler = b"X-Any: " + b"a" * 4000 + b"\r\n"
        raw.send(b"GET /health HTTP/1.1\r\nHost: x\r\n" + filler * 4 + b"\r\n")
        check_eq(raw.reply().status, 200, "a large head")
        for what, request in {
                "a long line": b"GET /health HTTP/1.1\r\nHost: x\r\nX-Any: " + b"a" * HEAD_MAX,
                "many lines": b"GET /health HTTP/1.1\r\nHost: x\r\n" + filler * 5,
                "a long target": b"GET /" + b"a" * 2 * HEAD_MAX,
        }.items():
            raw = server.raw()
            raw.send(request)
            check(raw.reply().status in (400, 413), what)
            raw.expect_close()
        body = b'{"acquire_timeout_s":0' + b" " * (BODY_MAX - 23) + b"}"
        check_eq(len(body), BODY_MAX, "bytes of the largest body")
        reply = session.post("/v1/locks/large", body)
        check_eq(reply.expect(200)["status"], "ok", "the largest body")
        raw = server.raw()
        raw.ask_http("POST", "/v1/sessions", (), b" " * (BODY_MAX + 1))
        check(raw.reply().status in (400, 413), "a larger one")
        raw.expect_close()
        session.end().expect(204)


@test("what is too large or no request is refused at once; who sends it hears why, though it sends on",
      rules=["H4", "H24"], deadline=120, needs=["tls"])
def refused_at_once():
    context = client_context()
    post = b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\n"
    junk = b"x" * (8 << 20)
    chunk = b"80000\r\n" + b" " * 0x80000 + b"\r\n"
    cases = {
        "a length": post + b"Content-Length: 1048577\r\n\r\n",
        "a length of ten digits": post + b"Content-Length: 9999999999\r\n\r\n",
        "a length of thirty digits": post + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
        "a length that is expected": post + b"Expect: 100-continue\r\nContent-Length: 1048577\r\n\r\n",
        "a chunk": post + b"Transfer-Encoding: chunked\r\n\r\n100001\r\n",
        "the third chunk": post + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 3,
        "a body that is sent": post + b"Content-Length: %d\r\n\r\n" % len(junk) + junk,
        "a head that is sent": b"GET /health HTTP/1.1\r\nHost: x\r\nX-Any: " + junk,
        "a target": b"GET /" + junk,
        "no HTTP": junk.replace(b"xx", b"x\n"),
        "two lengths": post + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n" + junk,
        "what comes behind the last request": post + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                                              + junk,
    }
    with WebServer(["--read-timeout", "300"]) as plain, \
         WebServer(["--read-timeout", "300"] + server_certificate().args) as secure:
        def one(case):
            what, server, options = case
            raw = server.raw(**options)
            raw.send(cases[what])
            status = raw.reply().status
            check(status == 200 if what.startswith("what") else status in (400, 413), f"{what}: {status}")
            raw.expect_close(how="fin")
            raw.close()

        for options in ({}, {"tls": context}):
            server = secure if options else plain
            in_threads(one, [(what, server, options) for what in cases])
            check_eq(server.web(**options).get("/health").status, 200, "others are served")


@test("a connection that is refused is not read for ever", rules=["H24"], deadline=120)
def lingering():
    with WebServer() as server:
        pid = server.http_pid()

        def descriptors():
            return len(os.listdir(f"/proc/{pid}/fd"))

        with server.web() as web:
            web.get("/health").expect(200)  # it has what it needs
        before = descriptors()
        raws = [server.raw() for _ in range(300)]
        for raw in raws:
            raw.send(b"no HTTP\r\n\r\n")
            check_eq(raw.reply().status, 400, "the answer")
        took = elapsed()
        eventually(lambda: descriptors() <= before + 256, 7, "more are kept than there may be")
        while True:
            try:
                raws[-1].send(b"x")
                time.sleep(0.1)
            except ConnectionError:
                break
            check(took() < 60, "it is read for ever")
        check(took() > 8, f"it is reset after {took():.1f} s")
        eventually(lambda: descriptors() <= before, 30, "they are closed")


@test("Expect: 100-continue is answered before the body is sent", rules=["H5"])
def expect_continue():
    with WebServer() as server:
        session = server.session()
        body = b'{"acquire_timeout_s":0}'
        raw = server.raw()
        raw.ask_http("POST", "/v1/locks/key", [("Expect", "100-continue"),
                                               ("Content-Length", len(body)),
                                               ("X-Dflockd-Session", session.id)])
        check_eq(raw.reply().status, 100, "before the body")
        raw.send(body + HEALTH)
        check_eq(raw.reply().expect(200)["status"], "ok", "after it")
        check_eq(raw.reply().status, 200, "the next request")
        session.end().expect(204)
        refused(server.raw(), b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nExpect: more\r\n"
                              b"Content-Length: 40\r\n\r\n" + HEALTH, 417)


@test("HTTP/1.0 has its answer and the end, or is kept alive if it asks", rules=["H5"])
def version_1_0():
    with WebServer() as server:
        raw = server.raw()
        raw.send(b"GET /health HTTP/1.0\r\n\r\n")
        check_eq(raw.reply().json, {"status": "ok"}, "the answer")
        raw.expect_close(how="fin")
        raw = server.raw()
        for _ in range(3):
            raw.send(b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            check_eq(raw.reply().json, {"status": "ok"}, "kept alive")
        raw.send(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        check_eq(raw.reply().headers["connection"], "close", "Connection")
        raw.expect_close(how="fin")


@test("HEAD has the head of GET's answer, OPTIONS says what a path takes", rules=["H5", "H6"])
def head_and_options():
    with WebServer() as server:
        raw = server.raw()
        for path in ["/health", "/nothing"]:
            raw.ask_http("GET", path)
            get = raw.reply()
            raw.ask_http("HEAD", path)
            head = raw.reply(head=True)
            check_eq(head.status, get.status, f"HEAD {path}")
            check_eq(head.headers["content-length"], str(len(get.data)), "its length")
            check_eq(head.headers["content-type"], get.headers["content-type"], "its type")
        raw.ask_http("OPTIONS", "/v1/locks/x")
        reply = raw.reply()
        check_eq((reply.status, reply.headers["allow"]), (204, "POST, OPTIONS"), "OPTIONS")
        raw.ask_http("OPTIONS", "/nothing")
        raw.reply().expect(404, "not_found")


@test("a target with a host in it is served, then the connection ends", rules=["H5"])
def absolute_form():
    with WebServer() as server:
        for target in ["http://localhost/health", "HTTPS://other:99/health?x=1", "http://u@h/health"]:
            raw = server.raw()
            raw.ask_http("GET", target)
            check_eq(raw.reply().status, 200, target)
            raw.expect_close()
        raw = server.raw()
        raw.ask_http("GET", "ftp://localhost/health")
        raw.reply().expect(400, "bad_request")
        raw.expect_close()


@test("the same over TLS: requests in any pieces, pipelined, large, closed cleanly",
      rules=["H3", "H7"], deadline=60, needs=["tls"])
def over_tls():
    with WebServer(server_certificate().args) as server:
        context = client_context()
        web = server.web(tls=context)
        check_eq(web.get("/health").status, 200, "over TLS")
        raw = server.raw(tls=context)
        for size in [1, 50, 400]:
            stream = HEALTH * 20
            for at in range(0, len(stream), size):
                raw.send(stream[at:at + size])
            check_eq([raw.reply().status for _ in range(20)], [200] * 20, f"in pieces of {size}")
        body = b'{"acquire_timeout_s":0' + b" " * (BODY_MAX - 23) + b"}"
        session = server.session(tls=context)
        for _ in range(3):
            token = session.post("/v1/locks/large", body).expect(200)["token"]
            session.release("large", token).expect(204)
        raw.ask_http("GET", "/health", [("Connection", "close")])
        check_eq(raw.reply().status, 200, "the last one")
        raw.expect_close(how="fin")
        # Not TLS at all: closed, and nobody else is disturbed.
        plain = server.raw()
        plain.send(HEALTH)
        eventually(plain.is_closed, 10, "plain text is closed")
        check_eq(web.get("/health").status, 200, "others are served")


if __name__ == "__main__":
    main()
