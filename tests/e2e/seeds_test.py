#!/usr/bin/env python3
"""seeds_test.py - the scripts that the first documents of dflockd show, run as written there, but
for the port."""

import os
import re
import signal
import subprocess
import time

from harness import Server, check, check_eq, elapsed, eventually, json_of, main, test, token_of

LONG = 20  # seconds for anything that must come

TWO_PHASE = r"""#!/bin/bash
# two-phase.sh — enqueue, do work, then wait

exec 3<>/dev/tcp/localhost/6388

# Enqueue
printf 'e\nmy-key\n\n' >&3
read -r response <&3
echo "enqueue: $response"

# Application logic between enqueue and wait
echo "notifying external system..."
sleep 1

# Wait for lock
printf 'w\nmy-key\n10\n' >&3
read -r response <&3
echo "wait: $response"

# Extract token and release
token=$(echo "$response" | awk '{print $2}')
printf 'r\nmy-key\n%s\n' "$token" >&3
read -r response <&3
echo "release: $response"

exec 3>&-
"""
ACQUIRE = r"printf 'l\nfoo\n30\n' | nc localhost 6388"
STATS = r"printf 'stats\n_\n\n' | nc localhost 6388"
LEASE_60 = r"printf 'l\nmy-key\n10 60\n' | nc localhost 6388"
TOKEN = r"[0-9a-f]{32}"


class Shell:
    """A terminal in which a script runs. Its processes are a group of their own."""

    def __init__(self, script, server):
        self.proc = subprocess.Popen(["bash", "-c", script.replace("6388", str(server.port))],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                                     start_new_session=True)
        os.set_blocking(self.proc.stdout.fileno(), False)
        self.text = ""

    def __enter__(self):
        return self

    def __exit__(self, *what):
        try:
            os.killpg(self.proc.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.proc.wait()

    def read(self):
        data = self.proc.stdout.read()
        self.text += (data or b"").decode()
        return self.text

    def line(self, timeout=LONG):
        """The next line on this terminal."""
        eventually(lambda: "\n" in self.read(), timeout, "a line on the terminal")
        line, self.text = self.text.split("\n", 1)
        return line

    def type(self, text):
        self.proc.stdin.write(text.encode())


@test("the scripted two-phase example", rules=["S28", "S32", "S38"])
def two_phase():
    with Server(["--host", "localhost"]) as server:
        with Shell(TWO_PHASE, server) as sh:
            check(re.fullmatch(f"enqueue: acquired {TOKEN} 33", sh.line()), "the enqueue")
            check_eq(sh.line(), "notifying external system...", "the script")
            check(re.fullmatch(f"wait: ok {TOKEN} 33", sh.line()), "the wait")
            check_eq(sh.line(), "release: ok", "the release")
            check_eq(sh.proc.wait(LONG), 0, "the exit status")


@test("the scripted two-phase example, when the lock is held", rules=["S29", "S31", "S35"])
def two_phase_queued():
    with Server(["--host", "localhost"]) as server:
        a = server.client()
        token = token_of(a.req("l", "my-key", "0"))
        with Shell(TWO_PHASE, server) as sh:
            check_eq(sh.line(), "enqueue: queued", "the enqueue")
            check_eq(sh.line(), "notifying external system...", "the script")
            check_eq(a.req("r", "my-key", token), "ok", "the release")
            check(re.fullmatch(f"wait: ok {TOKEN} 33", sh.line()), "the wait")
            check_eq(sh.line(), "release: ok", "the release")


@test("FIFO in three terminals", rules=["S10", "S12", "S46"])
def three_terminals():
    with Server(["--host", "localhost"], workers=4) as server:
        watch = server.client()

        def waiting(n):
            eventually(lambda: sum(x["waiters"] for x in json_of(watch.req("stats"))["locks"]) == n,
                       LONG, f"{n} wait")

        with Shell(ACQUIRE, server) as one:
            first = one.line()
            check(re.fullmatch(f"ok {TOKEN} 33", first), first)
            with Shell(ACQUIRE, server) as two:
                waiting(1)
                with Shell(ACQUIRE, server) as three:
                    waiting(2)
                    time.sleep(0.4)
                    check_eq((two.read(), three.read()), ("", ""), "both block")
                    check_eq(watch.req("r", "foo", token_of(first)), "ok", "the release")
                    second = two.line()
                    check(second[:20] > first[:20], "terminal 2 comes before terminal 3")
                    time.sleep(0.1)
                    check_eq(three.read(), "", "terminal 3 blocks")
                    check_eq(watch.req("r", "foo", token_of(second)), "ok", "the release")
                    check(three.line() > second, "terminal 3")


@test("the holder's terminal is closed: the next one is granted", rules=["S42"])
def terminal_closed():
    with Server(["--host", "localhost"]) as server:
        with Shell(ACQUIRE, server) as two:
            check(re.fullmatch(f"ok {TOKEN} 33", two.line()), "terminal 1")
            three = Shell(ACQUIRE, server)
            watch = server.client()
            eventually(lambda: json_of(watch.req("stats"))["locks"][0]["waiters"] == 1, LONG)
        with three:
            check(re.fullmatch(f"ok {TOKEN} 33", three.line()), "terminal 2")


@test("acquire in one terminal, release by token in another", rules=["S23"])
def release_elsewhere():
    with Server(["--host", "localhost"]) as server:
        with Shell(LEASE_60, server) as one:
            reply = one.line()
            check(re.fullmatch(f"ok {TOKEN} 60", reply), reply)
            release = fr"printf 'r\nmy-key\n{token_of(reply)}\n' | nc localhost 6388"
            with Shell(release, server) as two:
                check_eq(two.line(), "ok", "the release")


@test("the stats one-liner", rules=["S68"])
def stats():
    with Server(["--host", "localhost"]) as server:
        with Shell(STATS, server) as sh:
            check_eq(sh.line(), 'ok {"connections":1,"locks":[],"semaphores":[],"idle_locks":[],'
                                '"idle_semaphores":[]}', "the reply")


@test("an interactive nc session: lock, semaphore, stats, renew, release", rules=["S4", "S9"])
def interactive():
    with Server(["--host", "localhost"]) as server:
        with Shell("nc localhost 6388", server) as nc:
            def enter(*lines):
                for line in lines:  # as typed: one line after the other
                    nc.type(line + "\n")
                    time.sleep(0.02)
                return nc.line()

            since = elapsed()
            lock = enter("l", "my-key", "10")
            check(re.fullmatch(f"ok {TOKEN} 33", lock), lock)
            sem = enter("sl", "worker-pool", "10 3")
            check(re.fullmatch(f"ok {TOKEN} 33", sem), sem)
            reply = enter("stats", "_", "")
            want = (r'ok \{"connections":1,"locks":\[\{"key":"my-key","owner_conn_id":1,'
                    r'"lease_expires_in_s":(\d+(?:\.\d+)?),"waiters":0\}\],"semaphores":\[\{"key":'
                    r'"worker-pool","limit":3,"holders":1,"waiters":0\}\],"idle_locks":\[\],'
                    r'"idle_semaphores":\[\]\}')
            m = re.fullmatch(want, reply)
            check(m and 33 - since() - 1 <= float(m[1]) <= 33, reply)
            check_eq(enter("n", "my-key", token_of(lock) + " 60"), "ok 60", "the renew")
            check_eq(enter("r", "my-key", token_of(lock)), "ok", "the release")
            check_eq(enter("sr", "worker-pool", token_of(sem)), "ok", "the semaphore's release")
            acquired = enter("e", "my-key", "")
            check(re.fullmatch(f"acquired {TOKEN} 33", acquired), acquired)
            check_eq(enter("w", "my-key", "10").split()[1], acquired.split()[1], "w")


if __name__ == "__main__":
    main(jobs=7)
