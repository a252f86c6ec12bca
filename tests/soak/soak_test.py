#!/usr/bin/env python3
"""soak_test.py - a minute of the soak, with at least 100 kills, and some seconds of the soaks in which
masters die and programs are replaced; `make soak` runs longer ones.
DFLOCKD_TEST_SEED repeats the random choices, though not what the machine makes of them."""

import os
import random
import resource

from harness import SANITIZED, diag, main, test
from soak import Soak


def run(connections, **options):
    seed = int(os.environ.get("DFLOCKD_TEST_SEED", random.randrange(1 << 30)))
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    Soak(connections=min(connections // 4 if SANITIZED else connections, files - 200), seed=seed,
         say=diag, **options).run()


@test("workers are killed, crash and hang under thousands of connections: no lock, queue place, "
      "fence, connection or reply is lost", deadline=900)
def soak():
    run(2000, seconds=40, kills=100, rate=8000, workers=4, round_seconds=20)


@test("masters are killed under load, and others started: nothing is lost, nothing happens twice",
      deadline=900, needs=["systemd"])
def masters():
    run(500, seconds=10, kills=0, masters=10, rate=3000, workers=2, round_seconds=10)


@test("programs of two layouts replace each other under load, while workers are killed", deadline=900)
def upgrades():
    run(500, seconds=10, kills=10, upgrades=10, rate=3000, workers=2, round_seconds=10)


if __name__ == "__main__":
    main()
