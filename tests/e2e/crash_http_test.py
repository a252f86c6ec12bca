#!/usr/bin/env python3
"""crash_http_test.py - the worker that serves HTTP dies at each numbered place that it passes: its own,
and those that it shares with the others, before and after each call. Sessions, what they hold, their
places in queues, and the line protocol do not notice; webload.py says what may be cut."""

import signal

from harness import BRIEF, SANITIZED, check, check_eq, main, test
from points import HTTP, ROWS, CrashServer, kill_one_of
from web import WebServer
from webload import WebLoad

PASSES = (2,) if BRIEF else (1, 2, 3)

# Of the places that all kinds of workers have, those that HTTP's passes under load.
SHARED = {"LOG_LINE", "RANDOM", "FUTEX_WAIT", "FUTEX_WAKE", "LOCK_TRY", "LOCK_RELEASE", "SHARED_LOCKED",
          "SHARED_COMMIT", "SHARED_COMMITTED", "SHARED_UNLOCKED", "SHARED_TELL", "BELL_MASKED",
          "BELL_WRITE", "UNITS_MOVED", "STREAM_TUNED", "CONN_LEAVE"}


class CrashWebServer(WebServer, CrashServer):
    """One that dies where a test says."""


def poke(server, turn):
    """Something that only a start or a reload comes to."""
    if turn % 2:
        server.kill(signal.SIGHUP)
    else:
        kill_one_of([p for p in [server.http_pid()] if p], turn)


def place_test(row):
    def body():
        args = ["--max-locks", "5000", "--gc-interval", "1", "--gc-max-idle", "1",
                "--shutdown-timeout", "1", "--http-session-idle-timeout", "100"]
        reached = 0
        with CrashWebServer(args, expect_log=["worker died", "worker hangs"]) as server:
            load = WebLoad(server)
            for side in row.sides:
                for nth in PASSES:
                    reached += server.dies_at(row, side, nth, role=HTTP, poke=lambda turn: poke(server, turn),
                                              settled="HTTP_SETTLED")
                    load.check()
            server.whole()
            load.stop()
            check(not server.logged("poison"), "no request was taken for poison")
            check(not server.logged("was damaged"), "nothing was damaged")
        check_eq(reached, len(PASSES) * len(row.sides), "deaths")

    return body


for row in ROWS:
    if row.who == "HTTP" or row.name in SHARED or (row.name.startswith("CONFINE_") and not SANITIZED):
        where = "before, after" if len(row.sides) == 2 else "at"
        function = place_test(row)
        function.__name__ = row.name
        test(f"HTTP's worker dies {where} {row.name}: {row.what}", rules=["J17"], deadline=300)(function)

if __name__ == "__main__":
    main(jobs=3)
