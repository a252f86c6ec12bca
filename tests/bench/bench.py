"""tests/bench/bench.py - what a row of the benchmark is made of. suite.py runs the rows.

A row is a function in a module tests/bench/rows_NAME.py (its name goes into local.mk):

    from bench import figure, pairs, row

    @row("100 connections, one request in flight each", target="CPU ≤ 1.10 × echo")
    def one_in_flight(bench):
        ours, echo = bench.dflockd(), bench.echo()
        runs = bench.in_turn({"ours": lambda: bench.load(ours, connections=100),
                              "echo": lambda: bench.load(echo, connections=100)})
        return [figure("CPU a request, × echo", pairs(runs["ours"], runs["echo"], "cpu_us"),
                       at_most=1.10),
                figure("CPU a request", values(runs["ours"], "cpu_us"), "µs")]

@row(title, target="…", limit=120)   its name is the function's; no longer than `limit` seconds
figure(text, value, unit="", at_least=None, at_most=None, note="")
                                     value: a number, or a list of which the median counts. With a
                                     bound it is a target that is met or missed, else just shown
pairs(runs, base, key)               the ratios runs / base, turn by turn
values(runs, key), median(runs, key) of one's own; a key may be latency_ns.p50
Trouble("…")                         raise it for what cannot be measured: the other rows go on

bench.dflockd(*options) .echo() .redis()   servers (servers.py), ended after the row
bench.start(Class, *arguments)       any other one
bench.load(server, **options)        runs tests/bench/load against it: connections=100, depth=64,
                                     workload="cycle", threads=2, tls=True … as its --help says.
                                     address=server.unix: another of its addresses. Its figures,
                                     and cpu_ns: the server's from the first request to the last
                                     reply; cpu_us: that for each request, in µs;
                                     per_cpu_s: requests for each second of it
bench.loading(server, **options)     the same as `with` block: connected at its begin,
                                     .run() → figures, still connected then
bench.in_turn({name: function})      calls them in turn, A B B A …, after a short call of each
                                     that does not count; the results of each in a list
bench.run(program, *arguments)       what a program of the build directory prints, as JSON
bench.path(name)                     of a file of the build directory
bench.dir                            a directory for the row's own files
bench.rounds, bench.seconds          how often, how long one load
bench.quick                          only to see whether it works
bench.say(text)                      progress
"""

import contextlib
import json
import os
import statistics
import subprocess
import tempfile

from servers import Dflockd, Echo, Redis, Trouble  # noqa: F401: Trouble is for rows

ROWS = {}


class Row:
    def __init__(self, function, title, target, limit):
        self.name, self.function = function.__name__, function
        self.title, self.target, self.limit = title, target, limit


def row(title, target="", limit=120):
    def register(function):
        if function.__name__ in ROWS:
            raise ValueError(f"two rows are named {function.__name__}")
        ROWS[function.__name__] = Row(function, title, target, limit)
        return function
    return register


def figure(text, value, unit="", at_least=None, at_most=None, note=""):
    each = list(value) if isinstance(value, (list, tuple)) else [value]
    measured = statistics.median(each)
    met = None
    if at_least is not None or at_most is not None:
        met = ((at_least is None or measured >= at_least) and
               (at_most is None or measured <= at_most))
    return {"text": text, "measured": measured, "unit": unit, "at_least": at_least,
            "at_most": at_most, "met": met, "note": note, "each": each}


def value_of(run, key):
    for part in key.split("."):
        run = run[part]
    return run


def values(runs, key):
    return [value_of(r, key) for r in runs]


def median(runs, key):
    return statistics.median(values(runs, key))


def pairs(runs, base, key):
    return [value_of(a, key) / value_of(b, key) for a, b in zip(runs, base)]


class Load:
    """A load that is connected: see Bench.loading()."""

    def __init__(self, bench, server, command, process):
        self.bench, self.server, self.command, self.process = bench, server, command, process

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise Trouble(f"{' '.join(self.command)}: {self.process.stderr.read().strip()}")
        return line

    def run(self):
        before = self.server.cpu_ns()
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        got = json.loads(self.line())
        got["cpu_ns"] = self.server.cpu_ns() - before
        got["server"], got["command"] = self.server.name, self.command[1:]
        if got["errors"] or not got["requests"]:
            self.process.stdin.close()
            self.process.wait()
            why = self.process.stderr.read().strip() or "no requests"
            raise Trouble(f"{' '.join(self.command)}: {why}")
        got["cpu_us"] = got["cpu_ns"] / got["requests"] / 1000
        got["per_cpu_s"] = got["requests"] * 1e9 / got["cpu_ns"]
        self.bench.runs.append(got)
        return got


class Bench:
    """The context of one row."""

    def __init__(self, build, rounds, seconds, quick, say):
        self.build, self.say = build, say
        self.rounds, self.seconds, self.quick = rounds, seconds, quick
        self.runs = []  # of all loads
        self._ends = contextlib.ExitStack()
        self.dir = self._ends.enter_context(tempfile.TemporaryDirectory(prefix="dflockd-bench-"))

    def __enter__(self):
        return self

    def __exit__(self, *what):
        return self._ends.__exit__(*what)

    def start(self, cls, *args, **more):
        server = cls(self.build, *args, **more)
        self._ends.callback(server.stop)
        return server

    def dflockd(self, *options):
        return self.start(Dflockd, *options)

    def echo(self, *options):
        return self.start(Echo, *options)

    def redis(self, *options):
        return self.start(Redis, *options)

    def path(self, name):
        path = os.path.join(self.build, name)
        if not os.path.exists(path):
            raise Trouble(f"{path} is not there: make -C {self.build} {name}")
        return path

    @contextlib.contextmanager
    def loading(self, server, address=None, **options):
        command = [self.path("tests/bench/load"), "--wait", "--protocol", server.protocol]
        for name, value in {"seconds": self.seconds, **options}.items():
            if value is not False:
                command += ["--" + name] if value is True else ["--" + name, str(value)]
        command.append(address or server.address)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        try:
            load = Load(self, server, command, process)
            load.line()  # ready
            yield load
            process.stdin.close()
            process.wait(30)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                pipe.close()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()

    def load(self, server, address=None, **options):
        with self.loading(server, address, **options) as load:
            return load.run()

    def in_turn(self, actions, rounds=None):
        results = {name: [] for name in actions}
        counted = len(self.runs)
        seconds, self.seconds = self.seconds, min(self.seconds, 0.2)
        for action in actions.values():
            action()
        self.seconds = seconds
        del self.runs[counted:]
        for turn in range(rounds or self.rounds):
            for name in list(actions)[::-1 if turn % 2 else 1]:
                results[name].append(actions[name]())
            self.say(".")
        return results

    def run(self, program, *arguments):
        command = [self.path(program), *(str(x) for x in arguments)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise Trouble(f"{' '.join(command)}: status {done.returncode}: {done.stderr.strip()}")
        got = json.loads(done.stdout)
        self.runs.append({"command": command, **got})
        return got
