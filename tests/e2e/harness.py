"""harness.py - what the tests of the whole server have in common. Python 3.9, nothing to install.

A test file:

    from harness import Client, Server, check, check_eq, eventually, main, test

    @test("a lock is granted to one", rules=["S1", "P36"])
    def one_holder():
        with Server(["--max-locks", "10"]) as server:
            a, b = server.client(), server.client()
            token = token_of(a.req("l", "key", "0"))
            check_eq(b.req("l", "key", "0"), "timeout", "the second try")
            check_eq(a.req("r", "key", token), "ok", "the release")

    if __name__ == "__main__":
        main()

Each test is one TAP line; what fails raises, and is shown with the end of its server's log. Tests
of a file run at the same time, up to main(jobs=…) of them, so each has servers of its own. One that
is not done after `deadline` seconds has its stack dumped and has failed.

    @test(text, rules=[…], deadline=120)  rules: numbers of docs/rules.md that the test proves;
                                          alone=True: not beside others, for those that measure;
                                          needs: what ./configure can leave out, as --version calls
                                          it; a build without it does not have the test
    check(cond, text), check_eq(got, want, text), fail(text), diag(text)
    eventually(predicate, timeout=20, text=…)  polls until true and returns that; never sleep instead
    in_threads(function, items)           runs function(item) for all at once; raises what one did
    token_of("ok TOKEN LEASE"), fence_of(token), json_of("ok {…}")
    waiters(client, key), is_free(client, key)  what a client of the line protocol finds out
    left_out()                            what this build is without
    elapsed()                             t = elapsed(); …; t() is the seconds since
    temp_file(data), temp_dir()           paths that are gone when the tests are over

Server(args=[], env={}, expect_log=[], workers=2, program=DFLOCKD): with --port 0 and --workers, on 127.0.0.1. Its
    environment has no DFLOCKD_* but what `env` says; it inherits the descriptors `fds`. program may be
    a list, of a program that runs it and its arguments.
    .start_again() another master, once this one is dead (.master_dies());  .members() → all pids
    .signal_members(signal) to all of them
    .port .pid .worker_pids() .client(…) (its clients are closed when it stops)
    .wait_log(regex, timeout=20, since=0) → match;  .logged(regex, since=0) → lines
    .mark() → position in the log for `since`;  .kill(signal) to the master
    .stop(timeout=30): SIGTERM, drain; the exit code must be 0, and no line may have level error or
    tell of a worker's death, unless a regex of expect_log matches it, or the machine did not run it
    for so long that it was taken for one that hangs (see Stalls). The end of `with` calls it.
    .exited(timeout=20) → exit code, waits for an end that the test caused otherwise.

signal_process(pid, signal) → whether it was there still;  stopped(pid), by SIGSTOP or a tracer
stat_of(pid) → [state, parent, group, …] of proc(5), state_of(pid), None: there is no such process

Program(target=DFLOCKD): .path, a name for it;  .becomes(target), .script(text)

Client(server or (host, port), source="127.0.0.5", unix="/path", rcvbuf=4096, tls=SSLContext,
    session=SSLSession, handshake=True); what does not come within 20 s is a failure:
    .send(bytes or str)     all of it
    .ask(cmd, key, arg)     sends a request;  .req(cmd, key, arg) also returns its reply
    .line(timeout=20)       one reply without its LF as str (bytes that are not UTF-8: surrogates)
    .lines(n)               the next n
    .expect(text, what="")  the next line must be exactly this
    .expect_silence(0.2)    nothing comes. The only place where a test just waits
    .expect_close(timeout=20, how=None)   → "fin" or "rst", which must be `how`; no byte before it;
        over TLS "fin" is a close_notify, "cut" a FIN without one
    .half_close() (over TLS: close_notify without FIN) .reset() .close() .is_closed()
    .sock .local (address as the server logs it) .tls (see class Tls)
"""

import array
import atexit
import fcntl
import functools
import json
import os
import queue
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import traceback
import uuid

# The longest tests do less of the same: for builds that differ only in how they were compiled.
BRIEF = bool(os.environ.get("DFLOCKD_TEST_BRIEF"))
# And where only the archive is new: that each file finds what it needs is shown by one of its tests.
FIRST = os.environ.get("DFLOCKD_TEST_BRIEF") == "first"
# Sanitizers need more system calls than a worker may make: it has no sandbox then.
with open(os.environ["DFLOCKD"], "rb") as program:
    SANITIZED = b"__asan_init" in program.read()
# They cost nothing when all is well; a machine that is busy stops any process for some seconds.
TIMEOUT = 20.0  # seconds for anything that must come
DEADLINE = 120.0  # seconds for a test
LOG_TAIL = 25  # lines of the log shown when a test fails


class Failure(AssertionError):
    """What a test found wrong."""


def fail(text):
    raise Failure(text)


def check(cond, text):
    if not cond:
        raise Failure(text)


def shown(value):
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:200]} … {text[-80:]} ({len(text)} characters)"


def check_eq(got, want, text):
    if got != want:
        raise Failure(f"{text}: {shown(got)} instead of {shown(want)}")


def eventually(predicate, timeout=20.0, text="it never came about"):
    end = time.monotonic() + timeout
    while True:
        late = time.monotonic() > end  # before the look: who was held up looks once more
        gone = ""
        try:
            value = predicate()
            if value:
                return value
        except (FileNotFoundError, ProcessLookupError) as e:
            gone = f"; {e}"  # a process or descriptor that ended while it was looked at
        if late:
            raise Failure(f"{text} (within {timeout} s{gone})")
        time.sleep(0.005)


def elapsed():
    start = time.monotonic()
    return lambda: time.monotonic() - start


def in_threads(function, items):
    """function(item) for all at the same time; their results, in order."""
    items = list(items)
    results, errors = [None] * len(items), []

    def run(i, item):
        # Servers started here belong to the test, not to this thread.
        Run.of_thread[threading.get_ident()] = owner
        try:
            results[i] = function(item)
        except BaseException as e:
            errors.append(e)

    owner = Run.current()
    threads = [threading.Thread(target=run, args=x, daemon=True) for x in enumerate(items)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
    return results


def token_of(reply, word="ok"):
    m = re.fullmatch(word + r" ([0-9a-f]{32}) ([1-9][0-9]*)", reply)
    check(m, f"'{word} TOKEN LEASE' expected, not {shown(reply)}")
    return m[1]


def fence_of(token):
    return int(token[:16], 16)


def json_of(reply):
    check(reply.startswith("ok {"), f"'ok JSON' expected, not {shown(reply)}")
    return json.loads(reply[3:])


def waiters(client, key):
    """How many wait for the key, as statistics tell it."""
    stats = json_of(client.req("stats"))
    return sum(x["waiters"] for x in stats["locks"] + stats["semaphores"] if x["key"] == key)


def is_free(client, key):
    """Whether the lock could be had; it is given back."""
    reply = client.req("l", key, "0")
    if reply == "timeout":
        return False
    check_eq(client.req("r", key, token_of(reply)), "ok", "the release")
    return True


def temp_dir():
    with temporary:
        if not temporary_paths:
            temporary_paths.append(tempfile.mkdtemp(prefix="dflockd-e2e-"))
            os.chmod(temporary_paths[0], 0o711)
        path = tempfile.mkdtemp(dir=temporary_paths[0])
        os.chmod(path, 0o711)  # a server that is another user's finds its run directory
        return path


def temp_file(data=b""):
    path = os.path.join(temp_dir(), "file")
    with open(path, "wb") as f:
        f.write(as_bytes(data))
    return path


temporary = threading.Lock()
temporary_paths = []


def as_bytes(value):
    return value if isinstance(value, (bytes, bytearray, memoryview)) else str(value).encode(
        "utf-8", "surrogateescape")


# --- the server


class Server:
    def __init__(self, args=(), env=None, expect_log=(), workers=2, expect_exit=0, program=None,
                 fds=()):
        self.program = program or os.environ["DFLOCKD"]
        self.fds = fds
        self.args, self.extra_env = [str(a) for a in args], dict(env or {})
        self.expect_log = [re.compile(x) for x in expect_log]
        self.expect_exit = expect_exit
        self.workers = workers
        self.log = []
        self.clients = []
        self.proc = None
        self.port = None
        self._reserved = None
        self.began = time.monotonic()
        self.sessions = []  # of each master there has been
        self.mark_of_its_own = uuid.uuid4().hex
        self._born = {}  # each of those masters, in clock ticks
        self.dies_with_master = True  # a start that fails is its end
        if not {"DFLOCKD_RUN_DIR", "--run-dir"} & {*self.extra_env, *self.args}:
            self.extra_env["DFLOCKD_RUN_DIR"] = os.path.join(temp_dir(), "run")
        self._changed = threading.Condition()
        self._readers = 0
        self._pipes = []

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, tb):
        if kind is None:
            self.stop()
        else:
            self.destroy()

    def start(self, timeout=TIMEOUT):
        self._exec(0)
        try:
            self.port = int(self._wait_listening(timeout, 0)[1])
            # It listens before its first fork.
            eventually(lambda: self.proc.poll() is not None or
                       len(self.worker_pids()) >= self.workers, timeout, "too few workers")
            check(self.proc.poll() is None, "the server ended as soon as it had started")
        except Failure:
            if self.dies_with_master:
                self.destroy()
            raise
        return self

    def _wait_listening(self, timeout, since):
        """A master that is dead says nothing more, though its workers may hold its pipe."""
        line = r" listening .*address=\S*:(\d+)$"
        eventually(lambda: self.logged(line, since) or self.proc.poll() is not None, timeout,
                   "it does not listen")
        return self.wait_log(line, 1, since)

    def start_again(self, timeout=TIMEOUT):
        """Another master, after the end of the one before: same arguments, port, run directory."""
        since = self.mark()
        self._exec(self.port)
        self._wait_listening(timeout, since)
        return self

    def _exec(self, port):
        program = self.program if isinstance(self.program, list) else [self.program]
        argv = program + ["--port", str(port or self._reserve())]
        if "--workers" in self.args:
            self.workers = int(self.args[self.args.index("--workers") + 1])
        elif self.workers:
            argv += ["--workers", str(self.workers)]
        env = {k: v for k, v in os.environ.items() if not k.startswith("DFLOCKD_")}
        for name in ("JOURNAL_STREAM", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET"):
            env.pop(name, None)
        env.update({k: str(v) for k, v in self.extra_env.items()})
        env[MARK] = self.mark_of_its_own
        self.proc = subprocess.Popen(argv + self.args, env=env, stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                     start_new_session=True, pass_fds=self.fds)
        self.pid = self.proc.pid
        self.sessions.append(self.pid)
        self._born[self.pid] = started(self.pid)
        running.add(self)
        if Run.current() and self not in Run.current().servers:
            Run.current().servers.append(self)
        self._readers += 1
        self._pipes.append(self.proc.stderr)
        threading.Thread(target=self._read_log, args=(self.proc.stderr,), daemon=True).start()

    def _reserve(self):
        """A port that nobody gets between two masters: it is bound here, too, and not listened at."""
        if "--host" in self.args or "DFLOCKD_HOST" in self.extra_env:
            return 0  # free here says nothing of another address
        if not self._reserved:
            self._reserved = socket.socket()
            self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._reserved.bind(("127.0.0.1", 0))
        return self._reserved.getsockname()[1]

    def _unreserve(self):
        if self._reserved:
            self._reserved.close()
        self._reserved = None

    def _read_log(self, pipe):
        poll, rest, more = select.poll(), b"", True
        poll.register(pipe, select.POLLIN)
        while more:
            poll.poll()
            # Both under the lock: who finds the pipe empty has all lines.
            with self._changed:
                data = os.read(pipe.fileno(), 65536)
                more = bool(data)
                *lines, rest = (rest + data).split(b"\n")
                if not more and rest:
                    lines.append(rest)
                self.log += [x.decode("utf-8", "surrogateescape") for x in lines]
                if not more:
                    self._readers -= 1
                    self._pipes.remove(pipe)
                self._changed.notify_all()

    def _all_read(self):
        """Under the lock. Whether what the server has written by now is in .log."""
        size = array.array("i", [0])
        return not any(fcntl.ioctl(x, termios.FIONREAD, size) == 0 and size[0] > 0
                       for x in self._pipes)

    def mark(self):
        with self._changed:
            self._changed.wait_for(self._all_read, 20)
            return len(self.log)

    def logged(self, regex, since=0):
        with self._changed:
            self._changed.wait_for(self._all_read, 20)
            return [x for x in self.log[since:] if re.search(regex, x)]

    def wait_log(self, regex, timeout=20.0, since=0):
        found, at = [], since

        def look():
            nonlocal at
            while at < len(self.log) and not found:
                m = re.search(regex, self.log[at])
                at += 1
                if m:
                    found.append(m)
            return found or self._readers == 0

        with self._changed:
            if not self._changed.wait_for(look, timeout):
                # The line may be there: who reads the pipe was held up as well.
                self._changed.wait_for(self._all_read, 5)
                look()
        if not found:
            fail(f"the log has no line with {regex!r} (within {timeout} s)")
        return found[0]

    def worker_pids(self):
        """Its workers, wherever they come from, the oldest first."""
        if len(self.sessions) > 1 or self.proc.poll() is not None:
            pids = self.members()
        else:
            pids, before = self._children(), None
            while pids != before:  # one that is reaped while they are listed may hide the next
                pids, before = self._children(), pids
        found = [(worker_born(pid), pid) for pid in pids]
        return [pid for _, pid in sorted(x for x in found if x[0] is not None)]

    def _children(self):
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as f:
            return [int(x) for x in f.read().split()]

    def members(self):
        """All its living processes, of all masters there have been."""
        found = []
        for pid in (int(x) for x in os.listdir("/proc") if x.isdigit()):
            fields = stat_of(pid)
            if fields and int(fields[3]) in self.sessions and fields[0] != "Z" and self._is_ours(pid, int(fields[3])):
                found.append(pid)
        return sorted(found)

    def _is_ours(self, pid, session):
        """The number of a session that has ended may be that of another test's server by now."""
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                return f"{MARK}={self.mark_of_its_own}".encode() in f.read().split(b"\0")
        except PermissionError:  # that is shown to root only
            return started(session) in (None, self._born.get(session))
        except OSError:
            return False

    def signal_members(self, signum):
        """To all of them; how many there were. One may end meanwhile."""
        pids = self.members()
        for pid in pids:
            signal_process(pid, signum)
        return len(pids)

    def client(self, **options):
        return Client(self, **options)

    def kill(self, signum):
        os.kill(self.pid, signum)

    def exited(self, timeout=20.0):
        try:
            code = self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            fail(f"the server has not ended after {timeout} s")
        with self._changed:
            self._changed.wait_for(lambda: self._readers == 0, 20)
        running.discard(self)
        self._unreserve()
        return code

    def master_dies(self):
        """kill -9; its workers go on."""
        self.kill(signal.SIGKILL)
        self.proc.wait()

    def stop(self, timeout=30.0):
        """A clean end, and a log without anything that should not be there."""
        if self not in running:
            return
        try:
            for c in self.clients:
                c.close()
            if self.proc.poll() is None:
                self.kill(signal.SIGTERM)
            code = self.exited(timeout)
            if self.expect_exit is not None:
                check_eq(code, self.expect_exit, "the server's exit status")
            bad = [line for line in self.log if bad_line.search(line) and
                   not any(x.search(line) for x in self.expect_log)]
            excuses = self._starved() if bad else []
            for line in bad:
                if not any(x.search(line) for x in excuses):
                    fail(f"the server's log has: {line}")
        finally:
            self.destroy()

    def _starved(self):
        """What may be said of workers that were killed because the machine did not run them."""
        pids = [m[1] for m in (starved_line.search(x) for x in self.log) if m]
        if not pids or not Stalls.since(self.began):
            return []
        return [starved_line] + [re.compile(rf"worker died\b.*\bpid\W+{x}\b.*\bsignal\W+KILL\b")
                                 for x in pids]

    def destroy(self):
        """Whatever state it is in. None of its processes is left."""
        running.discard(self)
        self._unreserve()
        for c in self.clients:
            c.close()
        if not self.proc:
            return
        # A master that is dead may have workers that live, and one that is not may just have forked.
        end = time.monotonic() + 10
        while self.signal_members(signal.SIGKILL) and time.monotonic() < end:
            time.sleep(0.002)
        self.proc.wait()


MARK = "TEST_SERVER"  # in a server's environment: whose it is


def name_and_stat(pid):
    """What it calls itself, and [state, parent, group, session, …] of /proc/PID/stat; None: there is no such
    process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            name, rest = f.read().split("(", 1)[1].rsplit(")", 1)
    except (OSError, IndexError, ValueError):
        return None
    return name, rest.split()


def stat_of(pid):
    found = name_and_stat(pid)
    return found[1] if found else None


def state_of(pid):
    found = stat_of(pid)
    return found[0] if found else None


def started(pid):
    """When, in clock ticks; None: there is none."""
    found = stat_of(pid)
    return int(found[19]) if found else None


def stopped(pid):
    return state_of(pid) in ("T", "t")


class Program:
    """A name for a program, that can be made to lead elsewhere."""

    def __init__(self, target=None):
        self.path = os.path.join(temp_dir(), "dflockd")
        os.symlink(target or os.environ["DFLOCKD"], self.path)

    def becomes(self, target):
        other = self.path + ".new"
        os.symlink(target, other)
        os.rename(other, self.path)

    def script(self, text):
        path = os.path.join(temp_dir(), "script")
        install_script(path, text)
        self.becomes(path)


def signal_process(pid, signum):
    """Whether it was there still: it may have ended since it was listed, or have been replaced."""
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return False
    return True


def install_program(source, path, mode=0o755):
    """A copy to be executed. Another process makes it: what this one has open for writing, a child
    that another of its threads starts just then has open as well (ETXTBSY)."""
    subprocess.run(["install", "-m", f"{mode:o}", source, path], check=True)


def install_script(path, text):
    install_program(temp_file("#!/bin/sh\n" + text), path)


def worker_born(pid):
    """(when this worker was started, in clock ticks, its number), None if it is none or has ended."""
    name, fields = name_and_stat(pid) or ("", [])
    found = re.fullmatch(r"dflockd-w(\d+)", name)
    return (int(fields[19]), int(found[1])) if found and fields[0] not in "ZX" else None


running = set()
bad_line = re.compile(r"^\S+ error |\"level\":\"error\"|^<3>|worker died|worker hangs|"
                      r"ERROR: \w+Sanitizer|runtime error:")
# Not one that waited for a processor: it should have been left alone.
starved_line = re.compile(r"worker hangs, killing it(?!.*\bstate\W+R\b).*?\bpid\W+(\d+)")


@atexit.register
def destroy_all():
    for server in list(running):
        server.destroy()
    for path in temporary_paths:
        shutil.rmtree(path, ignore_errors=True)


# --- a client


# Whatever a test is about: each reply that it reads is one of these, in exactly this form.
reply_form = re.compile(
    r"(?:ok|acquired) [0-9a-f]{32} [1-9][0-9]*|ok(?: [1-9][0-9]*)?|ok \{[^\r\n]*\}|queued|timeout|"
    r"error(?:_(?:auth|max_locks|max_waiters|limit_mismatch|not_enqueued|already_enqueued|"
    r"lease_expired|draining))?", re.A)


class Client:
    def __init__(self, server, source=None, unix=None, timeout=TIMEOUT, rcvbuf=None, tls=None,
                 session=None, handshake=True):
        self.timeout = timeout
        self.buffer = bytearray()
        self.at = 0  # where the next line begins
        self.ended = None  # "fin" or "rst"
        if unix:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(timeout)
            self.sock.connect(unix)
            self.local = "unix"
        else:
            address = server if isinstance(server, tuple) else ("127.0.0.1", server.port)
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            self.sock = socket.socket(family, socket.SOCK_STREAM)
            self.sock.settimeout(timeout)
            if rcvbuf:  # before the connection is made, or the window is already large
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
            if source:
                self.sock.bind((source, 0))
            self.sock.connect(address)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            name = self.sock.getsockname()
            self.local = f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
        if isinstance(server, Server):
            server.clients.append(self)
        self.tls = Tls(self.sock, tls, session) if tls else None
        if self.tls and handshake:
            self.tls.handshake()

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.close()

    def send(self, data):
        self.sock.settimeout(self.timeout)
        self.sock.sendall(self.tls.encrypt(as_bytes(data)) if self.tls else as_bytes(data))

    def ask(self, cmd, key="", arg=""):
        self.send(b"%b\n%b\n%b\n" % (as_bytes(cmd), as_bytes(key), as_bytes(arg)))

    def req(self, cmd, key="", arg="", timeout=None):
        self.ask(cmd, key, arg)
        return self.line(timeout)

    def _more(self, end):
        """Reads once. False: the connection has ended, or `end` has come (then .ended is None)."""
        if self.ended:
            return False
        left = end - time.monotonic()
        ready = poll_in(self.sock, max(left, 0))
        if not ready:
            return False
        try:
            data = self.sock.recv(1 << 18, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except (ConnectionResetError, BrokenPipeError):
            self.ended = "rst"
            return False
        if self.tls:
            data, self.ended = self.tls.decrypt(data)
        elif not data:
            self.ended = "fin"
        self.buffer += data
        return bool(data) or self.ended is None

    def line(self, timeout=None):
        timeout = self.timeout if timeout is None else timeout
        end = time.monotonic() + timeout
        looked = self.at
        while True:
            lf = self.buffer.find(b"\n", looked)
            if lf >= 0:
                text = self.buffer[self.at:lf].decode("utf-8", "surrogateescape")
                check(reply_form.fullmatch(text), f"no reply of the protocol: {shown(text)}")
                self.at = lf + 1
                if self.at > 1 << 16 or self.at == len(self.buffer):
                    del self.buffer[:self.at]
                    self.at = 0
                return text
            looked = len(self.buffer)
            if not self._more(end):
                rest = shown(bytes(self.buffer[self.at:]))
                if self.ended:
                    fail(f"a reply expected, the connection has ended ({self.ended}) after {rest}")
                fail(f"no reply within {timeout} s, only {rest}")

    def lines(self, n, timeout=None):
        return [self.line(timeout) for _ in range(n)]

    def expect(self, text, what="the reply", timeout=None):
        check_eq(self.line(timeout), text, what)

    def expect_silence(self, seconds=0.2):
        if self.at == len(self.buffer):
            self._more(time.monotonic() + seconds)
        check_eq(bytes(self.buffer[self.at:]), b"", "silence expected")
        check(not self.ended, f"silence expected, the connection has ended ({self.ended})")

    def expect_close(self, timeout=None, how=None):
        timeout = self.timeout if timeout is None else timeout
        end = time.monotonic() + timeout
        while self.at == len(self.buffer) and self._more(end):
            pass
        check_eq(bytes(self.buffer[self.at:]), b"", "nothing expected before the end")
        check(self.ended, f"the connection has not ended within {timeout} s")
        check(how in (None, self.ended), f"the connection ended with {self.ended}, not {how}")
        return self.ended

    def is_closed(self):
        """True when the server has ended the connection; takes nothing of what it said before."""
        while self._more(time.monotonic()):
            pass
        return self.ended is not None

    def half_close(self):
        if self.tls:
            self.sock.sendall(self.tls.close_notify())
        else:
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()


class Tls:
    """A client's TLS, apart from its socket: what is on the wire is in the test's own hands."""

    def __init__(self, sock, context, session):
        self.sock = sock
        self.from_wire, self.to_wire = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = context.wrap_bio(self.from_wire, self.to_wire, server_hostname="localhost",
                                    session=session)

    def flight(self):
        """What the handshake has to send next, if anything; and whether it is done."""
        try:
            self.ssl.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            done = False
        except ssl.SSLError:
            self.sock.sendall(self.to_wire.read())  # an alert
            raise
        return self.to_wire.read(), done

    def handshake(self, send=None):
        done = False
        while not done:
            data, done = self.flight()
            (send or self.sock.sendall)(data)
            if not done:
                data = self.sock.recv(1 << 16)
                self.from_wire.write(data) if data else self.from_wire.write_eof()

    def encrypt(self, data):
        for at in range(0, len(data), 1 << 14):
            self.ssl.write(data[at:at + (1 << 14)])
        return self.to_wire.read()

    def decrypt(self, data):
        """What is in these bytes of the wire, b"" being its end; and how the stream ended or None."""
        self.from_wire.write(data) if data else self.from_wire.write_eof()
        text, ended = bytearray(), None
        try:
            while not ended:
                more = self.ssl.read(1 << 16)
                text += more
                ended = None if more else "fin"
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = "fin"
        except ssl.SSLEOFError:
            ended = "cut"
        if self.to_wire.pending and not ended:
            self.sock.sendall(self.to_wire.read())
        return bytes(text), ended

    def close_notify(self):
        try:
            self.ssl.unwrap()
        except ssl.SSLWantReadError:
            pass
        return self.to_wire.read()


def poll_in(sock, seconds):
    p = select.poll()  # not select(): descriptors may be above 1024
    p.register(sock, select.POLLIN)
    return p.poll(seconds * 1000)


# --- running tests


class Stalls(threading.Thread):
    """When a CPU of this machine stood still, or a thread on it was not run, for more than a second:
    a thread for each looks at the clock. Elsewhere the master runs on, and takes a worker that
    shares this fate for one that hangs."""

    found = []  # when each was over

    def __init__(self, cpu):
        super().__init__(daemon=True)
        self.cpu = cpu

    def run(self):
        try:
            os.sched_setaffinity(0, {self.cpu})
        except OSError:
            return
        last = time.monotonic()
        while True:
            time.sleep(0.1)
            now = time.monotonic()
            if now - last > 1.0:
                Stalls.found.append(now)
            last = now

    @staticmethod
    def since(when):
        time.sleep(0.3)  # one that is just over is noticed
        return any(x >= when for x in Stalls.found)


class Run:
    """A test that is being run; found by thread, so that its servers can be told."""

    of_thread = {}

    def __init__(self, function):
        self.function = function
        self.servers = []
        self.notes = []

    @staticmethod
    def current():
        return Run.of_thread.get(threading.get_ident())


tests = []


@functools.lru_cache
def left_out():
    """By dflockd's own word: some of seccomp, systemd, tls, http."""
    said = subprocess.run([os.environ["DFLOCKD"], "--version"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True, check=True).stdout
    return frozenset(said.partition("; without: ")[2].split())


def test(text, rules=(), deadline=DEADLINE, alone=False, needs=()):
    def register(function):
        if needs and left_out() & set(needs):
            return function
        function.alone = alone
        function.text, function.rules, function.deadline = text, list(rules), deadline
        tests.append(function)
        return function

    return register


output = threading.Lock()


def diag(text):
    """A line of diagnostics, shown with the result of the test."""
    run = Run.current()
    if run:
        run.notes.append(str(text))
        return
    with output:
        for line in str(text).splitlines():
            print("# " + line.encode("utf-8", "backslashreplace").decode(), flush=True)


def run_one(function):
    """(None or what was wrong, notes, seconds)"""
    run = Run(function)
    wrong = []

    def body():
        Run.of_thread[threading.get_ident()] = run
        try:
            function()
        except Failure as e:
            where = [f for f in traceback.extract_tb(e.__traceback__) if f.filename != __file__]
            wrong.append(f"{e}\n" + "".join(f"  line {f.lineno}: {f.line}\n" for f in where))
        except BaseException:
            wrong.append(traceback.format_exc())

    thread = threading.Thread(target=body, daemon=True)
    took = elapsed()
    thread.start()
    thread.join(function.deadline)
    if thread.is_alive():
        stack = "".join(traceback.format_stack(sys._current_frames()[thread.ident]))
        wrong.insert(0, f"not done after {function.deadline} s, here:\n{stack}")
        for server in run.servers:
            server.destroy()
        thread.join(2)
    took = took()
    if wrong:
        for server in run.servers:
            server.destroy()
            tail = [x[:400] for x in server.log[-LOG_TAIL:]]
            wrong.append("\n".join([f"log of {server.pid} {' '.join(server.args)}:"] + tail))
    return "\n".join(wrong) or None, run.notes, took


def main(jobs=4):
    """Runs the file's tests. Environment: DFLOCKD_TEST=part of a name or description, …_JOBS=n."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    wanted = os.environ.get("DFLOCKD_TEST", "")
    for cpu in os.sched_getaffinity(0):
        Stalls(cpu).start()
    jobs = int(os.environ.get("DFLOCKD_TEST_JOBS", jobs))
    count = failed = 0

    def work(todo):
        nonlocal count, failed
        while True:
            try:
                function = todo.get_nowait()
            except queue.Empty:
                return
            wrong, notes, took = run_one(function)
            with output:
                count += 1
                failed += wrong is not None
                text = re.sub(r"[#\n]", "_", function.text)
                lines = [f"{'not ok' if wrong else 'ok'} {count} - {text}"]
                lines += [f"# {function.__name__}: {took:.2f} s"]
                for note in notes + ([wrong] if wrong else []):
                    lines += ["# " + x for x in note.splitlines()]
                print("\n".join(lines).encode("utf-8", "backslashreplace").decode(), flush=True)

    for alone in [False, True]:
        todo = queue.Queue()
        for f in tests[:1] if FIRST else tests:
            if f.alone == alone and (wanted in f.__name__ or wanted in f.text):
                todo.put(f)
        workers = [threading.Thread(target=work, args=(todo,), daemon=True)
                   for _ in range(1 if alone else jobs)]
        for t in workers:
            t.start()
        for t in workers:
            t.join()
    print(f"1..{count}", flush=True)
    destroy_all()
    sys.stdout.flush()
    os._exit(1 if failed or not count else 0)  # threads that hang do not matter any more
