"""tests/bench/rows_scale.py - rows of the benchmark about much: many connections, locks, waiters, ends.

Where something happens to thousands at once, "the others" are eight connections of another process that
acquire and release at fixed times (load --rate), and latency is from when a request was due. The
same is measured just before, when nothing happens. A crowd that vanishes takes time from servers and
others alike, while the kernel closes its sockets: so beside what the others of its server see stands
what those of a server see with which nothing happens, and the same crowd and others at the bare echo
server.
"""

import concurrent.futures
import contextlib
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import time

from bench import Trouble, figure, pairs, row, values

PROBE = {"connections": 8, "rate": 2000, "prefix": "probe"}
MS = 1e6


def port_of(server):
    return server.address.rsplit(":", 1)[1]


class Clients:
    """A program with many connections: says a line of JSON when they are there, and one to each line."""

    def __init__(self, server, *command):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.command = [str(x) for x in command]
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.server = server
        try:
            self.ready = self.hear()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *what):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def hear(self):
        line = self.process.stdout.readline()
        if not line:
            raise Trouble(f"{' '.join(self.command)}: {self.process.stderr.read().strip()}")
        return json.loads(line)

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()


class Crowd(Clients):
    """tests/bench/crowd, which says what its commands are."""

    def __init__(self, bench, server, mode, *numbers):
        super().__init__(server, bench.path("tests/bench/crowd"), port_of(server), mode, *numbers)

    def ask(self, command):
        """What it answers, and the server's CPU meanwhile as cpu_ns."""
        before = self.server.cpu_ns()
        self.tell(command)
        answer = self.hear()
        return {**answer, "cpu_ns": self.server.cpu_ns() - before}

    def vanish(self):
        self.tell("vanish")
        self.process.wait(30)


def many(bench, server, n):
    """A server with n connections needs descriptors for them."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if n + 200 > hard:
        raise Trouble(f"{n} connections need more descriptors than the limit, {hard}: raise it with "
                      "ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return bench.dflockd(*server)


def ask(server, requests):
    """The replies to requests (command, key, argument), all on one new connection, pipelined."""
    host, port = server.address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), 30) as s, s.makefile("rb") as replies:
        s.sendall("".join("\n".join(r) + "\n" for r in requests).encode())
        return [replies.readline().decode().rstrip("\n") for _ in requests]


def stats(server):
    reply, = ask(server, [("stats", "", "")])
    return json.loads(reply[3:])


def waited_ns(server):
    """How long its threads were ready to run while others had the CPUs."""
    total = 0
    for pid in server.pids():
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[1])
    return total


def region_bytes(server):
    """What the region takes of the machine's memory."""
    for fd in os.listdir(f"/proc/{server.pid}/fd"):
        path = f"/proc/{server.pid}/fd/{fd}"
        try:
            if "memfd:" in os.readlink(path) and os.stat(path).st_size > 1 << 20:
                return os.stat(path).st_blocks * 512
        except FileNotFoundError:
            pass
    raise Trouble("the server's region is not among its descriptors")


def sleep_until(ns):
    left = ns - time.monotonic_ns()
    if left < 0:
        raise Trouble(f"the machine is too slow, by {-left / 1e9:.1f} s")
    time.sleep(left / 1e9)


class Beside:
    """What others see while `event` happens, 0.2 s after the begin or (at_ns, monotonic clock) by
    itself 0.1 s after it; and what that costs the server."""

    def __init__(self, bench, server, event=None, seconds=1.0, at_ns=None):
        if at_ns:
            sleep_until(at_ns - (seconds + 0.5) * 1e9)
        self.quiet = bench.load(server, seconds=seconds, **PROBE)
        with bench.loading(server, seconds=seconds, **PROBE) as load, \
                concurrent.futures.ThreadPoolExecutor(1) as pool:
            if at_ns:
                sleep_until(at_ns - 0.1e9)
            waited = waited_ns(server)
            running = pool.submit(load.run)
            if event:
                time.sleep(0.2)
                event()
            self.run = running.result()
            self.waited_ns = waited_ns(server) - waited
        # What the prober's own requests cost is known from before.
        self.cpu_ns = self.run["cpu_ns"] - self.quiet["cpu_us"] * 1000 * self.run["requests"]

    def ms(self, key, run=None):
        return (run or self.run)["latency_ns"][key] / MS


def of_others(events, at_most):
    """Figures of what the others saw in all repetitions of an event."""
    return [figure("others' p99 in that second", [e.ms("p99") for e in events], "ms", at_most=at_most),
            figure("others' maximum", [e.ms("max") for e in events], "ms"),
            figure("others' p99 just before", [e.ms("p99", e.quiet) for e in events], "ms"),
            figure("others' maximum just before", [e.ms("max", e.quiet) for e in events], "ms")]


@row("10,000 idle connections: memory in user space", target="≤ 2 KiB each", limit=40)
def idle_memory(bench):
    n = 1000 if bench.quick else 10000
    server = many(bench, ("--read-timeout", "3600"), n)
    with Crowd(bench, server, "idle", 10):
        pass
    before, region = server.pss_kib(), region_bytes(server)
    with Crowd(bench, server, "idle", n):
        eventually(lambda: stats(server)["connections"] > n, "all connections are accepted")
        after = server.pss_kib()
        return [figure("PSS of all processes, a connection", (after - before) * 1024 / n, "bytes",
                       at_most=2048),
                figure("of that, the region", (region_bytes(server) - region) / n, "bytes"),
                figure("PSS without connections", before, "KiB")]


def eventually(true, what, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise Trouble(f"{what}: not within {seconds} s")
        time.sleep(0.01)


@row("1,000,000 locks held, keys of 64 bytes: memory, and the cost of acquire and release",
     target="≤ 256 bytes a lock; cost ≤ 1.2 × of 1,000 held", limit=90)
def held_locks(bench):
    many_locks, few = (100000, 1000) if bench.quick else (1000000, 1000)
    servers = [bench.dflockd("--max-locks", str(many_locks + 2000)) for _ in range(2)]
    bench.load(servers[0], seconds=0.2)  # what the first requests need is there
    pss, region = servers[0].pss_kib(), region_bytes(servers[0])
    with Crowd(bench, servers[0], "hold", 8, many_locks) as much, \
            Crowd(bench, servers[1], "hold", 8, few):
        pss, region = servers[0].pss_kib() - pss, region_bytes(servers[0]) - region
        runs = bench.in_turn({"much": lambda: bench.load(servers[0]),
                              "few": lambda: bench.load(servers[1])})
        return [figure("memory of a lock, region", region / many_locks, "bytes", at_most=256),
                figure("memory of a lock, PSS of all processes", pss * 1024 / many_locks, "bytes"),
                figure("server CPU a request, × of few locks", pairs(runs["much"], runs["few"], "cpu_us"),
                       at_most=1.2),
                figure("requests/s, × of few locks",
                       pairs(runs["much"], runs["few"], "requests_per_s")),
                figure("server CPU a request", values(runs["much"], "cpu_us"), "µs"),
                figure("locks acquired a second while it filled", many_locks / much.ready["ready"])]


@row("the core alone, connections simulated: a step with much in the table", limit=90,
     target="100,000 waiters ≤ 1.5 × of 100; 1,000,000 locks ≤ 1.2 × of 1,000")
def core(bench):
    arguments = (3, 10000, 100000) if bench.quick else (15, 100000, 1000000)
    done = subprocess.run([bench.path("tests/bench/core"), *(str(x) for x in arguments)], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise Trouble(done.stderr.strip())
    *steps, last = [json.loads(line) for line in done.stdout.splitlines()]
    ratios = last["ratios"]
    bench.runs.extend(steps)
    # 100 waiters lie in the processor's first cache, 100,000 in memory: what the length of the queue
    # costs shows beside as many in short queues.
    figures = [figure(f"{step}, × of 100 waiters", ratio, at_most=None if step == "join" else 1.5,
                      note=nanoseconds(steps, step))
               for step, ratio in ratios["many waiters in one queue"].items()]
    figures += [figure(f"{step}, × of as many waiters in queues of 100", ratio,
                       at_most=None if step == "join" else 1.5)
                for step, ratio in ratios["one queue instead of many"].items()]
    figures += [figure(f"{step}, × of 1,000 locks", ratio, at_most=1.2, note=nanoseconds(steps, step))
                for step, ratio in ratios["many locks"].items()]
    return figures


def nanoseconds(steps, step):
    return " → ".join(f"{s['ns']:.0f}" for s in steps
                      if s["step"] == step and s["in"] != "queues of 100") + " ns"


@row("one key with 15,000 waiters over sockets, against 100", limit=90,
     target="hand-over, timeout and cancel ≤ 1.5 ×")
def waiters(bench):
    n, few = (2000 if bench.quick else 15000), 100
    ours = {size: many(bench, ("--read-timeout", "3600"), size) for size in (n, few)}
    echo = bench.echo()
    seconds, rounds = min(bench.seconds, 0.5), min(bench.rounds, 5)

    def passes(crowd):
        got = crowd.ask(f"pass {seconds}")
        return {"cpu_us": got["cpu_ns"] / got["hand_overs"] / 1e3,
                "us": got["seconds"] / got["hand_overs"] * 1e6}

    def ends(crowd, size):
        """A third of them closes, and comes back to wait for 2 s; of a short queue often, or
        there would be nothing to see."""
        cut, late, times = 0, 0, 1 if size == n else 2
        for _ in range(times):
            cut += crowd.ask(f"cut {size // 3}")["cpu_ns"]
            crowd.ask("late")
            before = crowd.server.cpu_ns()
            crowd.hear()
            late += crowd.server.cpu_ns() - before
            crowd.ask("fill")
        return {"cut_us": cut / times / (size // 3) / 1e3, "late_us": late / times / (size // 3) / 1e3}

    with Crowd(bench, ours[n], "queue", n + 1) as long, Crowd(bench, ours[few], "queue", few + 1) as short:
        runs = bench.in_turn({"long": lambda: passes(long), "short": lambda: passes(short)}, rounds)
        others = bench.in_turn({"long": lambda: ends(long, n), "short": lambda: ends(short, few)}, 2)
    with Crowd(bench, echo, "ring", n) as long, Crowd(bench, echo, "ring", few) as short:
        limit = bench.in_turn({"long": lambda: passes(long), "short": lambda: passes(short)}, rounds)

    def ratio(of, key):
        return pairs(of["long"], of["short"], key)

    return [figure("server CPU a hand-over, × of 100 waiters", ratio(runs, "cpu_us"), at_most=1.5),
            figure("time of a hand-over, × of 100 waiters", ratio(runs, "us")),
            figure("server CPU of a timeout, × of 100 waiters", ratio(others, "late_us"), at_most=1.5),
            figure("server CPU to cancel one, × of 100 waiters", ratio(others, "cut_us"), at_most=1.5),
            figure("server CPU a hand-over", values(runs["long"], "cpu_us"), "µs"),
            figure("time of a hand-over", values(runs["long"], "us"), "µs"),
            figure("server CPU of a timeout", values(others["long"], "late_us"), "µs"),
            figure("server CPU to cancel one", values(others["long"], "cut_us"), "µs"),
            figure("echo, a token round as many sockets: server CPU, × of 100", ratio(limit, "cpu_us")),
            figure("echo, a token round as many sockets: time, × of 100", ratio(limit, "us"))]


def descriptors(server):
    """Its open ones; the size of the directory says it, cheaply, since Linux 6.2."""
    return sum(os.stat(f"/proc/{pid}/fd").st_size or len(os.listdir(f"/proc/{pid}/fd"))
               for pid in server.pids())


def vanishing(bench, server, n, others=None):
    """`others`: the server of the others, if it is another."""
    before = descriptors(server)
    with Crowd(bench, server, "hold", n, n) as crowd:
        took = []

        def vanish():
            began = time.monotonic()
            crowd.vanish()
            gone = time.monotonic()
            eventually(lambda: descriptors(server) < before + 4 * PROBE["connections"],
                       "all sockets are closed")
            took.extend([time.monotonic() - began, gone - began])

        seen = Beside(bench, others or server, vanish)
        seen.took, seen.crowd_took = took
    return seen


def behind(bench, server, n):
    """Others ask while the workers are stopped, after everybody else has gone: ms to the last of their
    answers, once the workers run. That does not depend on who else wants a CPU just then."""
    host, port = server.address.rsplit(":", 1)
    before = descriptors(server)
    with contextlib.ExitStack() as ends:
        others = [ends.enter_context(socket.create_connection((host, int(port)), 30))
                  for _ in range(PROBE["connections"])]
        for i, s in enumerate(others):
            s.sendall(f"l\nprobe-{i}\n0 30\n".encode())
            s.recv(100)
        workers = server.pids()[1:]
        with Crowd(bench, server, "hold", n, n) as crowd:
            for pid in workers:
                os.kill(pid, signal.SIGSTOP)
            crowd.vanish()
            for i, s in enumerate(others):
                s.sendall(f"l\nbehind-{i}\n0 30\n".encode())
            began = time.monotonic()
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
            for s in others:
                s.recv(100)
            took = (time.monotonic() - began) * 1e3
    eventually(lambda: descriptors(server) <= before, "all sockets are closed")
    return took


@row("10,000 connections that hold a lock each vanish at once",
     target="server CPU ≤ 0.3 s, others' p99 ≤ 10 ms", limit=60)
def vanish(bench):
    n = 1000 if bench.quick else 10000
    server, bystander, echo = many(bench, (), n), bench.dflockd(), bench.echo()
    events, aside, limit, answered, echoed = [], [], [], [], []
    for _ in range(1 if bench.quick else 3):
        events.append(vanishing(bench, server, n))
        after = stats(server)
        if after["locks"] or after["connections"] > 1:
            raise Trouble(f"{len(after['locks'])} locks are held still, {after['connections']} connections")
        aside.append(vanishing(bench, server, n, bystander))
        limit.append(vanishing(bench, echo, n))
        answered.append(behind(bench, server, n))
        echoed.append(behind(bench, echo, n))
    return [figure("server CPU", [e.cpu_ns / 1e9 for e in events], "s", at_most=0.3 * n / 10000),
            *of_others(events, 10),
            figure("asked behind all of them, once the workers run", answered, "ms"),
            figure("until all sockets are closed", [e.took * 1e3 for e in events], "ms"),
            figure("of that, the crowd's own exit", [e.crowd_took * 1e3 for e in events], "ms"),
            figure("server ready to run, but without a CPU", [e.waited_ns / MS for e in events], "ms"),
            figure("others of a dflockd where nothing happens: p99", [e.ms("p99") for e in aside], "ms"),
            figure("others of that: maximum", [e.ms("max") for e in aside], "ms"),
            figure("echo: server CPU", [e.cpu_ns / 1e9 for e in limit], "s"),
            figure("echo: others' p99 in that second", [e.ms("p99") for e in limit], "ms"),
            figure("echo: others' maximum", [e.ms("max") for e in limit], "ms"),
            figure("echo: asked behind all of them", echoed, "ms"),
            figure("echo: until all sockets are closed", [e.took * 1e3 for e in limit], "ms")]


def held_of(server, keys):
    replies = ask(server, [("show", key, "lock") for key in keys])
    return [r for r in replies if r.startswith("ok") and '"holder_count":0' not in r]


@row("1,000,000 leases end within one second", target="others' p99 ≤ 10 ms", limit=90)
def leases_end(bench):
    n = 100000 if bench.quick else 1000000
    server = bench.dflockd("--max-locks", str(n + 1000), "--gc-max-idle", "3", "--gc-interval", "1")
    with Crowd(bench, server, "hold", 8, n, 5 if bench.quick else 16) as crowd:
        ends = crowd.ready["ends_ns"]
        seen = Beside(bench, server, seconds=1.2, at_ns=ends)
        held = held_of(server, [f"crowd-{i:058d}" for i in range(0, n, n // 500)])
        # By then each key has been idle for longer than --gc-max-idle.
        with bench.loading(server, seconds=3.0, **PROBE) as load:
            sleep_until(ends + 2.5e9)
            collected = load.run()
    if held:  # a server that does not get to run gives its clients more time
        raise Trouble(f"the machine is too busy: 0.1 s after that second {len(held)} of 500 leases had not "
                      f"ended; the first: {held[0][:200]}")
    return [*of_others([seen], 10),
            figure("server CPU to end one", seen.cpu_ns / n, "ns"),
            figure("server ready to run, but without a CPU", seen.waited_ns / MS, "ms"),
            figure("others' p99 while the idle keys are collected", seen.ms("p99", collected), "ms",
                   at_most=10),
            figure("others' maximum while they are", seen.ms("max", collected), "ms"),
            figure("the locks were acquired in", crowd.ready["ready"], "s")]


@row("stats, asked again and again, with 100,000 locks", target="others' p99 ≤ 10 ms", limit=40)
def stats_loop(bench):
    n = 10000 if bench.quick else 100000
    server = bench.dflockd("--max-locks", str(n + 1000))
    with Crowd(bench, server, "hold", 8, n):
        answers = []

        def loop():
            end = time.monotonic() + 2.5
            host, port = server.address.rsplit(":", 1)
            with socket.create_connection((host, int(port)), 30) as s:
                room = memoryview(bytearray(1 << 20))
                while time.monotonic() < end:
                    s.sendall(b"stats\n\n\n")
                    size, last = 0, 0
                    while last != 10:
                        got = s.recv_into(room)
                        if not got:
                            raise Trouble("stats: the server closes the connection")
                        size, last = size + got, room[got - 1]
                    answers.append(size)

        seen = Beside(bench, server, loop, seconds=3.0)
    return [*of_others([seen], 10),
            figure("answers in 2.5 s", len(answers),
                   note=f"{statistics.median(answers) / 1e6:.1f} MB each"),
            figure("server CPU for one", seen.cpu_ns / MS / len(answers), "ms")]


@row("start with --max-locks 1,000,000, to the first reply", target="≤ 100 ms", limit=40)
def start(bench):
    took = {"1000000": [], "1024": []}
    for i in range(2 if bench.quick else 7):
        for locks in list(took)[::-1 if i % 2 else 1]:
            took[locks].append(first_reply(bench, locks))
    return [figure("from exec to the first reply", took["1000000"], "ms", at_most=100),
            figure("the same with --max-locks 1024", took["1024"], "ms")]


def first_reply(bench, locks):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    began = time.monotonic()
    process = subprocess.Popen([bench.path("src/dflockd/dflockd"), "--port", str(port),
                                "--workers", "2", "--max-locks", locks,
                                "--run-dir", os.path.join(bench.dir, locks)],
                               stderr=subprocess.DEVNULL,
                               env={k: v for k, v in os.environ.items() if not k.startswith("DFLOCKD_")})
    try:
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), 10) as s:
                    s.sendall(b"ping\n\n\n")
                    if s.recv(16) == b"ok\n":
                        return (time.monotonic() - began) * 1e3
            except ConnectionRefusedError:
                time.sleep(0.0005)
            if time.monotonic() - began > 10 or process.poll() is not None:
                raise Trouble("the server does not start")
    finally:
        process.terminate()
        process.wait(10)
