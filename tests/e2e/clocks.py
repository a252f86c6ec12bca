"""clocks.py - clocks of the programs under test, moved by tests/clock/shift.c, which is preloaded.

    clock = Clock()
    with server_of(clock, ["--workers", "1"]) as server:    Server, or kind=WebServer
        clock.wall(3600)       the wall clock is an hour ahead
        clock.sleeps(60)       the machine is suspended for a minute: CLOCK_BOOTTIME counts it
        clock.reboots(30)      another boot, half a minute old; for a server that is started then
        clock.now()            CLOCK_BOOTTIME, as the server sees it
        paused(server, 2, f)   all its processes are stopped for 2 s, then go on; f() is called
                               meanwhile. clock=…: that stands still as well; first=pid, until=g:
                               this one goes on before the others, which do when g() says so. It
                               returns when all had stopped, by CLOCK_BOOTTIME
    Fences: .grant(reply) → the token, whose fence must be above all before; .take(server) one more
"""

import mmap
import os
import random
import signal
import struct
import time

from dflock import boottime
from harness import SANITIZED, Server, check, check_eq, eventually, fence_of, stopped, temp_dir, token_of
from programs import CC, tool, top

HOUR, YEAR = 3600, 365 * 86400
STEPS = [-HOUR, HOUR, 10 * YEAR, -10 * YEAR]
PATIENT = ["--read-timeout", "100000", "--shutdown-timeout", "1"]
SLACK = 8.0  # for what only the machine can delay
EXTENDED = 3.0  # what a lease may be put off by for outages


def preloaded():
    path = os.path.join(temp_dir(), "shift.so")
    tool([*CC, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o", path,
          os.path.join(top, "tests/clock/shift.c")], "shift.c")
    return path


LIBRARY = preloaded()


class Clock:
    """What the clocks of those who are started with .env are ahead by."""

    def __init__(self):
        self.path = os.path.join(temp_dir(), "shift")
        with open(self.path, "wb") as f:
            f.truncate(mmap.PAGESIZE)
        os.chmod(self.path, 0o644)
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0)
        self.ahead = 0.0
        self.env = {"LD_PRELOAD": LIBRARY, "CLOCK_SHIFT": self.path}
        if SANITIZED:
            self.env["ASAN_OPTIONS"] = ":".join(
                x for x in (os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0") if x)

    def wall(self, seconds):
        struct.pack_into("<q", self.map, 8, int(seconds * 1e9))

    def boottime(self, seconds):
        self.ahead = seconds
        struct.pack_into("<q", self.map, 0, int(seconds * 1e9))

    def sleeps(self, seconds):
        """The machine is suspended for so long."""
        self.boottime(self.ahead + seconds)

    def reboots(self, uptime):
        with open(self.path + ".boot", "w") as f:
            f.write(f"{random.getrandbits(128):032x}\n")
        self.boottime(uptime - boottime())

    def now(self):
        return boottime() + self.ahead


def server_of(clock, args=(), kind=Server, **options):
    return kind([*PATIENT, *args], env=clock.env, **options)


class Fences:
    """Each grant of a server, in their order: none is repeated, and they grow."""

    def __init__(self):
        self.last = 0

    def grant(self, reply, word="ok"):
        token = token_of(reply, word)
        check(fence_of(token) > self.last, f"fence {fence_of(token)} after {self.last}")
        self.last = fence_of(token)
        return token

    def take(self, server):
        """One of a key that nobody else uses."""
        c = server.client()
        reply = c.req("l", "once", "20")
        check_eq(c.req("r", "once", self.grant(reply)), "ok", "the release")


def paused(server, seconds, meanwhile, clock=None, first=None, until=None):
    """When all of them had stopped. The clock goes on meanwhile, or has stood still."""
    for again in range(2):  # the master first, or it would see its workers stopped
        for pid in server.members() if again else [server.pid]:
            os.kill(pid, signal.SIGSTOP)
            eventually(lambda: stopped(pid), 20, "it does not stop")
    since = boottime()
    meanwhile()
    time.sleep(seconds)
    if clock:
        clock.boottime(since - boottime())
    if first:
        os.kill(first, signal.SIGCONT)
        eventually(until, 20, "who goes on first does nothing")
    for pid in server.members():
        if pid != first:
            os.kill(pid, signal.SIGCONT)
    return since
