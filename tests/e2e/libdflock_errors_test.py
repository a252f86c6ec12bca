"""libdflock_errors_test.py - the low level of libdflock hears each refusal of a real server, and tells
it apart from a server that is not there, is none, or says what none would say."""

import os
import re
import signal
import socket
import time
import zlib

from certs import authority, client_context, server_certificate
from harness import (Server, check, check_eq, elapsed, eventually, in_threads, json_of, main,
                     temp_dir, temp_file, test, token_of)
from lowlevel import Fake, LowLevel, address

TOKEN = "0123456789abcdef0123456789abcdef"
GONE = ("connect", "closed")


def is_closed(c):
    check(c.ping().name in GONE, "the connection is closed")


# --- what a real server answers


@test("timeout: of a try, of a wait, with a fraction", rules=["X9", "X13"], deadline=120)
def timeout():
    with Server() as server:
        holder = server.client()
        token_of(holder.req("l", "key", "0 60"))
        with LowLevel(address(server)) as c:
            check_eq(c.acquire("key", 0, 0).name, "timeout", "a try")
            took = elapsed()
            check_eq(c.acquire("key", 1, 0).name, "timeout", "a wait")
            check(took() >= 1, f"it waited {took()} s only")
            check_eq(c.ping().name, "ok", "the connection stays")
            check_eq(c.enqueue("key", 0).name, "ok", "enqueue")
            check_eq(c.wait("key", 0, 0).name, "timeout", "wait")
            took = elapsed()
            answer = c.acquire("key", 0.25, 0)
            check_eq(answer.name, "timeout", "a wait with a fraction")
            check(took() >= 0.25, f"it waited {took()} s only")
            check("key" in answer.text and address(server) in answer.text, f"it says: {answer.text}")
            is_closed(c)
        # It left the queue at once, not when the server's own time was up.
        eventually(lambda: json_of(holder.req("stats"))["locks"][0]["waiters"] == 0, 10,
                   "it still waits")


@test("the longest timeout, with the longest connect timeout: it waits", rules=["X9"], deadline=120)
def longest():
    with Server() as server:
        holder = server.client()
        token = token_of(holder.req("l", "key", "0 60"))
        with LowLevel(address(server), connect_timeout=9223372036) as c:
            c.begin("acquire", "key", 9223372036, 9223372036)
            eventually(lambda: json_of(holder.req("stats"))["locks"][0]["waiters"] == 1, 20)
            check(c.blocks(), "it waits")
            check_eq(holder.req("r", "key", token), "ok", "the release")
            check_eq(c.answer().stored[2], "9223372036", "the lease")


@test("max_locks, max_waiters, limit_mismatch", rules=["X9"])
def limits():
    with Server(["--max-locks", "1", "--max-waiters", "1"]) as server:
        with LowLevel(address(server)) as a, LowLevel(address(server)) as b, \
                LowLevel(address(server)) as c:
            grant = a.must("sem_acquire", "pool", 0, 1, 60)
            check_eq(b.acquire("other", 0, 0).name, "max_locks", "a second key")
            check_eq(b.sem_acquire("pool", 0, 2, 0).name, "limit_mismatch", "another limit")
            check_eq(b.sem_enqueue("pool", 2, 0).name, "limit_mismatch", "another limit")
            check_eq(b.sem_enqueue("pool", 1, 0).result, 2, "the queue")
            check_eq(c.sem_acquire("pool", 5, 1, 0).name, "max_waiters", "a second waiter")
            check_eq(c.sem_enqueue("pool", 1, 0).name, "max_waiters", "a second waiter")
            a.must("sem_release", "pool", grant.stored[0])
            check_eq(b.sem_wait("pool", 10).name, "ok", "who was in the queue")


@test("not_queued, already_queued", rules=["X9"])
def two_phases():
    with Server() as server, LowLevel(address(server)) as c:
        check_eq(c.wait("key", 0).name, "not_queued", "wait")
        check_eq(c.sem_wait("key", 0).name, "not_queued", "sem_wait")
        check_eq(c.enqueue("key", 0).result, 1, "enqueue")
        check_eq(c.enqueue("key", 0).name, "already_queued", "enqueue")
        check_eq(c.sem_enqueue("key", 2, 0).result, 1, "sem_enqueue")
        check_eq(c.sem_enqueue("key", 2, 0).name, "already_queued", "sem_enqueue")
        check_eq(c.wait("key", 0).name, "ok", "wait")
        check_eq(c.sem_wait("key", 0).name, "ok", "sem_wait")


@test("lease_expired: granted, and not fetched in time", rules=["X9"], deadline=120)
def lease_expired():
    with Server() as server, LowLevel(address(server)) as c:
        check_eq(c.enqueue("key", 1).result, 1, "enqueue")
        other = server.client()
        token_of(other.req("l", "key", "20"))
        check_eq(c.wait("key", 0).name, "lease_expired", "wait")


@test("server: what is not held is neither renewed nor released; a lease too long", rules=["X9"],
      deadline=120)
def server_says_error():
    with Server(["--max-lease-ttl", "100"]) as server, LowLevel(address(server)) as c:
        for call in ("release", "sem_release", "renew", "sem_renew"):
            check_eq(c.call(call, "key", TOKEN).name, "server", call)
        grant = c.must("acquire", "key", 0, 1)
        other = server.client()
        token_of(other.req("l", "key", "20"))
        check_eq(c.renew("key", grant.stored[0], 0).name, "server", "the lease has ended")
        answer = c.acquire("long", 0, 101)
        check_eq(answer.name, "server", "a lease that the server does not give")
        check_eq(c.show("none", 1).name, "server", "show")
        check_eq(c.evict("key", 1, 0).name, "server", "evict without the admin's token")
        check_eq(c.authenticate("x").name, "server", "a secret for a server without one")
        check_eq(c.ping().name, "ok", "the connection stays")


@test("auth: a wrong secret, none, the right one late; from a file", rules=["X9"])
def auth():
    with Server(["--auth-token", "right"], expect_log=["auth"]) as server:
        to = address(server)
        with LowLevel(auth_token="wrong") as c:
            answer = c.dial(to)
            check_eq(answer.name, "auth", "a wrong one")
            check("wrong" not in answer.text and "right" not in answer.text,
                  f"no secret is shown: {answer.text}")
        with LowLevel(to) as c:
            check_eq(c.acquire("key", 0, 0).name, "auth", "none")
            is_closed(c)
        with LowLevel(to) as c:
            check_eq(c.authenticate("wrong").name, "auth", "a wrong one, late")
            is_closed(c)
        with LowLevel(to) as c:
            check_eq(c.authenticate("right").name, "ok", "the right one, late")
            check_eq(c.acquire("key", 0, 0).name, "ok", "a lock")
            check_eq(c.authenticate("right").name, "server", "again")
        with LowLevel(to, auth_token_file=temp_file("right\nold\n")) as c:
            check_eq(c.ping().name, "ok", "from a file")
        with LowLevel() as c:
            for what in (b"", b"\n", b"a\0b\n"):
                check_eq(c.option("auth_token_file", temp_file(what)).name, "invalid", f"{what}")
            check_eq(c.option("auth_token_file", "/no/such/file").name, "invalid", "no file")


@test("draining: a server that is about to stop", rules=["X9"], deadline=120)
def draining():
    with Server() as server, LowLevel(address(server)) as c, LowLevel(address(server)) as d:
        grant = c.must("acquire", "key", 0, 60)
        d.must("acquire", "other", 0, 60)
        d.begin("acquire", "key", 60, 0)
        watch = server.client()
        eventually(lambda: any(x["waiters"] for x in json_of(watch.req("stats"))["locks"]), 10)
        server.kill(signal.SIGTERM)
        check_eq(d.answer().name, "server", "who waited")
        check_eq(c.acquire("third", 0, 0).name, "draining", "something new")
        check_eq(c.release("key", grant.stored[0]).name, "ok", "what is held is given back")
        c.must("close")
        d.must("close")


@test("stats, list, show, evict", rules=["X9"])
def inspection():
    admin = temp_file("admin\n")
    with Server(["--auth-token", "user", "--admin-token-file", admin]) as server:
        to = address(server)
        with LowLevel(to, auth_token="user") as c, LowLevel(to, auth_token="admin") as root:
            grant = c.must("acquire", "one", 0, 60)
            c.must("sem_acquire", "pool", 0, 3, 60)
            found = c.must("stats").raw.split(" ", 1)
            check(found[1].startswith('{"connections":2,"locks":[{"key":"one"'), found[1])
            check_eq(int(found[0]) > 100, True, "its length")
            for prefix in ("", "*", "o"):
                check('"one"' in c.must("list", prefix, None).raw, f"list {prefix}")
            check('"one"' not in c.must("list", "p", None).raw, "list p")
            check('"key":"one"' in c.must("show", "one", 1).raw, "show")
            check('"limit":3' in c.must("show", "pool", 2).raw, "show")
            check_eq(c.show("one", 2).name, "server", "it is no semaphore")
            check_eq(c.evict("one", 1, 0).name, "server", "not the admin")
            check_eq(root.evict("one", 1, 1).name, "server", "another fence")
            check_eq(root.evict("one", 1, grant.stored[1]).name, "ok", "the holder's fence")
            check_eq(root.evict("pool", 2, 0).name, "ok", "whoever it is")
            check_eq(c.renew("one", grant.stored[0], 0).name, "server", "it is gone")


@test("stats of a large table, in pages as well", rules=["X9"], deadline=150)
def large():
    with Server(["--max-locks", "20000"]) as server, LowLevel(address(server)) as c:
        keys = server.client()
        names = [f"{'k' * 200}-{i:05}" for i in range(8000)]
        keys.send("".join(f"l\n{x}\n0 600\n" for x in names))
        keys.lines(len(names), timeout=60)
        found = c.must("stats").raw.split(" ", 1)
        check(int(found[0]) > 2_000_000, f"{found[0]} bytes only")
        first = c.must("list", "k", None)
        check('"cursor"' in first.raw or int(first.raw.split()[0]) > 10000, first.raw)
        check_eq(c.ping().name, "ok", "the connection is as good as ever")


# --- no server, or another one


@test("connect: nobody listens, no such host, no such socket; names and brackets", rules=["X9"],
      deadline=120)
def nobody():
    # The port is taken, so that nobody else gets it meanwhile; but nobody listens.
    with socket.socket() as taken, LowLevel() as c:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for to in (f"127.0.0.1:{port}", f"[::1]:{port}", "host.invalid:6388",
                   f"unix:{temp_dir()}/none"):
            answer = c.dial(to)
            check_eq(answer.name, "connect", to)
            check(to in answer.text, f"it says where: {answer.text}")
    where = os.path.join(temp_dir(), "socket")
    with Server(["--host", "localhost,::1", "--unix-socket", where]) as server:
        for to in (f"localhost:{server.port}", f"[::1]:{server.port}", f"unix:{where}"):
            with LowLevel(to) as c:
                check_eq(c.acquire("key", 20, 0).name, "ok", to)


@test("connect: who accepts and says nothing; the connect timeout bounds dial and each answer",
      rules=["X10"], deadline=150)
def mute():
    def serve(peer):
        while peer.request():
            pass
    with Fake(serve) as fake:
        with LowLevel(auth_token="x", connect_timeout=1) as c:
            took = elapsed()
            check_eq(c.dial(fake.address).name, "connect", "dial waits for the answer to auth")
            check(took() >= 1, f"it waited {took()} s only")
        with LowLevel(fake.address, connect_timeout=1) as c:
            took = elapsed()
            check_eq(c.ping().name, "connect", "ping")
            check(took() >= 1, f"it waited {took()} s only")
            is_closed(c)
        with LowLevel(fake.address, connect_timeout=1) as c:
            took = elapsed()
            check_eq(c.acquire("key", 2, 0).name, "connect", "acquire waits as long as it may")
            check(took() >= 3, f"it waited {took()} s only")


@test("connect: a server that is stopped with SIGSTOP; a call is cancelled all the same",
      rules=["X10", "X11"], deadline=150)
def stopped():
    with Server(expect_log=["hangs", "worker died"]) as server:
        with LowLevel(address(server), connect_timeout=2) as c, \
                LowLevel(address(server), connect_timeout=600) as d:
            pids = server.worker_pids()
            server.kill(signal.SIGSTOP)
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            try:
                check_eq(c.ping().name, "connect", "ping")
                d.begin("ping")
                eventually(lambda: d.cancel().name == "ok", 20, "nothing blocks")
                check_eq(d.answer().name, "cancelled", "the call")
            finally:
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)
                server.kill(signal.SIGCONT)


@test("connect: the server dies while a call waits; SIGPIPE does not come", rules=["X10"],
      deadline=120)
def dies():
    server = Server().start()
    with LowLevel(address(server)) as holder, LowLevel(address(server)) as c:
        holder.must("acquire", "key", 0, 60)
        c.begin("acquire", "key", 60, 0)
        watch = server.client()
        eventually(lambda: any(x["waiters"] for x in json_of(watch.req("stats"))["locks"]), 10)
        server.destroy()
        check_eq(c.answer().name, "connect", "who waited")
        # What is sent first is answered with a reset; to send more is what raises SIGPIPE.
        for _ in range(2):
            holder.must("submit", "ping", "", "")
            holder.process()
        for client in (c, holder):
            check(client.ping().name in (*GONE, "state"), "a call")
            check_eq(client.dial(address(server)).name, "connect", "dial")


# What a server may not say, by call.
NONSENSE = {
    "an HTTP server": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "another word": b"okay\n",
    "an empty line": b"\n",
    "a CR at the end": b"ok\r\n",
    "a NUL": b"ok\0\n",
    "a word too many": b"ok 33 x\n",
    "what no dflockd answers": b"error_unheard_of\n",
    "bytes at random": bytes(range(128, 256)) + b"\n",
    "a line that does not end": b"x" * 100000,
}
GRANTS = {
    "no token": b"ok\n",
    "a token of 31 digits": f"ok {TOKEN[1:]} 33\n".encode(),
    "a token of 33 digits": f"ok {TOKEN}0 33\n".encode(),
    "a token in upper case": f"ok {TOKEN.upper()} 33\n".encode(),
    "no lease": f"ok {TOKEN}\n".encode(),
    "a lease that is no number": f"ok {TOKEN} x\n".encode(),
    "a lease below 0": f"ok {TOKEN} -1\n".encode(),
    "a lease of more than 64 bits": f"ok {TOKEN} 99999999999999999999\n".encode(),
    "a lease of 0": f"ok {TOKEN} 0\n".encode(),
    "two blanks": f"ok  {TOKEN} 33\n".encode(),
    "acquired for an acquire": f"acquired {TOKEN} 33\n".encode(),
    "queued for an acquire": b"queued\n",
}


def nonsense(data, *call):
    with Fake(data) as fake, LowLevel(fake.address) as c:
        answer = c.call(*call)
        check_eq(answer.name, "protocol", f"{call[0]}: {data[:60]}")
        check(c.ping().name in GONE, f"{call[0]}: {data[:60]}: the connection is open")


@test("protocol: what no dflockd answers, whatever was asked", rules=["X10"], deadline=120)
def no_protocol():
    calls = [("ping",), ("acquire", "key", 0, 0), ("release", "key", TOKEN),
             ("renew", "key", TOKEN, 0), ("enqueue", "key", 0), ("wait", "key", 0), ("stats",)]

    def one(what):
        for call in calls:
            # A document may be long: it is waited for, and has its own test.
            if not (call[0] == "stats" and what == "a line that does not end"):
                nonsense(NONSENSE[what], *call)
    in_threads(one, NONSENSE)


@test("protocol: a grant that is none", rules=["X10"], deadline=120)
def no_grant():
    def one(data):
        nonsense(data, "acquire", "key", 0, 0)
        nonsense(data, "sem_wait", "key", 0)
    in_threads(one, GRANTS.values())
    nonsense(f"ok {TOKEN} 33\n".encode(), "enqueue", "key", 0)
    nonsense(b"ok\n", "renew", "key", TOKEN, 0)
    nonsense(b"ok x\n", "renew", "key", TOKEN, 0)
    nonsense(b"ok\n", "stats")
    nonsense(b"ok []\n", "stats")


@test("protocol: an answer that nobody asked for", rules=["X10"])
def unasked():
    with Fake(b"ok\nok\n") as fake, LowLevel(fake.address) as c:
        check_eq(c.ping().name, "ok", "what was asked")
        check_eq(c.ping().name, "protocol", "the second answer is not the second call's")
        is_closed(c)


@test("connect: the server closed the connection while it was idle; its good-bye is no answer",
      rules=["X10"], deadline=120)
def idle():
    # Who is to stay must say something within that time, on a busy machine too.
    with Server(["--read-timeout", "4"]) as server:
        with LowLevel(address(server)) as c, LowLevel(address(server)) as owner:
            owner.must("acquire", "key", 0, 60)
            watch = server.client()
            eventually(lambda: json_of(watch.req("stats"))["connections"] == 2, 20)
            answer = c.release("key", TOKEN)
            check_eq(answer.name, "connect", "release")
            check("idle" in answer.text, f"it says why: {answer.text}")
            is_closed(c)
            check_eq(owner.ping().name, "ok", "who owns something is never idle")


@test("an event loop is told that a call has ended the connection; it does not wait for ever",
      rules=["X11"])
def ended_before():
    with Fake(b"nonsense\n") as fake, LowLevel(fake.address) as c:
        check_eq(c.ping().name, "protocol", "a call")
        for call in (("submit", "ping", "", ""), ("process",), ("next",), ("ping",)):
            check_eq(c.call(*call).name, "closed", call[0])


@test("protocol: a document that never ends is given up at 64 MiB", rules=["X10"], deadline=150)
def endless():
    def serve(peer):
        peer.request()
        peer.send(b"ok {")
        for _ in range(80):
            peer.send(b"x" * (1 << 20))
    with Fake(serve) as fake, LowLevel(fake.address, connect_timeout=60) as c:
        check_eq(c.call("stats", timeout=80).name, "protocol", "stats")
        is_closed(c)


@test("connect: a line that is cut by the end of the connection, at each byte", rules=["X10"],
      deadline=120)
def cut():
    line = f"ok {TOKEN} 33\n".encode()

    def one(n):
        def serve(peer):
            peer.request()
            peer.send(line[:n])
            peer.sock.shutdown(socket.SHUT_RDWR)
        with Fake(serve) as fake, LowLevel(fake.address) as c:
            check_eq(c.acquire("key", 0, 0).name, "connect", f"after {n} bytes")
            is_closed(c)
    for n in range(0, len(line), 3):
        one(n)
    one(len(line) - 1)


@test("a line that comes byte by byte is a line", rules=["X10"], deadline=120)
def slowly():
    def serve(peer):
        while peer.request():
            for byte in f"ok {TOKEN} 33\n".encode():
                peer.send(bytes([byte]))
                time.sleep(0.002)
    with Fake(serve) as fake, LowLevel(fake.address) as c:
        for _ in range(3):
            check_eq(c.must("acquire", "key", 0, 0).stored, [TOKEN, str(int(TOKEN[:16], 16)), "33"],
                     "the grant")


@test("a cancelled connection is closed also when the server is a Unix socket or speaks TLS",
      rules=["X11"], deadline=120, needs=["tls"])
def cancel_everywhere():
    where = os.path.join(temp_dir(), "socket")
    with Server(["--unix-socket", where]) as server:
        cancelled(server, f"unix:{where}", {}, server.client())
    ca = authority()
    with Server(server_certificate().args) as server:
        cancelled(server, f"localhost:{server.port}", {"tls_ca_file": ca.cert},
                  server.client(tls=client_context(ca)))


def cancelled(server, to, options, watch):
    token_of(watch.req("l", "key", "0 60"))
    with LowLevel(to, **options) as c:
        c.must("acquire", "mine", 0, 60)
        c.begin("acquire", "key", 3600, 0)
        eventually(lambda: any(x["waiters"] for x in json_of(watch.req("stats"))["locks"]), 15)
        check_eq(c.cancel().name, "ok", "cancel")
        check_eq(c.answer().name, "cancelled", "the call")
        token_of(watch.req("l", "mine", "15", timeout=20))


@test("tls: another authority, another name, plain text on either side, files that are none",
      rules=["X9"], deadline=120, needs=["tls"])
def tls():
    ca, other = authority(), authority("stranger")
    with Server(server_certificate().args) as server:
        to = f"localhost:{server.port}"
        with LowLevel(to, tls_ca_file=ca.cert) as c:
            check_eq(c.acquire("key", 0, 0).name, "ok", "a lock")
        with LowLevel(tls_ca_file=other.cert) as c:
            answer = c.dial(to)
            check_eq(answer.name, "tls", "another authority")
            check("certificate" in answer.text, answer.text)
        with LowLevel(tls_ca_file=ca.cert, tls_server_name="another.example") as c:
            check_eq(c.dial(to).name, "tls", "another name")
        with LowLevel(tls=1) as c:
            check_eq(c.dial(to).name, "tls", "the system's authorities do not know it")
        with LowLevel(to, tls_insecure=1) as c:
            check_eq(c.ping().name, "ok", "any will do")
        with LowLevel(connect_timeout=5) as c:
            if c.dial(to).name == "ok":
                check(c.ping().name in ("connect", "protocol"), "plain text to a TLS port")
        with LowLevel() as c:
            for path in ("/no/such/file", temp_file("no PEM\n")):
                check_eq(c.option("tls_ca_file", path).name, "tls", path)
    with Server() as server, LowLevel(tls_ca_file=ca.cert, connect_timeout=5) as c:
        check(c.dial(address(server)).name in ("tls", "connect"), "TLS to a plain port")


# --- event loop, sharding


@test("pipelining: a thousand requests, their replies in order, each with its status",
      rules=["X12"], deadline=120)
def pipeline():
    with Server(["--max-locks", "2000"]) as server, LowLevel() as c:
        c.must("dial_start", address(server))
        for i in range(1000):
            c.must("submit", "l", f"key-{i}", f"0 {i + 1}")
        for i in range(1000):
            check(f" 0 seconds={i + 1} token=" in " " + c.must("next").raw, f"reply {i}")
        for command, arg, status in (("l", "0", "timeout"), ("r", TOKEN, "server"), ("e", "", "2"),
                                     ("e", "", "already_queued"), ("w", "x", "server"),
                                     ("nonsense", "", "server"), ("ping", "", "0")):
            c.must("submit", command, "key-1", arg)
            check(c.must("next").raw.startswith(status + " "), f"{command} {arg}")


def crc_of(text):
    """From the specification: key, CRC-32, and it modulo 2, 3, 5."""
    return [(key, int(crc, 16), [int(x) for x in rest.split(",")]) for key, crc, rest in
            re.findall(r"^(\S+) 0x(\w+) ([\d,]+)$", text, re.M)]


VECTORS = crc_of("""
my-key 0xd6e33ac1 1,2,2
my-resource 0x50968a0a 0,0,3
bench 0x66d8e325 1,0,2
user:42:profile 0x0c876432 0,0,2
worker-pool 0xe746ac78 0,2,3
ключ 0x0caf961a 0,0,3
123456789 0xcbf43926 0,2,2
""")


@test("sharding: the vectors, as any language computes them", rules=["X14"])
def vectors():
    check_eq(len(VECTORS), 7, "vectors")
    with LowLevel() as c:
        for key, crc, index in VECTORS:
            check_eq(zlib.crc32(key.encode()), crc, key)
            for n, want in zip((2, 3, 5), index):
                check_eq((crc % n, c.call("shard", key, n).result), (want, want), f"{key} of {n}")


@test("sharding: of three servers the one that holds a key is the one of the vectors", rules=["X14"],
      deadline=120)
def sharding():
    servers = [Server().start() for _ in range(3)]
    try:
        with LowLevel() as c:
            for key, _, index in VECTORS:
                c.must("dial", address(servers[c.call("shard", key, 3).result]))
                c.must("acquire", key, 0, 60)
                for i, server in enumerate(servers):
                    other = server.client()
                    check_eq(other.req("l", key, "0").split()[0],
                             "timeout" if i == index[1] else "ok", f"{key} on server {i}")
                    other.close()
    finally:
        for server in servers:
            server.stop()


if __name__ == "__main__":
    main()
