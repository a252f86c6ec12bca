#!/usr/bin/env python3
"""http_hostile_test.py - docs/rules.md, "HTTP: connections": clients that ask without end, leave all at
once, reset in the middle of an answer, send while they are answered, do not read."""

import random
import select
import signal
import socket
import threading
import time

from certs import client_context, server_certificate
from harness import (SANITIZED, check, check_eq, diag, elapsed, eventually, in_threads, json_of, main,
                     signal_process, test, token_of)
from web import Session, WebServer, take_long

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
PATIENT = ["--shutdown-timeout", "1", "--read-timeout", "300"]
MIB = 1 << 20


# --- without end


class Flood:
    """n connections; each sends whenever it can, or (ahead=False) when something has come."""

    def __init__(self, server, request, n=1, ahead=True):
        self.request, self.ahead, self.bytes, self.closed = request, ahead, 0, 0
        self.socks = {}
        for _ in range(n):
            s = socket.create_connection(("127.0.0.1", server.http_port))
            s.sendall(request)
            s.setblocking(False)
            self.socks[s.fileno()] = s
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        eventually(lambda: self.bytes > 0, 20, "it is answered")
        return self

    def __exit__(self, *what):
        self.ended.set()
        self.thread.join()
        for s in self.socks.values():
            s.close()

    def run(self):
        stream = self.request * (3000 if self.ahead else 1)
        at = dict.fromkeys(self.socks, 0)
        poll = select.epoll()
        for fd in self.socks:
            poll.register(fd, select.EPOLLIN | (select.EPOLLOUT if self.ahead else 0))
        while not self.ended.is_set():
            for fd, what in poll.poll(0.1):
                try:
                    self.serve(fd, what, stream, at)
                except BlockingIOError:
                    pass
                except ConnectionError:
                    self.closed += 1
                    poll.unregister(fd)

    def serve(self, fd, what, stream, at):
        if what & select.EPOLLIN:
            got = len(self.socks[fd].recv(MIB))
            if not got:
                raise ConnectionError
            self.bytes += got
        if self.ahead and what & select.EPOLLOUT or not self.ahead:
            at[fd] = (at[fd] + self.socks[fd].send(stream[at[fd]:at[fd] + MIB])) % len(stream)


def lives_on(server):
    """For longer than a worker may hang: others are served, grants arrive, leases end."""
    tcp, behind = server.client(), server.client()
    holder, waiter = server.session(), server.session()
    pid, t, rounds = server.http_pid(), elapsed(), 0
    while t() < 8:
        server.web().get("/health").expect(200)
        token = token_of(tcp.req("l", "key", "0 100"))
        waiter.ask("POST", "/v1/locks/key", {"acquire_timeout_s": 100})
        eventually(lambda: json_of(tcp.req("show", "key", "lock"))["waiters"] == 1, 20, "it waits")
        check_eq(tcp.req("r", "key", token), "ok", "the release")
        got = waiter.answer().expect(200)
        waiter.release("key", got["token"]).expect(204)
        holder.token("short", lease=1)
        token = token_of(behind.req("l", "short", "30 30"))  # its lease ends, though it serves others
        check_eq(behind.req("r", "short", token), "ok", "the release")
        rounds += 1
    check_eq(server.http_pid(), pid, "the process that serves HTTP")
    diag(f"{rounds} rounds in {t():.1f} s")


@test("a connection that asks without end: others are served, grants arrive, leases end",
      rules=["H21"], deadline=120)
def endless():
    with WebServer(PATIENT) as server, Flood(server, HEALTH) as flood:
        lives_on(server)
        check(flood.bytes > MIB and not flood.closed, f"it was served too: {flood.bytes} bytes")


@test("many connections that ask again as soon as they are answered: others are served, grants arrive",
      rules=["H21"], deadline=120)
def closed_loop():
    with WebServer(PATIENT) as server:
        # What costs the server more to read than a client to send.
        body = b" " * (200 << 10) + b"{}"
        request = (b"POST /v1/locks/key/release HTTP/1.1\r\nHost: x\r\nX-Dflockd-Session: %b\r\n"
                   b"Content-Length: %d\r\n\r\n%b" % (server.session().id.encode(), len(body), body))
        with Flood(server, request, 50, ahead=False) as flood:
            lives_on(server)
            check(flood.bytes > 10000 and not flood.closed, f"they were served: {flood.bytes} bytes")


# --- all at once


def connected(port):
    """Connections to this port of whose other end the kernel has not heard that it left."""
    with open("/proc/net/tcp") as f:
        next(f)
        ends = [line.split()[1:4] for line in f]
    return sum(local.endswith(f":{port:04X}") and state == "01" for local, _, state in ends)


@test("hundreds leave long polls in the instant before a release: who is behind them has the lock",
      rules=["H9", "J15"], deadline=180)
def all_leave():
    with WebServer(PATIENT, expect_log=["worker hangs", "worker died"]) as server:
        tcp, behind = server.client(), server.client()
        web = server.web()
        ids = [web.post("/v1/sessions").expect(200)["session_id"] for _ in range(300)]
        for n in range(6):
            key = f"key{n}"
            token = token_of(tcp.req("l", key, "0 900"))
            raws = []
            for id in ids:
                raw = server.raw()
                raw.ask_http("POST", f"/v1/locks/{key}", [("X-Dflockd-Session", id)],
                             b'{"acquire_timeout_s":900,"lease_ttl_s":900}')
                raws.append(raw)
            eventually(lambda: json_of(tcp.req("show", key, "lock"))["waiters"] == 300, 60, "all wait")
            behind.ask("l", key, "900 900")
            eventually(lambda: json_of(tcp.req("show", key, "lock"))["waiters"] == 301, 20, "one more")
            pid = server.http_pid()
            signal_process(pid, signal.SIGSTOP)
            for i, raw in enumerate(raws):
                raw.reset() if (i + n) % 3 == 0 else raw.close()
            # What the kernel delivers after the release, nobody can have known at it.
            eventually(lambda: connected(server.http_port) == 1, 20, "all but one have left")
            check_eq(tcp.req("r", key, token), "ok", "the release")
            signal_process(pid, signal.SIGCONT)
            check_eq(behind.req("r", key, token_of(behind.line())), "ok", "the one behind")


# --- in the middle


@test("TLS clients reset in the middle of large answers: nobody else is disturbed",
      rules=["H18"], deadline=180, needs=["tls"])
def resets():
    context = client_context()
    with WebServer(PATIENT + ["--max-locks", "20000"] + server_certificate().args) as server:
        owner = server.client(tls=context)
        for at in range(0, 4000, 500):
            owner.send(b"".join(b"l\n%06d%b\n0 900\n" % (i, b'"' * 250) for i in range(at, at + 500)))
            owner.lines(500)
        pid, web = server.http_pid(), server.web(tls=context)
        paths = ["/v1/stats", "/v1/resources?limit=1000", "/?limit=1000"]
        sizes = [len(web.get(path).data) for path in paths]

        def leave(seed):
            rng = random.Random(seed)
            for i in range(30):
                raw = server.raw(tls=context, rcvbuf=rng.choice([4096, None, None]))
                raw.ask_http("GET", paths[i % 3])
                left = rng.choice([0, 1, rng.randrange(sizes[i % 3])])
                while left > 0:  # as fast as it comes, so that it is being written
                    left -= len(raw.sock.recv(left)) or left
                time.sleep(rng.choice([0, rng.random() * 0.004]))
                raw.reset()

        def close(path):
            """The first record of the answer is taken, and answered with a reset: so the next is not."""
            raw = server.raw(tls=context)
            raw.send(HEALTH)
            check_eq(raw.reply().status, 200, "the first request")
            raw.ask_http("GET", path)
            raw.close()

        for path in paths + ["/v1/openapi.json", "/metrics", "/health"]:
            for _ in range(5):
                close(path)
        in_threads(leave, range(8))
        check_eq(len(web.get("/v1/stats").expect(200)["locks"]), 4000, "stats")
        check_eq(server.http_pid(), pid, "the process that serves HTTP")


@test("what is sent while an answer is written is not read before: memory has a bound",
      rules=["H22"], deadline=120)
def sends_on():
    with WebServer(PATIENT + ["--max-locks", "60000", "--write-timeout", "100"]) as server:
        take_long(server, 30000)
        raw = server.raw(rcvbuf=4096)
        raw.ask_http("GET", "/v1/stats")
        check(raw.sock.recv(1), "the answer begins")
        raw.sock.setblocking(False)
        before = server.http_resident()
        most, sent, junk, still = before, 0, b"x" * MIB, elapsed()
        while still() < 2 and sent < 400 * MIB:
            try:
                sent += raw.sock.send(junk)
                still = elapsed()
            except BlockingIOError:
                time.sleep(0.01)
            most = max(most, server.http_resident())
        diag(f"{sent / MIB:.1f} MiB sent, {(most - before) / MIB:.1f} MiB more memory")
        check(sent < 400 * MIB, "it reads without end")
        check(most - before < 64 * MIB, "it keeps what it reads")


# --- half a connection


@test("who ends its side right after the request has the whole answer, however large", rules=["H23"],
      deadline=120, needs=["tls"])
def half_closed():
    context = client_context()
    with WebServer(PATIENT + ["--max-locks", "60000"]) as plain, \
         WebServer(PATIENT + ["--max-locks", "60000"] + server_certificate().args) as secure:
        take_long(secure, 20000, tls=context)
        take_long(plain, 20000)

        def fin(raw):
            raw.sock.shutdown(socket.SHUT_WR)

        def both(raw):
            raw.half_close()
            raw.sock.shutdown(socket.SHUT_WR)

        def one(case):
            server, options, how, path = case
            raw = server.raw(rcvbuf=65536, **options)
            raw.ask_http("GET", path)
            how(raw)
            got = raw.reply(timeout=60)
            check_eq(got.status, 200, path)
            if path == "/v1/stats":
                check_eq(len(got.json["locks"]), 20000, "locks")
            raw.expect_close()

        tls = {"tls": context}
        for path in ("/v1/stats", "/metrics", "/", "/v1/openapi.json", "/health"):
            for case in [(plain, {}, fin), (secure, tls, fin), (secure, tls, both),
                         (secure, tls, lambda raw: raw.half_close())]:
                one((*case, path))


if __name__ == "__main__":
    main()
