"""tests/bench/http_ops.py - acquire and release over HTTP, against GET /health of the same server, which does
nothing: what the HTTP library costs alone.

    http_ops.py DFLOCKD [ROUNDS [SECONDS [CONNECTIONS]]]

wrk (Debian's package of that name) asks for the one and the other in turn, one request in flight on each
connection, so that a machine whose speed drifts is fair to both. Printed are medians: requests a
second, latency, CPU of the process that serves HTTP by the kernel's accounting, and the ratios, pair by
pair."""

import json
import os
import shutil
import statistics
import subprocess
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "../e2e"))

from web import WebServer

MODES = ("health", "lock")


def cpu_ns(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as f:
            total += int(f.read().split()[0])
    return total


def measure(server, run, mode, seconds, ids):
    n = len(ids)
    before = cpu_ns(server.http_pid())
    out = subprocess.run(["wrk", "-t", str(n), "-c", str(n), "-d", f"{seconds}s", "-s",
                          os.path.join(here, "http_ops.lua"), f"http://127.0.0.1:{server.http_port}", "--",
                          mode, f"run-{run}", *ids], check=True, stdout=subprocess.PIPE, text=True).stdout
    got = json.loads(out.splitlines()[-1])
    if got["wrong"]:
        sys.exit(f"{got['wrong']} of {got['requests']} requests for {mode} failed")
    return (got["requests"] / got["us"] * 1e6, got["p50_us"], got["p99_us"],
            (cpu_ns(server.http_pid()) - before) / got["requests"] / 1000)


def main():
    program = sys.argv[1]
    rounds, seconds, connections = [int(a) for a in sys.argv[2:]] + [7, 2, 10][len(sys.argv) - 2:]
    if not shutil.which("wrk"):
        sys.exit("http_ops.py: wrk is needed: apt-get install wrk")
    results = {mode: [] for mode in MODES}
    with WebServer(workers=2, program=os.path.abspath(program)) as server:
        sessions = [server.session() for _ in range(connections)]
        ids = [s.id for s in sessions]
        for mode in MODES:
            measure(server, "first", mode, 1, ids)
        for turn in range(rounds):
            for mode in MODES[::1 if turn % 2 else -1]:
                results[mode].append(measure(server, turn, mode, seconds, ids))
        for s in sessions:
            s.end()  # or the server would wait for what they hold
    print(f"# {connections} connections, one request in flight each, {rounds} rounds of {seconds} s")
    medians = {mode: [statistics.median(column) for column in zip(*results[mode])] for mode in MODES}
    for mode, (rate, p50, p99, cpu) in medians.items():
        print(f"{mode:7}{rate:9.0f} requests/s{p50:6.0f} us p50{p99:7.0f} us p99{cpu:7.2f} us CPU/request")
    pairs = list(zip(results["lock"], results["health"]))
    ratio = [statistics.median(a[i] / b[i] for a, b in pairs) for i in range(4)]
    print("ratio  {:9.3f}           {:6.3f}       {:7.3f}       {:7.3f}".format(*ratio))


main()
