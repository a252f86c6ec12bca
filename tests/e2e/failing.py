"""failing.py - servers and programs whose n-th call of a function fails: tests/failing/failing.c,
preloaded.

    board = Board()
    board.order("malloc", n, WORKER | HTTP)   the n-th call from now, in processes of these roles
    board.withdraw()  .fired  .count  .role   and what became of it
    board.where()                             who called, for a person to read; .ours() → dflockd did
    FailServer(args, board=board)
"""

import errno
import mmap
import os
import re
import shlex
import signal
import struct
import subprocess
import tempfile
import threading

from harness import SANITIZED, Server, temp_dir, temp_file
from programs import CC, tool, top

# In the order of `enum function`: the error that such a call fails with.
FUNCTIONS = {"malloc": "ENOMEM", "mmap": "ENOMEM", "fork": "EAGAIN", "accept4": "EMFILE",
             "epoll_ctl": "ENOMEM", "sendmsg": "ENOBUFS", "recvmsg": "ENOMEM", "pwrite": "ENOSPC",
             "fdatasync": "EIO", "pthread": "EAGAIN", "mutex": "EBUSY", "descriptor": "EMFILE",
             "socket": "EMFILE"}
MAIN, CHILD, WORKER, HTTP, WRITER, CHECK = 1, 2, 4, 8, 16, 32
ROLE_NAMES = {MAIN: "master", CHILD: "child", WORKER: "worker", HTTP: "HTTP worker",
              WRITER: "fence writer", CHECK: "--check-region"}

HEAD, FRAMES, FRAME_BYTES = 40, 24, 160
EVER = 1 << 31

lock = threading.Lock()
made = []


def library():
    """The shared object, made once."""
    with lock:
        if not made:
            path = os.path.join(temp_dir(), "failing.so")
            tool(CC + ["-shared", "-fPIC", "-O1", "-g", "-std=gnu11", "-Wall", "-Wextra", "-o", path,
                       os.path.join(top, "tests/failing/failing.c")], "failing.c")
            os.chmod(path, 0o755)
            made.append(path)
        return made[0]


class Board:
    """The file that all processes share: struct board in failing.c."""

    def __init__(self):
        self.path = temp_file(bytes(HEAD + FRAMES * FRAME_BYTES))
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0)

    def order(self, function, n, roles, times=1, error=None):
        self.withdraw()
        code = getattr(errno, error or FUNCTIONS[function])
        struct.pack_into("<IIIiIIIII", self.map, 4, roles, n, times, code, 0, 0, 0, 0, 0)
        struct.pack_into("<I", self.map, 0, list(FUNCTIONS).index(function) + 1)

    def withdraw(self):
        struct.pack_into("<I", self.map, 0, 0)

    def _word(self, at):
        return struct.unpack_from("<I", self.map, at)[0]

    @property
    def count(self):
        return self._word(20)

    @property
    def fired(self):
        return self._word(24)

    @property
    def pid(self):
        return self._word(28)

    @property
    def role(self):
        return self._word(32)

    def frames(self):
        """object+offset, innermost first, without this library's own."""
        all = [self.map[HEAD + i * FRAME_BYTES:HEAD + (i + 1) * FRAME_BYTES].split(b"\0", 1)[0].decode()
               for i in range(self._word(36))]
        return [x for x in all if not x.startswith(made[0])] if made else all

    def ours(self):
        """Whether it was dflockd that called, and no library."""
        return any("/dflockd+" in x for x in self.frames()[:1])

    def crashes_openssl(self, code):
        """Whether this is how it ended: OpenSSL 3.0 that has no memory as it comes into being uses what
        it has not got, before anybody could ask whether it works."""
        return code == -signal.SIGSEGV and any("/libcrypto.so" in x for x in self.frames()[:1])

    def where(self):
        """Functions and lines, as far as they are known."""
        out = []
        for frame in self.frames()[:10]:
            name, offset = frame.rsplit("+", 1)
            try:
                r = subprocess.run(["addr2line", "-fpsCe", name, hex(int(offset, 16) - 1)],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8")
                text = r.stdout.strip()
            except OSError:
                text = ""
            out.append(text if text and "??" not in text else f"{os.path.basename(name)}+{offset}")
        return f"{ROLE_NAMES.get(self.role)} {self.pid}: " + " < ".join(out)


def preloaded(board):
    """The environment of a program whose calls are to fail."""
    env = {"LD_PRELOAD": library(), "FAILING_FILE": board.path}
    if SANITIZED:
        # The sanitizer's library comes second, and finds its functions all the same. What leaks when
        # a start fails goes with the process.
        env["ASAN_OPTIONS"] = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"),
                                                     "verify_asan_link_order=0", "detect_leaks=0"]))
    return env


class FailServer(Server):
    def __init__(self, args=(), board=None, **options):
        self.board = board or Board()
        env = dict(preloaded(self.board), **options.pop("env", {}))
        options.setdefault("expect_log", ["."])  # errors are what it is about
        super().__init__(args, env=env, **options)
