"""tests/bench/compare.py - dflockd against a bare echo server of the same message sizes, or against
itself built otherwise.

    compare.py DFLOCK-BENCH BASE DFLOCKD [ROUNDS [SECONDS [CONNECTIONS [DEPTH]]]]     BASE: …/echo, or a dflockd

Both servers run all the time, with two workers each; the load goes to one and the other in turn, so
that a machine whose speed drifts is fair to both. Printed are the medians of requests per second
and of the servers' CPU time per request (the kernel's accounting of all their processes), and the
medians of the ratios, pair by pair.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile

run_dirs = tempfile.TemporaryDirectory(prefix="dflockd-bench-")


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(p) for p in f.read().split()]


def cpu_ns(pid):
    """CPU of the process and its children so far, all threads, in ns."""
    total = 0
    for p in [pid] + children(pid):
        for task in os.listdir(f"/proc/{p}/task"):
            with open(f"/proc/{p}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
    return total


def pss_kib(pid):
    total = 0
    for p in [pid] + children(pid):
        with open(f"/proc/{p}/smaps_rollup") as f:
            total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total


def start_echo(path):
    p = subprocess.Popen([path, "2"], stdout=subprocess.PIPE, text=True)
    return p, int(p.stdout.readline())


def start_dflockd(path):
    run_dir = os.path.join(run_dirs.name, os.path.basename(path))
    p = subprocess.Popen([path, "--port", "0", "--workers", "2", "--run-dir", run_dir,
                          "--max-locks", "100000"], stderr=subprocess.PIPE, text=True)
    for line in p.stderr:
        if "msg=listening" in line or " listening " in line:
            return p, int(line.rsplit(":", 1)[1])
    sys.exit("dflockd did not start")


def start(path):
    return start_echo(path) if os.path.basename(path) == "echo" else start_dflockd(path)


def measure(load, server, seconds, connections, depth):
    process, port = server
    before = cpu_ns(process.pid)
    # Nothing that is not counted, and nothing that the echo server could not bear.
    out = subprocess.run([load, "--servers", f"127.0.0.1:{port}", "--workers", str(connections),
                          "--duration", str(seconds), "--pipeline", str(depth), "--warmup", "0",
                          "--no-check", "--json"], check=True, stdout=subprocess.PIPE).stdout
    got = json.loads(out)
    return got["requests_per_s"], (cpu_ns(process.pid) - before) / got["requests"] / 1000


def main():
    load, *paths = sys.argv[1:4]
    base, ours = (os.path.basename(x) for x in paths)
    rounds, seconds, connections, depth = (
        [int(a) for a in sys.argv[4:]] + [7, 2, 100, 1][len(sys.argv) - 4:])
    servers = {base: start(paths[0]), ours: start(paths[1])}
    idle = pss_kib(servers[ours][0].pid)
    print(f"# idle memory of dflockd (PSS, all processes): {idle} KiB")
    results = {name: [] for name in servers}
    try:
        for name in servers:
            measure(load, servers[name], 1, connections, depth)
        for turn in range(rounds):
            for name, server in list(servers.items())[::1 if turn % 2 else -1]:
                results[name].append(measure(load, server, seconds, connections, depth))
    finally:
        for process, _ in servers.values():
            process.terminate()
            process.wait()
    print(f"# {connections} connections, {depth} in flight each, {rounds} rounds of {seconds} s")
    for name, rows in results.items():
        print(f"{name:10} {statistics.median(r[0] for r in rows):10.0f} requests/s "
              f"{statistics.median(r[1] for r in rows):7.2f} us CPU/request")
    pairs = list(zip(results[ours], results[base]))
    print(f"ratio      {statistics.median(a[0] / b[0] for a, b in pairs):10.3f}            "
          f"{statistics.median(a[1] / b[1] for a, b in pairs):7.3f}")


main()
