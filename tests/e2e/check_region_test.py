#!/usr/bin/env python3
"""check_region_test.py - --check-region: whether a program could go on with a table or a dump, asked of
this one and of one whose records lie elsewhere."""

import os
import re
import subprocess

from harness import Server, check, check_eq, main, temp_dir, test, token_of

OURS = os.environ["DFLOCKD"]
OTHER = os.path.join(os.environ["top_builddir"], "tests/upgrade/dflockd")
TAKE = os.path.join(os.environ["top_builddir"], "tests/upgrade/take")


def region_of(server):
    fd = server.wait_log(r" region_fd=(\d+)")[1]
    return f"/proc/{server.pid}/fd/{fd}"


def ask(program, what, fds=(), args=()):
    done = subprocess.run([program, "--check-region", what, *args], capture_output=True, text=True,
                          timeout=60, pass_fds=fds)
    check_eq((done.stdout + done.stderr).count("\n"), 1, f"one line: {done}")
    return done.returncode, done.stdout, done.stderr


def says(program, what, code, words, fds=(), args=()):
    got, out, err = ask(program, what, fds, args)
    check_eq(got, code, f"{what}: {out}{err}")
    check(words in (err if code == 1 else out), f"{words!r} expected: {out}{err}")


def saved(server):
    path = os.path.join(temp_dir(), "saved")
    subprocess.run(["cp", "--sparse=always", region_of(server), path], check=True, timeout=60)
    return path


def busy(program):
    """A server with two holders, one of them a semaphore's, and a waiter."""
    server = Server(program=program).start()
    a, b = server.client(), server.client()
    token_of(a.req("l", "key", "0 60"))
    token_of(a.req("sl", "sem", "0 3 60"))
    check_eq(b.req("e", "key", "60"), "queued", "enqueue")
    return server


@test("the region of a running server: shared by its like, imported by another layout",
      rules=["C53"], deadline=180)
def regions():
    for ours, other in ((OURS, OTHER), (OTHER, OURS)):
        server = busy(ours)
        path = region_of(server)
        says(ours, path, 0, "can be served as it is")
        says(other, path, 3, "dumps of version 1")
        fd = os.open(path, os.O_RDONLY)
        says(ours, str(fd), 0, "can be served as it is", fds=[fd])
        says(other, str(fd), 3, "dumps of version 1", fds=[fd])
        says(ours, str(fd), 1, "Bad file descriptor")
        os.close(fd)
        server.stop()


@test("a dump of a running server's region: read by both layouts", rules=["C53"],
      deadline=180)
def dumps():
    server = busy(OURS)
    path = os.path.join(temp_dir(), "dump")
    with open(path, "wb") as f:
        subprocess.run([TAKE, saved(server)], stdout=f, check=True, timeout=60)
    server.stop()
    for program in (OURS, OTHER):
        says(program, path, 3, "this dump can be read: 2 keys, 2 holders, 1 waiters, 2 connections")
        # Lowered limits evict nobody.
        says(program, path, 3, "this dump can be read: 2 keys",
             args=["--max-locks", "1", "--max-connections", "1"])
    with open(path, "r+b") as f:
        f.seek(8)
        f.write(b"\2")
    says(OURS, path, 1, "it has a form that this version does not know")
    with open(path, "r+b") as f:
        f.seek(8)
        f.write(b"\1")
        f.truncate(os.path.getsize(path) - 1)
    says(OURS, path, 1, "it was cut off or changed")


@test("what nobody could go on with", rules=["C53"], deadline=180)
def refused():
    server = busy(OURS)
    path = saved(server)
    server.stop()
    says(OURS, path, 0, "as it is")
    with open(path, "r+b") as f:
        head = f.read(4096)

        def with_bytes(at, new, words, program=OURS):
            f.seek(at)
            f.write(new)
            f.flush()
            says(program, path, 1, words)
            f.seek(0)
            f.write(head)
            f.flush()

        with_bytes(24, b"\x63", "dumps cannot be read", OTHER)
        with_bytes(24, b"\x00", "dumps cannot be read", OTHER)
        with_bytes(40, b"\x01", "contradicts itself")
        with_bytes(0, b"x", "this is no dump")
        at = re.search(rb"[0-9a-f]{8}-[0-9a-f]{4}-", head).start()
        with_bytes(at, b"1" if head[at:at + 1] == b"0" else b"0", "earlier boot")
        f.truncate(len(head) + 4096)
        with_bytes(0, head[:1], "cut off")
    empty = os.path.join(temp_dir(), "empty")
    open(empty, "w").close()
    says(OURS, empty, 1, "this is no dump of dflockd")
    says(OURS, empty + "-not", 1, "No such file")
    says(OURS, temp_dir(), 1, "Is a directory")


@test("the other layout serves as well", deadline=180)
def serves():
    with Server(program=OTHER) as server:
        a, b = server.client(), server.client()
        long_key = "k" * 200
        for key in ("key", long_key):
            token = token_of(a.req("l", key, "0 60"))
            b.ask("l", key, "30")
            check_eq(a.req("r", key, token), "ok", "release")
            check_eq(b.req("r", key, token_of(b.line())), "ok", "passed on")


if __name__ == "__main__":
    main()
