#!/usr/bin/env python3
"""floods_test.py - clients that mean no good, by the thousand: what they are told, what is logged, how
little it costs, and that others go on. What a flood does to the others' waiting is `make bench`'s."""

import os
import signal
import time

from harness import Client, check, check_eq, diag, eventually, in_threads, json_of, main, poll_in, test, token_of
from points import CrashServer

PIECE = 65536  # bytes of a long answer that are sent at a time
PIECES_A_TURN = 4


def fill(client, n, prefix="k"):
    """n locks, keys of 200 bytes."""
    client.send("".join(f"l\n{prefix}-{i:0198d}\n0 900\n" for i in range(n)))
    for reply in client.lines(n):
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
    """What has come, and what the kernel sends after it as soon as there is room."""
    got = 0
    while poll_in(client.sock, 0.02):
        piece = len(client.sock.recv(1 << 20))
        check(piece, "the answer ends early")
        got += piece
    return got


@test("long answers go out in pieces, few in a turn: who asks for little comes in between; all come whole",
      rules=["P84"])
def pieces():
    locks, readers = 6000, 40
    with CrashServer(["--max-locks", locks, "--write-timeout", "60"], workers=1) as server:
        board, holder = server.board, server.client()
        fill(holder, locks)
        slow = [server.client(rcvbuf=32768) for _ in range(readers)]
        for c in slow:
            c.ask("stats")
        eventually(lambda: board.passes("DOC_READ") >= readers, text="all are being sent theirs")

        def turns_and_pieces():
            return board.passes("LOOP_TURN"), steady(lambda: board.passes("DOC_READ"))

        turns, read = turns_and_pieces()
        pid, = server.worker_pids()
        # All of them have room at once, when the worker looks again.
        os.kill(pid, signal.SIGSTOP)
        got = in_threads(drain, slow)
        holder.ask("ping")
        os.kill(pid, signal.SIGCONT)
        holder.expect("ok", "ping")
        more = steady(lambda: board.passes("DOC_READ")) - read
        turns = board.passes("LOOP_TURN") - turns
        diag(f"{more} pieces in {turns} turns; the kernel had {min(got)} to {max(got)} bytes for each")
        check(max(got) < 128 * 1024 + 2 * PIECE + 4 * 32768, "the kernel took more for one that does not read")
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


if __name__ == "__main__":
    main()
