"""soak.py - chaos: thousands of connections ask, hold, wait and leave, while workers are killed,
crash, hang and are killed again as they are born. Histories are checked round by round.

    soak.py [--seconds N] [--seed N] [--kills N] [--connections N] [--rate N] [--workers N]
            [--round N] [--log FILE] [--upgrades N] [--masters N]

With --upgrades workers are killed while the program is replaced again and again, by one of another
layout every third time. With --masters it is masters that are killed, not workers, for who dies with its
master loses its connections; the listening socket is somebody else's, as under a service manager.

It runs for that long and until there were that many kills, and prints progress every 5 seconds.
Environment as for the tests in tests/e2e, and SOAK and CHECKER, the programs. A history that the
checker objects to is kept in $TMPDIR. docs/internals/testing.md says how to read it.
"""

import argparse
import collections
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from harness import (Failure, Program, Server, check, check_eq, diag, eventually, fail,
                     worker_born)

DEATHS = ["worker died", "worker hangs", "poison"]
POISON_MOST = 3  # connections that the server may give up in a run, each with a line in the log
UNBORN = 8  # connections that a master may take with it, accepted and not yet handed on
ACTIVATE = os.path.join(os.environ.get("top_srcdir", "."), "tests/e2e/activate.py")
HANG_EVERY = 10  # seconds between workers that are stopped for good, at least
SETTLE = 90  # seconds until killed workers are replaced, at the very most
ROUND_DEADLINE = 400  # seconds for the end of a round: all waits time out after 40


def program(name):
    return os.environ.get(name.upper()) or os.path.join(
        os.environ.get("top_builddir", "_build"), "tests/soak", name)


class Killer(threading.Thread):
    """Sends signals to workers until told to stop. `tell` hears of each before it is sent."""

    def __init__(self, server, seed, tell, gap=0.16):
        super().__init__(daemon=True)
        self.server, self.chance, self.tell, self.gap = server, random.Random(seed), tell, gap
        self.ended = threading.Event()
        self.doomed, self.perhaps = set(), set()  # pids: that must die; that may die
        self.dying = set()  # doomed and perhaps not yet reaped: a pid comes again after a while
        self.stopped = set()  # pids of those that the watchdog must kill
        self.kills = 0
        self.gone, self.read, self.slow = set(), 0, 0.0
        self.counts = collections.Counter()
        self.error = None
        self.last_hang = 0.0

    def alive(self):
        pids = self.server.worker_pids()
        # The list of a process's children may lack one while others of them end.
        self.dying = {p for p in self.dying if p in pids or worker_born(p) is not None}
        return [p for p in pids if p not in self.dying]

    def doom(self, pid):
        self.kills += pid not in self.dying
        self.dying.add(pid)
        self.doomed.add(pid)

    def send(self, pid, signum):
        self.tell(f"k {int(signum)} {pid}\n")
        try:
            os.kill(pid, signum)  # a child of this run's own server
        except ProcessLookupError:
            return
        if signum in (signal.SIGKILL, signal.SIGSEGV):
            if pid not in self.dying:
                self.counts[signum.name] += 1
            self.doom(pid)

    def away(self):
        """Slots whose last worker is dead and not yet replaced, as the log says."""
        log = self.server.log
        while self.read < len(log):
            m = re.search(r"worker died .*\bworker=(\d+)|took over proc=worker-(\d+)", log[self.read])
            self.read += 1
            if m and m[1]:
                self.gone.add(m[1])
            elif m:
                self.gone.discard(m[2])
        return self.gone

    def whole(self):
        """Waits until all workers are there and have taken over: on a slow machine kills come
        slower, or nobody would ever be served. What took long widens what the checker calls soon."""
        began = time.monotonic()
        while self.away() or len(self.alive()) + len(self.stopped & self.dying) < self.server.workers:
            if self.ended.wait(0.002):
                return
            check(time.monotonic() - began < SETTLE, f"workers {self.gone} are not replaced")
        took = time.monotonic() - began
        if took > 0.5:
            self.slow += took
            self.tell(f"p {int(took * 1e9)}\n")

    def kill_newborn(self):
        """A replacement, as soon as it is there; it may not have taken over yet."""
        before = set(self.alive())
        if not before:
            return
        self.send(self.chance.choice(sorted(before)), signal.SIGKILL)
        for _ in range(self.chance.randrange(1, 3)):
            end = time.monotonic() + 5
            while not set(self.alive()) - before and time.monotonic() < end:
                time.sleep(0.0003)
            self.ended.wait(self.chance.random() * 0.008)
            for pid in set(self.alive()) - before:
                self.send(pid, signal.SIGKILL)
                before.add(pid)
                self.counts["newborn"] += 1

    def one(self):
        pids = self.alive()
        if not pids:
            return
        pid, r = self.chance.choice(pids), self.chance.random() * 100
        if r < 8:
            self.send(pid, signal.SIGSEGV)
        elif r < 14:
            for p in pids:
                self.send(p, signal.SIGKILL)
            self.counts["all at once"] += 1
        elif r < 22:
            self.kill_newborn()
        elif r < 25:
            self.perhaps.add(pid)
            self.send(pid, signal.SIGSTOP)
            self.counts["stopped for a while"] += 1
            self.ended.wait(self.chance.random() * 1.5)
            self.send(pid, signal.SIGCONT)
        elif r < 27 and time.monotonic() - self.last_hang > HANG_EVERY:
            self.last_hang = time.monotonic()
            self.send(pid, signal.SIGSTOP)
            self.doom(pid)
            self.stopped.add(pid)
            self.counts["hung"] += 1
        else:
            self.send(pid, signal.SIGKILL)

    def run(self):
        try:
            while not self.ended.wait(self.chance.random() * self.gap):
                self.whole()
                self.one()
        except Exception as e:  # told by stop()
            self.error = e

    def total(self):
        return self.kills

    def stop(self):
        self.ended.set()
        self.join(SETTLE)
        check(not self.is_alive(), "the killer does not end")
        if self.error:
            raise self.error


class Changer(threading.Thread):
    """Replaces the program, or kills the master and starts another, until told to stop."""

    GAP = 0.4  # seconds, on average
    PATIENCE = 60

    def __init__(self, server, link, seed, tell):
        super().__init__(daemon=True)
        self.server, self.link, self.tell = server, link, tell
        self.chance = random.Random(seed + 1)
        self.ended = threading.Event()
        self.done, self.slowest = 0, 0.0
        self.error = None

    def upgrade(self):
        other = os.path.join(os.environ["top_builddir"], "tests/upgrade/dflockd")
        self.link.becomes(other if self.done % 3 == 1 else os.environ["DFLOCKD"])
        since = self.server.mark()
        self.server.kill(signal.SIGUSR2)
        eventually(lambda: self.server.proc.poll() is not None or
                   self.server.logged("took over from another master|upgrade refused", since),
                   self.PATIENCE, "the upgrade does not end")
        check_eq(self.server.proc.poll(), None, "the exit status of a master that was to go on")
        line = self.server.wait_log("took over from another master|upgrade refused", self.PATIENCE,
                                    since).string
        check("refused" not in line, line)

    def kill_master(self):
        self.server.master_dies()
        self.ended.wait(self.chance.random() * 0.2)
        self.server.start_again(self.PATIENCE)

    def run(self):
        try:
            while not self.ended.wait(self.chance.random() * 2 * self.GAP):
                self.tell(f"k {int(signal.SIGUSR2 if self.link else signal.SIGKILL)} "
                          f"{self.server.pid}\n")
                began = time.monotonic()
                self.upgrade() if self.link else self.kill_master()
                took = time.monotonic() - began
                self.tell(f"p {int(took * 1e9)}\n")
                self.slowest = max(self.slowest, took)
                self.done += 1
        except Exception as e:
            self.error = e

    def stop(self):
        self.ended.set()
        self.join(2 * self.PATIENCE)
        if self.error:
            raise self.error


class Load:
    """The program `soak`: its rounds' histories go to `done` as they end."""

    def __init__(self, server, directory, connections, rate, seed):
        argv = [program("soak"), server.port, connections, rate,
                os.path.join(directory, "history"), seed]
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([str(x) for x in argv], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.writing, self.changed = threading.Lock(), threading.Condition()
        self.rounds, self.ended = [], False
        self.requests = self.replies = self.grants = self.connections = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            word = line.split()
            with self.changed:
                if word[0] == "r":
                    self.rounds.append(word[1])
                elif word[0] == "p":
                    self.requests, self.replies, self.grants, self.connections = (
                        int(x) for x in word[1:5])
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def tell(self, text):
        with self.writing:
            try:
                self.process.stdin.write(text)
                self.process.stdin.flush()
            except BrokenPipeError:
                if self.process.wait() == 0:
                    return  # it was told to stop, and who tells of a death need not know
                fail(f"the load has ended: {self.last_words()}")

    def last_words(self):
        self.process.wait()
        self.errors.seek(0)
        return f"status {self.process.returncode}: {self.errors.read()}"

    def end_round(self, last):
        """The history of the round that this ends."""
        with self.changed:
            n = len(self.rounds)
        self.tell("stop\n" if last else "end\n")
        with self.changed:
            self.changed.wait_for(lambda: len(self.rounds) > n or self.ended, ROUND_DEADLINE)
            check(len(self.rounds) > n, "the load did not end its round")
            return self.rounds[-1]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def check_history(path, *options):
    """(what the checker prints, whether it has no objection)"""
    argv = [program("checker"), *options, path]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout, done.returncode == 0


class Soak:
    def __init__(self, seconds, kills, connections, rate, workers, seed, round_seconds=60, say=diag,
                 log=None, upgrades=0, masters=0):
        self.__dict__.update(locals())
        self.link = Program() if upgrades else None
        self.listener = self.killer = self.changer = None
        self.totals = collections.Counter()
        self.latency = collections.defaultdict(list)
        self.excused = 0
        self.begun = time.monotonic()

    @staticmethod
    def pids(server, line):
        """Of the workers that such lines of the log name."""
        return {int(m[1]) for x in server.logged(line) for m in [re.search(r"\bpid=(\d+)", x)] if m}

    def check_round(self, server, path):
        poison = len(server.logged("poison"))
        for line in server.logged("poison")[-1:] if poison else []:
            self.say(f"poison: {line}")
        check(poison <= POISON_MOST, f"{poison} connections were given up as poison")
        text, good = check_history(path, "--excuse", str(poison - self.excused), "--unborn",
                                   str(UNBORN * self.changer.done if self.masters else 0))
        self.excused += text.count("excused:")
        for line in text.splitlines():
            word = line.split()
            if word[0] == "requests":
                for name, value in zip(word[0::2], word[1::2]):
                    self.totals[name] += int(value)
            elif word[0] == "latency-us":
                self.latency[word[1]].append([int(x) for x in word[3::2]])
            elif word[0] != "violations":
                self.say(line)
        self.totals["rounds"] += 1
        if not good:
            kept = tempfile.mkdtemp(prefix="dflockd-soak-")
            shutil.move(path, kept)
            with open(os.path.join(kept, "server.log"), "w", encoding="utf-8") as f:
                f.write("\n".join(server.log) + "\n")
            raise Failure(f"the checker objects, seed {self.seed}: history and log are in {kept}")
        os.unlink(path)

    def progress(self, killer, load, last):
        t = time.monotonic()
        self.say(f"{t - self.begun:.0f} s: {killer.total()} kills, " +
                 (f"{self.changer.done} {self.changes}, " if self.changer else "") +
                 f"{(load.requests - last[1]) / max(t - last[0], 0.1):.0f} requests/s, "
                 f"{load.connections} connections, {self.totals['rounds']} rounds checked, "
                 f"0 violations")
        return t, load.requests

    def run(self):
        self.say(f"seed {self.seed}: {self.connections} connections, {self.workers} workers, at "
                 f"least {self.seconds:.0f} s and {self.kills} kills")
        args = ["--workers", self.workers, "--max-locks", 1 << 18, "--read-timeout", 600,
                "--write-timeout", 60, "--gc-max-idle", 5, "--gc-interval", 1]
        directory = tempfile.mkdtemp(prefix="dflockd-soak-")
        load = killer = None
        try:
            with self.server(args) as server:
                load = Load(server, directory, self.connections, self.rate, self.seed)
                killer = Killer(server, self.seed, load.tell)
                if self.upgrades or self.masters:
                    self.changer = Changer(server, self.link, self.seed, load.tell)
                    self.changer.start()
                if not self.masters:
                    killer.start()
                last, checked, over = (self.begun, 0), None, False
                while not over:
                    round_begun = shown = time.monotonic()
                    while not over and time.monotonic() - round_begun < self.round_seconds:
                        check(not load.ended, f"the load ended: {load.ended and load.last_words()}")
                        check(self.lives(killer), "the killer ended")
                        time.sleep(0.1)
                        if time.monotonic() - shown > 5:
                            shown = time.monotonic()
                            last = self.progress(killer, load, last)
                        over = (time.monotonic() - self.begun > self.seconds and
                                killer.total() >= self.kills and
                                (not self.changer or
                                 self.changer.done >= max(self.upgrades, self.masters)))
                    if over and self.changer:
                        self.changer.stop()
                    path = load.end_round(over)
                    if checked:
                        self.join(checked)
                    checked = self.check_in_background(server, path)
                if not self.masters:
                    killer.stop()
                self.join(checked)
                self.account(server, killer)
                check_eq(server.proc.poll(), None, "the server runs")
            self.summary(killer)
        finally:
            for thread in (killer, self.changer):
                if thread:
                    thread.ended.set()
            if load:
                load.close()
            if self.log:
                with open(self.log, "w", encoding="utf-8") as f:
                    f.write("\n".join(server.log) + "\n")
            shutil.rmtree(directory, ignore_errors=True)

    @property
    def changes(self):
        return "upgrades" if self.link else "masters killed"

    def lives(self, killer):
        if self.changer and self.changer.error:
            raise self.changer.error
        return killer.is_alive() or self.masters

    def server(self, args):
        options = {"expect_log": DEATHS, "workers": self.workers}
        if self.link:
            options["program"] = self.link.path
        elif self.masters:
            self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
            fd = self.listener.fileno()
            options.update(fds=[fd], program=[sys.executable, ACTIVATE, "lock", str(fd),
                                              os.environ["DFLOCKD"]])
        return Server(args, **options)

    def check_in_background(self, server, path):
        errors = []

        def work():
            try:
                self.check_round(server, path)
            except BaseException as e:
                errors.append(e)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread, errors

    @staticmethod
    def join(checked):
        checked[0].join()
        if checked[1]:
            raise checked[1][0]

    def account(self, server, killer):
        """No worker survived a kill, and each death was one of ours or, on a machine so slow that a
        worker did not run for 2 s, the watchdog's: none has trapped."""
        if self.link:  # the log has no line for a worker that dies as it leaves
            eventually(lambda: not killer.doomed & set(server.members()), SETTLE, "none survived")
        else:
            eventually(lambda: killer.doomed <= self.pids(server, "worker died") and
                       len(server.logged("worker died")) >= killer.total(), SETTLE,
                       "all that were killed died")
        hung = self.pids(server, "worker hangs, killing it")
        stray = self.pids(server, "worker died") - killer.doomed - killer.perhaps - hung
        check_eq(sorted(stray), [], "workers that died and were not killed")
        check_eq(len(server.logged("is gone, its connections are lost")), 0, "workers lost")
        check_eq(len(server.logged("beyond repair")), 0, "parts of the table given up")

    def summary(self, killer):
        t = self.totals
        self.say(f"{time.monotonic() - self.begun:.0f} s, {t['rounds']} rounds, "
                 f"{killer.total()} kills: " +
                 ", ".join(f"{n} {k}" for k, n in sorted(killer.counts.items())))
        self.say(f"{t['requests']} requests, {t['replies']} replies, {t['grants']} grants, "
                 f"{t['keys']} keys, {t['ends']} connections ended, {self.excused} excused, "
                 f"{killer.slow:.0f} s slow to be replaced, 0 violations")
        if self.changer:
            self.say(f"{self.changer.done} {self.changes}, the slowest "
                     f"{self.changer.slowest * 1000:.0f} ms")
        for name, rows in sorted(self.latency.items()):
            rows = [r for r in rows if r[0]]
            if rows:
                median = sorted(r[2] for r in rows)[len(rows) // 2]
                self.say(f"latency of what need not wait, {name}: min {min(r[1] for r in rows)}, "
                         f"median {median}, p99 at most {max(r[3] for r in rows)}, "
                         f"max {max(r[4] for r in rows)} us")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--seconds", type=float, default=300)
    p.add_argument("--kills", type=int, default=0)
    p.add_argument("--connections", type=int, default=3000)
    p.add_argument("--rate", type=int, default=15000)
    p.add_argument("--workers", type=int, default=4)
    p.add_argument("--round", type=float, default=60)
    p.add_argument("--upgrades", type=int, default=0)
    p.add_argument("--masters", type=int, default=0)
    p.add_argument("--log")
    p.add_argument("--seed", type=int, default=None)
    a = p.parse_args()
    seed = random.randrange(1 << 30) if a.seed is None else a.seed
    try:
        Soak(a.seconds, a.kills, a.connections, a.rate, a.workers, seed, a.round,
             say=lambda text: print(text, flush=True), log=a.log, upgrades=a.upgrades,
             masters=a.masters).run()
    except Failure as e:
        print(f"failed: {e}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
