"""dflock.py - running dflock in tests: its processes, its events, its end.

    run = Dflock(server, ["-w", "1", "key", "true"], stdin=…, env={…}, command="shell text")
        starts it, with -s SERVER --json before the arguments; with command=, the arguments are options
        and key, and the command is sh -c TEXT. Its stdout is a file: .out(). It is gone, with all
        processes that descend from it, when the test is over.
    .event("started", timeout=10) → the event (a dict), when it has come;  .events() → those so far
    .pid, .guardian(), .command() → pids, once the command has been started
    .exit(timeout=20) → its exit code, or -N: what its caller sees
    .errors() → the texts of its errors
    beat(path) → shell text that writes the time to path, over and over;  last_beat(path) → the last
    lenient_server(…) → a Server whose workers may be slow: a machine on which so many processes beat is
        busy, and they are killed as hanging; that is not what is tested here
    is_held(server, key);  gone(pid): it has ended, perhaps unseen by its parent
    becomes_free(server, key): dflock waits 2 s at most for the answer to its release, so the lock may be
        free only after it has ended
    processes_with(word) → pids of living processes that have it in their arguments;
    left_of_command(word) → those of them that are not dflock
"""

import json
import os
import subprocess
import threading
import time

from harness import Client, Server, check, check_eq, eventually, fail, state_of, temp_dir

DFLOCK = os.environ.get("DFLOCK") or os.path.join(os.environ["top_builddir"], "src/cli/dflock")
ENV = {k: v for k, v in os.environ.items() if not k.startswith("DFLOCK_")}
LONG = 20.0  # seconds for anything that must come


def gone(pid):
    return state_of(pid) in (None, "Z", "X")


def processes_with(word):
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as f:
                if word.encode() in f.read() and not gone(int(entry)):
                    found.append(int(entry))
        except OSError:
            continue
    return found


def left_of_command(word):
    """The same without dflock itself, which has the command's arguments among its own."""
    found = []
    for pid in processes_with(word):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as f:
                if not f.read().startswith("dflock"):
                    found.append(pid)
        except OSError:
            continue
    return found


def boottime():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def beat(path):
    """Some 50 times a second: many of them must not keep the machine busy. /proc/uptime is
    CLOCK_BOOTTIME."""
    return f"while read -r up rest </proc/uptime; do echo $up >>{path}; sleep 0.02; done"


def last_beat(path):
    """Seconds; the line that was being written when it ended does not count."""
    with open(path, encoding="utf-8") as f:
        lines = f.read().split("\n")[:-1]
    return float(lines[-1]) if lines else None


def lenient_server(args=(), **options):
    return Server(args, expect_log=["worker hangs", "worker died"], **options)


def is_held(server, key, command="l"):
    """By a try of somebody else, who gives it back if it gets it."""
    with Client(("127.0.0.1", server.port)) as c:
        args = "0" if command == "l" else "0 1"
        return c.req(command, key, args) == "timeout"


def becomes_free(server, key):
    eventually(lambda: not is_held(server, key), LONG, f"the lock {key} is held")


class Dflock:
    def __init__(self, server, args, command=None, env=None, stdin=subprocess.DEVNULL, port=None,
                 json_events=True, stdout=None, **options):
        where = ["-s", f"127.0.0.1:{port or server.port}"] if server or port else []
        argv = [DFLOCK, *where, *(["--json"] if json_events else []), *args]
        if command is not None:
            argv += ["sh", "-c", command]
        self.out_path = os.path.join(temp_dir(), "stdout")
        self.err = b""
        self._ended = threading.Event()
        with open(self.out_path, "wb") as out:
            self.proc = subprocess.Popen(argv, env={**ENV, **(env or {})}, stdin=stdin,
                                         stdout=stdout or out, stderr=subprocess.PIPE, **options)
        self.pid = self.proc.pid
        self._guardian = None
        self._read = threading.Thread(target=self._reader, daemon=True)
        self._read.start()

    def _reader(self):
        while True:
            data = os.read(self.proc.stderr.fileno(), 65536)
            if not data:
                break
            self.err += data
        self._ended.set()

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.destroy()

    def destroy(self):
        """The guardian ends what is left when the front is dead."""
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        if not self._ended.wait(LONG):
            fail(f"processes of dflock are left after its end: {self.err!r}")

    def events(self):
        found = []
        for line in self.err.decode("utf-8", "replace").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue  # the command's own, or not complete yet
        return [x for x in found if isinstance(x, dict) and "event" in x]

    def event(self, name, timeout=LONG):
        def find():
            ended = self.proc.poll() is not None and self._ended.is_set()  # before the look
            found = [x for x in self.events() if x["event"] == name]
            check(found or not ended,
                  f"dflock has ended without the event {name}: {self.err!r}")
            return found

        return eventually(find, timeout, f"no event {name}: {self.err!r}")[0]

    def command(self):
        return self.event("started")["pid"]

    def guardian(self):
        """Remembered: once the front or the command is dead it cannot be found any more."""
        if not self._guardian:
            self.command()
            with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as f:
                children = f.read().split()
            check_eq(len(children), 1, f"children of the front, {children}")
            self._guardian = int(children[0])
        return self._guardian

    def exit(self, timeout=LONG):
        try:
            code = self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            fail(f"dflock has not ended within {timeout} s: {self.err!r}")
        return code

    def ends(self, code, timeout=LONG):
        check_eq(self.exit(timeout), code, f"the exit code, after {self.text()}")

    def text(self):
        self._ended.wait(1)
        return self.err.decode("utf-8", "replace")

    def errors(self):
        self._ended.wait(LONG)
        return [x["text"] for x in self.events() if x["event"] == "error"]

    def out(self):
        with open(self.out_path, encoding="utf-8", errors="replace") as f:
            return f.read()


def wait_for_line(path, timeout=LONG):
    """The first line of a file that the command writes."""
    def line():
        try:
            with open(path, encoding="utf-8") as f:
                text = f.read()
        except FileNotFoundError:
            return None
        return text.split("\n")[0] if "\n" in text else None

    return eventually(line, timeout, f"nothing in {path}")


def run_dflock(server, args, timeout=LONG, env=None, **options):
    """To its end: (exit code, stdout, stderr), both as text."""
    where = ["-s", f"127.0.0.1:{server.port}"] if server else []
    p = subprocess.run([DFLOCK, *where, *args], env={**ENV, **(env or {})}, capture_output=True,
                       timeout=timeout, text=True, errors="replace",
                       **{"stdin": subprocess.DEVNULL, **options})
    return p.returncode, p.stdout, p.stderr
