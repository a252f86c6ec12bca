#!/usr/bin/env python3
"""failing_library_test.py - the n-th call of malloc, socket, pthread_create and others fails in a program
with libdflock, and in dflock: they say so, nothing crashes or hangs, no lock is left behind, and what
is tried again does. No command of dflock runs without its lock.

Every n to the last with `make failing`; a few of each with `make check`."""

import itertools
import os
import random
import subprocess

from dflock import DFLOCK
from failing import CHILD, EVER, MAIN, Board, preloaded
from harness import BRIEF, SANITIZED, Server, check, check_eq, diag, eventually, fail, is_free, main, test
from programs import compiled, environment, top

ALL = bool(os.environ.get("DFLOCKD_FAILING_ALL"))
SEED = int(os.environ.get("DFLOCKD_TEST_SEED") or 8)
FUNCTIONS = ["malloc", "mmap", "fork", "epoll_ctl", "sendmsg", "recvmsg", "pthread", "descriptor",
             "socket", "mutex"]


def user():
    with open(os.path.join(top, "tests/failing/user.c"), encoding="utf-8") as f:
        return compiled(f.read(), "user")


def attacked(argv, server, key, judge):
    """Runs the program again and again; judge(status, stdout, stderr) says what is wrong."""
    chance, done = random.Random(f"{SEED} {key}"), []
    watch = server.client()
    for function in FUNCTIONS:
        board = Board()
        env = {**environment({}, {}), **preloaded(board), "FAILING_ONLY": os.path.basename(argv[0])}

        def run(n):
            board.order(function, n, MAIN | CHILD)
            try:
                p = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, encoding="utf-8", timeout=40)
            except subprocess.TimeoutExpired:
                fail(f"{function}, call {n}: it hangs. {board.where()}")
            wrong = judge(p.returncode, p.stdout, p.stderr, board.fired > 0)
            if wrong:
                fail(f"{function}, call {n}: {wrong}; status {p.returncode}, {p.stdout!r}, {p.stderr!r}. "
                     f"{board.where()}")
            eventually(lambda: is_free(watch, key), 20, f"{function}, call {n}: the lock is free")
            return board.fired > 0

        run(EVER)
        count, times = board.count, 0
        few = 1 if BRIEF else 4 if count > 100 else 2
        some = range(1, count + 1) if count <= few else sorted(chance.sample(range(1, count + 1), few))
        for n in itertools.count(1) if ALL else some:
            times += run(n)
            if ALL and not board.fired:
                break
        done.append(f"{function} {times}/{count}")
    diag(", ".join(done))


def library():
    def judge(status, out, err, fired):
        if status != 0 or not out.endswith("done\n"):
            return "the second try failed as well"
        if not fired and out != "done\n":
            return "something was refused although nothing failed"
        if any(line.endswith(": ") for line in out.splitlines()):
            return "an error without a text"
        if "not held" in out:
            return "no lock"
        return None

    with Server() as server:
        attacked([user(), f"127.0.0.1:{server.port}"], server, "high", judge)


@test("a call fails in dflock: the command runs under its lock, or dflock says why it does not",
      deadline=36000 if ALL else 300)
def dflock():
    def judge(status, out, err, fired):
        if status == 0 and out == "ran\n":
            return None
        if not fired:
            return "nothing failed, and it did not run"
        if status <= 0:
            return "it crashed" if status < 0 else "it did not run, and all is well?"
        if not err.strip():
            return "it does not say why"
        return None

    with Server() as server:
        argv = [DFLOCK, "-s", f"127.0.0.1:{server.port}", "-w", "5", "key", "sh", "-c", "echo ran"]
        attacked(argv, server, "key", judge)


if not SANITIZED:  # a program with a sanitizer in its libraries bears nothing before them
    test("a call fails in a program that uses the library: it is told, and what it tries again does",
         deadline=36000 if ALL else 300)(library)

if __name__ == "__main__":
    diag(f"DFLOCKD_TEST_SEED={SEED}")
    main(jobs=2)
