#!/usr/bin/env python3
"""dflock_bench_test.py - dflock-bench against real servers, and some that are played: the load that
it makes is the one that was asked for, its results are of that load, and what goes wrong is said."""

import collections
import os
import pty
import re
import signal
import subprocess
import threading
import time
import zlib

from benchrun import PROGRAM, bench, grants, started
from certs import authority, server_certificate
from fakeserver import FakeServer, Gone
from harness import (Server, check, check_eq, eventually, in_threads, json_of, main, temp_dir,
                     temp_file, test, token_of)

MS = r"\d+\.\d{3} ms\n"
TOKEN = "%016x0123456789abcdef"


class Willing(FakeServer):
    """Grants and takes back whatever is asked; counts."""

    def __init__(self):
        super().__init__()
        self.fence = 0
        self.acquires = []  # (connection, key, arg)

    def asked(self, conn, command, key, arg):
        if command == "l":
            self.fence += 1
            self.acquires.append((conn.number, key, arg))
            return f"ok {TOKEN % self.fence} 10"
        check_eq(command, "r", "the command")
        return "ok"


@test("the output begins with the lines of the reference's tool, to the letter", rules=["B1"])
def output():
    with Server() as server:
        run = bench("--workers", 4, "--rounds", 25, "--key", "my", at=server).ended(0)
    m = re.fullmatch(
        r'bench: 4 workers x 25 rounds \(key_prefix="my", conns/worker=1\)\n\n'
        r"  total ops : 100\n"
        r"  wall time : (\d+\.\d{3})s\n"
        r"  throughput: \d+\.\d ops/s\n\n"
        rf"  mean      : {MS}"
        rf"  min       : {MS}"
        rf"  max       : {MS}"
        rf"  p50       : {MS}"
        rf"  p99       : {MS}"
        rf"  stdev     : {MS}"
        rf"  p90       : {MS}"
        rf"  p99\.9     : {MS}"
        r"  requests  : 200, \d+\.\d/s\n"
        r"  check     : ok, 140 grants exclusive and fenced\n", run.out)
    check(m, f"another form: {run.out}")


@test("without options there are 10 workers and 50 rounds; the environment says where",
      rules=["B1"])
def defaults():
    with Server() as server:
        run = bench(env={"DFLOCK_SERVERS": f"127.0.0.1:{server.port}"}).ended(0)
    check("bench: 10 workers x 50 rounds (key_prefix=\"bench\", conns/worker=1)" in run.out and
          "total ops : 500\n" in run.out, run.out)


@test("JSON has the same in one line", rules=["B8"])
def as_json():
    with Server() as server:
        got = bench("--workers", 3, "--rounds", 7, "--json", at=server).ended(0).json
        other = bench("--json", "--rounds", 1, "--key", b"\xff", at=server).ended(0).json
        with open("/dev/full", "w", encoding="utf-8") as full:
            bench("--json", "--rounds", 1, at=server, stdout=full).ended(
                1, "the results could not be written: ")
    check_eq(other["key"], None, "a key that is not UTF-8")
    times = got["latency_ms"]
    check_eq((got["workers"], got["rounds"], got["ops"], got["requests"]), (3, 7, 21, 42), "counts")
    check_eq((got["duration_s"], got["rate"], got["interrupted_by"]), (None, None, None), "the rest")
    check_eq(got["check"], {"grants": 51, "queue_places": 0, "violations": 0}, "the check")
    check(0 < times["min"] <= times["p50"] <= times["p90"] <= times["p99"] <= times["p99.9"]
          <= times["max"], f"in order: {times}")
    check(times["min"] <= times["mean"] <= times["max"] and times["stdev"] >= 0, f"{times}")
    check(abs(got["ops_per_s"] * got["wall_s"] - 21) < 0.01 and
          abs(got["requests_per_s"] * got["wall_s"] - 42) < 0.01, f"rates: {got}")


@test("workers, rounds, warm-up and connections are those that were asked for; each worker has a key of "
      "its own", rules=["B2", "B3", "B4"])
def counts():
    with Willing() as fake:
        got = bench("--workers", 3, "--rounds", 4, "--warmup", 2, "--connections", 2, "--timeout", 7,
                    "--lease", 9, "--json", at=fake).ended(0).json
    check_eq(got["ops"], 12, "operations measured")
    check_eq(fake.conns, 6, "connections")
    check_eq(len(fake.acquires), 18, "with those to warm up")
    check_eq({n for n in collections.Counter(c for c, _, _ in fake.acquires).values()}, {3},
             "on each connection")
    keys = collections.Counter(k for _, k, _ in fake.acquires)
    check_eq(sorted(keys.values()), [6, 6, 6], "on each key")
    check(all(re.fullmatch(r"bench_[0-9a-f]{8}_\d+", k) for k in keys), f"keys: {keys}")
    check_eq({a for _, _, a in fake.acquires}, {"7 9"}, "what is asked for")
    with Willing() as fake:
        bench("--workers", 3, "--rounds", 4, "--warmup", 0, "--lease", 0, "--shared-key", "--no-check",
              "--key", "one", at=fake).ended(0)
    check_eq(fake.conns, 3, "connections")
    check_eq(fake.acquires, [(c, "one", "30") for c, _, _ in fake.acquires], "one key for all")
    check_eq(len(fake.acquires), 12, "without warm-up")


class Together(Willing):
    """Answers no acquire before there are N of one connection."""

    def __init__(self, n):
        super().__init__()
        self.n = n
        self.kept = collections.defaultdict(list)

    def asked(self, conn, command, key, arg):
        answer = super().asked(conn, command, key, arg)
        if command != "l" or self.n == 0:
            return answer
        self.kept[conn].append(answer)
        if len(self.kept[conn]) == self.n:
            for line in self.kept.pop(conn):
                conn.say(line)
            if not self.kept:
                self.n = 0
        return None


@test("with --pipeline that many operations are under way on a connection, on different keys",
      rules=["B5"])
def pipeline():
    with Together(20) as fake:
        got = bench("--workers", 2, "--rounds", 50, "--warmup", 0, "--pipeline", 20, "--json",
                    at=fake).ended(0).json
    check_eq(got["ops"], 100, "operations")
    check_eq(len({k for _, k, _ in fake.acquires}), 40, "keys")


@test("keys go to the server that all clients look for them at", rules=["B18"])
def shards():
    with Server() as a, Server() as b, Server() as c:
        servers = [a, b, c]
        # So many that no server is without a key: names are random.
        bench("--workers", 60, "--rounds", 3, "--pipeline", 3, at=servers).ended(0)
        for i, server in enumerate(servers):
            idle = json_of(server.client().req("stats"))["idle_locks"]
            check(idle, f"server {i} was asked nothing")
            for x in idle:
                check_eq(zlib.crc32(x["key"].encode()) % 3, i, f"the server of {x['key']}")


class Stalling(Willing):
    def asked(self, conn, command, key, arg):
        if len(self.acquires) == 100 and command == "l":
            time.sleep(2)
        return super().asked(conn, command, key, arg)


@test("at a --rate operations begin when they are due: a stall shows in all that were due meanwhile",
      rules=["B6"])
def open_loop():
    with Stalling() as fake:
        got = bench("--rate", 100, "--duration", 4, "--warmup", 0, "--json", at=fake).ended(0).json
    check_eq(got["ops"], 400, "operations due within 4 s")
    check(got["wall_s"] >= 3.98, f"they are not begun before they are due: {got}")
    # 200 of the 400 were due during the stall of 2 s; 10 of them had a worker free.
    check(got["latency_ms"]["p90"] > 1000, f"the tenth that waited longest: {got}")
    check(got["latency_ms"]["max"] > 1900, f"the first of the stall: {got}")


@test("--rate counts rounds as well, over several threads", rules=["B6"])
def rate_and_rounds():
    with Server() as server:
        got = bench("--rate", 200, "--workers", 10, "--rounds", 30, "--threads", 3, "--json",
                    at=server).ended(0).json
    check_eq(got["ops"], 300, "operations")
    check(got["wall_s"] >= 1.4, f"not faster than the rate: {got}")


@test("--duration ends a run", rules=["B7"])
def duration():
    with Server() as server:
        run = bench("--duration", 1.5, at=server).ended(0)
    check("bench: 10 workers x 1.5 s (" in run.out, run.out)
    wall = float(re.search(r"wall time : ([\d.]+)s", run.out)[1])
    check(wall >= 1.4, f"{wall} s")


@test("several threads share the workers, with keys of their own or one key", rules=["B2"])
def threads():
    with Server() as server:
        for more in ([], ["--shared-key"]):
            got = bench("--workers", 7, "--threads", 3, "--rounds", 40, "--json", *more,
                        at=server).ended(0).json
            check_eq((got["ops"], got["check"]["violations"]), (280, 0), f"with {more}")


BAD = [
    (["--workers", "0"], "--workers: 0 is no number of workers; 1 to"),
    (["--rounds", "0"], "--rounds: 0 is no number of rounds; 1 to"),
    (["--workers", "-1"], "--workers: -1 is no"),
    (["--workers", "ten"], "--workers: 'ten' is not a number"),
    (["--workers", "99999999999999999999"], "--workers: 99999999999999999999 is no"),
    (["--rate", "0"], "--rate: 0 is no rate"),
    (["--rate", "fast"], "--rate: 'fast' is not a number such as 2.5"),
    (["--duration", "0"], "--duration: 0 is no duration"),
    (["--duration", "1", "--rounds", "5"], "--duration: not together with --rounds"),
    (["--shared-key", "--pipeline", "2"], "--pipeline: not together with --shared-key"),
    (["--threads", "3", "--workers", "2"], "--threads: 3 are more than the 2 --workers"),
    (["--lease", "9223372037"], "--lease: 9223372037 is no lease; 0 to 9223372036"),
    (["--timeout", "-1"], "--timeout: -1 is no timeout"),
    (["--key", ""], "--key: 0 bytes; 1 to"),
    (["--key", "x" * 257, "--shared-key"], "--key: 257 bytes; 1 to 256"),
    (["--key", "x" * 250], "--key: 250 bytes; 1 to 224"),
    (["--key", "a b"], "--key: a key has no blanks"),
    (["--connections", "1000000", "--workers", "1000"], "--connections: .* too many"),
    (["--http", "host"], "--http: "),
    (["--http", "http://host"], "--http: http://host: the port is missing"),
    (["--http", "a:1,https://b:2/stats"], "--http: https://b:2/stats: a server's address, without"),
    (["--http", "a:1", "--servers", "b:2"], "--http: says where .* not together with --servers"),
    (["--http", "a:1", "--unix", "/b"], "--http: says where .* not together with --unix"),
    (["--http", "a:1", "--pipeline", "2"], "--pipeline: not together with --http"),
    (["--servers", "host:port"], "--servers: "),
    (["--auth-token", "a\nb"], "--auth-token: "),
    (["--auth-token-file", "/nowhere"], "--auth-token-file: "),
    (["word"], "'word' belongs to no option"),
    (["--bogus"], "unrecognized option '--bogus'"),
]


@test("options that make no sense are refused with a word about what would", rules=["B11"])
def usage():
    for args, message in BAD:
        run = bench(*args).ended(64, message)
        check_eq((run.out, run.err.count("\n")), ("", 1), f"all that is said about {args}")


@test("--help and --version go to standard output", rules=["B11"])
def help_and_version():
    check("--pipeline N" in bench("--help").ended(0).out, "the options")
    check(re.fullmatch(r"dflock-bench \d+\.\d+\.\d+\n", bench("--version").ended(0).out), "version")


@test("the manual has the options of --help, with their variables", rules=["B11"])
def manual():
    said = bench("--help").ended(0).out
    listed = {(n, v) for n, v in re.findall(
        r"^  (?:-\w, )?--([a-z-]+)(?: [A-Z]+)?\n(?:      [^[\n].*\n)*(?:      \[(\w+)\]\n)?", said, re.M)}
    with open(os.path.join(os.environ["top_srcdir"], "docs/man/dflock-bench.1"), encoding="utf-8") as f:
        items = re.findall(r"^\.It (Fl .*)$", f.read(), re.M)
    described = set()
    for item in items:
        variable = re.search(r"Pq Ev (\w+)", item)
        described |= {(n, variable[1] if variable else "")
                      for n in re.findall(r"Fl -([a-z-]+)", item)}
    check(len(listed) > 20, f"of another form: {said}")
    check_eq(described, listed, "the options")


@test("when connections can not be made the run does not begin", rules=["B12"])
def unreachable():
    bench(at="127.0.0.1:1").ended(69, r"127\.0\.0\.1:1.*Connection refused.*0 of 10 connections")
    bench("--threads", 3, at="127.0.0.1:1").ended(69, r"Connection refused.*0 of [34] connections")
    with Server(["--max-connections", 5]) as server:
        other = server.client()
        bench("--workers", 20, at=server).ended(69, r"of 20 connections had been made")
        eventually(lambda: json_of(other.req("stats"))["connections"] == 1, 20,
                   "its connections are still there")


@test("tokens: in a file, in an option, in the environment; a wrong one or none ends it with 77",
      rules=["B12", "B19"])
def tokens():
    right, wrong = temp_file("hush-hush\n"), temp_file("open sesame\n")
    with Server(["--auth-token-file", right], expect_log=["authentication"]) as server:
        bench("--rounds", 2, "--auth-token-file", right, at=server).ended(0)
        bench("--rounds", 2, "--auth-token", "hush-hush", at=server).ended(0)
        bench("--rounds", 2, at=server, env={"DFLOCK_AUTH_TOKEN_FILE": right}).ended(0)
        for args in (["--auth-token-file", wrong], ["--auth-token", "open sesame"], []):
            run = bench(*args, at=server).ended(77, "dflock-bench: ")
            check("hush" not in run.err and "sesame" not in run.err, run.err)


@test("over TLS and over a Unix socket", rules=["B19"], needs=["tls"])
def transports():
    path = os.path.join(temp_dir(), "socket")
    with Server([*server_certificate().args, "--unix-socket", path]) as server:
        bench("--rounds", 5, "--pipeline", 4, "--tls-ca-file", authority().cert, at=server).ended(0)
        bench("--rounds", 5, "--tls", at=server).ended(69, "certificate")
        bench("--rounds", 5, "--workers", 40, "--unix", path).ended(0)


@test("a server that goes away in the middle ends the run with a message", rules=["B13"], deadline=150)
def server_dies():
    server = Server().start()
    with started("--duration", 60, at=server) as run:
        other = server.client()
        before = grants(other)
        eventually(lambda: grants(other) > before + 300, 40, "it does not begin")
        server.destroy()
        run.wait().ended(1, r"dflock-bench: 127\.0\.0\.1:\d+: ")


@test("and so does one that closes in the middle of a line", rules=["B13"])
def cut_off():
    class Cutting(Willing):
        def asked(self, conn, command, key, arg):
            if len(self.acquires) == 100:
                raise Gone(b"ok 0123456789")
            return super().asked(conn, command, key, arg)

    with Cutting() as fake:
        bench("--rounds", 5000, at=fake).ended(1, "closed the connection in the middle of a reply")


@test("a server that says nothing more ends it after --timeout and 20 s", rules=["B13"], deadline=120)
def server_hangs():
    class Silent(Willing):
        def asked(self, conn, command, key, arg):
            answer = super().asked(conn, command, key, arg)
            return answer if len(self.acquires) < 100 else None

    class Deaf(FakeServer):
        pings = False

    with Silent() as fake, Deaf() as deaf:
        with started("--threads", 2, at=deaf) as run:
            bench("--rounds", 5000, "--timeout", 1, at=fake).ended(1, r"no answer for \d+ s")
            run.wait().ended(69, r"connected, but no answer for \d+ s")


@test("what the server refuses is said, with what to change", rules=["B14"])
def refusals():
    with Server(["--max-locks", 5]) as server:
        bench("--workers", 1, "--pipeline", 20, at=server).ended(1, "error_max_locks.*--max-locks")
    with Server(["--max-waiters", 1]) as server:
        bench("--workers", 5, "--shared-key", at=server).ended(1, "error_max_waiters.*--max-waiters")
    with Server(["--max-lease-ttl", 5]) as server:
        bench(at=server).ended(1, "error\".*--max-lease-ttl")
    with Server() as server:
        token_of(server.client().req("l", "bench", "0"))
        bench("--shared-key", "--timeout", 1, "--no-check", at=server).ended(
            1, "acquire of key bench at .*timeout.*--timeout")


@test("the limit of descriptors is raised as far as allowed, then the message says how many it takes",
      rules=["B15"])
def descriptors():
    def limited(soft, hard, program=PROGRAM):
        return ["prlimit", f"--nofile={soft}:{hard}", program]

    with Server() as server:
        bench("--workers", 100, "--rounds", 2, at=server, program=limited(30, 1000)).ended(0)
    # Root may raise any limit, and nobody else may be able to reach the build. The copy is another
    # process's work: a fork meanwhile could keep it open for writing.
    mine = os.path.join(temp_dir(), "dflock-bench")
    check_eq(subprocess.run(["cp", PROGRAM, mine]).returncode, 0, "cp")
    nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
    bench("--workers", 100, program=limited(30, 30, mine), **nobody).ended(
        64, "need 118 descriptors, this process may have 30")


@test("INT ends a run with the results so far", rules=["B16"])
def interrupted():
    for signum in (signal.SIGINT, signal.SIGTERM):
        with Willing() as fake, started("--duration", 600, "--warmup", 0, at=fake) as run:
            eventually(lambda: len(fake.acquires) > 100, 20, "it does not begin")
            run.proc.send_signal(signum)
            run.wait().ended(128 + signum)
            done = int(re.search(r"total ops : (\d+)", run.out)[1])
            check_eq(done, len(fake.acquires), "operations")
            check(f"interrupted by signal {int(signum)}\n" in run.out, run.out)


@test("a line of progress is written to a terminal only", rules=["B17"])
def progress():
    def read_all(fd, into):
        try:
            while data := os.read(fd, 4096):
                into.append(data)
        except OSError:
            pass

    with Server() as server:
        bench("--duration", 2.5, at=server).ended(0)
        ours, its = pty.openpty()
        said = []
        reader = threading.Thread(target=read_all, args=(ours, said), daemon=True)
        reader.start()
        with started("--duration", 2.5, at=server, stderr=its) as run:
            os.close(its)
            check_eq(run.wait().code, 0, "exit status")
        reader.join(10)
        os.close(ours)
    check(re.search(rb"\r  \d+ s, \d+ ops, \d+ ops/s", b"".join(said)), f"on the terminal: {said}")
    check("ops, " not in run.out, run.out)


@test("connections that rest longer than the server allows are kept alive", rules=["B6"], deadline=120)
def kept_alive():
    with Server(["--read-timeout", 15]) as server:
        got = bench("--rate", 2, "--workers", 60, "--duration", 22, "--json", at=server).ended(0).json
    check_eq(got["ops"], 44, "operations")


@test("many at once do not disturb each other", rules=["B2"])
def several_runs():
    with Server() as server:
        for run in in_threads(lambda i: bench("--rounds", 30, "--json", at=server), range(4)):
            check_eq(run.ended(0).json["ops"], 300, "operations")


if __name__ == "__main__":
    main()
