"""tests/bench/rows_peers.py - rows of the benchmark: dflockd beside the bare echo server, Redis,
and two processes that pass a token."""

from bench import figure, median, pairs, row, values
from servers import Dflockd, TlsEcho, certificate


def in_turn(bench, servers, **options):
    """Loads each of the servers: name → runs."""
    return bench.in_turn({name: lambda s=server: bench.load(s, **options)
                          for name, server in servers.items()})


def absolute(runs, key, unit, **names):
    """What is behind a ratio."""
    return [figure(text, values(runs[name], key), unit) for name, text in names.items()]


@row("100 connections, acquire and release, one request in flight each",
     target="requests/s ≥ 0.95 × echo, server CPU a request ≤ 1.10 × echo")
def ops_echo(bench):
    runs = in_turn(bench, {"ours": bench.dflockd(), "echo": bench.echo(),
                           "yielding": bench.echo("yield")}, connections=100)
    names = {"ours": "dflockd", "echo": "echo", "yielding": "echo that yields"}
    return [figure("requests/s, × echo", pairs(runs["ours"], runs["echo"], "requests_per_s"),
                   at_least=0.95),
            figure("server CPU a request, × echo", pairs(runs["ours"], runs["echo"], "cpu_us"),
                   at_most=1.10),
            # The limit of who lets others run before a sleep, as dflockd does.
            figure("requests/s, × echo that yields",
                   pairs(runs["ours"], runs["yielding"], "requests_per_s")),
            figure("server CPU a request, × echo that yields",
                   pairs(runs["ours"], runs["yielding"], "cpu_us")),
            *absolute(runs, "requests_per_s", "/s", **names),
            *absolute(runs, "cpu_us", "µs", **{k: f"{n}, CPU a request" for k, n in names.items()})]


@row("the same beside Redis (SET NX PX, DEL)", target="requests/s ≥ 1.0 × Redis")
def ops_redis(bench):
    runs = in_turn(bench, {"ours": bench.dflockd(), "redis": bench.redis()}, connections=100)
    return [figure("requests/s, × Redis", pairs(runs["ours"], runs["redis"], "requests_per_s"),
                   at_least=1.0),
            figure("server CPU a request, × Redis", pairs(runs["ours"], runs["redis"], "cpu_us")),
            *absolute(runs, "requests_per_s", "/s", ours="dflockd", redis="Redis"),
            *absolute(runs, "cpu_us", "µs", ours="dflockd, CPU a request", redis="Redis")]


@row("64 requests in flight on each of 50 connections",
     target="requests for each second of server CPU ≥ 3 × Redis")
def pipelined(bench):
    runs = in_turn(bench, {"ours": bench.dflockd(), "redis": bench.redis(), "echo": bench.echo()},
                   connections=50, depth=64)
    return [figure("requests for a second of CPU, × Redis",
                   pairs(runs["ours"], runs["redis"], "per_cpu_s"), at_least=3),
            figure("requests for a second of CPU, × echo",
                   pairs(runs["ours"], runs["echo"], "per_cpu_s")),
            figure("requests/s, × Redis", pairs(runs["ours"], runs["redis"], "requests_per_s")),
            *absolute(runs, "cpu_us", "µs", ours="dflockd, CPU a request", redis="Redis",
                      echo="echo")]


@row("one hot key, 2, 10, 100 clients in its queue",
     target="hand-overs/s, p50 from release to grant: within 1.5 × of a token passed by two processes")
def hot(bench):
    ours = bench.dflockd()
    figures = []
    seconds = bench.seconds / 2
    actions = {n: lambda n=n: bench.load(ours, workload="hot", connections=n, seconds=seconds)
               for n in (2, 10, 100)}
    actions["pass"] = lambda: bench.run("tests/bench/token", seconds)
    actions["relay"] = lambda: bench.run("tests/bench/token", "--relay", seconds)
    runs = bench.in_turn(actions)
    for n in (2, 10, 100):
        # By way of a server a token passes twice; two processes pass it there and back.
        figures += [
            figure(f"{n} clients: hand-overs/s, × there and back",
                   [2 * x for x in pairs(runs[n], runs["pass"], "requests_per_s")], at_least=1 / 1.5),
            figure(f"{n} clients: p50, × there and back",
                   [x / 2 for x in pairs(runs[n], runs["pass"], "latency_ns.p50")], at_most=1.5),
            figure(f"{n} clients: p50, × one pass",
                   pairs(runs[n], runs["pass"], "latency_ns.p50")),
            figure(f"{n} clients: p50", median(runs[n], "latency_ns.p50") / 1000, "µs"),
            figure(f"{n} clients: hand-overs", values(runs[n], "requests_per_s"), "/s")]
    for name, text in (("pass", "a token, one pass"), ("relay", "a token, by a third process")):
        figures += [figure(f"{text}: p50", median(runs[name], "latency_ns.p50") / 1000, "µs"),
                    figure(f"{text}", values(runs[name], "requests_per_s"), "/s")]
    return figures


@row("Unix socket beside loopback TCP, 100 connections", target="server CPU a request ≤ 0.7 × TCP")
def local(bench):
    ours, echo = bench.dflockd(), bench.echo()
    runs = bench.in_turn({"unix": lambda: bench.load(ours, address=ours.unix, connections=100),
                          "tcp": lambda: bench.load(ours, connections=100),
                          "echo, tcp": lambda: bench.load(echo, connections=100),
                          "echo, unix": lambda: bench.load(echo, address=echo.unix,
                                                           connections=100)})
    return [figure("server CPU a request, × TCP", pairs(runs["unix"], runs["tcp"], "cpu_us"),
                   at_most=0.7),
            figure("the same of echo", pairs(runs["echo, unix"], runs["echo, tcp"], "cpu_us")),
            figure("requests/s, × TCP", pairs(runs["unix"], runs["tcp"], "requests_per_s")),
            *(figure(f"CPU a request: {name}", values(runs[name], "cpu_us"), "µs")
              for name in runs)]


@row("TLS, 100 connections", target="requests/s ≥ 0.8 × a bare OpenSSL echo")
def tls(bench):
    pair = certificate(bench.dir)
    runs = in_turn(bench, {"ours": bench.dflockd("--tls-cert", pair[0], "--tls-key", pair[1]),
                           "echo": bench.start(TlsEcho, *pair)}, connections=100, tls=True)
    return [figure("requests/s, × echo", pairs(runs["ours"], runs["echo"], "requests_per_s"),
                   at_least=0.8),
            figure("server CPU a request, × echo", pairs(runs["ours"], runs["echo"], "cpu_us")),
            *absolute(runs, "requests_per_s", "/s", ours="dflockd", echo="echo"),
            *absolute(runs, "cpu_us", "µs", ours="dflockd, CPU a request", echo="echo")]


@row("the same server without journal, robust mutexes and marks: what it costs that nothing is lost",
     target="5 % of throughput at most")
def guard(bench):
    runs = in_turn(bench, {"ours": bench.dflockd(),
                           "unguarded": bench.start(Dflockd, path=bench.path("tests/bench/unguarded"))},
                   connections=100)
    return [figure("requests/s, × unguarded",
                   pairs(runs["ours"], runs["unguarded"], "requests_per_s"), at_least=0.95),
            figure("server CPU a request, × unguarded",
                   pairs(runs["ours"], runs["unguarded"], "cpu_us")),
            *absolute(runs, "cpu_us", "µs", ours="dflockd, CPU a request", unguarded="unguarded")]


# Last: the ends of closed connections, which the kernel keeps for a minute, disturb what follows.
@row("connect, lock, release, close", target="cycles/s ≥ 0.8 × echo")
def cycles(bench):
    runs = in_turn(bench, {"ours": bench.dflockd(), "echo": bench.echo()}, workload="cycle",
                   connections=50)
    return [figure("cycles/s, × echo", pairs(runs["ours"], runs["echo"], "requests_per_s"),
                   at_least=0.8),
            figure("server CPU a cycle, × echo", pairs(runs["ours"], runs["echo"], "cpu_us")),
            *absolute(runs, "requests_per_s", "/s", ours="dflockd", echo="echo"),
            *absolute(runs, "cpu_us", "µs", ours="dflockd, CPU a cycle", echo="echo")]
