#!/usr/bin/env python3
"""clock_test.py - clocks that are set, machines that sleep, virtual machines that are paused: no lease
ends early, no fence comes twice, and nobody holds for longer than the lease allows. The programs are
those that are installed; clocks.py moves their clocks, never the machine's."""

import os
import random
import re
import signal
import time

from clocks import EXTENDED, HOUR, PATIENT, SLACK, STEPS, YEAR, Clock, Fences, paused, server_of
from dflock import Dflock, boottime
from harness import (Program, Server, check, check_eq, diag, elapsed, eventually, fence_of, is_free,
                     json_of, main, poll_in, signal_process, stopped, temp_dir, test, token_of, waiters)
from points import HANG, WORKER, Board, CrashServer
from puppet import Puppet

OTHER = os.path.join(os.environ["top_builddir"], "tests/upgrade/dflockd")


def left(client, key):
    return json_of(client.req("show", key, "lock"))["holders"][0]["lease_expires_in_s"]


def dated(server, wall, mark):
    """The server does see the clock: it is what its log says."""
    want = time.gmtime(time.time() + wall)
    lines = eventually(lambda: server.logged("", mark))
    for line in lines[-1:]:
        m = re.match(r"(\d{4})-\d\d-\d\dT(\d\d):", line)
        check(m and abs(int(m[1]) - want.tm_year) <= 1 and
              (int(m[2]) - want.tm_hour) % 24 in (0, 23), f"{line} is dated otherwise")


@test("the wall clock is set by hours and years: leases, waits and queues do not notice",
      rules=["S14", "S17", "S65", "S78"])
def wall_steps():
    clock, fences = Clock(), Fences()
    with server_of(clock) as server:
        holder, waiter, timed, other = (server.client() for _ in range(4))
        since = boottime()
        token = fences.grant(holder.req("l", "key", "0 600"))
        waiter.ask("l", "key", "500 500")
        for step in STEPS:
            a, b, short = server.client(), server.client(), f"key{step}"
            began = boottime()
            fences.grant(a.req("l", short, "0 1"))
            b.ask("l", short, "600 600")
            timed.ask("l", "key", "1")
            eventually(lambda: waiters(other, "key") == 2 or timed.buffer)
            clock.wall(step)
            fences.grant(b.line())
            took = boottime() - began
            check(1 <= took < 1 + SLACK, f"{step}: a lease of a second ended after {took:.3f} s")
            timed.expect("timeout")
            took = boottime() - began
            check(1 <= took < 1 + SLACK, f"{step}: a wait of a second took {took:.3f} s")
            rest = 600 - (boottime() - since)
            shown = left(other, "key")
            check(rest - 1 < shown < rest + EXTENDED + 1, f"{shown} s of {rest:.1f} s are left")
            check_eq(waiters(other, "key"), 1, "the queue")
            mark = server.mark()
            server.kill(signal.SIGHUP)
            server.wait_log("reload", 20, mark)
            dated(server, step, mark)
        check_eq(holder.req("n", "key", f"{token} 600"), "ok 600", "the renewal")
        check_eq(holder.req("r", "key", token), "ok", "the release")
        fences.grant(waiter.line())


def worker_dies(server, program):
    victim = server.worker_pids()[0]
    os.kill(victim, signal.SIGKILL)
    server.wait_log("took over")


def master_dies(server, program):
    server.master_dies()
    server.start_again()


def upgraded(server, program):
    mark = server.mark()
    server.kill(signal.SIGUSR2)
    server.wait_log("upgraded: all workers run this program", 40, mark)


def upgraded_by_dump(server, program):
    program.becomes(OTHER)
    mark = server.mark()
    server.kill(signal.SIGUSR2)
    server.wait_log(r"took over from another master.*why=upgrade", 40, mark)
    check(server.logged("the lock table was read from a dump", mark), "by a dump")


def restarted(server, program):
    server.kill(signal.SIGUSR1)
    check_eq(server.proc.wait(20), 0, "the exit status")
    server.start_again()


EVENTS = {worker_dies: -HOUR, master_dies: HOUR, upgraded: 10 * YEAR, upgraded_by_dump: -10 * YEAR,
          restarted: -HOUR}


@test("the wall clock is set while workers and masters die, and the program is another: the same",
      rules=["S57", "S65", "S69", "S73", "S74", "S76", "S78"])
def wall_steps_and_deaths():
    clock, fences, program = Clock(), Fences(), Program()
    with server_of(clock, ["--fence-state-file", os.path.join(temp_dir(), "fences")],
                   program=program.path, expect_log=["worker died"]) as server:
        holder, waiter = server.client(), server.client()
        since = boottime()
        token = fences.grant(holder.req("l", "key", "0 600"))
        waiter.ask("l", "key", "500 500")
        eventually(lambda: waiters(holder, "key") == 1)
        for event, wall in EVENTS.items():
            mark = server.mark()
            clock.wall(wall)
            event(server, program)
            dated(server, wall, mark)
            other = server.client()
            fences.take(server)
            check_eq(other.req("l", "key", "0"), "timeout", f"{event.__name__}: it is held")
            rest = 600 - (boottime() - since)
            shown = left(other, "key")
            check(rest - 1 < shown < rest + EXTENDED + 1,
                  f"{event.__name__}: {shown} s of {rest:.1f} s are left")
            if event != restarted:
                check_eq(waiters(other, "key"), 1, f"{event.__name__}: the queue")
                waiter.expect_silence(0)
        check_eq(other.req("n", "key", f"{token} 1"), "ok 1", "the renewal")
        fences.grant(other.req("l", "key", "20"))


def crash(server):
    """Everything of the server at once."""
    server.expect_exit = -signal.SIGKILL
    os.killpg(server.pid, signal.SIGKILL)
    server.exited()


@test("the wall clock is set while the server is down: nothing is granted early, no fence comes twice",
      rules=["F1", "F4", "S78"])
def wall_steps_while_down():
    clock, fences, path = Clock(), Fences(), os.path.join(temp_dir(), "fences")
    args = ["--fence-state-file", path, "--cold-start-delay", "100000", "--workers", "1"]
    for step in STEPS:
        server = server_of(clock, args).start()
        fences.grant(server.client().req("l", "key", "0 900"))
        crash(server)
        clock.wall(step)
        server = server_of(clock, args).start()
        wait = int(server.wait_log(r"no locks yet.* wait_ms=(\d+)")[1])
        check(800000 < wait <= 945000, f"{wait} ms of 900 s and what was reserved ahead")
        a = server.client()
        check_eq(a.req("l", "key", "0"), "timeout", "a try while the lease may run")
        clock.sleeps(1000)
        eventually(lambda: a.req("l", "key", "1").startswith("ok "), 20, "it is granted")
        fences.take(server)
        crash(server)
        clock.sleeps(1000)


@test("a reboot: the table that was kept means nothing, leases count by the wall clock, fences go on",
      rules=["F1", "F4", "S77", "S78"])
def reboot():
    clock, fences, path = Clock(), Fences(), os.path.join(temp_dir(), "fences")
    args = ["--fence-state-file", path, "--cold-start-delay", "5000", "--workers", "1",
            "--run-dir", os.path.join(temp_dir(), "run")]
    # (uptime, wall clock, ms to wait): BOOTTIME begins anew each time, far below the leases' ends.
    clock.boottime(1000000)
    for uptime, wall, least, most in [(30, 60, 500000, 585000), (90, 60 - HOUR, 4100000, 4185000),
                                      (20, 60 - 10 * YEAR, 4990000, 5000000)]:
        clock.wall(0)
        server = server_of(clock, args).start()
        a = server.client()
        check_eq(a.req("ping"), "ok", "ping")
        clock.sleeps(0 if uptime == 30 else 10000)
        fences.grant(a.req("l", "key", "20 600"))
        server.kill(signal.SIGUSR1)
        check_eq(server.exited(), 0, "the exit status")
        clock.reboots(uptime)
        clock.wall(wall)
        server = server_of(clock, args, expect_log=["earlier boot"]).start()
        check_eq(len(server.logged("the saved lock table is of an earlier boot")), 1, "the warning")
        wait = int(server.wait_log(r"no locks yet.* wait_ms=(\d+)")[1])
        check(least <= wait <= most, f"{wait} ms, not {least} to {most}")
        a = server.client()
        check_eq(a.req("l", "key", "0"), "timeout", "a try while the lease may run")
        clock.sleeps(most / 1000 + 1)
        eventually(lambda: a.req("l", "key", "1").startswith("ok "), 20, "it is granted")
        fences.take(server)
        crash(server)
        clock.sleeps(10000)


@test("the machine was suspended: what has ended has passed on, what has not is held, nobody is killed",
      rules=["S14", "S17", "S20", "S65", "S79"])
def suspend():
    clock, fences = Clock(), Fences()
    with server_of(clock) as server:
        pids = server.members()
        a, b, c, d, e = (server.client() for _ in range(5))
        since = clock.now()
        short = fences.grant(a.req("l", "short", "0 60"))
        long = fences.grant(a.req("l", "long", "0 5000"))
        two = fences.grant(a.req("l", "two", "0 60"))
        b.ask("l", "short", "9000 9000")
        c.ask("l", "long", "100")
        d.ask("l", "long", "9000")
        check_eq(e.req("e", "two", "9000"), "queued", "e")
        watch = server.client()
        eventually(lambda: waiters(watch, "long") == 2 and waiters(watch, "short") == 1)

        clock.sleeps(20)  # shorter than all that runs
        took = elapsed()
        while took() < 0.6:  # a turn of everybody
            for key in ("short", "long", "two"):
                check_eq(watch.req("l", key, "0"), "timeout", f"{key}, after 20 s")
        check(since + 60 > clock.now(), "this test was too slow")
        check_eq((b.buffer, c.buffer), (b"", b""), "who waits")

        clock.sleeps(HOUR)
        took = elapsed()
        got = fences.grant(b.line())
        check_eq(a.req("n", "short", f"{short} 60"), "error", "a renewal of what has passed on")
        check_eq(a.req("r", "two", two), "error", "a release of what has passed on")
        fences.take(server)
        check_eq(watch.req("l", "short", "0"), "timeout", "short has a holder")
        check_eq(watch.req("l", "two", "0"), "timeout", "two has a holder")
        token_of(e.req("w", "two", "5"))
        c.expect("timeout")
        check(took() < SLACK, f"all of that took {took():.1f} s")
        rest = 5000 - (clock.now() - since)
        check(rest - 1 < left(watch, "long") < rest + EXTENDED + 1, "what is left of the long lease")
        check_eq(a.req("n", "long", f"{long} 60"), "ok 60", "it is renewed")
        check_eq(b.req("r", "short", got), "ok", "the release")
        d.expect_silence(0)
        check_eq(a.req("r", "long", long), "ok", "the release")
        token_of(d.line())
        check_eq(server.members(), pids, "the processes")


@test("suspended again and again: a lease ends 3 s late at most, never early; nobody is killed",
      rules=["S14", "S15", "S79"])
def suspends():
    clock, fences, chance = Clock(), Fences(), random.Random(8)
    with server_of(clock) as server:
        pids = server.members()
        a, b = server.client(), server.client()
        since = clock.now()
        fences.grant(a.req("l", "key", "0 40"))
        b.ask("l", "key", "9000 9000")
        while clock.now() - since < 40 + EXTENDED and not b.buffer:
            clock.sleeps(2.3)  # with the half second that a worker sleeps, longer than one that hangs
            b._more(time.monotonic() + 0.05 + 0.4 * chance.random())
        fences.grant(b.line(SLACK))
        granted = clock.now() - json_of(b.req("show", "key", "lock"))["holders"][0]["held_s"] - since
        check(granted >= 40, f"the lease ended after {granted:.3f} s")
        check(granted < 40 + EXTENDED + 2.3 + SLACK, f"the lease ended after {granted:.3f} s")
        diag(f"a lease of 40 s ended after {granted:.3f} s")
        check_eq(server.members(), pids, "the processes")


KEYS = [f"k{i}" for i in range(8)]  # of the shards of both workers


@test("a virtual machine is paused for less than what leases are put off by: unread renewals count",
      rules=["S14", "S15", "S79"])
def pause():
    while not paused_and_renewed():  # the machine did not run us for so long that it was more
        pass


def paused_and_renewed():
    clock, fences = Clock(), Fences()
    with server_of(clock) as server:
        pids = server.members()
        holders, waiting = [server.client() for _ in KEYS], [server.client() for _ in KEYS]
        tokens = [fences.grant(c.req("l", k, "0 60")) for c, k in zip(holders, KEYS)]
        for c, k in zip(waiting, KEYS):
            c.ask("l", k, "600 600")
        watch = server.client()
        eventually(lambda: all(waiters(watch, k) == 1 for k in KEYS))
        since = boottime()
        for k, t in zip(KEYS, tokens):
            check_eq(watch.req("n", k, f"{t} 2"), "ok 2", "two seconds are left")
        began = paused(server, 2.5, lambda: [c.ask("n", k, f"{t} 60")
                                             for c, k, t in zip(holders, KEYS, tokens)])
        replies = [c.line() for c in holders]
        if began - since > 2 or boottime() - since > 2 + EXTENDED - 0.5:
            return False
        check_eq(replies, ["ok 60"] * len(KEYS), "the renewals")
        for c in waiting:
            c.expect_silence(0)
        fences.take(server)
        check_eq(server.members(), pids, "the processes")
        return True


@test("after a pause who runs first ends no lease of connections whose worker does not yet",
      rules=["S14", "S15", "S79"])
def one_runs_first():
    while not ran_first():  # likewise
        pass


def ran_first():
    board = Board()
    with CrashServer(PATIENT, board=board) as server:
        holders, watch = [server.client() for _ in KEYS], server.client()  # of both workers
        tokens = [token_of(c.req("l", k, "0 60")) for c, k in zip(holders, KEYS)]
        since = boottime()
        for k, t in zip(KEYS, tokens):
            check_eq(watch.req("n", k, f"{t} 2"), "ok 2", "two seconds are left")
        board.arm("LOG_LINE", action=HANG, role=WORKER)  # says that it did not run: stops again
        began = paused(server, 2.5, lambda: [c.send(f"n\n{k}\n{t} 60\nping\n\n\n")
                                             for c, k, t in zip(holders, KEYS, tokens)],
                       first=server.worker_pids()[1],
                       until=lambda: board.fired and stopped(board.pid))
        runs = eventually(lambda: [c for c in holders if poll_in(c.sock, 0)])[0]
        replies = [runs.lines(2)]
        for _ in range(5):  # turns, in which it looks for leases that have ended
            check_eq(runs.req("ping"), "ok", "ping")
        signal_process(board.pid, signal.SIGCONT)
        replies += [c.lines(2) for c in holders if c != runs]
        if began - since > 2 or boottime() - since > 2 + EXTENDED - 0.5:
            return False
        check_eq(replies, [["ok 60", "ok"]] * len(KEYS), "the renewals")
        return True


@test("a virtual machine is paused for longer: each lock has one holder, and the fences grow",
      rules=["S14", "S20", "S62", "S65", "S79"])
def long_pause():
    clock, fences = Clock(), Fences()
    with server_of(clock) as server:
        pids = server.members()
        holders, waiting = [server.client() for _ in KEYS], [server.client() for _ in KEYS]
        lasting = KEYS[::2]
        tokens = [fences.grant(c.req("l", k, "0 60")) for c, k in zip(holders, KEYS)]
        for c, k in zip(waiting, KEYS):
            c.ask("l", k, "600 600")
        watch = server.client()
        eventually(lambda: all(waiters(watch, k) == 1 for k in KEYS))
        since = boottime()
        for k, t in zip(KEYS, tokens):
            if k not in lasting:
                check_eq(watch.req("n", k, f"{t} 2"), "ok 2", "two seconds are left")
        seconds = 2 + EXTENDED + 1.5
        paused(server, seconds, lambda: [c.ask("n", k, f"{t} 60")
                                         for c, k, t in zip(holders, KEYS, tokens)])
        replies = {k: c.line() for c, k in zip(holders, KEYS)}
        check_eq(replies, {k: "ok 60" if k in lasting else "error" for k in KEYS}, "the renewals")
        granted = []
        for c, k in zip(waiting, KEYS):
            if k not in lasting:
                granted.append(token_of(c.line()))
        check(min(fence_of(x) for x in granted) > fences.last, "the fences")
        check_eq(len(set(granted)), len(granted), "different fences")
        fences.last = max(fence_of(x) for x in granted)
        fences.take(server)
        for k in KEYS:
            check_eq(watch.req("l", k, "0"), "timeout", "it has its one holder")
        for c, k in zip(waiting, KEYS):
            c.expect_silence(0)
        check_eq(server.members(), pids, "the processes")
        check(boottime() - since < 50, "this test was too slow")


@test("a virtual machine is paused, and its clocks with it, then the wall clock is put right",
      rules=["S14", "S62", "S65", "S78", "S79"])
def pause_without_clock():
    clock, fences = Clock(), Fences()
    with server_of(clock) as server:
        a, b = server.client(), server.client()
        fences.grant(a.req("l", "key", "0 60"))
        b.ask("l", "key", "600 600")
        watch = server.client()
        eventually(lambda: waiters(watch, "key") == 1)
        before = left(watch, "key")
        paused(server, 3, lambda: None, clock)
        clock.wall(-3)
        after = left(watch, "key")
        check(before - 1.5 < after <= before + EXTENDED, f"{after} s of {before} s are left")
        clock.wall(0)
        check_eq(watch.req("l", "key", "0"), "timeout", "it is held")
        b.expect_silence(0)
        fences.take(server)


@test("libdflock and dflock on a machine whose wall clock is set: they keep their locks",
      rules=["S78"])
def clients_wall():
    clock, path = Clock(), os.path.join(temp_dir(), "done")
    with Server(PATIENT, expect_log=["worker hangs", "worker died"]) as server, \
            Puppet(server, lease=3, env={**os.environ, **clock.env}) as p, \
            Dflock(server, ["k"], command=f"while ! [ -e {path} ]; do sleep 0.05; done",
                   env=clock.env) as run:
        a = p.lock("key")
        first = a.acquire()
        run.event("started")
        c = server.client()
        for step in STEPS:
            clock.wall(step)
            took = elapsed()
            while took() < 0.9:  # in all longer than the lease
                check_eq([c.req("l", k, "0") for k in ("key", "k")], ["timeout"] * 2, "both are held")
                check_eq(a.held()[0], True, "it knows")
                time.sleep(0.05)
        check_eq(a.losses, [], "losses")
        a.release()
        with open(path, "w"):
            pass
        run.ends(0)
        eventually(lambda: is_free(c, "k"), 20, "it is free")
        check(fence_of(token_of(c.req("l", "key", "9"))) > fence_of(first), "the fence")


@test("dflock on a machine that was suspended past its lease ends its command as it wakes up",
      rules=["L10", "R26", "S79"])
def client_suspended():
    clock = Clock()
    with Server(PATIENT) as server, \
            Dflock(server, ["--ttl", "60", "--kill-after", "1", "k"], command="sleep 1000",
                   env=clock.env) as run:
        pid = run.command()
        time.sleep(0.3)
        took = elapsed()
        clock.sleeps(HOUR)
        eventually(lambda: not os.path.exists(f"/proc/{pid}"), 40, "the command lives")
        took = took()
        diag(f"it was ended {took:.2f} s after the suspend")
        check(took < SLACK, f"the command was ended {took:.1f} s after the suspend")
        run.ends(125)


@test("all is paused, clients too: who has slept over the lease knows before another has the lock",
      rules=["L10", "S62", "S79"])
def all_paused():
    with Server(PATIENT, expect_log=["worker hangs", "worker died"]) as server, \
            Puppet(server, lease=2) as p, Puppet(server, lease=60) as q:
        a, b = p.lock("key"), q.lock("key")
        first = a.acquire()
        b.start("acquire")
        eventually(lambda: waiters(server.client(), "key") == 1)
        p.pause()
        q.pause()
        paused(server, 2 + EXTENDED + 1, q.go_on)
        reply = b.wait("acquire")
        p.go_on()
        check_eq(reply[0], "held", "b")
        check_eq(a.held()[0], False, "a knows")
        check(fence_of(reply[1]) > fence_of(first), "the fence")


if __name__ == "__main__":
    main(jobs=16)
