#!/usr/bin/env python3
"""coverage.py - which branches of the core and of its repair the tests take: `make coverage`.

    coverage.py [--least PERCENT] [--keep] SOURCES BUILD

Configures and builds the tests of core and shm in the directory BUILD, with gcov, runs them, prints
a table of the branches taken by file, and the places of the others. Exit status: 0 only if all
tests passed and at least PERCENT (95) of the branches of src/core, and of src/core/repair.c alone,
were taken. --keep: looks at what an earlier run has left, runs nothing.

A branch is what gcov counts: each way out of each condition, unoptimized. The sources are compiled
more than once (tests/core/local.mk): ways are added up by place, if all agree how many there are.
A way to __builtin_trap() is taken only when the program is wrong: those are counted apart.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import time

TESTS = ["core/leases", "core/model", "core/repair", "core/snapshot",  # the longest first
         "core/check", "core/owners", "core/promise", "core/tally",
         "shm/conns", "shm/fences", "shm/lock", "shm/region", "shm/shared"]
SCALE = "10"  # per cent of the usual length: the same branches, with fewer repetitions
FLAGS = ["CFLAGS=-O0 -g --coverage", "--without-seccomp", "--without-systemd", "--disable-tls"]
CORE = "src/core/"
REPAIR = "src/core/repair.c"


def run(argv, what, **options):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode:
        sys.stdout.write(done.stdout.decode("utf-8", "replace")[-4000:])
        sys.exit(f"coverage: {what} failed with status {done.returncode}")


def build(sources, directory):
    os.makedirs(directory, exist_ok=True)
    run([os.path.join(os.path.abspath(sources), "configure"), *FLAGS], "configure", cwd=directory)
    run(["make", "-j2"] + [f"tests/{t}_test" for t in TESTS], "the build", cwd=directory)


def counters(directory, ending):
    return sorted(os.path.join(d, f) for d, _, files in os.walk(directory) for f in files
                  if f.endswith(ending))


def run_tests(sources, directory):
    for left in counters(directory, ".gcda"):
        os.unlink(left)
    env = {**os.environ, "DFLOCKD_TEST_SCALE": SCALE, "DFLOCKD_TEST_SEED": "1",
           "top_srcdir": os.path.abspath(sources), "top_builddir": os.path.abspath(directory)}

    def one(t):
        began = time.monotonic()
        done = subprocess.run([f"tests/{t}_test"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              cwd=directory, env=env)
        print(f"tests/{t}_test {time.monotonic() - began:.1f} s", flush=True)
        return t, done

    # gcov locks its files: what several processes count is added up.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for t, done in pool.map(one, TESTS):
            if done.returncode:
                sys.stdout.write(done.stdout.decode("utf-8", "replace")[-4000:])
                sys.exit(f"coverage: tests/{t}_test failed with status {done.returncode}")


def gcov(directory):
    """{file: {line: [how often each way was taken]}}, added up."""
    found = collections.defaultdict(dict)
    data = [x for x in counters(directory, ".gcda") if "/core/" in x or "libcore" in x]
    if not data:
        sys.exit("coverage: no counters of the core in " + directory)
    for x in data:
        done = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities",
                               os.path.relpath(x, directory)],
                              cwd=directory, stdout=subprocess.PIPE, check=True)
        for text in done.stdout.decode().splitlines():
            unit = json.loads(text)
            for f in unit["files"]:
                name = re.sub(r"^.*?(src/core/)", r"\1", f["file"])
                if name.startswith(CORE):
                    add(found[name], f["lines"])
    return found


def add(to, lines):
    # A function that is inline in a header is in each unit; its ways are the same in all.
    mine = collections.defaultdict(list)
    for line in lines:
        mine[line["line_number"]] += [b["count"] for b in line["branches"]]
    for number, counts in mine.items():
        if not counts:
            continue
        before = to.setdefault(number, [0] * len(counts))
        if len(before) != len(counts):
            sys.exit(f"coverage: line {number} has {len(before)} and {len(counts)} ways")
        to[number] = [a + b for a, b in zip(before, counts)]


def traps(source):
    """Lines whose condition guards a trap, and those of a switch that ends in one."""
    found, switch = set(), {}
    for n, text in enumerate(source, 1):
        m = re.match(r"( *)switch \(", text)
        if m:
            switch[len(m[1])] = n
        if not re.match(r" *__builtin_trap\(\);", text):
            continue
        before = source[n - 2]
        if before.strip() == "default:":
            found.add(switch[len(before) - len(before.lstrip())])
        else:
            found.add(n - 1)
    return found


def report(sources, found, least):
    taken, total, trapped = collections.Counter(), collections.Counter(), collections.Counter()
    never = []
    for name, lines in sorted(found.items()):
        with open(os.path.join(sources, name), encoding="utf-8") as f:
            source = f.read().splitlines()
        guards = traps(source)
        for number, counts in sorted(lines.items()):
            missed = counts.count(0)
            # One way of a condition or switch leads to its trap: never more than that.
            if number in guards and missed:
                trapped[name] += 1
                missed -= 1
                counts = counts[1:]
            total[name] += len(counts)
            taken[name] += len(counts) - missed
            if missed:
                never.append(f"{name}:{number}: {missed} of {len(counts)}: "
                             f"{source[number - 1].strip()}")
    print("\nbranches never taken:")
    print("\n".join("  " + x for x in never) or "  none")
    print(f"\n{'file':28} {'branches':>9} {'taken':>7} {'%':>7} {'to traps':>9}")
    for name in sorted(total):
        if total[name]:
            print(f"{name:28} {total[name]:9} {taken[name]:7} "
                  f"{100 * taken[name] / total[name]:7.1f} {trapped[name]:9}")
    n, of = sum(taken.values()), sum(total.values())
    print(f"{'src/core':28} {of:9} {n:7} {100 * n / of:7.1f} {sum(trapped.values()):9}")
    good = True
    for what, percent in [("src/core", 100 * n / of),
                          (REPAIR, 100 * taken[REPAIR] / max(total[REPAIR], 1))]:
        if percent < least:
            print(f"coverage: {what} has {percent:.1f} % of its branches taken, {least} are asked "
                  "for: write tests for those above", file=sys.stderr)
            good = False
    return good


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--least", type=float, default=95.0)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("sources")
    parser.add_argument("build")
    args = parser.parse_args()
    if not args.keep:
        build(args.sources, args.build)
        run_tests(args.sources, args.build)
    sys.exit(not report(args.sources, gcov(args.build), args.least))


if __name__ == "__main__":
    main()
