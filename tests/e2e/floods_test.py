#!/usr/bin/env python3
"""floods_test.py - clients that mean no good, by the thousand: what they are told, what is logged, how
little it costs, and that others go on. What a flood does to the others' waiting is `make bench`'s."""

import contextlib
import os
import re
import resource
import signal
import struct
import threading
import time

from harness import (SANITIZED, Client, Server, check, check_eq, diag, elapsed, eventually, fence_of, in_threads,
                     json_of, main, poll_in, stopped, test, token_of)
from points import CrashServer

PIECE = 65536  # bytes of a long answer that are sent at a time
# In one turn of a worker's loop:
PIECES_A_TURN, TIMEOUTS_A_TURN, SERVE_A_TURN, SERVE_MOST, GREEDY_A_TURN = 4, 32, 2048, 128, 256


def fill(client, n, prefix="k"):
    """n locks, keys of 200 bytes."""
    for at in range(0, n, 500):  # who only sends is ended, once the kernel takes no more answers for it
        client.send("".join(f"l\n{prefix}-{i:0198d}\n0 900\n" for i in range(at, at + 500)))
        for reply in client.lines(500):
            token_of(reply)


def steady(value, seconds=0.3):
    """What value() is once it has not changed for so long."""
    last, since = value(), time.monotonic()
    while time.monotonic() < since + seconds:
        time.sleep(0.01)
        if value() != last:
            last, since = value(), time.monotonic()
    return last


def drain(client):
    """What has come, and what the kernel sends after it as soon as there is room: most of it, for the
    worker is stopped meanwhile, and if that lasted two seconds it would be killed."""
    got, took = 0, elapsed()
    while took() < 0.5 and poll_in(client.sock, 0.02):
        piece = len(client.sock.recv(1 << 20))
        check(piece, "the answer ends early")
        got += piece
    return got


@test("long answers go out in pieces, few in a turn: who asks for little comes in between; all come whole",
      rules=["P84"])
def pieces():
    locks, readers = 6000, 24
    with CrashServer(["--max-locks", locks, "--write-timeout", "60"], workers=1) as server:
        board, holder = server.board, server.client()
        fill(holder, locks)
        slow = [server.client(rcvbuf=32768) for _ in range(readers)]
        for c in slow:
            c.ask("stats")
        eventually(lambda: board.passes("DOC_READ") >= readers, text="all are being sent theirs")

        def turns_and_pieces():
            return board.passes("LOOP_TURN"), steady(lambda: board.passes("DOC_READ"))

        pid, = server.worker_pids()
        got = [0] * readers
        for _ in range(5):  # this test may not be run just then
            turns, read = turns_and_pieces()
            # All of them have room at once, when the worker looks again.
            os.kill(pid, signal.SIGSTOP)
            had = in_threads(drain, slow)
            holder.ask("ping")
            os.kill(pid, signal.SIGCONT)
            holder.expect("ok", "ping")
            more = steady(lambda: board.passes("DOC_READ")) - read
            turns = board.passes("LOOP_TURN") - turns
            got = [a + b for a, b in zip(got, had)]
            if more >= readers:
                break
        diag(f"{more} pieces in {turns} turns; the kernel had {min(had)} to {max(had)} bytes for each")
        check(max(had) < 128 * 1024 + 2 * PIECE + 4 * 32768, "the kernel took more for one that does not read")
        check(more >= readers, f"{more} pieces to {readers} readers")
        check(more <= turns * PIECES_A_TURN, f"{more} pieces in {turns} turns")

        def rest(i):
            c, size, last = slow[i], got[i], b""
            while not last.endswith(b"\n"):
                last = c.sock.recv(1 << 20)
                check(last, f"the answer ends after {size} bytes")
                size += len(last)
            check_eq(c.req("ping"), "ok", "ping, behind it")
            return size

        sizes = in_threads(rest, range(readers))
        whole = len(holder.req("stats")) + 1
        # Connections that are counted, and seconds, have some digits more or less.
        check(all(abs(s - whole) < locks * 4 for s in sizes), f"{min(sizes)} to {max(sizes)} bytes of {whole}")


@test("a hundred deadlines that are over at once take several turns of the loop")
def deadlines():
    n = 100
    with CrashServer(workers=1) as server:
        board, holder = server.board, server.client()
        token_of(holder.req("l", "key", "0 60"))
        clients = [server.client() for _ in range(n)]
        for c in clients:
            c.ask("l", "key", "3")
        last = time.monotonic()

        def sleep_until(seconds):
            time.sleep(max(last + seconds - time.monotonic(), 0))

        eventually(lambda: json_of(holder.req("show", "key", "lock"))["waiters"] == n, text="all wait")
        sleep_until(2.2)  # a worker that is stopped for two seconds is killed
        pid, = server.worker_pids()
        os.kill(pid, signal.SIGSTOP)
        sent, turns = board.passes("TRANSFER_SENT"), board.passes("LOOP_TURN")
        sleep_until(3.05)
        os.kill(pid, signal.SIGCONT)
        for c in clients:
            c.expect("timeout")
        eventually(lambda: board.passes("TRANSFER_SENT") - sent == n, text="all are sent")
        turns = board.passes("LOOP_TURN") - turns
        diag(f"{n} in {turns} turns")
        check(n <= turns * TIMEOUTS_A_TURN, f"{n} in {turns} turns")


def stop(pid):
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: stopped(pid))


def next_fence(server, fence):
    """What reads it from the region; `fence` is the last. Grants are as many as it grows by."""
    fd = re.search(r"\bregion_fd=(\d+)", server.logged("dflockd starts")[0])[1]
    region = open(f"/proc/{server.pid}/fd/{fd}", "rb")
    at = region.read(1 << 16).find(struct.pack("<Q", fence + 1))
    check(at >= 0, "the next fence is in the region's head")
    return lambda: struct.unpack("<Q", os.pread(region.fileno(), 8, at))[0]


@test("connections that ask without end: each gets its share of a turn, and who asks now and then goes first")
def greed():
    n, each = 60, 400
    share = SERVE_A_TURN // (n + 1)
    with Server(["--max-locks", "400000"], workers=1) as server:
        greedy, modest = [server.client() for _ in range(n)], server.client()
        for c in [*greedy, modest]:
            check_eq(c.req("ping"), "ok", "ping")  # it is the worker's
        pid, = server.worker_pids()
        granted = next_fence(server, fence_of(token_of(modest.req("l", "first", "0"))))
        asked = granted()

        def ask(attempt):
            nonlocal asked
            for i, c in enumerate(greedy):
                c.send("".join(f"l\n{attempt}-{i}-{k}\n0\n" for k in range(each)))
            asked += n * each

        def overtaken(attempt):
            """How many were granted before the one that asks last, and how long they took."""
            nonlocal asked
            before, took = granted(), elapsed()
            modest.ask("l", f"{attempt}-modest", "0")
            os.kill(pid, signal.SIGCONT)
            asked += 1
            after = fence_of(token_of(modest.line())) - before
            took = took()
            for c in greedy:
                for reply in c.lines(each):
                    token_of(reply)
            return after, took

        stop(pid)
        ask("first")
        first, _ = overtaken("first")
        check(first <= n * share, f"{first} before it, when nobody is known to ask without end")
        found = []  # a turn may be stopped near its end, so one time tells little
        for attempt in range(200):
            stop(pid)
            ask(attempt)  # all of them at once, or the last ones would not be known when the first ones are done
            os.kill(pid, signal.SIGCONT)
            pause, now, since = 0, granted(), elapsed()
            while asked - now > n * each // 2:  # each has had a share
                last, now = now, granted()
                if now != last:
                    pause, since = max(pause, since()), elapsed()
            stop(pid)
            left, pause = asked - granted(), max(pause, since())
            after, took = overtaken(attempt)
            # Else this test was not run while they were served, or the worker not while they were known.
            if left > n * each // 4 and pause + took < 0.04:
                found.append(after)
            if len(found) == 8:
                break
        diag(f"{first} of {n * each} were before it, then {found}")
        check_eq(len(found), 8, "how often the worker was stopped in time")
        check(max(found) <= GREEDY_A_TURN + SERVE_MOST + share, f"{found} before it, when they are known")


@test("a worker that was silent has caught up though some ask without end: leases end in time again", alone=True,
      rules=["S15"])
def catches_up():
    many = memoryview(b"ping\n_\n\n" * 20000)
    with Server(workers=1) as server:
        holder, waiter, over = server.client(), server.client(), threading.Event()
        pid, = server.worker_pids()

        def ask_without_end(c):
            c.sock.setblocking(False)
            rest = many
            while not over.is_set():
                with contextlib.suppress(BlockingIOError):
                    rest = rest[c.sock.send(rest):] or many
                with contextlib.suppress(BlockingIOError):
                    check(c.sock.recv(1 << 20), "it was ended")

        def behave(_):
            late = []
            try:
                while not late or late[-1] > 1.5 and len(late) < 5:  # the machine may be late, too
                    token_of(holder.req("l", "key", "0 1"))
                    took = elapsed()
                    waiter.ask("l", "key", "30 1")
                    stop(pid)
                    time.sleep(0.1)  # the silence
                    os.kill(pid, signal.SIGCONT)
                    token = token_of(waiter.line())
                    late.append(took() - 1)
                    check_eq(waiter.req("r", "key", token), "ok", "a release")
            finally:
                over.set()
            return late

        clients = [server.client() for _ in range(8)]
        late, *_ = in_threads(lambda job: job[0](job[1]), [(behave, None), *((ask_without_end, c) for c in clients)])
        diag("late by " + ", ".join(f"{x:.2f} s" for x in late))
        check(late[-1] <= 1.5, f"a lease ended late: {late}")


def memory(server):
    """Bytes: what is private to each process, and what the region has touched."""
    private, region = 0, 0
    for pid in [server.pid, *server.worker_pids()]:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            private += sum(int(x.split()[1]) << 10 for x in f if x.startswith("Private_Dirty"))
    for fd in os.listdir(f"/proc/{server.pid}/fd"):
        at = f"/proc/{server.pid}/fd/{fd}"
        if "memfd:" in os.readlink(at):
            region += os.stat(at).st_blocks * 512
    return private, region


def check_bounded(server, before, most, what):
    """What the region touches counts as private to the worker that did, so both are looked at."""
    private, region = (now - then for now, then in zip(memory(server), before))
    diag(f"{what}: {private >> 10} KiB more in the processes, {region >> 10} KiB more in the region")
    check(region < most, f"{what}: the region has {region} bytes more")
    # A sanitizer keeps what was freed.
    check(SANITIZED or private < most, f"{what}: the processes have {private} bytes more")


@test("50,000 keys that nobody named before, one after another: memory stays what the limit allows", rules=["S51"])
def distinct_keys():
    with Server(["--max-locks", "1000"]) as server:
        def some(client, first, n):
            keys = [f"key-{first + i:0200d}" for i in range(n)]
            client.send("".join(f"l\n{k}\n0\n" for k in keys))
            tokens = [token_of(x) for x in client.lines(n)]
            client.send("".join(f"r\n{k}\n{t}\n" for k, t in zip(keys, tokens)))
            for reply in client.lines(n):
                check_eq(reply, "ok", "the release")

        clients = [server.client() for _ in range(2)]

        def all_of(part):
            client = clients[part % 2]
            for first in range(0, 5000, 250):
                some(client, part * 5000 + first, 250)

        in_threads(all_of, [0, 1])
        before = memory(server)
        for parts in range(2, 10, 2):
            in_threads(all_of, [parts, parts + 1])
        check_bounded(server, before, 1 << 20, "40,000 keys more")
        stats = json_of(clients[0].req("stats"))
        check_eq(len(stats["locks"]), 0, "locks held")
        check(len(stats["idle_locks"]) <= 1000, f"{len(stats['idle_locks'])} keys are kept")


@test("2,000 connections that come, ask and go, with and without a farewell: nothing of them is left")
def come_and_go():
    with Server() as server:
        watch = server.client()

        def some(part):
            for i in range(125):
                c = Client(server)
                if i % 5 == 0:
                    c.send("l\nhalf a requ")
                elif i % 5 == 1:
                    token_of(c.req("l", f"key-{part}-{i}", "0"))
                elif i % 5 == 2:
                    c.ask("ping")  # and does not wait for the answer
                c.reset() if i % 2 else c.close()

        def files():
            return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in [server.pid, *server.worker_pids()])

        def gone():
            return json_of(watch.req("stats"))["connections"] == 1 and not json_of(watch.req("stats"))["locks"]

        check_eq(watch.req("ping"), "ok", "ping")
        was = files()
        in_threads(some, range(4))
        eventually(gone, text="all are gone")
        before = memory(server)
        in_threads(some, range(4, 16))
        eventually(gone, text="all are gone")
        eventually(lambda: files() == was, text="their descriptors are closed")
        check_bounded(server, before, 1 << 20, "1,500 connections more")


@test("every lock, waiter and connection is used and more are asked for: each is told which it was, and those "
      "who are there go on", rules=["S50", "S52", "S53", "S54"])
def full():
    locks, waiters, connections, rounds = 300, 20, 60, 40
    with Server(["--max-locks", locks, "--max-waiters", waiters, "--max-connections", connections]) as server:
        holder, patient = server.client(), server.client()
        held = {f"k{i}": None for i in range(locks)}
        for key in held:
            held[key] = token_of(holder.req("l", key, "0 60"))
        queue = [server.client() for _ in range(waiters)]
        for c in queue:
            check_eq(c.req("e", "k0"), "queued", "a place in the queue")
        crowd = [server.client() for _ in range(connections - waiters - 2)]
        for c in crowd:
            check_eq(c.req("ping"), "ok", "ping")
        before, over = memory(server), threading.Event()
        wanting, dialling = 6, 3
        refused = [0] * (wanting + dialling)

        def want(me):
            c = crowd[me]
            while not over.is_set():
                check_eq(c.req("l", f"more-{refused[me]}", "60"), "error_max_locks", "a lock more")
                check_eq(c.req("l", "k0", "60"), "error_max_waiters", "a waiter more")
                check_eq(c.req("sl", f"more-{refused[me]}", "60 3"), "error_max_locks", "a semaphore more")
                refused[me] += 1

        def dial(me):
            while not over.is_set():
                c = Client(server)
                try:
                    c.ask("ping")
                except (BrokenPipeError, ConnectionResetError):
                    pass
                c.expect_close()
                c.close()
                refused[me] += 1

        def behave(_):
            try:
                eventually(lambda: min(refused) > 0, text="everybody is refused something")
                for i in range(rounds):
                    key = f"k{1 + i}"
                    check_eq(holder.req("n", key, held[key] + " 60"), "ok 60", "a renewal")
                    # A key with somebody in its queue is not given up when it passes on.
                    patient.ask("l", key, "60")
                    eventually(lambda: json_of(holder.req("show", key, "lock"))["waiters"] == 1)
                    check_eq(holder.req("r", key, held[key]), "ok", "a release")
                    token_of(patient.line())
            finally:
                over.set()

        in_threads(lambda job: job[0](job[1]), [(behave, None), *((want, i) for i in range(wanting)),
                                                *((dial, wanting + i) for i in range(dialling))])
        check_eq(holder.req("r", "k0", held["k0"]), "ok", "the release of the full queue's key")
        token_of(queue[0].req("w", "k0", "20"))
        diag(f"refused: {refused}")
        check_bounded(server, before, 1 << 20, "the flood of a full table")
        line, = server.logged("connection refused")[:1]
        check("limit=max-connections " in line and f"max={connections}" in line, line)
        check(len(server.log) < 200, f"the log has {len(server.log)} lines")


@test("the master has no descriptor left, and clients come all the time: they hear it, it is logged, those who "
      "are there go on, and newcomers are served when it has some again")
def no_descriptors():
    with Server(expect_log=["cannot accept connections, will try again"]) as server:
        there = server.client()
        check_eq(there.req("ping"), "ok", "ping")
        soft, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        before, over = memory(server), threading.Event()
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{server.pid}/fd")), hard))

        closed = [0] * 3

        def dial(me):
            """Closed without a word; or it waits, for the server rests between two attempts."""
            while not over.is_set():
                c = Client(server)
                eventually(lambda: c.is_closed() or over.is_set())
                closed[me] += c.is_closed()
                c.close()

        def behave(_):
            try:
                mark = server.wait_log("cannot accept connections, will try again")
                for _ in range(300):
                    token = token_of(there.req("l", "key", "0"))
                    check_eq(there.req("r", "key", token), "ok", "a release")
                eventually(lambda: sum(closed) > 0, text="nobody was told")
                return mark.string
            finally:
                over.set()

        line, *_ = in_threads(lambda job: job[0](job[1]), [(behave, None), *((dial, i) for i in range(3))])
        check("open=" in line and "oo many open files" in line, line)
        check_bounded(server, before, 1 << 20, "no descriptors")
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (soft, hard))
        with Client(server) as c:
            check_eq(c.req("ping"), "ok", "ping of one who came later")
        lines = len(server.logged("cannot accept"))
        check(lines < 50, f"{lines} lines about it in the log")


if __name__ == "__main__":
    main()
