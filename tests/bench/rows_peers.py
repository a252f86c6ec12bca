"""tests/bench/rows_peers.py - rows of the benchmark: dflockd beside the bare echo server and Redis."""

from bench import figure, pairs, row, values


@row("100 connections, acquire and release, one request in flight each: beside echo",
     target="requests/s ≥ 0.95 × echo, server CPU a request ≤ 1.10 × echo")
def ops_echo(bench):
    ours, echo = bench.dflockd(), bench.echo()
    runs = bench.in_turn({"ours": lambda: bench.load(ours, connections=100),
                          "echo": lambda: bench.load(echo, connections=100)})
    return [figure("requests/s, × echo", pairs(runs["ours"], runs["echo"], "requests_per_s"), at_least=0.95),
            figure("server CPU a request, × echo", pairs(runs["ours"], runs["echo"], "cpu_us"), at_most=1.10),
            figure("requests/s", values(runs["ours"], "requests_per_s")),
            figure("server CPU a request", values(runs["ours"], "cpu_us"), "µs"),
            figure("echo's", values(runs["echo"], "cpu_us"), "µs")]
