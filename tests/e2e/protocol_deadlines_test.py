"""protocol_deadlines_test.py - docs/rules.md, "Framing": the read, idle and write deadlines."""

import threading
import time

from harness import (Client, Server, check, check_eq, elapsed, eventually, in_threads, json_of,
                     main, poll_in, test, token_of)

PING = b"ping\n\n\n"


def trickle(c, data, gap=0.1):
    """A byte at a time until the connection ends."""
    for byte in data:
        if c.is_closed():
            return
        try:
            c.send(bytes([byte]))
        except OSError:
            return
        time.sleep(gap)  # not to wait for something: the time is the test


class Late(Exception):
    """This test was kept from running, and asked after the connection may have ended for it."""


def asked(c, since, cmd, key="", arg="", timeout=1):
    """The reply to a request that must be sent before `timeout` is over."""
    late = True
    try:
        c.ask(cmd, key, arg)
        late = since() >= timeout
        return c.line()
    finally:
        if late and since() >= timeout:
            raise Late


def in_time(function):
    while True:
        try:
            return function()
        except Late:
            pass


def asking(server, cmd, key, arg):
    """(a new client, the reply to its first request, which came before the idle timeout)"""
    def once():
        since, c = elapsed(), server.client()
        try:
            return c, asked(c, since, cmd, key, arg)
        except Late:
            c.close()
            raise

    return in_time(once)


def error_within(c, least, most, took):
    c.expect("error", "at the deadline")
    check(least <= took() <= most, f"error after {took():.2f} s instead of {least} to {most}")


@test("a request must be complete within the read timeout", rules=["P15", "P62"])
def read_deadline():
    def begun(part):
        with Client(server) as c:
            took = elapsed()
            c.send(part)
            error_within(c, 1, 9, took)
            c.expect_close(how="fin")

    with Server(["--read-timeout", "1"]) as server:
        in_threads(begun, [b"p", b"ping\n", b"ping\n\nx", b"\n", b"auth\n\n" + b"s" * 60000,
                           b"l\nkey\n0"])


@test("bytes that trickle do not extend the deadline", rules=["P15"])
def trickling():
    def slow(data):
        with Client(server) as c:
            took = elapsed()
            t = threading.Thread(target=trickle, args=(c, data), daemon=True)
            # Only one of the two reads: is_closed() keeps what it finds in c.buffer.
            t.start()
            t.join()
            error_within(c, 1, 9, took)
            c.expect_close(how=None)

    with Server(["--read-timeout", "1"]) as server:
        in_threads(slow, [b"l\n" + b"k" * 120, b"auth\n\n" + b"s" * 120, b"x" * 256 + b"y" * 60,
                          b"ping\n" + b"\r" * 120])


@test("the deadline counts from the first byte of each request", rules=["P15"], deadline=60)
def each_request():
    def two():
        sent, c = time.monotonic(), server.client()
        for _ in range(2):  # 0.6 s each, more than a second together
            before = sent
            trickle(c, b"pin", 0.2)
            sent = time.monotonic()
            try:
                c.send(b"g\n\n\n")
            except OSError:
                pass
            if time.monotonic() - before >= 1:
                raise Late
            c.expect("ok")

    with Server(["--read-timeout", "1"]) as server:
        in_time(two)


@test("the deadline also ends a request behind others", rules=["P15", "P16"])
def begun_behind_others():
    with Server(["--read-timeout", "1"]) as server:
        owner, reply = asking(server, "l", "key", "0")
        token_of(reply)

        def behind():
            since, c = elapsed(), server.client()
            c.send(PING * 3 + b"ping\n")
            if since() >= 1:
                raise Late
            return c

        took = elapsed()
        owner.send(b"n\nkey")  # owns something, but a request once begun must end
        with in_time(behind) as c:
            check_eq(c.lines(3), ["ok"] * 3, "the whole ones")
            error_within(c, 1, 9, took)
            c.expect_close(how="fin")
            error_within(owner, 1, 9, took)
            owner.expect_close(how="fin")
            token_of(asking(server, "l", "key", "9")[1])


@test("a connection that owns nothing is idle for at most the read timeout", rules=["P16"])
def idle():
    def one(how):
        took, least = elapsed(), 1
        with Client(server) as c:
            if how == "after ping":
                check_eq(asked(c, took, "ping"), "ok", "ping")
            elif how == "after a release":
                token = token_of(asked(c, took, "l", "key", "0"))
                check_eq(c.req("r", "key", token), "ok", "the release")
            elif how == "after a timeout":
                reply = asked(c, took, "l", "held", "1")
                check_eq(reply, "timeout", "a wait as long as the deadline")
                least = 2
            elif how == "after a lost queue entry":
                check_eq(asked(c, took, "e", "held"), "queued", "e")
                check_eq(c.req("w", "held", "0"), "timeout", "w")
            elif how == "after ping at 0.6 s":
                time.sleep(0.6)  # the time is the test
                check_eq(asked(c, took, "ping"), "ok", "ping")
                least = 1.6
            elif how == "after the lease's end":
                token_of(asked(c, took, "l", "short", "0 1"))
            error_within(c, least, 10, took)
            c.expect_close(how="fin")

    with Server(["--read-timeout", "1"]) as server:
        holder, reply = asking(server, "l", "held", "0")
        token_of(reply)
        in_threads(lambda how: in_time(lambda: one(how)),
                   ["at once", "after ping", "after a release", "after a timeout",
                    "after a lost queue entry", "after ping at 0.6 s", "after the lease's end"])
        check(not holder.is_closed(), "the holder's connection has ended")


@test("who owns something is never idle too long", rules=["P17", "P16"])
def owners_stay():
    with Server(["--read-timeout", "1"]) as server:
        def blocked():
            since, c = elapsed(), server.client()
            c.ask("l", "key", "60")
            if since() >= 1:
                c.close()
                raise Late
            return c

        holder, reply = asking(server, "l", "key", "0")
        token = token_of(reply)
        queued, reply = asking(server, "e", "key", "")
        check_eq(reply, "queued", "e")
        waiter = in_time(blocked)
        sem, reply = asking(server, "sl", "sem", "0 2")
        token_of(reply)
        enq, reply = asking(server, "e", "other", "")
        token_of(reply, "acquired")
        token_of(holder.req("l", "third", "0"))
        blocked_w, reply = asking(server, "e", "third", "")
        check_eq(reply, "queued", "e")
        blocked_w.ask("w", "third", "60")
        time.sleep(2.7)  # the time is the test
        for c in [holder, queued, waiter, sem, enq, blocked_w]:
            check(not c.is_closed() and not c.buffer, "closed, or told something")
        check_eq(holder.req("r", "key", token), "ok", "the release")
        token = token_of(queued.req("w", "key", "0"))
        check_eq(queued.req("r", "key", token), "ok", "the second's release")
        token_of(waiter.line())


REQUEST = b"n\nk\nx\n"  # as long as its answer
CHUNK = REQUEST * 10000


def stuff(c, seconds=0.4):
    """Sends requests and reads nothing, until nothing has moved for a while in which this ran."""
    c.sock.setblocking(False)
    still = 0
    while still < seconds:
        check(c.stuffed < 100 << 20, "the server swallows 100 MiB for a client that does not read")
        try:
            c.stuffed += c.sock.send(CHUNK[c.stuffed % len(CHUNK):])
            still = 0
        except BlockingIOError:
            time.sleep(0.005)
            still += 0.005
        except OSError:
            break


def stuffed(server, *first):
    """A client that sends and does not read; the request comes before."""
    c = server.client(rcvbuf=4096)
    c.stuffed = 0
    if first:
        token_of(c.req(*first))
    return c


@test("no progress on a reply for the write timeout closes", rules=["P18"])
def write_deadline():
    with Server(["--write-timeout", "1", "--read-timeout", "60"]) as server:
        other, slow = server.client(), stuffed(server)
        took = elapsed()
        stuff(slow)

        def gone():
            stuff(slow, 0.02)  # what fits when the server was only late
            return json_of(other.req("stats"))["connections"] == 1

        eventually(gone, 15, "the connection that does not read is still there")
        check(took() >= 1, f"closed after {took():.2f} s")


@test("what the slow reader owned passes on", rules=["P18"])
def write_deadline_releases():
    with Server(["--write-timeout", "1", "--read-timeout", "60"]) as server:
        slow, other = stuffed(server, "l", "key", "0 60"), server.client()
        other.ask("l", "key", "60")

        def told():
            stuff(slow, 0.02)
            return poll_in(other.sock, 0)

        eventually(told, 15, "nobody is told")
        token_of(other.line())


@test("a reader that is slow, but reads, is not closed", rules=["P18"], deadline=90)
def slow_progress():
    with Server(["--write-timeout", "1"]) as server:
        in_time(lambda: read_slowly(server))


def read_slowly(server):
    """Late: closed, but it had not read as often as it should. Some reads let nothing be sent."""
    c = server.client(rcvbuf=32768)
    enough, sent, pauses = threading.Event(), [], [0]

    def write(_):
        n = 0
        try:
            while not enough.is_set():
                c.send(CHUNK)
                n += len(CHUNK)
        except OSError:
            pass  # the reader says what is wrong
        sent.append(n)

    def read(_):
        took, got = elapsed(), 0
        while not sent or got < sent[0]:
            slowly = took() < 3
            try:
                n = len(c.sock.recv(20000 if slowly else 1 << 20))
            except ConnectionError:
                n = 0
            since = elapsed()
            if n == 0:
                enough.set()
                if max(pauses) > 0.3:
                    raise Late
                check(n, f"closed after {took():.2f} s and {got} bytes")
            got += n
            if slowly:
                time.sleep(0.2)  # longer than the deadline as a whole, not for each piece
            else:
                enough.set()
                check(took() < 45, "the rest does not come")
            pauses.append(since())

    in_threads(lambda f: f(None), [write, read])
    check_eq(c.req("ping"), "ok", "ping")


@test("--write-timeout 0 is none", rules=["P19"])
def no_write_deadline():
    with Server(["--write-timeout", "0", "--read-timeout", "2"]) as server:
        other, reply = asking(server, "l", "own", "0 60")  # who owns something may be slow to ask
        token_of(reply)
        c = stuffed(server)
        stuff(c)
        end = elapsed()
        while end() < 3.5:
            check_eq(json_of(other.req("stats"))["connections"], 2, "connections")
            stuff(c, 0.1)  # what fits when the server was only late
        c.sock.settimeout(10)
        check(c.sock.recv(6) == b"error\n", "the first reply is still there")


if __name__ == "__main__":
    main(jobs=8)
