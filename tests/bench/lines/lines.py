"""tests/bench/lines/lines.py - which cache lines the workers share: tables of what is simulated.

    lines.py LINES [--workers 1,2,8,64] [--workloads random,own,hot,new] [--requests N]
             [--sites] [--json FILE] [--check] [OPTION of LINES ...]

LINES is tests/bench/lines/lines. A number in the first tables is how often a line moved from one
worker's cache to another's, or was taken away from all others to be written to, for a lock that is
acquired and released (two requests), when the workers do one request after the other. `false`: the
share of these moves that brought nothing new, and what the line was lost to. In the last table all
workers run at once, by a simulated clock.

--sites says for each row where in the program its moves happen (addr2line, of Debian's binutils).
--check is the simulation's own test: a counter that all workers add to must be seen to move, a line
in which each has one of its own must be seen as false sharing, and neither when they are not there.
"""

import argparse
import collections
import json
import subprocess
import sys

WHAT = {
    "random": "keys of the connection's own, in any shard",
    "own": "keys in shards that no other worker uses: what remains is shared by all",
    "hot": "one key that everybody waits for",
    "new": "keys that were never there before, in any shard",
}
# Rows that belong together: what is written under one shard's mutex moves together.
GROUPS = [
    ("mutex", "shard: mutex"),
    ("shard.journal", "shard: journal"),
    ("shard.wheel", "shard: timer wheel"),
    ("shard.", "shard: lists, counts"),
    ("next_due", "shard: next_due"),
    ("bucket", "shard: hash index"),
    ("chunk", "chunk"),
    ("node.", "node"),
    ("resource.", "resource"),
]
CLOCK_KEYS, CLOCK_REQUESTS = 10, 100


def simulate(lines, workers, workload, *more):
    out = subprocess.run([lines, "--workers", str(workers), "--workload", workload, *more],
                         check=True, stdout=subprocess.PIPE).stdout
    result = json.loads(out)
    if result["unseen_lines"]:
        sys.exit(f"{result['unseen_lines']} lines of the region were changed unseen: by functions "
                 "of the C library that are not wrapped (tests/bench/lines/trace.c), or sources "
                 "that are not compiled for it (tests/bench/local.mk)")
    return result


class Row:
    """Moves of what belongs together, for each lock; by number of workers."""

    def __init__(self):
        self.moves = collections.Counter()
        self.useless = collections.Counter()
        self.sites = collections.Counter()  # with the most workers
        self.lost_to = collections.Counter()


def rows_of(results):
    rows = collections.defaultdict(Row)
    most = max(r["workers"] for r in results)
    for result in results:
        n, locks = result["workers"], result["requests"] / 2
        for e in result["events"]:
            group = next((g for start, g in GROUPS if e["field"].startswith(start)), e["field"])
            row = rows[group]
            row.moves[n] += e["count"] / locks
            row.useless[n] += min(e["useless"], e["count"]) / locks
            if n == most:
                row.sites[(e["site"], e["what"], e["field"])] += e["count"] / locks
                row.lost_to[e["lost_to"]] += e["useless"] / locks
    return rows


def place(lines, site):
    """Function and line of a site, which is where a call returns to, and what it is inlined in."""
    out = subprocess.run(["addr2line", "-e", lines, "-f", "-i", "-s", hex(site - 1)], check=True,
                         stdout=subprocess.PIPE, text=True).stdout.split("\n")
    return " < ".join(f"{out[i]} {out[i + 1].split(' ')[0]}" for i in range(0, len(out) - 1, 2)[:2])


def print_sites(lines, row):
    for (site, what, field), count in row.sites.most_common(8):
        if count >= 0.01:
            print(f"    {count:6.2f} {what:8}{field:26}{place(lines, site)}")


def print_moves(workload, results, lines, sites):
    rows = rows_of(results)
    numbers = [r["workers"] for r in results]
    most = numbers[-1]
    print(f"\n{workload}: {WHAT[workload]}\n")
    print(f"{'':24}" + "".join(f"{f'{n} workers':>12}" for n in numbers) + f"{'false':>8}")
    for name, row in sorted(rows.items(), key=lambda x: -x[1].moves[most]):
        if max(row.moves.values()) < 0.005:
            continue
        share = row.useless[most] / row.moves[most] if row.moves[most] else 0
        by = ", ".join(f for f, _ in row.lost_to.most_common(2)) if share >= 0.05 else ""
        print(f"{name:24}" + "".join(f"{row.moves[n]:12.2f}" for n in numbers) + f"{share:8.0%}" +
              (f"  {by}" if by else ""))
        if sites:
            print_sites(lines, row)
    total = [sum(row.moves[n] for row in rows.values()) for n in numbers]
    print(f"{'all':24}" + "".join(f"{n:12.2f}" for n in total))


def print_clock(results):
    print(f"\n{'workload':10}{'workers':>8}{'requests/s':>12}{'each':>10}"
          f"{'moves':>8}{'fence':>8}{'waiting':>9}{'mutex':>9}{'sleeps':>8}")
    for r in results:
        locks = r["requests"] / 2
        rate = r["requests"] / r["simulated_ns"] * 1e9
        moves = sum(e["count"] for e in r["events"]) / locks
        fence = sum(e["count"] for e in r["events"] if e["field"] == "region.fence_next") / locks
        waited = sum(e["waited_ns"] for e in r["events"]) / locks / 1000
        print(f"{r['workload']:10}{r['workers']:8}{rate:12.0f}{rate / r['workers']:10.0f}"
              f"{moves:8.1f}{fence:8.1f}{waited:9.2f}{r['locked_out_ns'] / locks / 1000:9.2f}"
              f"{r['sleeps'] / locks:8.2f}")


def check(lines, *more):
    for spoil in False, True:
        rows = rows_of([simulate(lines, 8, "own", *more, *["--spoil"] * spoil)])
        shared, own = rows["region.nconns"].moves[8], rows["region.tickets"].useless[8]
        print(f"{'with' if spoil else 'without'} two counters of requests, 8 workers: the common "
              f"one moves {shared:.2f} times a lock, a line in which each has its own {own:.2f}")
        if spoil != (shared > 1) or spoil != (own > 1):
            sys.exit("the simulation does not see what is shared")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("lines")
    parser.add_argument("--workers", default="1,2,8,64")
    parser.add_argument("--workloads", default=",".join(WHAT))
    parser.add_argument("--requests", default="400")
    parser.add_argument("--sites", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("--check", action="store_true")
    args, more = parser.parse_known_args()
    numbers = [int(n) for n in args.workers.split(",")]
    workloads = args.workloads.split(",")
    turns, clock = [], []
    more += ["--requests", args.requests]
    if args.check:
        check(args.lines, *more)
        return
    print("Moves of cache lines between workers, for a lock that is acquired and released.")
    for workload in workloads:
        results = [simulate(args.lines, n, workload, *more) for n in numbers]
        print_moves(workload, results, args.lines, args.sites)
        turns += results
    print("\nAll at once, by a simulated clock: requests a second in all and of each worker; moves,"
          "\nof the fence counter, us waited for lines and for mutexes, sleeps: for each lock.")
    for workload in workloads:
        clock += [simulate(args.lines, n, workload, *more, "--schedule", "clock",
                           "--keys", str(CLOCK_KEYS), "--requests", str(CLOCK_REQUESTS))
                  for n in numbers]
    print_clock(clock)
    if args.json:
        with open(args.json, "w") as f:
            json.dump(turns + clock, f, indent=1)


main()
