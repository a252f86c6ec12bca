#!/usr/bin/env python3
"""library_test.py - libdflock, dflock and dflockctl under valgrind, against a real server: part of
`make check-valgrind-quick`. An error, or memory that is definitely lost, fails the case."""

import os
import subprocess

from dflock import DFLOCK
from harness import Server, check_eq, main, temp_dir, test
from programs import compiled, environment, programs_path, top
from valgrind import OPTIONS, reports


def clean(argv, server, name, env=None):
    """Runs it; what it printed."""
    directory = temp_dir()
    where = {"DFLOCK_SERVERS": f"127.0.0.1:{server.port}", "PATH": programs_path(), **(env or {})}
    p = subprocess.run(["valgrind", *OPTIONS, f"--log-file={directory}/{name}.%p", *argv],
                       env={**environment({}, {}), **where}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, encoding="utf-8", timeout=100)
    check_eq((reports(directory, name), p.returncode, p.stderr), ("", 0, ""), name)
    return p.stdout


def program(path, name):
    with open(os.path.join(top, path), encoding="utf-8") as f:
        return compiled(f.read(), name)


@test("libdflock: a connection's commands; a lock that renews itself in its own thread", deadline=200)
def library():
    with Server() as server:
        said = clean([program("tests/failing/user.c", "user"), f"127.0.0.1:{server.port}"], server, "user")
        check_eq(said, "done\n", "what it said")


@test("libdflock: a server that is not there", deadline=200)
def nobody_there():
    with Server() as server:
        port = server.client().sock.getsockname()[1]  # of a client: nobody listens there
        directory = temp_dir()
        p = subprocess.run(["valgrind", *OPTIONS, f"--log-file={directory}/refused.%p",
                            program("tests/failing/user.c", "user"), f"127.0.0.1:{port}"],
                           env=environment({}, {}), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, encoding="utf-8", timeout=100)
        check_eq((reports(directory, "refused"), p.returncode), ("", 1), "refused")
        check_eq("dial" in p.stdout, True, "what it said")


@test("dflock runs a command, dflockctl shows what is held", deadline=200)
def programs():
    with Server() as server:
        check_eq(clean([DFLOCK, "key", "echo", "ran"], server, "dflock"), "ran\n", "the command")
        server.client().req("l", "shown", "0 900")
        ctl = os.path.join(os.environ["top_builddir"], "src/ctl/dflockctl")
        check_eq("shown" in clean([ctl, "ls"], server, "ls"), True, "the list")
        clean([ctl, "stats"], server, "stats")


if __name__ == "__main__":
    main()
