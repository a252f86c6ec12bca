#!/usr/bin/env python3
"""dflock_promise_test.py - the promise of dflock: when the lock is lost, the command and all that
descends from it are dead before another can have it. The processes write the time (CLOCK_BOOTTIME,
as /proc/uptime has it, in 1/100 s) over and over; who gets the lock next reads the same clock."""

import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import threading
import time

from dflock import (DFLOCK, ENV, LONG, Dflock, beat, boottime, gone, last_beat, lenient_server,
                    left_of_command, processes_with, wait_for_line)
from harness import (check, check_eq, diag, eventually, in_threads, install_program, main,
                     signal_process, state_of, temp_dir, test)

TICK = 0.01  # what /proc/uptime may be behind
# Of this lease the last 4 s are the margin: so long may a machine that is busy not run dflock.
TTL = "24"


class Network:
    """A TCP proxy before a server. .cut(): when it returns nothing passes any more; nobody is told."""

    def __init__(self, server):
        self.server = server
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.pairs, self.is_cut, self.closes, self.ended = [], False, False, False
        self.has_cut = threading.Event()
        self.wake_r, self.wake_w = os.pipe()
        threading.Thread(target=self._run, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.ended = True
        os.write(self.wake_w, b"x")

    def cut(self):
        self.is_cut = True
        os.write(self.wake_w, b"x")
        check(self.has_cut.wait(LONG), "the network is not cut")

    def close_all(self):
        """Both ends of each connection see its end."""
        self.closes = True
        os.write(self.wake_w, b"x")

    def _run(self):
        while not self.ended:
            # A network that is cut takes no byte and no connection.
            if self.is_cut:
                self.has_cut.set()
            ends = [] if self.is_cut else [self.listener] + [s for p in self.pairs for s in p]
            ready, _, _ = select.select([self.wake_r] + ends, [], [])
            if self.wake_r in ready:
                os.read(self.wake_r, 1)
                for s in [s for p in self.pairs for s in p] if self.closes else []:
                    s.close()
                self.pairs = [] if self.closes else self.pairs
                self.closes = False
                continue
            for s in ready:
                if s is self.listener:
                    there = socket.create_connection(("127.0.0.1", self.server.port))
                    self.pairs.append((s.accept()[0], there))
                    continue
                a, b = next(p for p in self.pairs if s in p)
                try:
                    data = s.recv(65536)
                    (b if s is a else a).sendall(data)
                except OSError:
                    data = b""
                if not data:
                    self.pairs.remove((a, b))
                    a.close()
                    b.close()
                    break  # what else was ready may be gone
        for s in [self.listener] + [s for p in self.pairs for s in p]:
            s.close()


def stubborn(mark):
    """Processes that ignore all that can be ignored: a child, a grandchild that is an orphan, one with
    a session of its own; each writes the time to a file of its own, and has the mark in its
    arguments."""
    def one(n):
        return f"trap '' TERM INT HUP QUIT; {beat(mark + n)}"

    script = mark + ".sh"
    with open(script, "w", encoding="utf-8") as f:
        f.write("case $1 in\n" + "".join(f"{n}) {one(n)};;\n" for n in "abcd") +
                f"*) trap '' TERM INT HUP QUIT\n(sh {script} a &)\nsetsid -f sh {script} b\n"
                f"(setsid sh {script} c &)\nexec sh {script} d;;\nesac\n")
    return f"exec sh {script}"


def files(mark):
    return [mark + n for n in "abcd"]


def start_stubborn(port, args):
    mark = os.path.join(temp_dir(), "mark-of-%d" % time.monotonic_ns())
    run = Dflock(None, [*args, "k"], command=stubborn(mark), port=port)
    for path in files(mark):
        wait_for_line(path)
    return run, mark


def next_holder(server, result):
    """Asks for the lock, and notes when it got it, by the processes' clock."""
    c = server.client()
    c.ask("l", "k", "120")

    def wait():
        result.append((c.line(120), boottime()))

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def check_order(run, mark, result):
    got = result[0][1]
    last = max(last_beat(x) for x in files(mark))
    diag(f"the last sign of life {got - last:.2f} s before the next grant")
    check(last < got + TICK, f"a process lived at {last}, the lock was another's at {got}")
    run.ends(125, 60)
    check_eq(left_of_command(mark), [], "processes that live")


@test("the network is cut: all processes are dead before the server gives the lock to the next",
      rules=["R26"], deadline=240)
def network_cut():
    # 0.1 s is not enough to look for the processes on a machine that is busy: that is the margin's.
    in_threads(cut_one, [["--ttl", TTL], ["--ttl", "30", "--kill-after", "0.1"],
                         ["--ttl", TTL, "--kill-after", "6"]])


def cut_one(args):
    with lenient_server() as server, Network(server) as network:
        run, mark = start_stubborn(network.port, args)
        with run:
            result = []
            thread = next_holder(server, result)
            network.cut()
            thread.join(120)
            check(result and result[0][0].startswith("ok "), f"the next holder: {result}")
            check_order(run, mark, result)
            check("lock lost" in run.errors()[0], f"what it says: {run.text()}")
            check_eq([x["event"] for x in run.events()][3:7],
                     ["error", "terminating", "killing", "ended"], "what happened")


@test("the server is stopped past the lease: all processes are dead before the next gets the lock",
      rules=["R26"], deadline=240)
def server_stopped():
    with lenient_server(expect_exit=None) as server:
        run, mark = start_stubborn(server.port, ["--ttl", TTL])
        with run:
            result = []
            thread = next_holder(server, result)
            eventually(lambda: '"waiters":1' in server.client().req("stats"), LONG, "no waiter")
            # The master first: it would replace workers.
            server.kill(signal.SIGSTOP)
            eventually(lambda: state_of(server.pid) == "T", LONG, "it does not stop")
            members = server.members()
            for pid in members:
                os.kill(pid, signal.SIGSTOP)
            stopped = boottime()
            # Whatever was renewed before ends by then.
            while boottime() < stopped + int(TTL):
                time.sleep(0.05)
            for pid in members:
                os.kill(pid, signal.SIGCONT)
            thread.join(120)
            check(result and result[0][0].startswith("ok "), f"the next holder: {result}")
            check_order(run, mark, result)
        server.destroy()


@test("the server dies: the processes are dead before the lease can have ended", rules=["R26"],
      deadline=120)
def server_killed():
    server = lenient_server().start()
    run, mark = start_stubborn(server.port, ["--ttl", TTL])
    with run:
        # The master first: it would replace workers.
        server.master_dies()

        def none_left():
            left = server.members()
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            return not left

        eventually(none_left, LONG, "some of the server lives")
        killed = boottime()
        run.ends(125, 60)
        last = max(last_beat(x) for x in files(mark))
        check(last < killed + int(TTL), f"a process lived {last - killed:.2f} s after the server's death")
        check_eq(left_of_command(mark), [], "processes that live")
    server.destroy()


@test("a long lease: over the network the lock is given up before the server takes the silent client "
      "for dead, which it does after 30 s", rules=["R26"], deadline=240)
def long_lease():
    with lenient_server() as server, Network(server) as network:
        run, mark = start_stubborn(network.port, ["--ttl", "3600"])
        with run:
            network.cut()
            cut = boottime()
            run.ends(125, 120)
            last = max(last_beat(x) for x in files(mark))
            diag(f"dead {last - cut:.2f} s after the cut")
            check(last < cut + 30, "a process outlived what is sure")


@test("a stderr that nobody reads does not keep dflock from ending the command", rules=["R26"],
      deadline=120)
def full_pipe():
    in_threads(end_with_full, [os.pipe, lambda: [s.detach() for s in socket.socketpair()[::-1]],
                               lambda: os.openpty()])


def end_with_full(make):
    with lenient_server() as server, Network(server) as network:
        reader, writer = make()
        os.set_blocking(writer, False)
        try:
            while True:
                os.write(writer, b"x" * 512)
        except BlockingIOError:
            os.set_blocking(writer, True)
        mark = os.path.join(temp_dir(), "mark-of-%d" % time.monotonic_ns())
        p = subprocess.Popen([DFLOCK, "-s", f"127.0.0.1:{network.port}", "--ttl", TTL, "--json", "k",
                              "sh", "-c", stubborn(mark)], env=ENV, stdin=subprocess.DEVNULL,
                             stderr=writer)
        for path in files(mark):
            wait_for_line(path)
        result = []
        thread = next_holder(server, result)
        network.cut()
        thread.join(120)
        check_eq(p.wait(60), 125, "the exit code")
        check(result and result[0][0].startswith("ok "), f"the next holder: {result}")
        check(max(last_beat(x) for x in files(mark)) < result[0][1] + TICK, "a process lived")
        os.close(reader)
        os.close(writer)


@test("a command that ends at TERM has its time for it; then the exit code is 125 all the same",
      rules=["R26", "R27"], deadline=120)
def orderly_end():
    in_threads(end_orderly, [False, True])


def end_orderly(stopped):
    with lenient_server() as server, Network(server) as network:
        path = os.path.join(temp_dir(), "said")
        command = f"trap 'echo orderly >>{path}; exit 3' TERM; echo ready >>{path}; while :; do sleep 0.1; done"
        # The most time for it that there can be: the machine may be busy.
        with Dflock(None, ["--ttl", "30", "--kill-after", "7.5", "k"], command=command,
                    port=network.port) as run:
            wait_for_line(path)
            if stopped:
                os.kill(run.command(), signal.SIGSTOP)
                run.event("stopped")
            network.cut()
            run.ends(125, 60)
            with open(path, encoding="utf-8") as f:
                check_eq(f.read().split(), ["ready", "orderly"], "what the command did")
            check("killing" not in [x["event"] for x in run.events()], "it was killed")


@test("a command that is stopped is ended as well", rules=["R26"], deadline=120)
def stopped_command():
    with lenient_server() as server, Network(server) as network:
        run, mark = start_stubborn(network.port, ["--ttl", TTL])
        with run:
            for pid in processes_with(mark):
                if pid not in (run.pid, run.guardian()):
                    # What a shell has just started has its arguments at first, and soon ends.
                    signal_process(pid, signal.SIGSTOP)
            result = []
            thread = next_holder(server, result)
            network.cut()
            thread.join(120)
            check_order(run, mark, result)


@test("the lock is taken away: TERM, and KILL after --kill-after; 125", rules=["R27"], deadline=120)
def evicted():
    secret = os.path.join(temp_dir(), "admin")
    with open(secret, "w", encoding="ascii") as f:
        f.write("admin\n")
    os.chmod(secret, 0o600)
    user = os.path.join(temp_dir(), "user")
    with open(user, "w", encoding="ascii") as f:
        f.write("user\n")
    os.chmod(user, 0o600)
    with lenient_server(["--admin-token-file", secret, "--auth-token-file", user]) as server:
        mark = os.path.join(temp_dir(), "mark-of-%d" % time.monotonic_ns())
        with Dflock(server, ["--ttl", "18", "--kill-after", "0.5", "--auth-token-file", user, "k"],
                    command=stubborn(mark)) as run:
            for path in files(mark):
                wait_for_line(path)
            admin = server.client()
            check_eq(admin.req("auth", "", "admin"), "ok", "the admin")
            check_eq(admin.req("evict", "k", "lock"), "ok", "evict")
            run.ends(125, 60)
            check_eq(left_of_command(mark), [], "processes that live")
            check_eq([x["event"] for x in run.events()][3:],
                     ["error", "terminating", "killing", "ended"], "what happened")


@test("both ends see the connection end: the lock is renewed on another, or the command is ended",
      rules=["R27"], deadline=120)
def closed():
    with lenient_server() as server, Network(server) as network:
        run, mark = start_stubborn(network.port, ["--ttl", "18", "--kill-after", "1"])
        with run:
            network.close_all()
            # For the server that is the client's end.
            run.ends(125, 60)
            check_eq(left_of_command(mark), [], "processes that live")


@test("below a process that cannot be killed the others are", rules=["R26"], deadline=120)
def unkillable():
    if os.geteuid() != 0:
        return  # there is no process that this user cannot kill but may start
    user = pwd.getpwnam("nobody")
    with lenient_server() as server, Network(server) as network:
        place = temp_dir()
        os.chmod(place, 0o777)
        paths = {x: os.path.join(place, x) for x in ["dflock", "become", "beats", "pid"]}
        install_program(DFLOCK, paths["dflock"])
        # A program that makes its user root in all respects, as sudo does.
        install_program(shutil.which("setpriv"), paths["become"], 0o4755)
        nobody = f"{paths['become']} --reuid={user.pw_uid} --clear-groups"
        with open(os.path.join(place, "inner"), "w", encoding="ascii") as f:
            f.write(f"echo $$ >{paths['pid']}\n{nobody} sh -c 'trap \"\" TERM; {beat(paths['beats'])}'\nexec sleep 1000\n")
        argv = ["setpriv", f"--reuid={user.pw_uid}", "--clear-groups", paths["dflock"], "-s",
                f"127.0.0.1:{network.port}", "--ttl", TTL, "--json", "k", paths["become"], "--reuid=0",
                "sh", os.path.join(place, "inner")]
        p = subprocess.Popen(argv, env=ENV, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        root = int(wait_for_line(paths["pid"]))
        try:
            wait_for_line(paths["beats"])
            result = []
            thread = next_holder(server, result)
            network.cut()
            thread.join(120)
            check(result and result[0][0].startswith("ok "), f"the next holder: {result}")
            check(not gone(root), "it was killed: this test proves nothing")
            # If it lived it would beat on.
            while boottime() < result[0][1] + 1:
                time.sleep(0.1)
            check(last_beat(paths["beats"]) < result[0][1] + TICK, "what it has started lived")
            check(p.poll() is None, "dflock has not waited for it")
        finally:
            os.kill(root, signal.SIGKILL)
        check_eq(p.wait(60), 125, "the exit code")


@test("processes that fork as fast as they can do not escape", rules=["R26"], deadline=120)
def forks():
    with lenient_server() as server, Network(server) as network:
        place = temp_dir()
        mark, log, end = (os.path.join(place, x) for x in ["mark", "log", "end"])
        # From TERM on a line of succession: each lives only until the next is born.
        chain = ("$SIG{TERM} = sub { $go = 1 }; open F, '>', $ARGV[0]; print F qq(ready\n); close F;"
                 "sleep 1 until $go; $SIG{TERM} = 'IGNORE';"
                 "until (-e $ARGV[2]) { exit if fork; open F, '<', '/proc/uptime';"
                 "($up) = split ' ', <F>; open F, '>>', $ARGV[1]; print F qq($up\n); close F }")
        with Dflock(None, ["--ttl", TTL, "k", "perl", "-e", chain, mark, log, end],
                    port=network.port) as run:
            try:
                wait_for_line(mark)
                result = []
                thread = next_holder(server, result)
                network.cut()
                thread.join(120)
                check(result and result[0][0].startswith("ok "), f"the next holder: {result}")
                run.ends(125, 60)
                check(last_beat(log) < result[0][1] + TICK, "a process lived")
            finally:
                with open(end, "w", encoding="ascii"):
                    pass


if __name__ == "__main__":
    main(jobs=3)
