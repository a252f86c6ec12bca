"""protocol_deadlines_test.py - docs/rules.md, "Framing": the read, idle and write deadlines."""

import threading
import time

from harness import (Client, Server, check, check_eq, elapsed, eventually, in_threads, json_of,
                     main, test, token_of)

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


def error_within(c, least, most, took):
    c.expect("error", "at the deadline")
    check(least <= took() <= most, f"error after {took():.2f} s instead of {least} to {most}")


@test("a request must be complete within the read timeout", rules=["P15", "P62"])
def read_deadline():
    def begun(part):
        with Client(server) as c:
            took = elapsed()
            c.send(part)
            error_within(c, 0.9, 2.5, took)
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
            error_within(c, 0.9, 3.0, took)
            c.expect_close(how=None)

    with Server(["--read-timeout", "1"]) as server:
        in_threads(slow, [b"l\n" + b"k" * 60, b"auth\n\n" + b"s" * 60, b"x" * 256 + b"y" * 60,
                          b"ping\n" + b"\r" * 60])


@test("the deadline counts from the first byte of each request", rules=["P15"])
def each_request():
    with Server(["--read-timeout", "1"]) as server, Client(server) as c:
        for _ in range(4):  # 0.6 s each, more than a second together
            trickle(c, b"pin", 0.2)
            c.send(b"g\n\n\n")
            c.expect("ok")


@test("the deadline also ends a request behind others", rules=["P15", "P16"])
def begun_behind_others():
    with Server(["--read-timeout", "1"]) as server:
        with Client(server) as owner, Client(server) as c:
            token_of(owner.req("l", "key", "0"))
            took = elapsed()
            owner.send(b"n\nkey")  # owns something, but a request once begun must end
            c.send(PING * 3 + b"ping\n")
            check_eq(c.lines(3), ["ok"] * 3, "the whole ones")
            error_within(c, 0.9, 2.5, took)
            c.expect_close(how="fin")
            error_within(owner, 0.9, 2.5, took)
            owner.expect_close(how="fin")
            with Client(server) as other:
                eventually(lambda: other.req("l", "key", "0") != "timeout")


@test("a connection that owns nothing is idle for at most the read timeout", rules=["P16"])
def idle():
    def one(how):
        with Client(server) as c:
            took = elapsed()
            if how == "after ping":
                check_eq(c.req("ping"), "ok", "ping")
            elif how == "after a release":
                token = token_of(c.req("l", "key", "0"))
                check_eq(c.req("r", "key", token), "ok", "the release")
            elif how == "after a timeout":
                check_eq(c.req("l", "held", "1"), "timeout", "a wait as long as the deadline")
                took = elapsed()
            elif how == "after a lost queue entry":
                check_eq(c.req("e", "held"), "queued", "e")
                check_eq(c.req("w", "held", "0"), "timeout", "w")
            elif how == "after ping at 0.6 s":
                time.sleep(0.6)  # the time is the test
                took = elapsed()
                check_eq(c.req("ping"), "ok", "ping")
            elif how == "after the lease's end":
                token_of(c.req("l", "short", "0 1"))
                c.expect("error", "the idle timeout", timeout=5)
                check(1.0 < took() < 4.5, f"closed after {took():.2f} s")
                c.expect_close(how="fin")
                return
            error_within(c, 0.9, 2.6, took)
            c.expect_close(how="fin")

    with Server(["--read-timeout", "1"]) as server:
        holder = server.client()
        token_of(holder.req("l", "held", "0"))
        in_threads(one, ["at once", "after ping", "after a release", "after a timeout",
                         "after a lost queue entry", "after ping at 0.6 s",
                         "after the lease's end"])


@test("who owns something is never idle too long", rules=["P17", "P16"])
def owners_stay():
    with Server(["--read-timeout", "1"]) as server:
        holder, queued, waiter, sem, enq, blocked_w = [server.client() for _ in range(6)]
        token = token_of(holder.req("l", "key", "0"))
        check_eq(queued.req("e", "key"), "queued", "e")
        waiter.ask("l", "key", "20")
        token_of(sem.req("sl", "sem", "0 2"))
        token_of(enq.req("e", "other"), "acquired")
        token_of(holder.req("l", "third", "0"))
        check_eq(blocked_w.req("e", "third"), "queued", "e")
        blocked_w.ask("w", "third", "20")
        time.sleep(2.7)  # the time is the test
        for c in [holder, queued, waiter, sem, enq, blocked_w]:
            check(not c.is_closed() and not c.buffer, "closed, or told something")
        check_eq(holder.req("r", "key", token), "ok", "the release")
        token = token_of(queued.req("w", "key", "0"))
        check_eq(queued.req("r", "key", token), "ok", "the second's release")
        token_of(waiter.line())


REQUEST = b"n\nk\nx\n"  # as long as its answer
CHUNK = REQUEST * 10000


def stuff(c):
    """Sends requests and reads nothing, until nothing has moved for a while; → how many bytes."""
    c.sock.setblocking(False)
    sent, still = 0, elapsed()
    while still() < 0.4:
        check(sent < 100 << 20, "the server swallows 100 MiB for a client that does not read")
        try:
            sent += c.sock.send(CHUNK[sent % len(CHUNK):])
            still = elapsed()
        except BlockingIOError:
            time.sleep(0.005)
        except OSError:
            break
    return sent


@test("no progress on a reply for the write timeout closes", rules=["P18"])
def write_deadline():
    with Server(["--write-timeout", "1", "--read-timeout", "20"]) as server:
        other, slow = server.client(), server.client(rcvbuf=4096)
        took = elapsed()
        stuff(slow)
        eventually(lambda: json_of(other.req("stats"))["connections"] == 1, 6,
                   "the connection that does not read is still there")
        check(took() > 0.9, f"closed after {took():.2f} s")


@test("what the slow reader owned passes on", rules=["P18"])
def write_deadline_releases():
    with Server(["--write-timeout", "1"]) as server:
        slow, other = server.client(rcvbuf=4096), server.client()
        token_of(slow.req("l", "key", "0 60"))
        other.ask("l", "key", "20")
        stuff(slow)
        token_of(other.line())


@test("a reader that is slow, but reads, is not closed", rules=["P18"])
def slow_progress():
    with Server(["--write-timeout", "1"]) as server:
        c = server.client(rcvbuf=32768)
        enough, sent = threading.Event(), []

        def write(_):
            n = 0
            while not enough.is_set():
                c.send(CHUNK)
                n += len(CHUNK)
            sent.append(n)

        def read(_):
            took, got = elapsed(), 0
            while not sent or got < sent[0]:
                n = len(c.sock.recv(20000 if took() < 3 else 1 << 20))
                check(n, f"closed after {took():.2f} s and {got} bytes")
                got += n
                if took() < 3:
                    time.sleep(0.2)  # longer than the deadline as a whole, not for each piece
                else:
                    enough.set()
                    check(took() < 25, "the rest does not come")

        in_threads(lambda f: f(None), [write, read])
        check_eq(c.req("ping"), "ok", "ping")


@test("--write-timeout 0 is none", rules=["P19"])
def no_write_deadline():
    with Server(["--write-timeout", "0", "--read-timeout", "1"]) as server:
        c, other = server.client(rcvbuf=4096), server.client()
        token_of(other.req("l", "own", "0 60"))  # who owns something may be slow to ask
        stuff(c)
        end = elapsed()
        while end() < 2.5:
            check_eq(json_of(other.req("stats"))["connections"], 2, "connections")
            time.sleep(0.1)
        c.sock.settimeout(10)
        check(c.sock.recv(6) == b"error\n", "the first reply is still there")


if __name__ == "__main__":
    main(jobs=8)
