"""tests/bench/servers.py - the servers that rows of the benchmark compare. A row gets them from its
context (bench.py), which ends them after the row.

    Dflockd(build, *options)   dflockd, two workers if no option says otherwise
    Echo(build, *options)      tests/bench/echo, two workers: the limit
                               with "yield" it lets others run before it sleeps, as dflockd does
    TlsEcho(build, cert, key)  tests/bench/echotls, the same over TLS
    Redis(build, *options)     redis-server from Debian, without persistence
    certificate(directory)     a pair for TLS, made there: paths of certificate and key

    .name, .protocol           for people; for load --protocol
    .address, .unix            HOST:PORT and unix:PATH, both served
    .pid, .pids()              all of its processes
    .cpu_ns()                  what they have used so far, all threads, from the kernel's accounting
    .pss_kib()                 their memory, shared pages divided by those who share them
    .stop()
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time


class Trouble(Exception):
    """Why a row cannot be measured, in words."""


def program(name, package):
    path = shutil.which(name)
    if not path:
        raise Trouble(f"{name} is not installed: it is in Debian's package {package}")
    return path


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(p) for p in f.read().split()]


def cpu_ns(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as f:
            total += int(f.read().split()[0])
    return total


def pss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def certificate(directory):
    """What most have: P-256, signed by nobody here."""
    cert, key = os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem")
    done = subprocess.run([program("openssl", "openssl"), "req", "-x509", "-nodes", "-days", "2",
                           "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", key,
                           "-out", cert, "-subj", "/CN=localhost"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Trouble(f"openssl makes no certificate: {done.stdout.strip()}")
    return cert, key


class Server:
    protocol = "dflockd"

    def __init__(self, build):
        self.build = build
        self._dir = tempfile.TemporaryDirectory(prefix="dflockd-bench-")
        self.dir = self._dir.name
        self.socket = os.path.join(self.dir, "socket")
        self.unix = f"unix:{self.socket}"
        self.log = os.path.join(self.dir, "log")
        self.process = None

    def run(self, *command):
        """Starts it; what it says goes into its log."""
        if not os.path.exists(command[0]):
            raise Trouble(f"{command[0]} is not built: make -C {self.build} "
                          f"{os.path.relpath(command[0], self.build)}")
        env = {k: v for k, v in os.environ.items() if not k.startswith("DFLOCKD_")}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([str(x) for x in command], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=env)
        self.pid = self.process.pid

    def said(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def wait_until(self, ready, seconds=10):
        """What ready() returns once that is true."""
        end = time.monotonic() + seconds
        while True:
            value = ready()
            if value:
                return value
            if self.process.poll() is not None or time.monotonic() > end:
                raise Trouble(f"{self.name} does not start:\n" + self.said()[-2000:])
            time.sleep(0.002)

    def answers(self):
        host, port = self.address.rsplit(":", 1)
        with socket.socket() as s:
            return s.connect_ex((host, int(port))) == 0

    def pids(self):
        return [self.pid, *children(self.pid)]

    def cpu_ns(self):
        return sum(cpu_ns(p) for p in self.pids())

    def pss_kib(self):
        return sum(pss_kib(p) for p in self.pids())

    def stop(self):
        if self.process and self.process.poll() is None:
            # Workers that outlive their master would serve on.
            pids = self.pids()
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                for pid in pids:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                self.process.wait()
        self._dir.cleanup()


class Dflockd(Server):
    name = "dflockd"

    def __init__(self, build, *options, path=None):
        super().__init__(build)
        path = path or os.path.join(build, "src/dflockd/dflockd")
        # Those that come last count.
        self.run(path, "--host", "127.0.0.1", "--port", 0, "--workers", 2, "--max-locks", 100000,
                 "--unix-socket", self.socket, "--run-dir", os.path.join(self.dir, "run"), *options)
        self.address = self.wait_until(self.listens)
        workers = int(options[options.index("--workers") + 1]) if "--workers" in options else 2
        self.wait_until(lambda: len(children(self.pid)) >= workers)

    def listens(self):
        for line in self.said().splitlines():
            if " listening " in line and "unix:" not in line:
                return "127.0.0.1:" + line.rsplit(":", 1)[1]
        return None


class Echo(Server):
    name = "echo"

    def __init__(self, build, *options):
        super().__init__(build)
        self.serve("tests/bench/echo", self.socket, *options)

    def serve(self, name, *arguments):
        self.run(os.path.join(self.build, name), 2, *arguments)
        self.address = "127.0.0.1:" + self.wait_until(self.port)

    def port(self):
        text = self.said()
        return text.strip() if text.endswith("\n") else None


class TlsEcho(Echo):
    name = "echo over TLS"

    def __init__(self, build, cert, key):
        Server.__init__(self, build)
        self.unix = None
        self.serve("tests/bench/echotls", cert, key)


class Redis(Server):
    name = "redis"
    protocol = "redis"

    def __init__(self, build, *options):
        path = program("redis-server", "redis-server")
        super().__init__(build)
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self.run(path, "--port", port, "--bind", "127.0.0.1", "--protected-mode", "no",
                 "--unixsocket", self.socket, "--save", "", "--appendonly", "no",
                 "--daemonize", "no", "--dir", self.dir, "--loglevel", "warning", *options)
        self.wait_until(self.answers)
