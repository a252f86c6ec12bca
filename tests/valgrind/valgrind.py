#!/usr/bin/env python3
"""valgrind.py - the tests in C under valgrind: `make check-valgrind`, `make check-valgrind-quick`.

    valgrind.py BUILD TEST …

TAP: a line for each test, which fails when the test does, or when valgrind reports an error or memory
that is definitely lost, in the test's process or in one that it has forked. Reports stay in
BUILD/tests/valgrind, one for each process, named after the test.
"""

import glob
import os
import re
import subprocess
import sys
import time

OPTIONS = ["--quiet", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=definite",
           "--errors-for-leak-kinds=definite", "--num-callers=30"]
SCALE = {"DFLOCKD_TEST_SCALE": "10", "DFLOCKD_FUZZ_RUNS": "3000", "DFLOCKD_TEST_BRIEF": "1"}
SECONDS = 900


def reports(directory, name):
    """What valgrind said, of all processes of the test: with --quiet nothing else is written."""
    found = []
    for path in sorted(glob.glob(os.path.join(directory, name + ".*"))):
        with open(path, encoding="utf-8", errors="replace") as f:
            text = f.read()
        # Tests look at how a child dies that is meant to.
        said = re.sub(r"==\d+== \n==\d+== Process terminating with default action.*\n"
                      r"(==\d+==  .*\n)*", "", text)
        if re.search(r"==\d+== .*\S", said):
            found.append(f"{path}:\n{text}")
        else:
            os.unlink(path)
    return "\n".join(found)


def main():
    build, tests = sys.argv[1], sys.argv[2:]
    directory = os.path.join(build, "tests/valgrind")
    os.makedirs(directory, exist_ok=True)
    failed = 0
    print(f"1..{len(tests)}")
    for n, test in enumerate(tests, 1):
        name = test.replace("/", "-")
        for old in glob.glob(os.path.join(directory, name + ".*")):
            os.unlink(old)
        argv = ["valgrind", *OPTIONS, f"--log-file={directory}/{name}.%p",
                os.path.join(build, test)]
        began = time.monotonic()
        try:
            done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  env={**os.environ, **SCALE}, timeout=SECONDS, cwd=build)
            status, said = done.returncode, done.stdout.decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            status, said = -1, f"not done after {SECONDS} s"
        found = reports(directory, name)
        good = status == 0 and not found
        failed += not good
        print(f"{'ok' if good else 'not ok'} {n} - {test} under valgrind")
        print(f"# {time.monotonic() - began:.1f} s")
        if not good:
            wrong = [x for x in said.splitlines() if not x.startswith("ok ")]
            text = f"exit status {status}\n{found}\n" + "\n".join(wrong[-40:])
            print("\n".join("# " + x for x in text.splitlines()[:400]))
        sys.stdout.flush()
    sys.exit(failed > 0 or not tests)


if __name__ == "__main__":
    main()
