"""model/bell_test.py - spin searches all states of the model of the wake-ups (bell.pml): whoever is
killed between whichever two steps, when nobody can go on each grant has been delivered, once; and
there is no way to go round for ever. Then the same with each mistake that the model knows: it must
be found, or the search proves nothing."""

import os
import re
import subprocess

from harness import BRIEF, check, check_eq, diag, fail, main, temp_dir, test

model = os.path.abspath(os.path.join(os.environ["top_srcdir"], "tests/model/bell.pml"))
cc = os.environ.get("CC", "gcc").split()
MEMORY = 1000  # MiB; a search that needs more says so, and has failed
DEPTH = 10000  # steps; far more than the longest run has


def defines(sizes, mistake=None):
    return [f"-D{k}={v}" for k, v in sizes.items()] + ([f"-D{mistake}"] if mistake else [])


def search(sizes, mistake=None, cycles=False):
    """Everything that the search prints."""
    where = temp_dir()

    def run(argv):
        r = subprocess.run(argv, cwd=where, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, encoding="utf-8")
        check_eq(r.returncode, 0, f"the exit status of {' '.join(argv)}, which says:\n{r.stdout}\n")
        return r.stdout

    run(["spin", "-a"] + defines(sizes, mistake) + [model])
    # A mistake is found soon: what takes time there is the compiler.
    run(cc + ["-O0" if mistake else "-O2", "-w", "-DNP" if cycles else "-DSAFETY", "-DCOLLAPSE", f"-DMEMLIM={MEMORY}",
              "-o", "pan", "pan.c"])
    return run(["./pan", f"-m{DEPTH}", "-w24"] + (["-l"] if cycles else []))


def number(pattern, text):
    m = re.search(pattern, text)
    check(m, f"no {pattern!r} in what the search says:\n{text}")
    return int(m[1])


def check_complete(out):
    """All states were seen, and nothing was wrong in any."""
    for bad in ("Search not completed", "max search depth too small", "out of memory", "error:",
                "Bit statespace", "aborted", "violated", "invalid end state (", "cycle ("):
        check(bad not in out, f"the search says '{bad}':\n{out}")
    check("Full statespace search for:" in out, f"not a full search:\n{out}")
    check_eq(number(r"errors: (\d+)", out), 0, "errors")
    states, depth = (number(p, out) for p in (r"(\d+) states, stored", r"depth reached (\d+)"))
    diag(f"{states} states, depth {depth}")


# Everybody does everything; several release for one at the same time; several shards and grants.
SIZES = [
    dict(WORKERS=2, DEATHS=2),
    dict(WORKERS=3, BELLS=1, REQUESTS=2, DEATHS=1),
    dict(WORKERS=2, BELLS=1, SHARDS=2, REQUESTS=2, DEATHS=2),
]
SMALL = dict(WORKERS=2, BELLS=1, REQUESTS=2, DEATHS=1)

for sizes in SIZES[1:] if BRIEF else SIZES:
    @test("each grant is delivered, once: " + ", ".join(f"{k} {v}" for k, v in sizes.items()),
          deadline=600)
    def holds(sizes=sizes):
        out = search(sizes)
        check("invalid end states\t+" in out and "assertion violations\t+" in out,
              f"something was not looked at:\n{out}")
        check_complete(out)


@test("nobody goes round for ever: no cycle, fair or not", deadline=600)
def no_cycle():
    out = search(SMALL | {"DEATHS": 2}, cycles=True)
    check("non-progress cycles \t+" in out, f"cycles were not looked for:\n{out}")
    check_complete(out)


LOST = r"pan:1: assertion violated \(pending\[i\]==0\)"
MISTAKES = {
    "LOOK_EARLY": (LOST, "the mask is looked at before the worker is seen to be parked"),
    "LOOK_NOT": (LOST, "the mask is not looked at before sleeping"),
    "RING_EARLY": (LOST, "`parked` is read before the mask is set"),
    "WAIT_BLIND": (LOST, "the bell thread sleeps although the word has changed"),
    "SEEN_LATE": (LOST, "the bell thread begins with the word as it is later on"),
    "TRUST_MASK": (LOST, "a replacement looks only where the mask says"),
    "NO_ALARM": (LOST, "the master does not raise the alarm after a death"),
    "ALARM_SILENT": (LOST, "the alarm sets the mask and does not ring"),
    "NO_MORE": (LOST, "what is left after a batch is not told to oneself"),
    "TOLD_LATE": (r"pan:1: assertion violated \(owed>0\)",
                  "the reply and clearing TELL are two transactions"),
    "HEARD_NOT": (r"pan:1: non-progress cycle", "the eventfd is not read"),
}

for mistake, (message, text) in MISTAKES.items():
    @test(f"a mistake is found: {text}", deadline=300)
    def found(mistake=mistake, message=message):
        out = search(SMALL, mistake, cycles="cycle" in message)
        if not re.search(message, out):
            fail(f"{mistake} is not found:\n{out}")
        check_eq(number(r"errors: (\d+)", out), 1, "errors")


@test("every mistake that the model knows is tried")
def all_tried():
    with open(model, encoding="utf-8") as f:
        text = f.read()
    known = set(re.findall(r"^#ifn?def (\w+)", text, re.M))
    known -= {"WORKERS", "BELLS", "SHARDS", "REQUESTS", "DEATHS"}
    check_eq(sorted(known), sorted(MISTAKES), "mistakes")


if __name__ == "__main__":
    main(jobs=2)
