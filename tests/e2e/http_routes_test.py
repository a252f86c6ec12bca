"""http_routes_test.py - docs/rules.md, "HTTP: connections": paths, keys, bodies, what is refused how."""

import os
import random
import signal
import time

from certs import client_context, server_certificate
from harness import (BRIEF, SANITIZED, check, check_eq, diag, eventually, in_threads, main, shown,
                     temp_file, test)
from points import CrashServer
from web import WebServer

METHODS = ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH", "TRACE", "BREW"]
ID = "0" * 32
ROUTES = {
    "/health": "GET", "/ready": "GET", "/metrics": "GET", "/v1/openapi.json": "GET",
    "/v1/stats": "GET", "/v1/resources": "GET", "/v1/resources/kind/x": "GET", "/": "GET",
    "/v1/sessions": "POST", f"/v1/sessions/{ID}": "DELETE", f"/v1/sessions/{ID}/ping": "POST",
    **{f"/v1/{kind}/x{operation}": "POST" for kind in ("locks", "semaphores")
       for operation in ("", "/release", "/renew", "/enqueue", "/wait")},
}
BODIES = {
    "/v1/locks/key": b'{"acquire_timeout_s":0}',
    "/v1/locks/key/release": b'{"token":"x"}',
    "/v1/locks/key/renew": b'{"token":"x"}',
    "/v1/locks/key/enqueue": b"{}",
    "/v1/locks/key/wait": b'{"timeout_s":0}',
    "/v1/semaphores/key": b'{"acquire_timeout_s":0,"limit":2}',
    "/v1/semaphores/key/enqueue": b'{"limit":2}',
}


def no_key(key):
    """The line protocol's rule: 1 to 256 bytes, none of them white space."""
    return not 1 <= len(key) <= 256 or any(b in b" \t\n\r" for b in key)


@test("each path has its methods: others are 405 with Allow, other paths 404, all in JSON",
      rules=["H6", "H15"])
def methods():
    with WebServer() as server:
        web = server.web()
        for path, takes in ROUTES.items():
            allow = {takes, "OPTIONS"} | ({"HEAD"} if takes == "GET" else set())
            for method in METHODS:
                reply = web.request(method, path)
                if method == "OPTIONS":
                    check_eq(reply.status, 204, f"{method} {path}")
                elif method in allow:
                    there = {"/v1/resources/lock/x": 404}.get(path)  # the route is, no such lock
                    check(reply.status == there or reply.status not in (404, 405, 501),
                          f"{method} {path}: {reply!r}")
                    continue
                elif method == "HEAD":
                    check_eq(reply.status, 405, f"{method} {path}")
                else:
                    reply.expect(405, "method_not_allowed")
                    check(reply.data.endswith(b"}\n"), repr(reply))
                check_eq(set(reply.headers["allow"].split(", ")), allow, f"Allow of {path}")
        for path in ["/nothing", "/health/", "/Health", "//health", "/v1", "/v1/", "/v1/locks",
                     "/v1/locks/x/y", "/v1/locks/x/release/", "/v1/locks/x/release/y", "/v2/stats",
                     "/v1/resources/lock", "/healthz", "/" + "a/" * 50, "/%", "/%zz",
                     "/health%00", "/..", "/../health", "/./health"]:
            reply = web.post(path)
            reply.expect(404, "not_found")
            check_eq((reply.headers["content-type"], reply.headers["x-content-type-options"]),
                     ("application/json", "nosniff"), path)
        for path in ["/%68ealth", "/health?", "/health?x=%zz&y", "/health#x"]:
            web.get(path).expect(200)


@test("a key is one segment of the path, percent-encoded: every byte, %2F too", rules=["H16"])
def keys():
    with WebServer() as server:
        session = server.session()
        line = server.client()
        every = [bytes([b]) for b in range(256)] + [b"k" + bytes([b]) + b"/%" for b in range(256)]
        for key in every + [b"a" * 256, b"a" * 257, b"", "ключ/鍵".encode(), b"\xff" * 256]:
            reply = session.acquire(key)
            if no_key(key):
                reply.expect(400, "bad_request")
                continue
            token = reply.expect(200)["token"]
            check_eq(line.req("l", key, "0"), "timeout", f"the same key: {shown(key)}")
            session.release(key, token).expect(204)
        for path in ["/v1/locks/a%", "/v1/locks/a%2", "/v1/locks/a%g0", "/v1/locks/a%20b",
                     "/v1/locks/a%0Ab", "/v1/locks/%0D", "/v1/locks/" + "a" * 257]:
            session.post(path, b"{}").expect(400, "bad_request")
        token = session.post("/v1/locks/a+b", b"{}").expect(200)["token"]
        check_eq(line.req("l", "a+b", "0"), "timeout", "a plus is a plus")
        session.release("a+b", token).expect(204)


@test("what is wrong is found in this order: key, session's header, session, body, fields",
      rules=["H17"])
def order():
    with WebServer() as server:
        web, session = server.web(), server.session()
        gone = {"X-Dflockd-Session": ID}
        web.post("/v1/locks/a%20b", b"nonsense").expect(400, "bad_request")
        check("X-Dflockd-Session" in web.post("/v1/locks/a", b"nonsense").expect(400)["detail"], "header")
        for id in [ID, "", "x", ID + "0", "G" * 32]:
            web.post("/v1/locks/a", b"nonsense", {"X-Dflockd-Session": id}).expect(410, "session_gone")
        session.post("/v1/locks/a", b"nonsense").expect(400, "bad_request")
        session.post("/v1/nothing", b"nonsense", gone).expect(404, "not_found")
        web.request("PUT", "/v1/locks/a", b"nonsense", gone).expect(405, "method_not_allowed")


@test("a body is one JSON object of known fields, else 400 bad_request that says why", rules=["H17"])
def bodies():
    with WebServer() as server:
        session = server.session()
        for path, good in BODIES.items():
            for bad in [b"", b" ", b"nonsense", b"[]", b"null", b"1", b'""', b"{", b"{}{}", good + b"x",
                        good + good, b"\xff" + good, good[:-1] + b',"more":1}', b'{"a":1,"a":1}',
                        b'{"token":1}', b'{"lease_ttl_s":1,"lease_ttl_s":1}', b'{"lease_ttl_s":"10"}', b'{"lease_ttl_s":10.0}',
                        b'{"lease_ttl_s":1e1}', b'{"lease_ttl_s":-1}', b'{"lease_ttl_s":true}',
                        b'{"lease_ttl_s":9223372037}', b'{"lease_ttl_s":' + b"9" * 40 + b"}",
                        b'{"limit":0}', b'{"limit":1048577}', b'{"token":""}', b'{"token":"a b"}',
                        b'{"token":"a\\nb"}', b'{"token":"a\\u0000b"}', b'{"token":"%b"}' % (b"a" * 257),
                        b"[" * 100000, b'{"a":' * 50000, b"\x00{}", b"{}\x00"]:
                reply = session.post(path, bad)
                if bad == b"" and path.endswith("locks/key/enqueue"):
                    continue  # stands for {}
                reply.expect(400, "bad_request")
                check(reply.json["detail"], f"why {bad!r}")
        token = session.post("/v1/locks/a", b' {"acquire_timeout_s" : null, "lease_ttl_s":null} \n')
        session.release("a", token.expect(200)["token"]).expect(204)
        session.post("/v1/locks/b/enqueue").expect(200)
        session.end().expect(204)


@test("what is wrong with a body is said of the field; other errors say how to go on", rules=["H17", "H28"])
def reasons():
    whole = ": a whole number is wanted, without quotes, point or exponent"
    with WebServer() as server:
        session, web = server.session(), server.web()
        for path, bad, why in (
                ("locks/a", b"", "the body is empty; {} is the least"),
                ("locks/a", b'{"acquire_timeout_s":"10"}', "acquire_timeout_s" + whole),
                ("locks/a", b'{"acquire_timeout_s":1,"lease_ttl_s":1.5}', "lease_ttl_s" + whole),
                ("locks/a/wait", b'{"timeout_s":-1}',
                 "timeout_s: a whole number from 0 to 9223372036 is wanted"),
                ("semaphores/a", b"{}", "limit is missing or 0: a whole number from 1 to 1048576 is wanted"),
                ("locks/a/release", b"{}", "token is missing: the grant said it"),
                ("locks/a/renew", b'{"token":7}', "token: a string is wanted"),
                ("locks/a/release", b'{"key":1}', "'key' is no field here; there are: token"),
                ("locks/a/release", '{"é\\n\\"<\x7f€":1}'.encode(),
                 "'é\n\"<\x7f€' is no field here; there are: token"),
                ("locks/a/release", b'{"%b":1}' % (b"a" * 1000000),
                 f"'{'a' * 64}…' is no field here; there are: token"),
                ("locks/a", b'{\n  "lease_ttl_s": 01}', "the body is not one JSON object: line 2, column 18"),
                ("locks/a", b'{"lease_ttl_s": 1', "the body ends before its JSON object does: line 1, column 17"),
                ("locks/a", b"[]", "the body is a list, and not one JSON object")):
            check_eq(session.post("/v1/" + path, bad).expect(400, "bad_request")["detail"], why, shown(bad[:99]))
        check("/v1/openapi.json" in web.get("/nothing").expect(404, "not_found")["detail"], "no route")
        check("Allow" in web.get("/v1/sessions").expect(405, "method_not_allowed")["detail"], "no method")
        for reply in (web.delete(f"/v1/sessions/{ID}"), web.post(f"/v1/sessions/{ID}/ping"),
                      web.post("/v1/locks/a", b"{}", {"X-Dflockd-Session": ID})):
            check("POST /v1/sessions" in reply.expect(410, "session_gone")["detail"], repr(reply))


@test("who asks is said once: two Authorization or X-Dflockd-Session are 400, and the connection stays",
      rules=["H27"])
def twice():
    secret = temp_file("sesame\n")
    os.chmod(secret, 0o600)
    with WebServer(["--auth-token-file", secret]) as server:
        me = ("Authorization", "Bearer sesame")
        session = server.session(headers=dict([me]))
        mine = ("X-Dflockd-Session", session.id)
        raw = server.raw()
        for headers, name in (([me, me, mine], "Authorization"), ([me, mine, mine], "X-Dflockd-Session"),
                              ([me, mine, (mine[0].upper(), ID)], "X-Dflockd-Session"),
                              ([me, (mine[0].lower(), ID), mine], "X-Dflockd-Session"),
                              ([("authorization", "Bearer wrong"), me, mine], "Authorization"),
                              ([me, ("AUTHORIZATION", ""), mine], "Authorization")):
            raw.ask_http("POST", "/v1/locks/a", headers, b"{}")
            reply = raw.reply()
            check_eq(reply.expect(400, "bad_request")["detail"], f"there is more than one {name}", headers)
            raw.ask_http("POST", "/v1/locks/a/enqueue", [me, mine])
            check_eq(raw.reply().status, 200, "once, on the same connection")
            session.end().expect(204)
            session = server.session(headers=dict([me]))
            mine = ("X-Dflockd-Session", session.id)


def hostile(rng, session):
    """Bytes that are nearly a request."""
    heads = [b"GET / HTTP/1.1", b"POST /v1/locks/k HTTP/1.1", b"GET  HTTP/1.1", b"HTTP/1.1 200 OK",
             b"DELETE /v1/sessions/%b HTTP/1.1" % os.urandom(8).hex().encode(), b"\x16\x03\x01\x02",
             b"GET /v1/resources?prefix=%ff&limit=-1 HTTP/1.1", b"CONNECT x:1 HTTP/1.1",
             b"OPTIONS * HTTP/1.1", b"GET http://[::1/ HTTP/1.1", b"PRI * HTTP/2.0"]
    lines = [b"Host: x", b"Content-Length: 5", b"Content-Length: 2", b"Transfer-Encoding: chunked",
             b"Expect: 100-continue", b"Connection: close", b"Connection: keep-alive, Upgrade",
             b"Upgrade: h2c", b"X-Dflockd-Session: " + session, b"Authorization: Basic ====",
             b"Cookie: " + b"a" * 3000, b"Origin: null", b"Range: bytes=0-", b"TE: trailers"]
    data = rng.choice(heads) + b"\r\n"
    for _ in range(rng.randrange(8)):
        data += rng.choice(lines) + b"\r\n"
    data += b"\r\n" + rng.choice([b"", b"{}", b'{"acquire_timeout_s":0}', b"5\r\n{}   \r\n0\r\n\r\n"])
    data = bytearray(data)
    for _ in range(rng.choice([0, 0, 1, 3])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


@test("whatever bytes come, the process serves on: nobody else is disturbed", rules=["H18"],
      deadline=120)
def storm():
    seed = int(os.environ.get("DFLOCKD_TEST_SEED", time.time()))
    diag(f"DFLOCKD_TEST_SEED={seed}")
    with WebServer() as server:
        pid = server.http_pid()
        session = server.session()
        token = session.token("kept", lease=600)

        def one(i):
            rng = random.Random(seed * 1000 + i)
            for _ in range(40 if BRIEF else 150):
                raw = server.raw()
                try:
                    for _ in range(rng.randrange(1, 4)):
                        raw.send(hostile(rng, session.id.encode()))
                    rng.choice([raw.close, raw.reset, raw.half_close, raw.is_closed])()
                except OSError:
                    pass  # the server has ended it before
                raw.close()

        in_threads(one, range(8))
        check_eq(server.http_pid(), pid, "the process")
        session.renew("kept", token).expect(200)
        session.release("kept", token).expect(204)
        session.end().expect(204)


class WebCrashServer(WebServer, CrashServer):
    pass


@test("what the HTTP worker needs is allowed: one that would die of a denied call does not die",
      rules=["H19"], deadline=180, needs=["tls"])
def nothing_needed_is_denied():
    for args, options in [([], {}), (server_certificate().args, {"tls": client_context()})]:
        with WebCrashServer(["--http-max-connections-per-ip", "50", "--write-timeout", "1", *args]) \
                as server:
            for _ in range(2):
                pid = server.http_pid()
                session = server.session(**options)
                token = session.token("key")
                session.renew("key", token).expect(200)
                raws = [server.raw(**options) for _ in range(5)]
                for raw in raws:
                    raw.ask_http("POST", "/v1/locks/key",
                                 [("X-Dflockd-Session", session.id), ("Expect", "100-continue")],
                                 b'{"acquire_timeout_s":600}')
                raws[0].reset()
                raws[1].half_close()
                raws[2].close()
                web = server.web(**options)
                for path in ["/health", "/ready", "/metrics", "/v1/openapi.json", "/v1/stats",
                             "/v1/resources?limit=5", "/v1/resources/lock/key", "/"]:
                    web.get(path)
                many = [server.raw() for _ in range(50)]  # some are refused
                deaf = server.raw(rcvbuf=4096)
                for raw in many:
                    raw.close()
                deaf.close()
                session.end().expect(204)
                server.kill(signal.SIGHUP)
                server.wait_log("reload", 20)
                web.get("/health").expect(200)
                check_eq(server.http_pid(), pid, "the process")
                os.kill(pid, signal.SIGKILL)
                eventually(lambda: server.http_pid() != pid, 30, "an heir")

                def serves():
                    try:
                        return server.web(**options).get("/health").status == 200
                    except (ConnectionError, OSError):
                        return False

                eventually(serves, 30, "it serves")
            with server.web(**options) as web:
                web.get("/health").expect(200)
            check(SANITIZED or not server.logged("signal=SYS"), "no call was denied")


if __name__ == "__main__":
    main()
