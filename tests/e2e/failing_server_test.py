#!/usr/bin/env python3
"""failing_server_test.py - the n-th call of malloc, fork, epoll_ctl and others fails, in whichever process
of a server it happens to be: while it starts, serves, loses processes, reloads, becomes another program
or ends. Then either the start was refused in words, or service goes on: what was held is held, by whom
and with the fence it had, the queue stands, others get locks with higher fences, the log names what
failed, nobody spins, no descriptor is lost.

Every n to the last with `make failing`; a few of each with `make check`."""

import http.client
import itertools
import os
import random
import re
import signal
import ssl
import time

from failing import CHECK, CHILD, EVER, HTTP, MAIN, WORKER, WRITER, Board, FailServer
from harness import (BRIEF, Failure, Program, check, check_eq, diag, elapsed, eventually, fail,
                     fence_of, main, stat_of, temp_dir, temp_file, test, token_of)
from web import WebServer

ALL = bool(os.environ.get("DFLOCKD_FAILING_ALL"))
SEED = int(os.environ.get("DFLOCKD_TEST_SEED") or 8)  # the same few calls each time; make failing has all
ANY = MAIN | CHILD | WORKER | HTTP | WRITER | CHECK
GONE = (ConnectionError, http.client.HTTPException, ssl.SSLError)

PATIENCE = 8  # seconds for an answer

# What names a failure in the log, and what is no failure, or the test's own doing.
WORDS = r" (warn|error) |reload .*result=(?!done)|^dflockd: "
NOT_IT = r"worker died .*signal=KILL|the server stays root|the master is gone|did not run for a while"
SUCCESSIONS = ("upgrade", "master_dies")  # where a master may end, and workers wait for another one
SOME = ["malloc", "mmap", "fork", "epoll_ctl", "sendmsg", "recvmsg", "pwrite", "fdatasync", "pthread",
        "descriptor", "socket", "mutex"]


class WebFailServer(WebServer, FailServer):
    """One with HTTP."""


class Retry(Exception):
    """A connection ended, or was answered with the server's fault: once, that is what failed."""


class Scene:
    """A server, and clients that hold what must not be lost."""

    def __init__(self, args=(), before=None, workers=2):
        self.board = Board()
        self.program = Program()
        self.config = temp_file(b"max_waiters = 0\n")
        self.fences = os.path.join(temp_dir(), "fences")
        self.server = WebFailServer(
            ["--config", self.config, "--fence-state-file", self.fences, "--cold-start-delay", "0",
             "--max-locks", "500", "--max-connections", "100", "--shutdown-timeout", "2",
             "--http-session-idle-timeout", "300", "--read-timeout", "600", "--log-level", "debug", *args],
            board=self.board, program=self.program.path, workers=workers)
        if before:
            self.board.order(*before, ANY)
        self.turn = 0
        self.highest = 0
        self.lease = 1000

    def __enter__(self):
        self.server.start()
        self.hold()
        return self

    def __exit__(self, kind, value, tb):
        self.board.withdraw()
        self.server.__exit__(kind, value, tb)

    # --- what is held

    def hold(self):
        s = self.server
        self.holder, self.waiter = s.client(), s.client()
        self.held = token_of(self.holder.req("l", "held", "0 600"))
        self.slots = [token_of(self.holder.req("sl", "slots", "0 2 600")) for _ in range(2)]
        check_eq(self.waiter.req("e", "held"), "queued", "the second in the queue")
        self.session = s.session()
        self.webbed = self.session.token("webbed", lease=600)
        self.highest = max(fence_of(t) for t in [self.held, *self.slots, self.webbed])

    def granted(self, token):
        check(fence_of(token) > self.highest, "fences grow")
        self.highest = fence_of(token)
        return token

    def intact(self):
        """What was held is held, what was queued waits, others are served."""
        check_eq(self.holder.req("n", "held", f"{self.held} 600"), "ok 600", "the holder renews")
        for token in self.slots:
            check_eq(self.holder.req("sn", "slots", f"{token} 600"), "ok 600", "a slot's holder renews")
        self.waiter.expect_silence(0)
        eventually(self.renewed, text="the session renews")
        with self.server.client(timeout=PATIENCE) as other:
            check_eq(other.req("l", "held", "0"), "timeout", "somebody else's try")
            check_eq(other.req("sl", "slots", "0 2"), "timeout", "a third slot")
            check_eq(other.req("l", "webbed", "0"), "timeout", "a try for what a session has")
            token = self.granted(token_of(other.req("l", "free", "5")))
            check_eq(other.req("r", "free", token), "ok", "its release")

    def renewed(self):
        """A connection goes with the process, the port with the master; the session does not."""
        self.session.close()
        self.session = self.server.session(id=self.session.id, timeout=PATIENCE)
        try:
            self.session.renew("webbed", self.webbed).expect(200)
        except ConnectionError:
            return False  # another takes over at this very moment
        return True

    def passes_on(self):
        """At the end: the queue moves."""
        self.waiter.ask("w", "held", "20")
        check_eq(self.holder.req("r", "held", self.held), "ok", "the release")
        self.granted(token_of(self.waiter.line()))

    def stop(self):
        self.passes_on()
        self.session.close()  # its connection may have gone meanwhile
        self.session = self.server.session(id=self.session.id, timeout=PATIENCE)
        self.session.end()  # or the drain would wait for it
        self.server.stop()

    # --- events

    def serve(self):
        """Everything that clients do, over new connections."""
        with self.server.client(timeout=PATIENCE) as a, self.server.client(timeout=PATIENCE) as b:
            key = "k"
            token = self.granted(token_of(a.req("l", key, "10 30")))
            b.ask("l", key, "10 30")
            check_eq(a.req("n", key, f"{token} 30"), "ok 30", "a renewal")
            check_eq(a.req("r", key, token), "ok", "a release")
            token = self.granted(token_of(b.line()))
            check(a.req("e", key) == "queued", "queued")
            a.ask("w", key, "10")
            check_eq(b.req("r", key, token), "ok", "a release")
            self.granted(token_of(a.line()))
            self.granted(token_of(b.req("sl", key + "s", "0 3 30")))
            self.stats(a)
            a.half_close()
            a.expect_close()

    def stats(self, client):
        reply = client.req("stats")
        if reply == "error":
            raise Retry("statistics refused")
        check(reply.startswith("ok {"), "statistics")

    def web(self):
        key = "w"
        with self.server.web(timeout=PATIENCE) as web:
            for path in ("/health", "/metrics", "/v1/stats", "/v1/resources", "/v1/resources/lock/held", "/",
                         "/v1/openapi.json"):
                self.good(web.get(path))
        s = self.server.session(timeout=PATIENCE)
        try:
            token = self.good(s.acquire(key, 10, 30))["token"]
            self.granted(token)
            with self.server.client(timeout=PATIENCE) as b:
                b.ask("l", key, "10 30")
                self.good(s.renew(key, token))
                self.good(s.release(key, token))
                token = self.granted(token_of(b.line()))
                self.good(s.enqueue(key))
                check_eq(b.req("r", key, token), "ok", "a release")
                self.granted(self.good(s.wait(key, 10))["token"])
        finally:
            self.leave(s)

    def leave(self, session):
        """What it has is free, whatever failed, be it this."""
        for again in (True, False):
            session.close()
            try:
                if session.end().status in (204, 404):
                    break
            except GONE:
                check(again, "a session ends")
        session.close()

    def good(self, reply):
        # libevent without memory for a header calls it a bad request, in words of its own.
        if reply.status >= 500 or (reply.status == 400 and reply.data.startswith(b"<HTML>")):
            raise Retry(f"HTTP {reply!r}")
        check(reply.status < 300, f"HTTP {reply!r}")
        return reply.json

    def worker_dies(self):
        pids = self.server.worker_pids()
        since = self.server.mark()
        os.kill(pids[self.turn % len(pids)], signal.SIGKILL)
        self.settled(r"took over .*proc=worker", since)

    def http_dies(self):
        since = self.server.mark()
        os.kill(self.server.http_pid(), signal.SIGKILL)
        self.settled("took over .*proc=http", since)

    def settled(self, words, since):
        """An heir is at work; or the master has gone, which is for whole() to see."""
        eventually(lambda: self.server.logged(words, since) or self.server.proc.poll() is not None, 30,
                   "an heir is at work")

    def reload(self):
        with open(self.config, "w") as f:
            f.write(f"max_waiters = {self.turn % 7 * 10}\n")
        since = self.server.mark()
        self.server.kill(signal.SIGHUP)
        self.settled(" reload .*result=", since)

    def upgrade(self):
        since = self.server.mark()
        self.server.kill(signal.SIGUSR2)
        eventually(lambda: self.server.proc.poll() is not None or
                   self.server.logged("all workers run this program|upgrade refused", since), 40,
                   "the upgrade ends")

    def master_dies(self):
        self.server.master_dies()
        self.again()

    def again(self):
        """A master is gone: what a service manager does."""
        s = self.server
        since = s.mark()
        s._exec(s.port)
        eventually(lambda: s.logged(" serving HTTP ", since) or s.proc.poll() is not None, 30,
                   "a start, or a refusal")
        if s.proc.poll() is None:
            s.http_port = s._http_port(since)

    def longer(self):
        """A lease that is longer than all before."""
        self.lease += 100
        return self.lease

    def fence(self):
        """The file is written when fences or promises run out."""
        with self.server.client(timeout=PATIENCE) as a:
            reply = a.req("l", "f", f"5 {self.longer()}")
            if reply == "error":
                raise Retry("nothing can be promised")
            self.granted(token_of(reply))

    # --- one failure

    def whole(self, event):
        """All processes are there; a master that could not take over is followed by another one."""
        s = self.server

        def there():
            if s.proc.poll() is not None:
                check(event in SUCCESSIONS, "the master lives")
                code = s.proc.returncode
                check(code > 0 or self.board.crashes_openssl(code), f"it ended with {code}")
                self.again()
                return False
            return len(s.worker_pids()) == s.workers and s._http_pid()

        eventually(there, 40, "all processes are back")

    def promises(self):
        """A fence state file that failed is tried again after a second."""
        def granted():
            with self.server.client(timeout=PATIENCE) as a:
                return a.req("l", "again", f"5 {self.longer()}") != "error"

        eventually(granted, 20, "locks are granted again")

    def counts(self, event, function):
        """The event, which counts the calls. One that was about to fail before that may do so yet."""
        for again in (True, False):
            self.board.order(function, EVER, ANY)
            self.turn += 1
            try:
                return getattr(self, event)()
            except Retry:
                check(again, "nothing fails")
                self.promises()

    def fails(self, event, function, n, roles=ANY):
        """The event, with a failure in it. False: the n-th call was never made."""
        self.turn += 1
        self.what = "nothing"
        since = self.server.mark()
        self.board.order(function, n, roles)
        try:
            getattr(self, event)()
        except (Retry, *GONE) as e:
            self.what = repr(e)
        except Failure as e:
            check(re.search("has ended|the status of (5|400 b'<HTML>)", str(e)), str(e))
            self.what = repr(e)
        fired = self.board.fired
        if not fired:
            check_eq(self.what, "nothing", "what went wrong although nothing failed")
            self.board.withdraw()
            return False
        self.whole(event)
        self.board.withdraw()
        self.promises()
        self.intact()
        self.said(function, since)
        return True

    def said(self, function, since):
        """The log names it; but what a mutex does is no failure, and what libraries do without is theirs."""
        if function == "mutex" or (self.what == "nothing" and not self.board.ours()):
            return
        def lines(since):
            return [x for x in self.server.logged(WORDS, since) if not re.search(NOT_IT, x)]

        # One place says only so much in a while.
        check(lines(since) or len(lines(self.since(30))) >= 10,
              f"the log says what failed ({self.what})")

    def since(self, seconds):
        """The mark of that time ago."""
        then = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - seconds))
        return next((i for i, x in enumerate(self.server.log) if x >= then), 0)

    # --- at the end

    def descriptors(self):
        """{name of a process: descriptors that it has open}"""
        found = {}
        for pid in self.server.members():
            with open(f"/proc/{pid}/comm") as f:
                found[f.read().strip()] = len(os.listdir(f"/proc/{pid}/fd"))
        return found

    def no_more_than(self, limits):
        found = self.descriptors()
        return found.keys() == limits.keys() and all(found[x] <= limits[x] for x in found)

    def busy(self):
        """Processors that its processes use."""
        def ticks():
            n = 0
            for pid in self.server.members():
                fields = stat_of(pid)
                n += int(fields[11]) + int(fields[12])
            return n

        before, took = ticks(), elapsed()
        time.sleep(0.5)
        return (ticks() - before) / os.sysconf("SC_CLK_TCK") / took()

    def end(self, descriptors):
        for c in self.server.clients:
            if c not in (self.holder, self.waiter, self.session):
                c.close()  # what a failure has left open
        eventually(lambda: self.busy() < 0.4, 20, "nobody spins")
        try:
            eventually(lambda: self.no_more_than(descriptors), 20, "no descriptor is lost")
        except Failure as e:
            fail(f"{e}: {self.descriptors()} instead of {descriptors}")
        self.stop()


def chosen(count, chance, most):
    """Which calls of `count` fail."""
    few = 1 if BRIEF else most
    return range(1, count + 1) if count <= few else sorted({1 + int(chance.random() * count) for _ in range(few)})


def attacked(event, functions):
    """All of one kind of event, on one server."""
    chance, done, what = random.Random(f"{SEED} {event}"), [], None
    with Scene() as scene:
        try:
            getattr(scene, event)()  # once as it should be
            scene.whole(event)
            scene.intact()
            descriptors = scene.descriptors()
            for function in functions:
                what, times = f"{event}, {function}: nothing yet", 0
                scene.counts(event, function)
                scene.whole(event)
                count = scene.board.count
                for n in itertools.count(1) if ALL else chosen(count, chance, 3 if count > 100 else 2):
                    what = f"{event}, {function}, call {n} of about {count}"
                    if scene.fails(event, function, n):
                        times += 1
                    elif ALL:
                        break
                done.append(f"{function} {times}/{count}")
        except Failure as e:
            fail(f"{what}: {e}\n{scene.board.where()}")
        scene.end(descriptors)
    diag(", ".join(done))


EVENTS = {
    "serve": ("while lines are served", ["malloc", "epoll_ctl", "sendmsg", "recvmsg", "accept4", "mutex"]),
    "web": ("while HTTP is served", ["malloc", "epoll_ctl", "sendmsg", "recvmsg", "accept4", "mutex"]),
    "worker_dies": ("while a worker is replaced", SOME),
    "http_dies": ("while HTTP's worker is replaced", SOME),
    "reload": ("while settings are read again", SOME),
    "upgrade": ("while the master becomes another program", SOME),
    # One that is out of descriptors cannot adopt all workers: it ends them, as its manual says.
    "master_dies": ("while another master takes over", [x for x in SOME if x != "descriptor"]),
    "fence": ("while promises are written", ["pwrite", "fdatasync", "malloc"]),
}


def event_test(event, text, functions):
    def body():
        attacked(event, functions)

    return body


for name, (text, functions) in EVENTS.items():
    function = event_test(name, text, functions)
    function.__name__ = name
    test(f"a call fails {text}: nothing is lost, service goes on", deadline=36000 if ALL else 300)(function)


@test("a call fails while a server starts: it says why it does not, or it serves",
      deadline=36000 if ALL else 300)
def start():
    chance, done = random.Random(f"{SEED} start"), []
    for function in SOME:
        times = refused = 0
        with Scene(before=(function, EVER)) as scene:
            count = scene.board.count
            scene.stop()
        for n in itertools.count(1) if ALL else chosen(count, chance, 1):
            scene = Scene(before=(function, n))
            try:
                scene.server.start()
            except Failure as e:
                code = scene.server.proc.returncode
                refused += 1
                if scene.board.crashes_openssl(code):
                    continue
                check(scene.board.fired and code in (1, 2), f"exit status {code}, {function}, call {n}: {e}")
                check([x for x in scene.server.log if x.startswith("dflockd: ") or " error " in x],
                      f"it says why it does not start: {function}, call {n} {scene.board.where()}")
            else:
                fired = scene.board.fired
                try:
                    scene.whole("start")
                    scene.board.withdraw()
                    scene.hold()
                    scene.intact()
                    scene.stop()
                except (Failure, *GONE) as e:
                    fail(f"{function}, call {n} of about {count}: {e} {scene.board.where()}")
                if not fired and ALL:
                    break
            times += 1
        done.append(f"{function} {times}/{count}, {refused} refused")
    diag("; ".join(done))


if __name__ == "__main__":
    diag(f"DFLOCKD_TEST_SEED={SEED}")
    main(jobs=3)
