"""programs.py - C programs against the library of the build: those of the documents, and those that
tests bring. Made with the compiler of the build, linked with libdflock.so and tests/client/redirect.c.

    run = compiled(text, "name")            the path of the program; once for a text
    ran(path, {"127.0.0.1:6388": server}, *args, cwd=, stdin=, hosts={…}, code=0)   what it printed
    started(path, servers, …)               a Program: .say(text) .line() .ended(code)
"""

import hashlib
import os
import shlex
import signal
import subprocess
import threading

from harness import check, eventually, fail, temp_dir

top = os.environ["top_srcdir"]
LIBRARY = os.path.join(os.environ["top_builddir"], "src/client/.libs")
HEADER = os.path.join(top, "src/client")
CC = shlex.split(os.environ.get("CC", "cc"))
SANITIZE = shlex.split(os.environ.get("SANITIZE_FLAGS", ""))
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]

lock = threading.Lock()
made = {}


def tool(argv, what):
    r = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, encoding="utf-8")
    check(r.returncode == 0, f"{what}: {shlex.join(argv)}\n{r.stdout}")
    return r.stdout


def programs_path():
    """PATH with the programs of the build before all others."""
    build = os.environ["top_builddir"]
    return ":".join([f"{build}/src/{x}" for x in ("cli", "ctl", "bench", "dflockd")] +
                    [os.environ["PATH"]])


def redirect():
    """The object file, made once."""
    if "redirect" not in made:
        path = os.path.join(temp_dir(), "redirect.o")
        tool(CC + SANITIZE + ["-std=gnu11", "-c", "-o", path,
                              os.path.join(top, "tests/client/redirect.c")], "redirect.c")
        made["redirect"] = path
    return made["redirect"]


def compiled(text, name, flags=()):
    key = (hashlib.sha256(text.encode()).digest(), tuple(flags))
    with lock:
        if key not in made:
            where = temp_dir()
            source = os.path.join(where, name + ".c")
            with open(source, "w", encoding="utf-8") as f:
                f.write(text)
            path = os.path.join(where, name)
            tool(CC + SANITIZE + STRICT + ["-I", HEADER, "-o", path, source, redirect(), "-L",
                                           LIBRARY, f"-Wl,-rpath,{LIBRARY}", "-ldflock", "-lpthread",
                                           *flags], name)
            made[key] = path
        return made[key]


def environment(servers, hosts):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DFLOCK_", "DFLOCKD_"))}
    env["DFLOCKD_TEST_REDIRECT"] = " ".join(f"{a}={s.port}" for a, s in servers.items())
    env["DFLOCKD_TEST_HOSTS"] = " ".join(f"{name}={ip}" for name, ip in hosts.items())
    return env


class Program:
    """A program that runs. It is killed when the test is over."""

    def __init__(self, path, servers, args=(), cwd=None, hosts=None, env=None):
        self.name = os.path.basename(path)
        self.proc = subprocess.Popen([path, *args], cwd=cwd,
                                     env={**environment(servers, hosts or {}), **(env or {})},
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE)
        self.pid = self.proc.pid
        self.out, self.err, self.at = bytearray(), bytearray(), 0
        self.readers = [threading.Thread(target=self._read, args=x, daemon=True) for x in
                        ((self.proc.stdout, self.out), (self.proc.stderr, self.err))]
        for t in self.readers:
            t.start()

    def _read(self, pipe, into):
        while True:
            data = os.read(pipe.fileno(), 65536)
            if not data:
                return
            into.extend(data)

    def __enter__(self):
        return self

    def __exit__(self, *what):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()

    def say(self, text, end=False):
        self.proc.stdin.write(text.encode())
        self.proc.stdin.flush()
        if end:
            self.proc.stdin.close()

    def says_something(self, timeout=40):
        """Whether there is another line; not if it has ended."""
        eventually(lambda: b"\n" in self.out[self.at:] or not self.readers[0].is_alive(), timeout,
                   f"{self.name} prints nothing")
        return b"\n" in self.out[self.at:]

    def line(self, timeout=40):
        """The next line that it prints."""
        self.says_something(timeout)
        end = self.out.find(b"\n", self.at)
        if end < 0:
            fail(f"{self.name} ended: {self.err.decode()}")
        text = self.out[self.at:end].decode("utf-8", "surrogateescape")
        self.at = end + 1
        return text

    def ended(self, code=0, timeout=60):
        """What it has printed and not been asked for; its status must be `code`."""
        try:
            status = self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            self.proc.send_signal(signal.SIGKILL)
            fail(f"{self.name} has not ended after {timeout} s, having printed {bytes(self.out)}")
        for t in self.readers:
            t.join(20)
        if status != code:
            fail(f"{self.name} ended with {status}, not {code}: {self.err.decode()} {self.out.decode()}")
        lines = self.out[self.at:].decode("utf-8", "surrogateescape").splitlines()
        self.at = len(self.out)
        return lines


def started(path, servers, *args, **more):
    return Program(path, servers, args, **more)


def ran(path, servers, *args, code=0, stdin="", **more):
    with Program(path, servers, args, **more) as p:
        p.say(stdin, end=True)
        return p.ended(code)

