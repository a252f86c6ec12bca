#!/usr/bin/env python3
"""upgrade_test.py - SIGUSR2: the master becomes another program, with the same layout of the lock table
or another one; SIGUSR1: the server ends and the next start has its locks. Under load, and with all that
can go wrong on the way."""

import os
import shutil
import signal
import socket
import stat
import subprocess

from harness import (BRIEF, Program, Server, check, check_eq, diag, elapsed, eventually, fence_of, json_of,
                     main, temp_dir, temp_file, test, token_of)
from load import Load
from points import AFTER, BEFORE, FAIL, KILL, MASTER, CrashServer, errors

DONE = "upgraded: all workers run this program"
REFUSED = "upgrade refused, this program goes on"
OTHER = os.path.join(os.environ["top_builddir"], "tests/upgrade/dflockd")
SAME = os.environ["DFLOCKD"]
LASTING = ["pairs", "two_phase", "semaphores", "timeouts", "long_answers", "bytewise", "churn",
           "expiry", "leavers"]


def upgrade(server, wait=DONE, timeout=40):
    since = server.mark()
    server.kill(signal.SIGUSR2)
    return server.wait_log(wait, timeout, since)


def runs(pid):
    return os.path.realpath(f"/proc/{pid}/exe")


@test("the master becomes another program under load, again and again", rules=["S73"], deadline=600)
def again_and_again():
    rounds = 10 if BRIEF else 60
    with Server(["--max-locks", "5000"], workers=2) as server:
        load = Load(server, LASTING)
        eventually(lambda: len(load.rounds) == len(load.threads), 20, "everybody is served")
        pid = server.pid
        for _ in range(rounds):
            workers = server.worker_pids()
            upgrade(server)
            check(not set(workers) & set(server.worker_pids()), "all workers were replaced")
            load.check()
        load.stop()
        check_eq(server.pid, pid, "its pid")
        check(not server.logged("connections lost"), "none was lost")
        diag(f"{rounds} upgrades, rounds {load.rounds}")


@test("to a program of another layout and back, under load", rules=["S74"], deadline=600)
def another_layout():
    rounds = 4 if BRIEF else 40
    program = Program()
    with Server(["--max-locks", "5000"], workers=2, program=program.path) as server:
        load = Load(server, LASTING)
        eventually(lambda: len(load.rounds) == len(load.threads), 20, "everybody is served")
        worst = 0
        for n in range(rounds):
            target = SAME if n % 2 else OTHER
            program.becomes(target)
            since, took = server.mark(), elapsed()
            upgrade(server, r"took over from another master.*why=upgrade")
            worst = max(worst, took())
            check(server.logged("the lock table was read from a dump", since), "by a dump")
            check_eq(runs(server.pid), os.path.realpath(target), "the program")
            for pid in server.worker_pids():
                check_eq(runs(pid), os.path.realpath(target), "its workers'")
            load.check()
        load.stop()
        check(not server.logged("connections lost"), "none was lost")
        diag(f"{rounds} upgrades, the slowest {worst * 1000:.0f} ms with all checks; {load.rounds}")


@test("what was held and who waited, across an upgrade to another layout", rules=["S74", "S73"])
def all_states():
    program = Program()
    path = os.path.join(temp_dir(), "sock")
    with Server(["--unix-socket", path, "--auth-token", "sesame", "--max-waiters", "3"],
                program=program.path, env={"DFLOCKD_DEFAULT_LEASE_TTL_S": "50"}) as server:
        def known(**options):
            c = server.client(**options)
            check_eq(c.req("auth", "_", "sesame"), "ok", "auth")
            return c

        holder, waiter, half, local, sems = known(), known(), known(), known(unix=path), known()
        token = token_of(holder.req("l", "key", "0"))
        waiter.ask("l", "key", "60")
        half.send("l\nother\n")
        slots = [token_of(sems.req("sl", "sem", "0 3")) for _ in range(3)]
        check_eq(local.req("se", "sem", "3 40"), "queued", "in the queue of the semaphore")
        enqueued = token_of(sems.req("e", "two"), "acquired")
        before = json_of(holder.req("stats", "", ""))
        program.becomes(OTHER)
        upgrade(server)
        after = json_of(holder.req("stats", "", ""))
        check_eq(after["connections"], before["connections"], "connections")
        check_eq({x["key"] for x in after["locks"]}, {x["key"] for x in before["locks"]}, "keys")
        check_eq(server.client().req("ping"), "error_auth", "the secret is asked for")
        half.send("0\n")
        check_eq(half.req("r", "other", token_of(half.line())), "ok", "what was half sent")
        check_eq(holder.req("n", "key", token), "ok 50", "a renew, of the default lease")
        check_eq(holder.req("r", "key", token), "ok", "the release")
        second = token_of(waiter.line())
        check(fence_of(second) > fence_of(token), "the fence grows")
        check_eq(sems.req("sr", "sem", slots[1]), "ok", "a slot is given back")
        granted = token_of(local.req("sw", "sem", "20"))
        check_eq(local.req("sr", "sem", granted), "ok", "and taken by who was in the queue")
        check_eq(token_of(sems.req("w", "two", "0")), enqueued, "a grant that was not waited for")


@test("each connection keeps its socket when the lock table is read from a dump, whatever its slot",
      rules=["S74"], deadline=180)
def every_slot():
    program = Program()
    for n in (1, 65, 66, 67, 198, 199):
        program.becomes(SAME)
        with Server(program=program.path) as server:
            clients = [server.client() for _ in range(n)]
            for c in clients:
                check_eq(c.req("ping"), "ok", "a ping before")
            program.becomes(OTHER)
            upgrade(server)
            for i, c in enumerate(clients):
                check_eq(c.req("ping"), "ok", f"a ping of connection {i + 1} of {n}")


@test("an upgrade that cannot be is refused, and nothing has happened", rules=["S75"], deadline=180)
def refused():
    program = Program()
    config = temp_file(b"max_locks = 500\n")
    with Server(["--config", config], program=program.path, expect_log=[REFUSED]) as server:
        a = server.client()
        token = token_of(a.req("l", "key", "0 1000"))
        b = server.client()
        b.ask("l", "key", "600")
        workers = server.worker_pids()

        def is_refused(why):
            line = upgrade(server, REFUSED).string
            check(why in line, line)
            check_eq(a.req("n", "key", f"{token} 1000"), "ok 1000", "a renew")
            check_eq(server.worker_pids(), workers, "the same workers")

        os.unlink(program.path)
        is_refused("there is no such program")
        os.symlink(temp_file(b"no program"), program.path)
        is_refused("Permission denied")
        program.script("echo 'I am too old' >&2; exit 1")
        since = server.mark()
        is_refused("it has said why")
        check(server.logged("I am too old", since), "what it said is in the log")
        program.script("exec sleep 60")
        is_refused("it took too long")
        program.becomes(SAME)
        with open(config, "w", encoding="utf-8") as f:
            f.write("max_lock = 500\n")
        is_refused("it has said why")
        check(server.logged("did you mean 'max_locks'"), "and what is wrong with the settings")
        with open(config, "w", encoding="utf-8") as f:
            f.write("max_locks = 500\n")
        since = server.mark()
        server.kill(signal.SIGUSR2)
        server.kill(signal.SIGUSR2)
        server.wait_log(DONE, 20, since)
        check_eq(a.req("r", "key", token), "ok", "the release, after an upgrade that was possible")
        token_of(b.line())


def undone(name, error):
    """A call fails on the way: the old program goes on."""
    with CrashServer(expect_log=["worker died", REFUSED]) as server:
        load = Load(server, ["pairs", "two_phase", "churn"])
        eventually(lambda: len(load.rounds) == len(load.threads), 20, "everybody is served")
        server.board.arm(name, action=FAIL, error=errors(error), role=MASTER)
        upgrade(server, REFUSED)
        load.check()
        load.stop()


for place, number in (("UPGRADE_SPAWN", "EAGAIN"), ("BEQUEST_MAKE", "EMFILE"),
                      ("BEQUEST_DUP", "EMFILE"), ("UPGRADE_EXEC", "ENOEXEC")):
    function = (lambda p, n: lambda: undone(p, n))(place, number)
    function.__name__ = place
    test(f"{place} fails with {number}: the old program goes on", rules=["S75"])(function)


class Switching(CrashServer):
    """A server with places, whose next program has another layout."""

    def __init__(self, **options):
        super().__init__(**options)
        self.link = Program(self.program)
        self.program = self.link.path


@test("another layout, and what fails on the way: the workers start again, nobody notices",
      rules=["S75", "S74"], deadline=240)
def undone_import():
    with Switching(expect_log=["worker died", REFUSED, "cannot be written down"]) as server:
        load = Load(server, LASTING)
        eventually(lambda: len(load.rounds) == len(load.threads), 20, "everybody is served")
        server.link.becomes(OTHER)
        for name, error in (("UPGRADE_DUMP", "EMFILE"), ("UPGRADE_FORK", "EAGAIN"),
                            ("BEQUEST_MAKE", "ENOMEM"), ("UPGRADE_EXEC", "ENOEXEC")):
            server.board.arm(name, action=FAIL, error=errors(error), role=MASTER)
            upgrade(server, REFUSED)
            server.whole()
            load.check()
        # The second time that the new program is asked it says no: to the dump.
        flag = temp_file()
        server.link.script(f'if test -s {flag}; then echo no >&2; exit 1; fi\necho 1 > {flag}; exit 3')
        upgrade(server, REFUSED)
        server.whole()
        load.check()
        load.stop()
        check(not server.logged("connections lost"), "none was lost")


@test("a second signal ends the server also while its workers pause", rules=["S74", "S61"])
def end_while_quiet():
    program = Program()
    with Server(program=program.path, expect_log=[REFUSED], expect_exit=0) as server:
        flag = temp_file()
        gate = os.path.join(temp_dir(), "gate")
        os.mkfifo(gate)
        program.script(f'if test -s {flag}; then cat {gate} >&2; exit 1; fi\necho 1 > {flag}; exit 3')
        since = server.mark()
        server.kill(signal.SIGUSR2)
        server.wait_log("the workers pause for it", 20, since)
        server.kill(signal.SIGTERM)
        with open(gate, "w", encoding="utf-8") as f:
            f.write("no\n")
        check_eq(server.exited(30), 0, "the exit status")


@test("during a drain there is no upgrade", rules=["S75"])
def draining():
    with Server() as server:
        a = server.client()
        token = token_of(a.req("l", "key", "0"))
        server.kill(signal.SIGTERM)
        server.wait_log(" draining: ")
        upgrade(server, "SIGUSR2: not now")
        check_eq(a.req("r", "key", token), "ok", "the release")


@test("a signal to end that comes while the new program is asked ends the server", rules=["S75", "S61"])
def end_while_checking():
    for signals, status in (([signal.SIGTERM], 0), ([signal.SIGTERM, signal.SIGTERM], 0),
                            ([signal.SIGUSR1], 0)):
        program = Program()
        with Server(program=program.path, expect_log=[REFUSED], expect_exit=None) as server:
            gate = os.path.join(temp_dir(), "gate")
            os.mkfifo(gate)
            program.script(f"read x < {gate}; exit 0")
            a = server.client()
            token_of(a.req("l", "key", "0 100"))
            since = server.mark()
            server.kill(signal.SIGUSR2)
            server.wait_log("upgrade: checking", 20, since)
            for n, signum in enumerate(signals):
                server.kill(signum)
                server.wait_log(" draining: | stopping ", 10, since + n)
            server.wait_log(REFUSED, 20, since)
            if len(signals) == 1 and signals[0] == signal.SIGTERM:
                a.close()  # what the drain waits for
            check_eq(server.exited(30), status, "the exit status")
            check_eq(server.logged("took over from another master", since), [], "no other program")


@test("a list of descriptors that is none: said, and the server starts", rules=["S75"])
def bad_bequest():
    for value in ("x", "1", "999", "-1", "3"):
        with Server(env={"DFLOCKD_BEQUEST": value}, expect_log=["cannot be read"]) as server:
            check(server.logged("what the program before this one left cannot be read"), value)
            check_eq(server.client().req("ping"), "ok", "it serves")


@test("the master is killed on the way: its workers serve on, the next one takes over",
      rules=["S73", "S69"], deadline=300)
def killed_on_the_way():
    for name in ("UPGRADE_SPAWN", "BEQUEST_MAKE", "BEQUEST_DUP", "BEQUEST_KEEP", "UPGRADE_EXEC"):
        for side in (BEFORE, AFTER) if name != "UPGRADE_EXEC" else (BEFORE,):
            with CrashServer(expect_log=["worker died"]) as server:
                load = Load(server, ["pairs", "two_phase", "semaphores"])
                eventually(lambda: len(load.rounds) == len(load.threads), 20, "all are served")
                server.board.arm(name, side, action=KILL, role=MASTER)
                server.kill(signal.SIGUSR2)
                check_eq(server.proc.wait(20), -signal.SIGKILL, "how it ended")
                server.start_again()
                check_eq(server.client().req("ping"), "ok", "a new connection")
                load.stop()


# --- restart


def restart(server):
    since = server.mark()
    server.kill(signal.SIGUSR1)
    check_eq(server.proc.wait(20), 0, "the exit status")
    return server.logged("kept for the next start", since)


@test("SIGUSR1 and a start: locks and fences are there, queues are not", rules=["S76", "S77"])
def restarted():
    with Server(workers=2) as server:
        a, b, c = server.client(), server.client(), server.client()
        token = token_of(a.req("l", "key", "0 100"))
        slots = [token_of(c.req("sl", "sem", "0 2")) for _ in range(2)]
        short = token_of(a.req("l", "short", "0 1"))
        b.ask("l", "key", "60")
        check_eq(c.req("e", "key"), "queued", "in the queue")
        check(restart(server), "the log says so")
        saved = os.path.join(server.extra_env["DFLOCKD_RUN_DIR"], "saved")
        check_eq(stat.S_IMODE(os.stat(saved).st_mode), 0o600, "its mode")
        for client in (a, b, c):
            client.expect_close()
        server.start_again()
        check(not os.path.exists(saved), "it is used once")
        d = server.client()
        check_eq(d.req("l", "key", "0"), "timeout", "still held")
        check_eq(d.req("sl", "sem", "0 2"), "timeout", "both slots")
        check_eq(d.req("n", "key", f"{token} 50"), "ok 50", "who has the token renews")
        check_eq(d.req("r", "key", token), "ok", "and releases")
        check_eq(d.req("sr", "sem", slots[0]), "ok", "a slot")
        new = token_of(d.req("l", "key", "20"))  # who waited is being taken out of the queue
        check(fence_of(new) > max(fence_of(x) for x in (token, *slots, short)), "fences go on")
        token_of(d.req("l", "short", "20"))  # its lease ends
        check_eq(restart(server) != [], True, "again")
        server.start_again()
        check_eq(server.client().req("n", "key", f"{new} 9"), "ok 9", "after a second restart")


@test("a restart into a program of another layout, with other limits", rules=["S76", "S74"])
def restarted_elsewhere():
    program = Program()
    with Server(["--max-locks", "50"], program=program.path) as server:
        a = server.client()
        tokens = [token_of(a.req("l", f"key{i}", "0 100")) for i in range(50)]
        check_eq(a.req("l", "more", "0"), "error_max_locks", "full")
        restart(server)
        program.becomes(OTHER)
        server.args = ["--max-locks", "60"]
        server.start_again()
        b = server.client()
        for i, token in enumerate(tokens):
            check_eq(b.req("n", f"key{i}", f"{token} 90"), "ok 90", "held on")
        token_of(b.req("l", "more", "0"))
        restart(server)
        server.args = ["--max-locks", "20"]
        server.start_again()
        c = server.client()
        for i, token in enumerate(tokens):
            check_eq(c.req("n", f"key{i}", f"{token} 80"), "ok 80", "a lower limit evicts nobody")
        check_eq(c.req("l", "new", "0"), "error_max_locks", "and is one")
        for i, token in enumerate(tokens):
            check_eq(c.req("r", f"key{i}", token), "ok", "released")
        token_of(c.req("l", "new", "0"))


@test("what was saved and cannot be read: refused, with what to do", rules=["S77"])
def broken_save():
    with Server() as server:
        token_of(server.client().req("l", "key", "0 100"))
        restart(server)
        saved = os.path.join(server.extra_env["DFLOCKD_RUN_DIR"], "saved")
        with open(saved, "rb") as f:
            good = f.read()
        for bad in (b"", good[:100], good[:-1], good[:200] + b"\xff" + good[201:], b"x" * 5000):
            with open(saved, "wb") as f:
                f.write(bad)
            since = server.mark()
            server._exec(server.port)
            check_eq(server.proc.wait(30), 1, "the exit status")
            server.wait_log("cannot be taken over.*--discard-region", since=since)
        server.args = ["--discard-region"]
        server.start_again()
        check(not os.path.exists(saved), "it is gone")
        token_of(server.client().req("l", "key", "0"))


@test("a start that fails gives up nothing that was kept", rules=["S77"])
def failed_start():
    with Server() as server:
        token = token_of(server.client().req("l", "key", "0 100"))
        restart(server)
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", server.port))
            taken.listen()
            since = server.mark()
            server._exec(server.port)
            check_eq(server.proc.wait(20), 1, "the exit status")
            eventually(lambda: server.logged("Address already in use", since), 20, "it says why")
        server.start_again()
        check_eq(server.client().req("n", "key", f"{token} 9"), "ok 9", "it is still held")


@test("nowhere to keep it: the log says that locks are lost", rules=["S76"])
def nowhere():
    with Server(expect_log=["locks are lost"]) as server:
        token_of(server.client().req("l", "key", "0 100"))
        directory = server.extra_env["DFLOCKD_RUN_DIR"]
        shutil.rmtree(directory)
        check(not restart(server), "nothing is kept")
        check(server.logged("locks are lost.*cannot be written"), "the log says so")
        server.start_again()


if __name__ == "__main__":
    main(jobs=4)
