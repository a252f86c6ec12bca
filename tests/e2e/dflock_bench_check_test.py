#!/usr/bin/env python3
"""dflock_bench_check_test.py - what dflock-bench verifies: servers that break each promise are found
out, with key, tokens and time; what a server may do is not objected to."""

import os
import re
import signal

from benchrun import bench, grants, started
from fakeserver import FakeServer
from harness import Server, check, check_eq, eventually, json_of, main, test

TOKEN = "%016x0123456789abcdef"
WHEN = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
VIOLATION = rf"dflock-bench: VIOLATION: {WHEN}: key one: "
SHARED = ["--shared-key", "--key", "one", "--warmup", 0]


class Queue(FakeServer):
    """A server of one lock, as it should be; what is below is done wrong by others."""

    def __init__(self):
        super().__init__()
        self.fence = 0
        self.holder = None  # connection
        self.waiting = []   # (connection, how it is told)
        self.early = {}     # connection: the grant that its `w` will hear of

    def next_fence(self):
        self.fence += 1
        return self.fence

    def grant(self, conn, word):
        self.holder = conn
        return f"{word} {TOKEN % self.next_fence()} 10"

    def is_free(self):
        return self.holder is None

    def pick(self):
        return 0

    def keeps(self):
        return True

    def asked(self, conn, command, key, arg):
        if command == "l":
            if self.is_free():
                return self.grant(conn, "ok")
            self.waiting.append(conn)
        elif command == "e":
            if self.is_free():
                answer = self.grant(conn, "acquired")
                self.early[conn] = answer.replace("acquired", "ok")
                return answer
            self.waiting.append(conn)
            return "queued"
        elif command == "w":
            return self.early.pop(conn, None)
        else:
            check_eq(command, "r", "the command")
            if not self.keeps():
                return "error"
            if self.holder is conn:
                self.holder = None
            conn.say("ok")
            if self.waiting and self.holder is None:
                head = self.waiting.pop(self.pick())
                head.say(self.grant(head, "ok"))
        return None


@test("a server that keeps its promises is not objected to", rules=["B10"])
def as_it_should_be():
    with Queue() as fake:
        got = bench(*SHARED, "--workers", 8, "--rounds", 100, "--json", at=fake).ended(0).json
    check_eq((got["check"]["grants"], got["check"]["violations"]), (800, 0), "grants, violations")
    check(got["check"]["queue_places"] > 0, "places in the queue were looked at")


@test("two holders at a time are found: which key, which tokens, when", rules=["B9"])
def twice():
    class Twice(Queue):
        """The first who enqueues is told that he has it, and nothing more until another has had it, too.
        Then all goes on as it should."""

        first = second = None

        def asked(self, conn, command, key, arg):
            if self.first is None:
                if command != "e":
                    self.waiting.append(conn)
                    return None
                self.first = conn
                conn.say(self.grant(conn, "acquired"))
                self.early[conn] = f"ok {TOKEN % self.fence} 10"
            elif self.second is None and command == "l":
                self.waiting.append(conn)
            elif self.second is conn and command == "r":
                self.second = True
                conn.say("ok")
                self.first.say(self.early.pop(self.first))
            elif self.second is True:
                return super().asked(conn, command, key, arg)
            if self.second is None and self.waiting:
                self.second = self.waiting.pop(0)
                self.second.say(f"ok {TOKEN % self.next_fence()} 10")
            return None

    with Twice() as fake:
        run = bench(*SHARED, "--workers", 2, at=fake).ended(2, VIOLATION + "two holders: ")
    m = re.search(r"two holders: worker (\d+) \(token ([0-9a-f]{32}), received at (\S+)\) and "
                  r"worker (\d+) \(token ([0-9a-f]{32}), now\)", run.err)
    check(m and m[1] != m[4] and m[2] != m[5] and re.fullmatch(WHEN, m[3]), run.err)
    check(re.search(r"check     : \d+ VIOLATIONS in 100 grants", run.out), run.out)


class Same(Queue):
    """From the 50th grant on there is only one fence."""

    def next_fence(self):
        super().next_fence()
        return 7 if self.fence > 50 else self.fence


@test("JSON counts them, each of the first ten is said", rules=["B8", "B9"])
def many():
    with Same() as fake:
        run = bench(*SHARED, "--json", at=fake).ended(2, VIOLATION)
    got = run.json["check"]["violations"]
    check(got > 10, f"{got} violations")
    check_eq(run.err.count("VIOLATION"), 10, "said")
    check(f"dflock-bench: and {got - 10} more\n" in run.err, run.err)


@test("a place in the queue that is not kept is found", rules=["B9"])
def not_in_order():
    class LastFirst(Queue):
        def pick(self):
            return -1

    with LastFirst() as fake:
        bench(*SHARED, at=fake).ended(
            2, VIOLATION + r"not in order: worker \d+ was in the queue \(token [0-9a-f]{32}\) before "
            rf"worker \d+ asked, .* \(token [0-9a-f]{{32}}, received at {WHEN}\)")


@test("fences that do not grow are found, of one key and of several", rules=["B9"])
def fences():
    with Same() as fake:
        bench(*SHARED, "--workers", 5, at=fake).ended(2, VIOLATION + r"the fence does not grow: worker \d+ has token "
                                      rf"{TOKEN % 7}, fence 7, but 50 had been")

    class Alone(FakeServer):
        """Every key has a counter of its own, that of the first is far ahead: workers may go in step."""

        fences = {}

        def asked(self, conn, command, key, arg):
            self.fences[key] = self.fences.get(key, 0 if self.fences else 1000) + 1
            return f"ok {TOKEN % self.fences[key]} 10" if command == "l" else "ok"

    with Alone() as fake:
        bench("--warmup", 0, at=fake).ended(2, r"VIOLATION: .*: key bench_[0-9a-f]{8}_\d+: the fence "
                                            r"does not grow: .* received from this server before")


@test("a lock that is taken away before its lease can end is found", rules=["B9"])
def taken_away():
    class Forgetful(Queue):
        def keeps(self):
            return self.fence < 30

    with Forgetful() as fake:
        run = bench(*SHARED, at=fake).ended(2, VIOLATION + r"not kept: worker \d+ \(token "
                                            rf"{TOKEN % 30}\) may not release, \d\.\d+ s before")
    check("release of key one at" in run.err, run.err)


@test("without the check nothing is objected to", rules=["B9"])
def unchecked():
    with Same() as fake:
        run = bench(*SHARED, "--no-check", at=fake).ended(0)
        check("  check     : off\n" in run.out, run.out)
        bench(*SHARED, "--no-check", "--check", at=fake).ended(2, VIOLATION)


@test("a real server keeps them, over threads too, and while its workers are killed",
      rules=["B10"], deadline=240)
def real():
    with Server(expect_log=["worker died"]) as server:
        with started(*SHARED, "--workers", 20, "--threads", 2, "--duration", 6, "--json",
                     at=server) as run:
            other = server.client()
            for _ in range(6):
                before = server.worker_pids()
                reached = grants(other) + 1000
                eventually(lambda: grants(other) > reached or run.proc.poll() is not None, 20)
                os.kill(before[0], signal.SIGKILL)
                eventually(lambda: server.worker_pids() != before and len(server.worker_pids()) == 2,
                           20, "the worker is not replaced")
                check_eq(other.req("ping"), "ok", "a ping")
            got = run.wait().ended(0).json["check"]
        check_eq(got["violations"], 0, "violations")
        check(got["grants"] > 20 and got["queue_places"] > 0, f"{got}")


@test("leases that end while it does not run are no violation", rules=["B10"], deadline=240)
def stopped():
    with Server() as server:
        for _ in range(3):
            with started(*SHARED, "--workers", 3, "--duration", 4, "--lease", 1, at=server) as run:
                other = server.client()
                eventually(lambda: run.proc.poll() is not None or
                           any(x["key"] == "one" for x in locks(other)), 20, "it does not begin")
                run.proc.send_signal(signal.SIGSTOP)
                # Until the server has taken the lock from everybody.
                eventually(lambda: not any(x["key"] == "one" and x["owner_conn_id"]
                                           for x in locks(other)), 40, "leases do not end")
                run.proc.send_signal(signal.SIGCONT)
                run.wait()
            check("VIOLATION" not in run.err and run.code in (0, 1), f"{run.code}: {run.err}")
            check(run.code == 0 or "lease" in run.err, f"what is said: {run.err}")


def locks(client):
    return json_of(client.req("stats"))["locks"]


if __name__ == "__main__":
    main()
