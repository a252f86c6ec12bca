"""benchrun.py - dflock-bench as tests run it.

    run = bench("--workers", 3, at=server)     waits for its end; at: a Server, a list of them, a
                                               FakeServer, an address, or None
    run.code .out .err .json                   .json: what --json printed
    run.ended(code, regex)                     checks how it ended, and its message
    with started("--duration", 60, at=server) as run: …; run.wait() → run
    grants(client)                             a number that grows with every grant of its server
"""

import json
import os
import re
import subprocess

from harness import Server, check, check_eq, fail, fence_of, token_of

PROGRAM = os.path.join(os.environ["top_builddir"], "src/bench/dflock-bench")


def address(at):
    if isinstance(at, (list, tuple)):
        return ",".join(address(x) for x in at)
    if isinstance(at, str):
        return at
    return f"127.0.0.1:{at.port}" if isinstance(at, Server) else at.address


class Run:
    def __init__(self, args, at, env, program, popen):
        argv = program if isinstance(program, list) else [program]
        argv = argv + (["--servers", address(at)] if at is not None else [])
        argv += [a if isinstance(a, bytes) else str(a) for a in args]
        clean = {k: v for k, v in os.environ.items() if not k.startswith("DFLOCK_")}
        popen = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **popen}
        self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, env={**clean, **(env or {})},
                                     **popen)

    def __enter__(self):
        return self

    def __exit__(self, *what):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.communicate()

    def wait(self, timeout=60):
        try:
            out, err = self.proc.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            out, err = self.proc.communicate()
            fail(f"dflock-bench has not ended after {timeout} s; it said: {out!r} {err!r}")
        self.code = self.proc.returncode
        self.out, self.err = (out or b"").decode(), (err or b"").decode()
        return self

    @property
    def json(self):
        check_eq(self.out.count("\n"), 1, f"lines of JSON in {self.out!r}")
        return json.loads(self.out)

    def ended(self, code, message=""):
        check(self.code == code and re.search(message, self.err, re.S) and
              (message or not self.err),
              f"exit status {code} and a message like {message!r} expected, not {self.code} and "
              f"{self.err!r} (it printed {self.out!r})")
        return self


def started(*args, at=None, env=None, program=PROGRAM, **popen):
    return Run(args, at, env, program, popen)


def bench(*args, **options):
    with started(*args, **options) as run:
        return run.wait()


def grants(client):
    token = token_of(client.req("l", "probe", "0"))
    check_eq(client.req("r", "probe", token), "ok", "the release")
    return fence_of(token)
