"""http_deadlines_test.py - docs/rules.md, "HTTP: connections": who is slow, silent, or leaves."""

import json
import os
import resource
import select
import socket
import time

from certs import client_context, server_certificate
from harness import BRIEF, check, check_eq, diag, elapsed, eventually, in_threads, main, test
from web import WebServer

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD_S, IDLE_S = 10, 120
SLACK_S = 15  # for a machine that is busy; the server looks four times a second


def ended_after(raw, feed=None, pause=0.2):
    """Seconds until the connection ended, while bytes of `feed` come one by one."""
    took = elapsed()
    while not raw.is_closed():
        if feed:
            try:
                raw.send(feed)
            except (BrokenPipeError, ConnectionResetError):
                break
        time.sleep(pause)
    return took()


def within(seconds, least, what):
    check(least - 0.05 <= seconds <= least + SLACK_S, f"{what}: ended after {seconds:.1f} s")


@test("a head has 10 s, with the handshake, from accept or its first byte; a trickle extends nothing",
      rules=["H8"], deadline=90, needs=["tls"])
def heads():
    with WebServer() as plain, WebServer(server_certificate().args) as secure:
        context = client_context()

        def silent(server):
            return ended_after(server.raw()), "silent from the start"

        def trickles():
            raw = plain.raw()
            raw.send(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Any: ")
            return ended_after(raw, b"a"), "a trickle"

        def second_request():
            raw = plain.raw()
            raw.send(HEALTH)
            check_eq(raw.reply().status, 200, "the first request")
            took = elapsed()
            raw.send(b"G")
            ended_after(raw)
            return took(), "one byte of the second request"

        def second_pipelined():
            raw = plain.raw()
            took = elapsed()
            raw.send(HEALTH + b"GET /health HTTP/1.1\r\n")
            check_eq(raw.reply().status, 200, "the first request")
            ended_after(raw)
            return took(), "half a request behind the first"

        def in_handshake():
            raw = secure.raw(tls=context, handshake=False)
            flight, _ = raw.tls.flight()
            raw.sock.sendall(flight[:20])
            took = elapsed()
            while True:
                try:
                    if not raw.sock.recv(1 << 16):
                        break
                except ConnectionResetError:
                    break
            return took(), "half a handshake"

        def after_handshake():
            raw = secure.raw(tls=context)
            return ended_after(raw, b"a", 0.5), "a trickle over TLS"

        for took, what in in_threads(lambda f: f(), [
                lambda: silent(plain), lambda: silent(secure), trickles, second_request,
                second_pipelined, in_handshake, after_handshake]):
            # The server's clock may have begun a little before ours, or (handshakes) after it.
            check(HEAD_S - 1.5 <= took <= HEAD_S + SLACK_S, f"{what}: ended after {took:.1f} s")
        check_eq(plain.web().get("/health").status, 200, "others are served")


@test("a body has --read-timeout; a trickle extends nothing", rules=["H8"], deadline=60)
def bodies():
    with WebServer(["--read-timeout", "2"]) as server:
        def one(feed):
            raw = server.raw()
            took = elapsed()
            raw.send(b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
            ended_after(raw, feed)
            check(not raw.buffer, f"no answer: {bytes(raw.buffer)!r}")
            return took()

        for took in in_threads(one, [None, b" "]):
            within(took, 2, "a body that does not come")
        session = server.session()  # who waits for an answer has no such deadline
        holder = server.session()
        token = holder.token("key")
        took = elapsed()
        check_eq(session.acquire("key", 4).expect(200)["status"], "timeout", "a wait")
        check(took() >= 3.9, "it lasted")
        holder.release("key", token).expect(204)


@test("between two requests a connection may be silent for 120 s", rules=["H8"], deadline=240)
def idle():
    if BRIEF:
        return
    with WebServer() as server:
        raw = server.raw()
        raw.send(HEALTH)
        check_eq(raw.reply().status, 200, "the request")
        took = ended_after(raw, pause=0.5)
        check(IDLE_S - 1.5 <= took <= IDLE_S + SLACK_S, f"ended after {took:.1f} s")


def push(raw, stream, at):
    """Sends what there is room for. Where in the stream it got to; None: the connection has ended."""
    poll = select.poll()
    poll.register(raw.sock, select.POLLOUT)
    if not poll.poll(50):  # a socket with a timeout would wait for longer in send()
        return at
    try:
        return (at + raw.sock.send(stream[at:at + 30000], socket.MSG_DONTWAIT)) % len(stream)
    except (BrokenPipeError, ConnectionResetError):
        return None


def stuck(raw):
    """More requests than there is room for answers: until the server does not read any more."""
    stream, at, still = HEALTH * 2000, 0, elapsed()
    while still() < 0.5:
        before, at = at, push(raw, stream, at)
        check(at is not None, "the connection is there")
        if at != before:
            still = elapsed()


@test("an answer that is not taken ends the connection after --write-timeout; one that moves does not",
      rules=["H8"], deadline=120)
def answers():
    with WebServer(["--write-timeout", "1"]) as hasty, WebServer(["--write-timeout", "4"]) as server:
        def deaf():
            raw = hasty.raw(rcvbuf=4096)
            at = 0
            while at is not None:
                at = push(raw, HEALTH * 2000, at)

        def slow():
            raw = server.raw(rcvbuf=4096)
            stuck(raw)
            took = elapsed()
            while took() < 12:
                check(raw.sock.recv(8192), "the connection is there")
                time.sleep(0.05)

        in_threads(lambda f: f(), [deaf, slow])


def waiting(server, key):
    with server.client() as c:
        reply = c.req("show", key, "lock")
        return json.loads(reply[3:])["waiters"] if reply.startswith("ok {") else 0


@test("a client that leaves in a long poll (FIN, reset, the same over TLS) waits no longer: 100 ms",
      rules=["H9"], deadline=120, needs=["tls"])
def leavers():
    with WebServer() as plain, WebServer(server_certificate().args) as secure:
        context = client_context()

        def half_closes(raw):
            raw.sock.shutdown(socket.SHUT_WR)

        def notifies(raw):
            raw.sock.sendall(raw.tls.close_notify())
            raw.sock.shutdown(socket.SHUT_WR)

        def leave(server, how, options):
            holder, waiter = server.session(**options), server.session(**options)
            token = holder.token("key")
            body = b'{"acquire_timeout_s":600}'
            took = []
            with server.client(**options) as watcher:
                def waiters():
                    reply = watcher.req("show", "key", "lock")
                    return json.loads(reply[3:])["waiters"] if reply.startswith("ok {") else 0

                # The promise is of the server, so the fastest of some counts: this test may be slow.
                for _ in range(10):
                    raw = server.raw(**options)
                    raw.ask_http("POST", "/v1/locks/key", [("X-Dflockd-Session", waiter.id)], body)
                    eventually(lambda: waiters() == 1, 10, "it waits")
                    time.sleep(0.02)
                    since = elapsed()
                    how(raw)
                    eventually(lambda: waiters() == 0, 10, "it does not wait any more")
                    took.append(since())
            check(min(took) <= 0.1, f"{how}: {[round(x, 3) for x in took]}")
            diag(f"{how.__name__}: {min(took) * 1000:.1f} to {max(took) * 1000:.1f} ms")
            waiter.ping().expect(204)  # the session lives
            holder.release("key", token).expect(204)

        def close(raw):
            raw.close()

        def reset(raw):
            raw.reset()

        for how in [close, half_closes, reset]:
            leave(plain, how, {})
        for how in [close, notifies, half_closes, reset]:
            leave(secure, how, {"tls": context})


@test("who leaves before the answer disturbs nobody, however many there are", rules=["H9"])
def many_leave():
    with WebServer() as server:
        holder = server.session()
        token = holder.token("key")
        sessions = [server.session() for _ in range(50)]
        raws = []
        for s in sessions:
            raw = server.raw()
            raw.ask_http("POST", "/v1/locks/key", [("X-Dflockd-Session", s.id)],
                         b'{"acquire_timeout_s":600}')
            raws.append(raw)
        eventually(lambda: waiting(server, "key") == 50, 10, "all wait")
        for i, raw in enumerate(raws):
            if i % 5 != 4:
                raw.reset() if i % 2 else raw.close()
        eventually(lambda: waiting(server, "key") == 10, 10, "the others still wait")
        holder.release("key", token).expect(204)
        for i, raw in enumerate(raws):
            if i % 5 == 4:
                got = raw.reply().expect(200)
                check_eq(got["status"], "ok", f"waiter {i}")
                holder.release("key", got["token"]).expect(204)


@test("hundreds of handshakes that do not go on hold up nobody, and end", rules=["H8", "H18"], deadline=90,
      needs=["tls"])
def half_handshakes():
    context = client_context()
    with WebServer(server_certificate().args) as server:
        pid, raws = server.http_pid(), []
        for _ in range(400):
            raw = server.raw(tls=context, handshake=False)
            flight, _ = raw.tls.flight()
            raw.sock.sendall(flight[:20])
            raws.append(raw)
        for _ in range(20):
            check_eq(server.web(tls=context).get("/health").status, 200, "others are served")
        for raw in raws:
            try:
                while raw.sock.recv(1 << 16):
                    pass
            except ConnectionResetError:
                pass
        check_eq(server.http_pid(), pid, "the process that serves HTTP")


@test("without descriptors nobody new is accepted until there are some; who is there is served",
      rules=["H20"])
def no_descriptors():
    with WebServer(expect_log=["cannot accept HTTP connections"]) as server:
        web = server.web()
        web.get("/health").expect(200)
        pid = server.http_pid()
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        highest = max(int(x) for x in os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 3, hard))
        raws = [server.raw() for _ in range(20)]
        server.wait_log("cannot accept HTTP connections", 20)
        web.get("/health").expect(200)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        for raw in raws:
            raw.send(HEALTH)
        check_eq([raw.reply().status for raw in raws], [200] * 20, "all are served then")


if __name__ == "__main__":
    main(jobs=8)
