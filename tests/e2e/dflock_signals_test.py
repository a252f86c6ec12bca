#!/usr/bin/env python3
"""dflock_signals_test.py - signals to dflock, and what becomes of the command and of the lock when
dflock, its guardian, or the command is killed or stopped."""

import os
import signal
import subprocess
import time

from dflock import (DFLOCK, ENV, LONG, Dflock, becomes_free, gone, is_held, left_of_command,
                    lenient_server, processes_with, wait_for_line)
from harness import check, check_eq, eventually, in_threads, main, stat_of, state_of, temp_dir, test, token_of

FORWARDED = ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"]
SLEEPER = "exec sleep 1000"


def number(name):
    return getattr(signal, "SIG" + name)


def mark_file():
    """A path whose name is in the arguments of what is to be found again."""
    return os.path.join(temp_dir(), "mark-of-%d" % time.monotonic_ns())


def family(mark):
    """A command with a child, a grandchild, and one that forked twice and has a session of its own.
    Each has the mark in its arguments, none ends by itself; the file says that all are there."""
    leaf = f"while :; do sleep 1000 & wait; done # {mark}"
    quoted = "'" + leaf + "'"
    return (f"sh -c {quoted} & sh -c \"sh -c \\\"{leaf}\\\" & wait\" & "
            f"(setsid -f sh -c {quoted}); (setsid sh -c {quoted} &) ; echo ready >{mark}; {leaf}")


def start_family(server, args=(), **options):
    mark = mark_file()
    run = Dflock(server, [*args, "k"], command=family(mark), **options)
    wait_for_line(mark)
    eventually(lambda: len(processes_with(mark)) >= 7, LONG, "the family is not there")
    return run, mark


def nobody_left(mark):
    return not left_of_command(mark)


def checked_end(server, mark):
    """Nobody is left, and the lock is free."""
    eventually(lambda: nobody_left(mark), LONG, "some of the command's processes live")
    becomes_free(server, "k")


@test("signals are forwarded to the command, which may catch them", rules=["R13"])
def forwarded():
    with lenient_server() as server:
        got = os.path.join(temp_dir(), "got")
        traps = "; ".join(f"trap 'echo {x} >>{got}' {x}" for x in [*FORWARDED, "WINCH"])
        # The signals go to the whole group: the child has to survive them.
        deaf = "".join(f"trap '' {x}; " for x in FORWARDED)
        command = f"{traps}; echo ready >>{got}; ({deaf} exec sleep 1000) & while :; do wait; done"
        with Dflock(server, ["--kill-after", "0.1", "k"], command=command) as run:
            wait_for_line(got)
            want = ["ready"]
            for name in [*FORWARDED, "WINCH"]:
                os.kill(run.pid, number(name))
                want.append(name)
                eventually(lambda: open(got, encoding="utf-8").read().split() == want, LONG,
                           f"not {want}")
            check(is_held(server, "k"), "the lock is not held")


@test("a signal that ends the command ends dflock with 128 + its number", rules=["R13", "R2"])
def ends_by():
    with lenient_server() as server:
        def one(name):
            with Dflock(server, [name], command=SLEEPER) as run:
                run.command()
                os.kill(run.pid, number(name))
                run.ends(128 + number(name))

        in_threads(one, FORWARDED)


@test("before the lock is got, the same signals end the wait, and leave the queue", rules=["R14"])
def ends_wait():
    with lenient_server() as server:
        holder = server.client()
        token = token_of(holder.req("l", "k", "0 600"))

        ran = os.path.join(temp_dir(), "ran")
        runs = {name: Dflock(server, ["k", "touch", ran]) for name in FORWARDED}
        waiting(server, len(FORWARDED))
        for name, run in runs.items():
            with run:
                os.kill(run.pid, number(name))
                run.ends(128 + number(name))
        # Who leaves within 250 ms of asking is taken out of the queue when it is his turn.
        check_eq(holder.req("r", "k", token), "ok", "the release")
        becomes_free(server, "k")  # nobody is in the queue
        check(not os.path.exists(ran), "a command was run")


def waiting(server, n):
    """Until so many are in the queue."""
    with server.client() as c:
        eventually(lambda: f'"waiters":{n}' in c.req("stats"), LONG, f"not {n} waiters")


@test("WINCH and CONT do not end the wait", rules=["R14"])
def winch_while_waiting():
    with lenient_server() as server:
        holder = server.client()
        token = token_of(holder.req("l", "k", "0 600"))
        with Dflock(server, ["k", "true"]) as run:
            waiting(server, 1)
            os.kill(run.pid, signal.SIGWINCH)
            os.kill(run.pid, signal.SIGCONT)
            check_eq(holder.req("r", "k", token), "ok", "the release")
            run.ends(0)


@test("a signal that was ignored when dflock was started stays so for dflock and the command",
      rules=["R15"])
def ignored():
    with lenient_server() as server:
        path = os.path.join(temp_dir(), "status")
        # What is in force in the command, beside what it would have without dflock.
        probe = "grep -E '^Sig(Ign|Blk|Cgt)' /proc/self/status"
        for prelude in ["", "trap '' HUP; ", "trap '' INT QUIT; ", "trap '' PIPE; ", "trap '' CHLD; "]:
            bare = subprocess.run(["bash", "-c", f"{prelude}exec env {probe}"], capture_output=True,
                                  text=True, check=True, env=ENV)
            with_lock = subprocess.run(
                ["bash", "-c", f"{prelude}exec {DFLOCK} -s 127.0.0.1:{server.port} k {probe}"],
                capture_output=True, text=True, check=True, env=ENV)
            check_eq(with_lock.stdout, bare.stdout, f"signals after '{prelude}'")
        run = subprocess.Popen(["bash", "-c", f"trap '' HUP; exec {DFLOCK} -s 127.0.0.1:{server.port} k "
                                f"sh -c 'echo ready >{path}; exec sleep 1000'"], env=ENV)
        wait_for_line(path)
        os.kill(run.pid, signal.SIGHUP)
        os.kill(run.pid, signal.SIGTERM)
        check_eq(run.wait(LONG), 128 + signal.SIGTERM, "the exit code")


@test("no descriptor of dflock is open in the command, and those of its caller are", rules=["R16"])
def descriptors():
    with lenient_server() as server:
        argv = ["ls", "-l", "/proc/self/fd"]
        for setup in ["", "exec 0<&-; ", "exec 1>&2 2>&-; ", "exec 7</dev/null; ", "exec 0<&- 2>&-; "]:
            def listed(program):
                p = subprocess.run(["bash", "-c", f"{setup}exec {program} {' '.join(argv)} >$OUT"],
                                   env={**ENV, "OUT": out}, stderr=subprocess.DEVNULL, check=True,
                                   stdin=subprocess.DEVNULL)
                with open(out, encoding="utf-8") as f:
                    # Beside names, only what ls has opened itself.
                    return sorted(x.split()[-3] for x in f.read().splitlines() if "->" in x)

            out = os.path.join(temp_dir(), "out")
            check_eq(listed(f"{DFLOCK} -s 127.0.0.1:{server.port} k"), listed("env"),
                     f"descriptors after '{setup}'")


@test("stdin and stdout are the command's: when it closes them, they are closed", rules=["R16"])
def pipes():
    with lenient_server() as server:
        run = Dflock(server, ["k"], command="exec <&- >&-; sleep 1000", stdin=subprocess.PIPE,
                     stdout=subprocess.PIPE)
        with run:
            check_eq(run.proc.stdout.read(), b"", "what stdout has before its end")
            try:
                run.proc.stdin.write(b"x" * (1 << 20))
                run.proc.stdin.flush()
                check(False, "somebody reads stdin")
            except BrokenPipeError:
                pass
            check(run.proc.poll() is None, "it has ended")


@test("dflock killed by any signal that it does not forward: the command and all its descendants are "
      "ended, then the lock is free", rules=["R17"], deadline=240)
def front_killed():
    names = ["KILL", "ABRT", "SEGV", "BUS", "FPE", "ILL", "TRAP", "SYS", "ALRM", "VTALRM", "PROF",
             "XCPU", "XFSZ", "POLL", "PWR", "STKFLT"]
    # A build with sanitizers would make an exit code of some of these.
    env = {x: ":".join([os.environ.get(x, ""), "handle_segv=0", "handle_sigbus=0", "handle_sigfpe=0",
                        "handle_sigill=0"]) for x in ["ASAN_OPTIONS", "UBSAN_OPTIONS"]}
    for name in names:
        with lenient_server() as server:
            run, mark = start_family(server, ["--kill-after", "5"], env=env)
            with run:
                os.kill(run.pid, number(name))
                run.ends(-number(name))
                checked_end(server, mark)


@test("dflock killed: the lock is kept until the last process is dead", rules=["R17"], deadline=120)
def front_killed_order():
    with lenient_server() as server:
        mark = mark_file()
        command = f"trap '' TERM; echo ready >{mark}; while :; do sleep 0.1; done # {mark}"
        # 6 s between TERM, which it ignores, and KILL.
        with Dflock(server, ["--kill-after", "6", "k"], command=command) as run:
            wait_for_line(mark)
            os.kill(run.pid, signal.SIGKILL)
            run.event("terminating")
            while not nobody_left(mark):
                held = is_held(server, "k")
                # Looked at again: it may have ended in between.
                check(held or nobody_left(mark), "the lock was given away while the command ran")
                time.sleep(0.05)
            run.event("killing")
            becomes_free(server, "k")


@test("the guardian killed: the command and all its descendants are killed before the lock is free",
      rules=["R18"], deadline=120)
def guardian_killed():
    with lenient_server() as server:
        run, mark = start_family(server)
        with run:
            guardian = run.guardian()
            c = server.client()
            c.ask("l", "k", "20")  # to be told at once
            os.kill(guardian, signal.SIGKILL)
            c.line(LONG)
            left = processes_with(mark)
            check_eq(left, [], "processes that live when the lock is another's")
            run.ends(125)
            check("the guardian was killed" in run.errors()[-1], f"what it says: {run.text()}")


@test("the guardian killed while dflock cannot act: the kernel kills the command", rules=["R18"])
def guardian_killed_front_stopped():
    with lenient_server() as server:
        with Dflock(server, ["k"], command=SLEEPER) as run:
            guardian, command = run.guardian(), run.command()
            os.kill(run.pid, signal.SIGSTOP)
            eventually(lambda: state_of(run.pid) == "T", LONG, "it does not stop")
            os.kill(guardian, signal.SIGKILL)
            eventually(lambda: gone(command), LONG, "the command lives")
            check(is_held(server, "k"), "the lock was given away before dflock has seen to the rest")
            os.kill(run.pid, signal.SIGCONT)
            run.ends(125)
            becomes_free(server, "k")


@test("the guardian killed while dflock waits for the lock: 125, and the queue is left",
      rules=["R18"])
def guardian_killed_waiting():
    with lenient_server() as server:
        holder = server.client()
        token = token_of(holder.req("l", "k", "0 600"))
        with Dflock(server, ["k", "true"]) as run:
            waiting(server, 1)
            with open(f"/proc/{run.pid}/task/{run.pid}/children", encoding="ascii") as f:
                os.kill(int(f.read()), signal.SIGKILL)
            run.ends(125)
            check_eq(holder.req("r", "k", token), "ok", "the release")
            becomes_free(server, "k")  # it is not in the queue


@test("children that dflock had before it was dflock are left alone", rules=["R18"])
def other_children():
    with lenient_server() as server:
        pids = os.path.join(temp_dir(), "pids")
        script = (f"sleep 1000 & echo $! >{pids}; exec {DFLOCK} -s 127.0.0.1:{server.port} --json k "
                  "sleep 1001")
        p = subprocess.Popen(["bash", "-c", script], env=ENV, stderr=subprocess.PIPE, text=True)
        other = int(wait_for_line(pids))
        guardian = None
        for line in p.stderr:
            if '"started"' in line:
                command = int(line.split('"pid":')[1].split(",")[0])
                guardian = int(stat_of(command)[1])
                break
        os.kill(guardian, signal.SIGKILL)
        check_eq(p.wait(LONG), 125, "the exit code")
        check(not gone(other), "the other child was killed")
        check(gone(command), "the command lives")
        os.kill(other, signal.SIGKILL)


@test("dflock stopped: the lock is renewed, the command runs on", rules=["R19"], deadline=120)
def front_stopped():
    with lenient_server() as server:
        with Dflock(server, ["--ttl", "20", "--kill-after", "0", "k"], command=SLEEPER) as run:
            command = run.command()
            os.kill(run.pid, signal.SIGSTOP)
            eventually(lambda: state_of(run.pid) == "T", LONG, "it does not stop")
            end = time.monotonic() + 23
            while time.monotonic() < end:
                check(is_held(server, "k") and not gone(command), "it did not last")
                time.sleep(0.2)
            os.kill(command, signal.SIGTERM)
            becomes_free(server, "k")
            os.kill(run.pid, signal.SIGCONT)
            run.ends(143)


@test("the guardian stopped by mistake goes on at once", rules=["R19"], deadline=120)
def guardian_stopped():
    with lenient_server() as server:
        with Dflock(server, ["--ttl", "20", "--kill-after", "0", "k"], command=SLEEPER) as run:
            guardian = run.guardian()
            for _ in range(5):
                os.kill(guardian, signal.SIGSTOP)
                eventually(lambda: state_of(guardian) != "T", LONG, "it stays stopped")
            end = time.monotonic() + 23
            while time.monotonic() < end:
                check(is_held(server, "k"), "the lock was lost")
                time.sleep(0.2)


@test("a command that is stopped, without a terminal: the lock is kept, dflock can be ended",
      rules=["R19"], deadline=120)
def command_stopped():
    with lenient_server() as server:
        with Dflock(server, ["--ttl", "20", "--kill-after", "0", "k"], command=SLEEPER) as run:
            command = run.command()
            os.kill(command, signal.SIGSTOP)
            run.event("stopped")
            end = time.monotonic() + 23
            while time.monotonic() < end:
                check(is_held(server, "k"), "the lock was given away")
                time.sleep(0.2)
            check(state_of(run.pid) != "T", "dflock has stopped, and who would make it go on?")
            os.kill(run.pid, signal.SIGTSTP)  # forwarded; it is stopped already
            os.kill(run.pid, signal.SIGCONT)
            eventually(lambda: state_of(command) == "S", LONG, "it does not go on")
            os.kill(run.pid, signal.SIGTERM)
            run.ends(143)


@test("signals after the command has ended go to the processes that it left", rules=["R8"])
def signals_to_rest():
    with lenient_server() as server:
        mark = mark_file()
        # One process: what a shell starts while the signals are being sent would not get one.
        leaf = f"setsid -f sh -c 'echo ready >{mark}; exec perl -e \"sleep 1000\" {mark}'"
        with Dflock(server, ["k"], command=leaf) as run:
            run.event("waiting_for_rest")
            wait_for_line(mark)
            check(is_held(server, "k"), "the lock is not held")
            os.kill(run.pid, signal.SIGTERM)
            run.ends(0)
            checked_end(server, mark)


if __name__ == "__main__":
    main(jobs=3)
