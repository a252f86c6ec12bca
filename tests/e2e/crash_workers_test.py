#!/usr/bin/env python3
"""crash_workers_test.py - a worker dies at each numbered place that workers pass, before and after
each of its system calls and between the steps of each hand-over, at the first, second and third pass
from some moment on, while clients of all sorts are served. None of them may notice."""

from harness import BRIEF, SANITIZED, check, check_eq, diag, eventually, main, test
from load import Load
from points import FAIL, HANG, ROWS, CrashServer, errors, kill_one_of

PASSES = (2,) if BRIEF else (1, 2, 3)
EXPECTED = ["worker died", "worker hangs", "no resources for a connection"]
SCRIPTS = ["pairs", "two_phase", "semaphores", "churn", "half_closes", "leavers", "errors",
           "bytewise", "expiry", "timeouts"]
LONG_SCRIPTS = ["long_answers", "slow_readers"]
LONG = {"JOB_TRUNCATE", "JOB_WRITE", "JOB_ANSWER", "DOC_READ", "STREAM_OUTQ"}

# Places that need something to happen first: it is ordered, and the death is what follows it.
FIRST = {
    "LOCK_CONSISTENT": dict(name="SHARED_COMMIT"),
    "LOCK_SLEEP": dict(name="SHARED_LOCKED", action=HANG),
    "CONN_GIVE_UP": dict(name="CONN_WATCH", action=FAIL, error=errors("ENOMEM")),
}
# Places that no load reaches at will; what they do is proven elsewhere.
RARE = {
    "ROOM_YIELD": "two workers must race for the last unit of max-locks (caps_test steps through it)",
    "LOOP_DUPLICATE": "a socket must come to a worker that has it (transferred twice)",
}
# What only a worker without a master comes to (master_death_test.py), and guards against messages that
# nobody sends.
NEVER = {"RENDEZVOUS_ACCEPT", "RENDEZVOUS_PEER", "ORPHAN_CLOSE", "ORPHAN_UNWATCH", "ORPHAN_GIVE_UP",
         "ORPHAN_FOUND", "ORPHAN_OFFERED", "PASS_PARTLY", "PASS_STRAY"}


def die_at(server, row, side, nth):
    board = server.board
    if row.name in LONG:
        # Or the third death might be that of the same long answer, which is poison then.
        answered = board.passes("JOB_ANSWER")
        eventually(lambda: board.passes("JOB_ANSWER") > answered + 1, 20, "a long answer is given")
    return server.dies_at(row, side, nth, first=FIRST.get(row.name),
                          patience=3 if row.name in RARE else 40,
                          poke=lambda turn: kill_one_of(server.worker_pids(), turn))


def place_test(row):
    def body():
        reached = 0
        args = ["--max-locks", "5000", "--gc-interval", "1", "--gc-max-idle", "1"]
        with CrashServer(args, expect_log=EXPECTED) as server:
            load = Load(server, SCRIPTS + (LONG_SCRIPTS if row.name in LONG else []))
            for side in row.sides:
                for nth in PASSES:
                    reached += die_at(server, row, side, nth)
                    load.check()
            server.whole()
            load.stop()
            check(not server.logged("poison"), "no request was taken for poison")
            check(not server.logged("was damaged"), "nothing was damaged")
        if row.name in RARE:
            diag(f"reached {reached} times: {RARE[row.name]}")
        else:
            check_eq(reached, len(PASSES) * len(row.sides), "deaths")

    return body


# In crash_reload_test.py; and a sanitized worker has no sandbox.
ELSEWHERE = ("RELOAD_", "HANDOVER_") + (("CONFINE_",) if SANITIZED else ())

for row in ROWS:
    if (row.who in ("WORKER", "BOTH") and row.name not in NEVER and
            not row.name.startswith(ELSEWHERE)):
        where = "before, after" if len(row.sides) == 2 else "at"
        function = place_test(row)
        function.__name__ = row.name
        test(f"a worker dies {where} {row.name}: {row.what}", deadline=300)(function)

if __name__ == "__main__":
    main(jobs=3)
