"""tests/bench/suite.py - the benchmark, `make bench`: dflockd against the limit and against what
people use.

    suite.py [options]        in the build directory; BENCH_FLAGS of `make bench` are these

    --rows a,b,c_*  only these rows           --list     names them
    --quick         only to see whether all works: the figures mean little
    --rounds N      turns of each pair, 9     --seconds S  length of one load, 0.5
    --limit S       no row begins later, 900  --json FILE  bench.json

Rows are functions in tests/bench/rows_*.py; tests/bench/bench.py says how to write one. Servers run
side by side and are loaded in turn, so that a machine whose speed drifts is fair to both; each
figure is the median of what was measured turn by turn, ratios of each pair of turns. Beside it stand
the quartiles: half of all turns lay between them.

Prints a table, and writes all that was measured as JSON. Exit status 1 if a row could not be
measured. A target that is missed is reported, and is no failure: it depends on the machine.
"""

import argparse
import datetime
import fnmatch
import glob
import importlib
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here)

import bench


class TimeIsOver(Exception):
    pass


def say(text):
    print(text, end="" if text == "." else "\n", file=sys.stderr, flush=True)


def said_by(*command):
    """The first line, or None: a version is good to know, no more."""
    if not shutil.which(command[0]):
        return None
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout else None


def made_with(build):
    """CC, CFLAGS … of the build directory."""
    wanted = ("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS", "HARDEN_CFLAGS", "SANITIZE_FLAGS")
    found = {}
    with open(os.path.join(build, "Makefile")) as f:
        for line in f:
            m = re.match(r"(\w+) = ?(.*)", line)
            if m and m[1] in wanted:
                found[m[1]] = m[2].strip()
    return found


def cpu_model():
    with open("/proc/cpuinfo") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")),
                    platform.machine())


def memory_kib():
    with open("/proc/meminfo") as f:
        return int(f.readline().split()[1])


def surroundings(build):
    compiler = made_with(build)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu_model(), "cpus": len(os.sched_getaffinity(0)), "memory_kib": memory_kib(),
        "kernel": platform.release(), "load": os.getloadavg()[0], "build": compiler,
        "versions": {
            "dflockd": said_by(os.path.join(build, "src/dflockd/dflockd"), "--version"),
            "commit": said_by("git", "-C", here, "describe", "--always", "--dirty"),
            "compiler": said_by(*compiler.get("CC", "cc").split(), "--version"),
            "redis": said_by("redis-server", "--version"),
            "openssl": said_by("openssl", "version"),
            "libc": " ".join(platform.libc_ver()),
        },
    }


def measure(row, options, left):
    """What is known of the row afterwards; "error" if it could not be measured."""
    began = time.monotonic()
    result = {"name": row.name, "title": row.title, "target": row.target, "figures": [], "runs": []}

    def over(number, frame):
        raise TimeIsOver

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, min(row.limit, left))
    try:
        with bench.Bench(options.build, options.rounds, options.seconds, options.quick,
                         say) as context:
            result["runs"] = context.runs
            try:
                result["figures"] = list(row.function(context))
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)  # servers are ended in peace
    except TimeIsOver:
        result["error"] = f"not done after {time.monotonic() - began:.0f} s"
    except bench.Trouble as e:
        result["error"] = str(e)
    except Exception as e:  # a row that is wrong keeps no other from being measured
        result["error"] = f"{type(e).__name__}: {e}"
    result["took_s"] = time.monotonic() - began
    return result


def number(x):
    if x == int(x) or abs(x) >= 1000:
        return f"{x:,.0f}"
    return f"{x:.1f}" if abs(x) >= 100 else f"{x:.3g}"


def bounds(f):
    parts = []
    if f["at_least"] is not None:
        parts.append(f"≥ {number(f['at_least'])}")
    if f["at_most"] is not None:
        parts.append(f"≤ {number(f['at_most'])}")
    return ", ".join(parts)


def quartiles(each):
    if len(each) < 4:
        return ""
    low, _, high = statistics.quantiles(each, n=4, method="inclusive")
    return f"{number(low)} – {number(high)}"


def table(results):
    lines = [("workload", "figure", "measured", "quartiles", "target", "")]
    for r in results:
        title = r["title"]
        if "error" in r:
            lines.append((title, "not measured: " + r["error"].splitlines()[0], "", "",
                          r["target"], "FAILED"))
            title = ""
        for f in r["figures"]:
            text = f["text"] + (f" ({f['note']})" if f["note"] else "")
            lines.append((title, text, f"{number(f['measured'])} {f['unit']}".strip(),
                          quartiles(f["each"]), bounds(f),
                          {True: "met", False: "MISSED", None: ""}[f["met"]]))
            title = ""
    widths = [max(len(line[i]) for line in lines) for i in range(6)]
    lines.insert(1, tuple("-" * w for w in widths))
    for line in lines:
        print("| " + " | ".join(x.ljust(w) for x, w in zip(line, widths)) + " |")


def parse():
    p = argparse.ArgumentParser(prog="suite.py", description="dflockd's benchmark")
    p.add_argument("--rows", help="only these, separated by commas")
    p.add_argument("--list", action="store_true", help="names the rows")
    p.add_argument("--quick", action="store_true", help="only to see whether all works")
    p.add_argument("--rounds", type=int, help="turns of each pair; default 9")
    p.add_argument("--seconds", type=float, help="length of one load; default 0.5")
    p.add_argument("--limit", type=float, default=900, help="no row begins later; default 900 s")
    p.add_argument("--json", default="bench.json", help="default bench.json")
    p.add_argument("--build", default=".", help="the build directory; default: this one")
    options = p.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 9)
    options.seconds = options.seconds or (0.2 if options.quick else 0.5)
    return options


def chosen(options):
    # Floods last: a machine that is busy with what they leave behind would show in what comes after them.
    modules = [os.path.basename(path)[:-3] for path in glob.glob(os.path.join(here, "rows_*.py"))]
    for name in sorted(modules, key=lambda name: (name == "rows_floods", name)):
        importlib.import_module(name)
    if not options.rows:
        return list(bench.ROWS.values())
    names = []
    for pattern in options.rows.split(","):
        found = fnmatch.filter(bench.ROWS, pattern)
        if not found:
            sys.exit(f"suite.py: no such row: {pattern}; --list names them")
        names += found
    return [bench.ROWS[name] for name in names]


def main():
    options = parse()
    rows = chosen(options)
    if options.list:
        for r in rows:
            print(f"{r.name:24} {r.title}: {r.target}")
        return 0
    began = time.monotonic()
    report = {"surroundings": surroundings(options.build), "rounds": options.rounds,
              "seconds": options.seconds, "rows": []}
    for i, r in enumerate(rows):
        left = options.limit - (time.monotonic() - began)
        say(f"bench: {i + 1} of {len(rows)}: {r.title}")
        if left <= 0:
            result = {"name": r.name, "title": r.title, "target": r.target, "figures": [],
                      "error": f"not begun: {options.limit:.0f} s are over (--limit)"}
        else:
            result = measure(r, options, left)
            say(f" {result['took_s']:.1f} s")
        if "error" in result:
            say(f"bench: {r.name}: {result['error']}")
        report["rows"].append(result)
    report["took_s"] = time.monotonic() - began
    where = report["surroundings"]
    print(f"{where['cpus']} CPUs ({where['cpu']}), Linux {where['kernel']}, {where['date']}, load "
          f"{where['load']:.1f} at the begin, {report['took_s']:.0f} s")
    print("; ".join(f"{name}: {text}" for name, text in where["versions"].items() if text))
    table(report["rows"])
    with open(options.json, "w") as f:
        json.dump(report, f, indent=1, ensure_ascii=False)
    failed = [r["name"] for r in report["rows"] if "error" in r]
    missed = sum(f["met"] is False for r in report["rows"] for f in r["figures"])
    print(f"targets missed: {missed}; rows not measured: {', '.join(failed) or 'none'}; "
          f"all figures: {options.json}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
