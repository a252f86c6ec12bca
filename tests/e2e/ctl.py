"""ctl.py - runs dflockctl for tests.

    r = ctl("ls", "--json", server)     a Server becomes -s 127.0.0.1:PORT; several: ctl(…, [a, b])
    r.status r.out r.err r.lines r.json r.took; ctl(…, env={…}, stdin=…): no DFLOCK_* but env's
    column(r.out, "KEY")                what stands under this head of a table, line by line
    Terminal(args, rows, columns)       dflockctl on a pty of its own, in a session of its own
    hung(server)                        with hung(server): all its processes are stopped
"""

import contextlib
import errno
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from harness import Server, check, check_eq, elapsed, fail, shown

CTL = os.path.join(os.environ["top_builddir"], "src/ctl/dflockctl")


def address(server):
    return f"127.0.0.1:{server.port}" if isinstance(server, Server) else server


def words(args):
    """The command line: servers as -s."""
    out = []
    for x in args:
        if isinstance(x, Server):
            out += ["-s", address(x)]
        elif isinstance(x, (list, tuple)):
            out += ["-s", ",".join(address(y) for y in x)]
        else:
            out.append(x)
    return out


def environment(env):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("DFLOCK_", "LC_", "LANG"))}
    return {**clean, "LC_ALL": "C.UTF-8", "TERM": "xterm", **(env or {})}


class Result:
    def __init__(self, status, out, err, took):
        self.status, self.out, self.err, self.took = status, out, err, took
        self.lines = out.splitlines()

    @property
    def json(self):
        return [json.loads(x) for x in self.lines]

    def __repr__(self):
        return f"status {self.status}, output {shown(self.out)}, errors {shown(self.err)}"


def ctl(*args, env=None, stdin=subprocess.DEVNULL, timeout=60, status=None):
    took = elapsed()
    p = subprocess.run([CTL, *words(args)], env=environment(env), stdin=stdin, timeout=timeout,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    r = Result(p.returncode, p.stdout.decode(), p.stderr.decode(), took())
    check(status is None or r.status == status, f"{args}: {status} expected: {r}")
    return r


def column(text, head):
    """Numbers stand at the right end of their heads, all else at the left; no cell but the last has
    two blanks in it."""
    lines = text.splitlines()
    heads = re.split(r"  +", lines[0].strip())
    check(head in heads, f"no column {head} in {shown(lines[0])}")
    at = heads.index(head)
    rows = [re.split(r"  +", x.strip()) for x in lines[1:] if x]
    check(all(len(x) == len(heads) for x in rows), f"not all rows have {len(heads)} cells: {rows}")
    return [x[at] for x in rows]


@contextlib.contextmanager
def hung(server):
    """Connections are made by the kernel; nobody answers. The master first: it would replace workers."""
    pids = [server.pid] + server.worker_pids()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


ALL = b"<that is all>"


class Terminal:
    """.screen: the lines of the last whole frame;  .raw: all that was written;  .before: the settings
    of the terminal at the start, .settings() those of now."""

    def __init__(self, args, rows=24, columns=80, program=CTL, env=None):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.before = self.settings()
        self.raw, self.drained = b"", False
        self.proc = subprocess.Popen(
            [program, *words(args)], stdin=self.slave, stdout=self.slave, stderr=self.slave,
            env=environment(env), start_new_session=True, preexec_fn=self._begin)

    @staticmethod
    def _begin():
        """In the child. Who runs us in the background may have had signals ignored."""
        for s in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGTSTP):
            signal.signal(s, signal.SIG_DFL)
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def __enter__(self):
        return self

    def __exit__(self, *what):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        for fd in (self.master, self.slave):
            if fd >= 0:
                os.close(fd)

    def settings(self):
        return termios.tcgetattr(self.slave)

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys):
        os.write(self.master, keys.encode())

    def read(self, timeout=0.05):
        """What there is, or comes within the time."""
        while select.select([self.master], [], [], timeout)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError as e:
                if e.errno != errno.EIO:
                    raise
                return
            self.raw += data
            timeout = 0

    @property
    def screen(self):
        """Frames begin at the upper left corner and end by clearing what is below."""
        frames = re.findall(rb"\033\[H((?:(?!\033\[H).)*?)\033\[J", self.raw, re.S)
        if not frames:
            return []
        text = re.sub(r"\033\[[0-9;?]*[A-Za-z]", "", frames[-1].decode())
        return re.split(r"\r+\n", text)  # the terminal adds a CR of its own

    def wait(self, predicate, text, timeout=20):
        end = time.monotonic() + timeout
        while True:
            self.read()
            if predicate(self):
                return self.screen
            if time.monotonic() > end or self.drained:
                fail(f"{text}: never seen; the last frame was {shown(self.screen)}, "
                     f"the end {shown(self.raw[-300:])}")
            if self.proc.poll() is not None:
                self.drain()

    def drain(self, timeout=20):
        """Its process has ended. What that wrote last may still be on its way to this end."""
        if self.drained:
            return
        self.read()
        os.write(self.slave, ALL)
        end = time.monotonic() + timeout
        while ALL not in self.raw:
            check(time.monotonic() < end, f"the terminal gives nothing: {shown(self.raw[-300:])}")
            self.read()
        self.raw = self.raw.replace(ALL, b"")
        self.drained = True

    def ended(self, timeout=20):
        """Its exit status; reads on, so that it is not kept from writing."""
        end = time.monotonic() + timeout
        while self.proc.poll() is None:
            self.read()
            check(time.monotonic() < end, f"it has not ended: {shown(self.raw[-300:])}")
        self.drain()
        return self.proc.returncode

    def check_restored(self):
        check(self.raw.count(b"\033[?1049h") > 0, "it has never drawn")
        check_eq(self.raw.count(b"\033[?1049l"), self.raw.count(b"\033[?1049h"),
                 "times that the screen was given back")
        left = self.raw.rindex(b"\033[?1049l")
        check(b"\033[?25h" in self.raw[left - 20:], "the cursor is seen again")
        check_eq(self.settings(), self.before, "the terminal's settings")
