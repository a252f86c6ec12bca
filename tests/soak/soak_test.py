#!/usr/bin/env python3
"""soak_test.py - a minute of the soak, with at least 100 kills; `make soak` runs longer ones.
DFLOCKD_TEST_SEED repeats the random choices, though not what the machine makes of them."""

import os
import random
import resource

from harness import diag, main, test
from soak import Soak


def sanitized():
    with open(os.environ["DFLOCKD"], "rb") as f:
        return b"__asan_init" in f.read()


@test("workers are killed, crash and hang under thousands of connections: no lock, queue place, "
      "fence, connection or reply is lost", deadline=900)
def soak():
    seed = int(os.environ.get("DFLOCKD_TEST_SEED", random.randrange(1 << 30)))
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    connections = min(500 if sanitized() else 2000, files - 200)
    Soak(seconds=40, kills=100, connections=connections, rate=8000, workers=4, seed=seed,
         round_seconds=20, say=diag).run()


if __name__ == "__main__":
    main()
