#!/usr/bin/env python3
"""crash_unix_test.py - a worker dies while it serves Unix sockets: the kernel does not count their
bytes, so the one connection that is caught between a call and its record is closed, its slots kept;
all others go on."""

import os
import threading

from harness import Client, Failure, check, check_eq, diag, eventually, main, temp_dir, test, token_of
from points import AFTER, BEFORE, WORKER, CrashServer

CLIENTS = 12
EXPECTED = ["worker died", "stream position is lost"]

# (place, side, whether a connection may be caught there)
ROWS = [
    ("STREAM_RECV", BEFORE, True), ("STREAM_RECV", AFTER, True), ("TRANSFER_RECEIVED", BEFORE, True),
    ("STREAM_SEND", BEFORE, True), ("STREAM_SEND", AFTER, True), ("TRANSFER_SENT", BEFORE, True),
    ("SHARED_LOCKED", BEFORE, False), ("SHARED_COMMIT", BEFORE, False),
    ("SHARED_COMMITTED", BEFORE, False), ("DELIVER_TOLD", BEFORE, False),
    ("LOOP_WAIT", BEFORE, False), ("SESSION_WORD", BEFORE, False),
]


class Talker:
    """Holds a lock of its own, and passes another on; remembers whether it was cut off."""

    def __init__(self, path, n):
        self.path, self.n = path, n
        self.client = Client(None, unix=path, timeout=20)
        self.token = token_of(self.client.req("l", f"own-{n}", "0 100000"))
        self.rounds = 0
        self.lost = False

    def talk(self, over):
        try:
            while not over.is_set():
                check_eq(self.client.req("ping"), "ok", "the ping")
                token = token_of(self.client.req("l", "shared", "60 1"))
                reply = self.client.req("r", "shared", token)
                check(reply in ("ok", "error"), f"a release, perhaps too late: {reply}")
                self.rounds += 1
            # An heir that gives the connection up may close it after it has settled.
            check_eq(self.client.req("ping"), "ok", "the last ping")
            self.client.expect_silence(0)
        except (Failure, OSError) as e:
            check(self.client.ended or isinstance(e, OSError), f"client {self.n}: {e}")
            self.lost = True


def place_test(name, side, catches):
    def body():
        path = os.path.join(temp_dir(), "socket")
        with CrashServer(["--unix-socket", path, "--lease-sweep-interval", "1"],
                         expect_log=EXPECTED) as server:
            talkers = [Talker(path, n) for n in range(CLIENTS)]
            over, wrong = threading.Event(), []

            def run(t):
                try:
                    t.talk(over)
                except Failure as e:
                    wrong.append(str(e))

            threads = [threading.Thread(target=run, args=(t,)) for t in talkers]
            for t in threads:
                t.start()
            for nth in (1, 2, 3):
                settled, fired = server.board.passes("TAKEOVER_SETTLED"), server.board.fired
                server.board.arm(name, side, nth, role=WORKER)
                eventually(lambda: server.board.fired > fired, 20, f"{name} is passed")
                eventually(lambda: server.board.passes("TAKEOVER_SETTLED") > settled, 20, "an heir")
            over.set()
            for t in threads:
                t.join(60)
            check_eq(wrong, [], "what clients say")
            lost = [t for t in talkers if t.lost]
            said = len(server.logged("stream position is lost, closing it, its slots are kept"))
            check_eq(len(lost), said, "connections that the log gives up")
            check(len(lost) <= (3 if catches else 0), f"{len(lost)} connections lost by 3 deaths")
            watch = server.client()
            for t in talkers:
                asks = watch if t.lost else t.client
                check_eq(watch.req("l", f"own-{t.n}", "0"), "timeout", "every slot is kept")
                check_eq(asks.req("r", f"own-{t.n}", t.token), "ok", "and can be given back")
                t.client.close()
            # What the lost ones held ends with its lease; what they were not told of passed on.
            token_of(watch.req("l", "shared", "20"))
            diag(f"{len(lost)} lost, {sum(t.rounds for t in talkers)} rounds")

    return body


for name, side, catches in ROWS:
    function = place_test(name, side, catches)
    function.__name__ = f"{name}_{side}"
    where = f"{'after' if side == AFTER else 'before'} {name}"
    what = "at most one connection a death is closed" if catches else "no connection is closed"
    test(f"a worker that serves Unix sockets dies {where}: {what}",
         rules=["S57"], deadline=180)(function)

if __name__ == "__main__":
    main(jobs=3)
