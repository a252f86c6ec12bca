#!/usr/bin/env python3
"""threads_test.py - the thread sanitizer over workers that are threads (tests/threads/workers.c),
under the load of the soak and of clients that look at everything.
DFLOCKD_TEST_SEED repeats the random choices, though not what the machine makes of them."""

import glob
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types

here = os.path.join(os.environ["top_builddir"], "tests/threads/workers")
os.environ["DFLOCKD"] = here  # the harness looks at what it is
sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/soak"))

from harness import check, check_eq, diag, main, test
from soak import Load, check_history

SECONDS = 20
CONNECTIONS = 200
RATE = 4000
LOOKERS = 3
LOOKS = [b"ping\n\n\n", b"stats\n\n\n", b"list\n*\n\n", b"list\nh\n\n", b"show\nh0-1\nlock\n",
         b"show\nh1-1\nsem\n", b"unknown\nh1-1\n\n"]


class Server:
    """workers.c, its reports in files of `directory`."""

    def __init__(self, directory, seed):
        self.reports = os.path.join(directory, "report")
        self.log = open(os.path.join(directory, "log"), "w+", encoding="utf-8", errors="replace")
        options = [os.environ.get("TSAN_OPTIONS", ""), f"log_path={self.reports}",
                   # A message between two processes orders nothing for the sanitizer: what they
                   # share must be ordered by itself.
                   "io_sync=0", "halt_on_error=0", "second_deadlock_stack=1", "history_size=5"]
        self.process = subprocess.Popen(
            [here, str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
            text=True, env={**os.environ, "TSAN_OPTIONS": ":".join(filter(None, options))})
        self.port = int(self.process.stdout.readline().split()[1])

    def stop(self):
        """(exit status, what it printed)"""
        said, _ = self.process.communicate("", timeout=150)
        return self.process.returncode, said

    def found(self):
        return [open(x, encoding="utf-8", errors="replace").read()
                for x in sorted(glob.glob(self.reports + ".*"))]

    def last_words(self):
        self.log.seek(0)
        return self.log.read()[-2000:]

    def destroy(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Looker(threading.Thread):
    """Asks for all there is to see, again and again; each reply is a line."""

    def __init__(self, port, number, until):
        super().__init__(daemon=True)
        self.port, self.chance, self.until = port, random.Random(number), until
        self.replies, self.error = 0, None

    def run(self):
        try:
            while time.monotonic() < self.until:
                with socket.create_connection(("127.0.0.1", self.port), 120) as s:
                    f = s.makefile("rb")
                    for _ in range(self.chance.randrange(1, 10)):
                        s.sendall(self.chance.choice(LOOKS))
                        line = f.readline()
                        check(line.startswith((b"ok", b"error")), f"answered {line[:100]!r}")
                        self.replies += 1
        except Exception as e:  # told by whoever joins
            self.error = e


@test("workers as threads, killed and resized under load: the thread sanitizer finds no race, the "
      "checker nothing, and the table is whole", deadline=600)
def threads():
    seed = int(os.environ.get("DFLOCKD_TEST_SEED", random.randrange(1 << 30)))
    diag(f"seed {seed}")
    with tempfile.TemporaryDirectory() as directory:
        server = Server(directory, seed)
        load = None
        try:
            load = Load(types.SimpleNamespace(port=server.port), directory, CONNECTIONS, RATE, seed)
            lookers = [Looker(server.port, seed + i, time.monotonic() + SECONDS)
                       for i in range(LOOKERS)]
            for looker in lookers:
                looker.start()
            for looker in lookers:
                looker.join(SECONDS + 180)
                check(not looker.is_alive(), "a client that looks has no answer")
                check(looker.error is None, f"a client that looks: {looker.error!r}")
            history = load.end_round(True)
            load.process.wait(60)
            status, said = server.stop()
            text, good = check_history(history)
        finally:
            if load:
                load.close()
            server.destroy()
        diag(f"{said}{load.requests} requests, {sum(x.replies for x in lookers)} looks")
        reports = server.found()
        check(not reports, "the thread sanitizer:\n" + "\n".join(reports))
        check_eq(status, 0, f"the exit status; {said}{server.last_words()}")
        # A server that a sanitizer slows down is late on a busy machine, for no fault of its own.
        wrong = [x for x in text.splitlines()
                 if x.startswith("violation") and x.split()[1] not in ("late", "stuck")]
        check(good or not wrong, "the checker objects:\n" + "\n".join(wrong))
        check(load.requests > 1000 and all(x.replies for x in lookers), "there was load")


if __name__ == "__main__":
    main()
