#!/usr/bin/env python3
"""http_fuzz_test.py - clients that ask all there is to ask in any order, in any pieces, cut off, with
nonsense between, and leave in any way, over plain text and over TLS: the same processes serve on, and
nothing remains of them."""

import json
import os
import random
import re
import socket
import ssl
import threading
import time

from certs import client_context, server_certificate
from harness import BRIEF, check, check_eq, diag, eventually, in_threads, json_of, main, test
from web import WebServer

SECONDS = 4 if BRIEF else 8
KEYS = 4
LOOKS = ["/", "/?limit=1&sort=key", "/?open=lock/k1", "/v1/stats", "/v1/resources?limit=2", "/metrics",
         "/v1/resources/lock/k1", "/v1/resources/sem/k2", "/ready", "/health", "/v1/openapi.json"]
WHOLE = [b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
         b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
         b"POST /v1/locks/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
         b"GET / HTTP/1.0\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n\r\n",
         b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", b"GET http://h/v1/stats HTTP/1.1\r\nHost: x\r\n\r\n",
         b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n",
         b"POST /v1/locks/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
         b"POST /v1/locks/a HTTP/1.1\r\nHost: x\r\nExpect: foo\r\nContent-Length: 2\r\n\r\n{}",
         b"X" * 20000, b"GET /a%zz HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
         b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n" + b"a" * 2000000,
         b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
         b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"]
BODIES = [b"", b"{", b"[]", b'{"a":1}', b'{"acquire_timeout_s":1.0}', b'{"lease_ttl_s":' + b"9" * 300 + b"}",
          b"[" * 3000, b'{"acquire_timeout_s":1\x00}', b'{"token":"\xff"}']


class Known:
    """What has been answered to anybody."""

    def __init__(self):
        self.lock, self.sessions, self.tokens, self.statuses = threading.Lock(), [], [], {}

    def learn(self, data):
        with self.lock:
            for piece in data.split(b'{"session_id":"')[1:]:
                self.sessions.append(piece[:32].decode("ascii", "replace"))
            for piece in data.split(b'"token":"')[1:]:
                self.tokens = (self.tokens + [piece[:32].decode("ascii", "replace")])[-20:]
            for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", data):
                self.statuses[status] = self.statuses.get(status, 0) + 1


def ask(method, path, body=None, session=None):
    body = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    named = f"X-Dflockd-Session: {session}\r\n" if session else ""
    return (f"{method} {path} HTTP/1.1\r\nHost: x\r\n{named}Content-Length: {len(body)}\r\n\r\n".encode() +
            body)


def request(rng, known):
    with known.lock:
        session = rng.choice(known.sessions[-25:]) if known.sessions and rng.random() < .97 else "0" * 32
        token = rng.choice(known.tokens or ["z"])
    kind = rng.choice(["locks", "semaphores"])
    key, limit = f"/v1/{kind}/k{rng.randrange(KEYS)}", {"limit": 2} if kind == "semaphores" else {}
    x = rng.random()
    if x < .35:
        return ask("POST", key, {"acquire_timeout_s": rng.choice([0, 1, 1, 5]),
                                 "lease_ttl_s": rng.choice([1, 1, 2]), **limit}, session)
    if x < .50:
        return ask("POST", key + "/enqueue", {"lease_ttl_s": 1, **limit}, session)
    if x < .65:
        return ask("POST", key + "/wait", {"timeout_s": rng.choice([0, 1, 3])}, session)
    if x < .75:
        return ask("POST", key + rng.choice(["/release", "/renew"]), {"token": token}, session)
    if x < .765:
        return ask("DELETE", f"/v1/sessions/{session}")
    if x < .84:
        return ask("POST", "/v1/sessions")
    if x < .87:
        return ask("POST", f"/v1/sessions/{session}/ping")
    if x < .92:
        return ask("GET", rng.choice(LOOKS))
    if x < .95:
        return rng.choice(WHOLE)
    if x < .96:
        return rng.randbytes(rng.randrange(1, 300))
    return ask("POST", key, rng.choice(BODIES), session)


def bytes_of(rng, known):
    data = bytearray(b"".join(request(rng, known) for _ in range(rng.choice([1, 1, 1, 2, 5]))))
    if rng.random() < .1:
        del data[rng.randrange(len(data)):]
    if rng.random() < .1 and data:
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def one_connection(rng, known, sock):
    sock.settimeout(rng.choice([.01, .1, .5]))
    for _ in range(rng.randrange(1, 6)):
        data = bytes_of(rng, known)
        while data:
            n = len(data) if rng.random() < .8 else rng.randrange(1, len(data) + 1)
            sock.sendall(data[:n])
            data = data[n:]
        if rng.random() < .25:
            return
        if rng.random() < .05:
            sock.shutdown(socket.SHUT_WR)
        try:
            data = sock.recv(100000)
        except TimeoutError:
            continue
        if not data:
            return
        known.learn(data)


def by_http(server, context, seed, known, until):
    rng = random.Random(seed)
    while time.monotonic() < until:
        try:
            sock = socket.create_connection(("127.0.0.1", server.http_port), 10)
            with (context.wrap_socket(sock, server_hostname="localhost") if context else sock) as s:
                one_connection(rng, known, s)
                if rng.random() < .3:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        except (OSError, ssl.SSLError):
            time.sleep(.01)  # the server has ended it, which is its good right


def by_line(server, context, seed, until):
    """The line protocol wants the same keys, and each reply is as it must be."""
    rng = random.Random(seed)
    with server.client(tls=context, timeout=60) as client:
        while time.monotonic() < until:
            key = f"k{rng.randrange(KEYS)}"
            reply = client.req("l", key, "1 1").split()
            check(reply[0] in ("ok", "timeout"), f"{reply}")
            if reply[0] == "ok":
                check(client.req("r", key, reply[1]) in ("ok", "error"), "the release")


def fuzz(args, context):
    seed = int(os.environ.get("DFLOCKD_TEST_SEED", time.time()))
    diag(f"DFLOCKD_TEST_SEED={seed}")
    # The end of `with` fails when any process has died or written of an error.
    with WebServer(["--shutdown-timeout", "1", "--read-timeout", "60", "--http-session-idle-timeout", "30",
                    *args]) as server:
        options = {"tls": context} if context else {}
        known, until = Known(), time.monotonic() + SECONDS
        kept = server.session(**options)
        token = kept.token("kept", lease=1000)
        in_threads(lambda f: f(),
                   [lambda i=i: by_http(server, context, seed * 1000 + i, known, until) for i in range(24)] +
                   [lambda i=i: by_line(server, context, seed * 1000 + i, until) for i in range(2)])
        diag(f"{len(known.sessions)} sessions; answers: " +
             ", ".join(f"{k.decode()}: {v}" for k, v in sorted(known.statuses.items())))
        check(b"500" not in known.statuses, "an error of the server's own")
        with server.web(**options) as web:
            check_eq(web.get("/health").expect(200), {"status": "ok"}, "/health")
            for id in set(known.sessions):
                check(web.delete(f"/v1/sessions/{id}").status in (204, 400, 410), "the end of a session")
        kept.renew("kept", token, 500).expect(200)
        kept.release("kept", token).expect(204)
        kept.end().expect(204)
        with server.client(**options) as look:
            def all_free():
                stats = json_of(look.req("stats"))
                return all(x["waiters"] == 0 and not x.get("owner_conn_id") and not x.get("holders")
                           for x in stats["locks"] + stats["semaphores"])

            eventually(all_free, 30, "something of them remains")


@test("whatever is asked in whatever order and pieces, the same processes serve on, and nothing remains",
      rules=["H18", "J5"], deadline=180)
def plain():
    fuzz([], None)


@test("the same over TLS", rules=["H18", "J5"], deadline=180, needs=["tls"])
def over_tls():
    fuzz(server_certificate().args, client_context())


if __name__ == "__main__":
    main()
