#!/usr/bin/env python3
"""http_bench_test.py - dflock-bench over HTTP: the same load, checks and report; what no dflockd answers
is an error, never a crash."""

import http.server
import json
import os
import re
import signal
import socketserver
import threading

from benchrun import bench, grants, started
from certs import authority, server_certificate
from harness import check, check_eq, eventually, json_of, main, temp_file, test
from web import WebServer

SESSION = "0123456789abcdef" * 2
TOKEN = "%016x0123456789abcdef"


def at(server):
    return f"127.0.0.1:{server.http_port}"


@test("--http makes the load by HTTP, and leaves no session behind; host:port and URLs will do",
      rules=["O3"], deadline=60)
def load():
    with WebServer() as server:
        client = server.client()
        before = grants(client)
        got = bench("--http", at(server), "--workers", 4, "--rounds", 25, "--connections", 2, "--json",
                    ).ended(0).json
        check_eq((got["http"], got["ops"], got["requests"]), (True, 100, 200), "what it has done")
        check_eq(got["check"], {"grants": 140, "queue_places": 0, "violations": 0}, "the check")
        check_eq(grants(client) - before, 141, "grants of the server")
        eventually(lambda: json_of(client.req("stats"))["connections"] == 1, 20,
                   "its sessions are still there")
        for url in (f"http://{at(server)}", f"HTTP://{at(server)}/", f"{at(server)},{at(server)}"):
            run = bench("--http", url, "--rounds", 5, env={"DFLOCK_SERVERS": "127.0.0.1:1"}).ended(0)
            check("  protocol  : HTTP\n" in run.out, run.out)
        check("protocol" not in bench("--rounds", 5, at=server).ended(0).out, "the line protocol")


@test("a shared key, an open loop, a duration and threads work by HTTP, too", rules=["O3"], deadline=90)
def kinds():
    with WebServer() as server:
        got = bench("--http", at(server), "--workers", 6, "--rounds", 40, "--shared-key", "--threads",
                    2, "--json").ended(0).json
        check_eq((got["ops"], got["check"]["violations"]), (240, 0), "a shared key")
        check(got["check"]["queue_places"] > 0, "places in the queue were compared")
        got = bench("--http", at(server), "--workers", 20, "--rate", 200, "--rounds", 5, "--json"
                    ).ended(0).json
        check_eq(got["ops"], 100, "an open loop")
        got = bench("--http", at(server), "--workers", 2, "--duration", "0.3", "--json").ended(0).json
        check(got["ops"] > 0, "a duration")


@test("https is --tls; tokens are as in all client programs", rules=["O3"], deadline=60, needs=["tls"])
def security():
    right, wrong = temp_file("hush-hush\n"), temp_file("open sesame\n")
    with WebServer([*server_certificate().args, "--auth-token-file", right],
                   expect_log=["authentication"]) as server:
        port = server.http_port
        for url, args in ((f"https://localhost:{port}", ["--tls-ca-file", authority().cert]),
                          (f"localhost:{port}", ["--tls-ca-file", authority().cert])):
            bench("--http", url, "--rounds", 5, "--auth-token-file", right, *args).ended(0)
            bench("--http", url, "--rounds", 5, "--auth-token", "hush-hush", *args).ended(0)
            for secret in (["--auth-token-file", wrong], ["--auth-token", "open sesame"], []):
                run = bench("--http", url, "--workers", 2, *secret, *args).ended(77, "unauthorized")
                check("hush" not in run.err and "sesame" not in run.err, run.err)
        bench("--http", f"https://localhost:{port}", "--workers", 2).ended(69, "certificate")
        bench("--http", f"127.0.0.1:{port}", "--workers", 2).ended(69, "may want TLS")


@test("what the server refuses is said, with what to change; the port of the line protocol is recognised",
      rules=["O3"], deadline=60)
def refusals():
    with WebServer(["--max-lease-ttl", "5", "--http-max-sessions", "3"]) as server:
        run = bench("--http", at(server), "--workers", 2).ended(1, "--max-lease-ttl")
        check(re.search(r'acquire of key \S+ at \S+: the server answered "400 ', run.err), run.err)
        bench("--http", at(server), "--workers", 9, "--lease", 5).ended(1, "max_sessions")
        bench("--http", f"127.0.0.1:{server.port}").ended(69, "is it the port of the line protocol")
    with WebServer(["--http-rate-limit-per-ip", "2", "--http-rate-limit-burst", "20"]) as server:
        bench("--http", at(server), "--workers", 2, "--rounds", 50).ended(
            1, "--http-rate-limit-per-ip, or ask less by --rate")


@test("a server that goes away in the middle ends the run with a message", rules=["O3"], deadline=150)
def server_dies():
    with WebServer(expect_log=["worker died"]) as server:
        client = server.client()
        with started("--http", at(server), "--duration", 60) as run:
            before = grants(client)
            eventually(lambda: grants(client) > before + 100, 40, "it does not begin")
            os.kill(server.http_pid(), signal.SIGKILL)
            run.wait().ended(1, r"dflock-bench: 127\.0\.0\.1:\d+: ")


class Cut(bytes):
    """The connection ends behind it."""


class Fake(socketserver.ThreadingTCPServer):
    """Answers what `answer(path, nth)` returns: bytes as they are."""
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, answer):
        self.answer, self.nth, self.lock = answer, 0, threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = "127.0.0.1:%d" % self.server_address[1]
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05},
                         daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # who asked has left

    def __exit__(self, *what):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    acquired = None

    def serve(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.lock:
            self.server.nth += 1
            data = self.server.answer(self.path, self.server.nth)
        if self.path.endswith("/wait") and self.acquired:  # what the enqueue has said
            data, self.acquired = self.acquired.replace(b"acquired", b"ok", 1), None
            data = as_json(200, json.loads(data.split(b"\r\n\r\n")[1]))
        elif self.path.endswith("/enqueue") and b"acquired" in data:
            self.acquired = data
        self.wfile.write(data)
        self.close_connection = isinstance(data, Cut)

    do_POST = do_DELETE = serve

    def log_message(self, *what):
        pass


def as_json(status, value, *headers):
    body = json.dumps(value).encode() + b"\n"
    return b"\r\n".join([b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), *headers, b"",
                         body])


NOTHING = b"HTTP/1.1 204 No Content\r\n\r\n"


def willing(path, nth):
    if path == "/v1/sessions":
        return as_json(200, {"session_id": SESSION, "idle_timeout_s": 20})
    if path.endswith("/release") or "/sessions/" in path:
        return NOTHING
    status = "acquired" if path.endswith("/enqueue") else "ok"
    return as_json(200, {"status": status, "token": TOKEN % nth, "lease_ttl_s": 10})


GRANT = {"status": "ok", "token": TOKEN % 10**6, "lease_ttl_s": 10}
BODY = json.dumps(GRANT).encode()
LENGTH = b"Content-Length: %d" % len(BODY)
# A grant but for its framing: (status line, headers)
ODD = [(b"HTTP/1.1 2000 OK", [LENGTH]),
       (b"HTTP/1.1 100 Continue", [LENGTH]),
       (b"HTTP/1.1 200 OK", []),
       (b"HTTP/1.1 200 OK", [LENGTH, LENGTH]),
       (b"HTTP/1.1 200 OK", [b"Content-Length: -1"]),
       (b"HTTP/1.1 200 OK", [b"Content-Length: " + b"9" * 20]),
       (b"HTTP/1.1 200 OK", [LENGTH, b"transfer-encoding: chunked"])]
BAD = [
    b"error\n",
    b"HTTP/2 200 OK\r\n\r\n",
    b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40000,
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}\n" + b"more",
    as_json(200, {}),
    as_json(200, []),
    as_json(200, {"status": "timely"}),
    as_json(200, {**GRANT, "token": "x"}),
    as_json(200, {**GRANT, "token": 7}),
    as_json(200, {**GRANT, "lease_ttl_s": "10"}),
    as_json(200, {**GRANT, "lease_ttl_s": -1}),
    as_json(201, GRANT),
    as_json(500, "what"),
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\xff\x00\x1b[m",
    b"HTTP/1.1 204 No Content\r\n\r\n",
]


@test("what no dflockd answers ends the run with a message", rules=["O3"], deadline=120)
def nonsense():
    for bad in BAD:
        def answer(path, nth, bad=bad):
            return bad if nth == 40 else willing(path, nth)

        with Fake(answer) as fake:
            run = bench("--http", fake.address, "--workers", 1, "--rounds", 200)
            check(run.code == 1 and run.err.count("\n") == 1 and "\x1b" not in run.err,
                  f"{bad[:80]!r}: {run.code} {run.err!r}")
    for first, headers in ODD:
        bad = b"\r\n".join([first, *headers, b"", BODY])
        with Fake(lambda path, nth, bad=bad: bad if nth == 40 else willing(path, nth)) as fake:
            bench("--http", fake.address, "--workers", 1, "--rounds", 200).ended(
                1, "an answer of HTTP that no dflockd gives")
    for bad in (Cut(b""), Cut(b"HTTP/1.1 200 OK\r\nConte"), Cut(as_json(200, GRANT)[:-9])):
        with Fake(lambda path, nth, bad=bad: bad if nth == 40 else willing(path, nth)) as fake:
            bench("--http", fake.address, "--workers", 1, "--rounds", 200).ended(
                1, "closed the connection")


@test("two holders at a time and fences that do not grow are found by HTTP, too", rules=["O3"], deadline=60)
def violations():
    with Fake(willing) as fake:
        run = bench("--http", fake.address, "--workers", 3, "--rounds", 30, "--shared-key")
        check_eq(run.code, 2, f"a lock that everybody gets: {run.err[:300]}")
        check("VIOLATION" in run.err, run.err)

    def same(path, nth):
        return as_json(200, GRANT) if path.startswith("/v1/locks/") and not path.endswith(
            "/release") else willing(path, nth)

    with Fake(same) as fake:
        run = bench("--http", fake.address, "--workers", 1, "--rounds", 5)
        check_eq(run.code, 2, f"one fence for all: {run.err[:300]}")

    def lost(path, nth):
        return as_json(404, {"error": "not_held"}) if path.endswith("/release") else willing(path, nth)

    with Fake(lost) as fake:
        bench("--http", fake.address, "--workers", 1, "--rounds", 5).ended(
            2, "not held any more, though its lease can not have ended")


if __name__ == "__main__":
    main()
