"""examples_test.py - each program of docs/examples is compiled as it stands, run against real servers,
and prints what its head says. Where others have to do their part (hold the lock, take it away) the
test does. docs/examples/README.md names each of them."""

import contextlib
import glob
import os
import re
import signal
import socket
import sqlite3

from certs import authority, text_of
from harness import (Server, check, check_eq, eventually, fail, install_script, json_of, main, temp_dir, test,
                     token_of)
from programs import compiled, programs_path, ran, started, top
from said import compare

WHERE = os.path.join(top, "docs/examples")
LOCAL = "127.0.0.1:6388"


def serving(args=()):
    """On a busy machine a worker may not run for so long that it is replaced; who is served does not
    notice, so it does not matter here."""
    return Server(args, expect_log=["worker hangs", "worker died"])


def read(name):
    with open(os.path.join(WHERE, name), encoding="utf-8") as f:
        return f.read()


def prints(name):
    """What the head of the program says."""
    m = re.search(r"^ \* Prints[^\n]*:\n(.*?)^ \*/", read(name + ".c"), re.M | re.S)
    return re.findall(r"^ \*     (.*)$", m[1], re.M)


def program(name):
    flags = ["-lsqlite3"] if "sqlite3.h" in read(name + ".c") else []
    return compiled(read(name + ".c"), name, flags)


def alone(name, args=(), text=None, want=None, **more):
    with serving(args) as server:
        compare(ran(program(name), {LOCAL: server}, *(text or []), **more), want or prints(name))


PLAIN = ["quick_start", "basic_lock", "lease", "with_lock", "fifo_workers", "low_level", "semaphore",
         "semaphore_with_lock", "worker_pool"]
tested = set(PLAIN)

for plain in PLAIN:
    @test(f"docs/examples/{plain}.c", rules=["X6", "X7"], deadline=120)
    def runs(name=plain):
        alone(name)


def example(name, text="", deadline=120, needs=()):
    tested.add(name)
    return test(f"docs/examples/{name}.c{': ' if text else ''}{text}", rules=["X6", "X7"],
                deadline=deadline, needs=needs)


@test("docs/examples: they take no more than they say: nothing is held, waits or stays afterwards",
      deadline=240)
def nothing_left():
    def one(name):
        with serving() as server:
            ran(program(name), {LOCAL: server})
            c = server.client()

            def free():
                found = json_of(c.req("stats"))
                return (found["connections"], found["locks"], found["semaphores"]) == (1, [], [])
            eventually(free, 20, f"{name} leaves a lock or a connection")
    for name in PLAIN:
        one(name)


def waiting(client, key, n=1):
    eventually(lambda: any(x["key"] == key and x["waiters"] == n
                           for x in json_of(client.req("stats"))["locks"]), 20,
               f"nobody waits for {key}")


def queued(name, key):
    """Somebody else has the lock; it is released when the program waits for it."""
    with serving() as server:
        c = server.client()
        token = token_of(c.req("l", key, "0 60"))
        with started(program(name), {LOCAL: server}) as p:
            waiting(c, key)
            check_eq(c.req("r", key, token), "ok", "the release")
            compare(p.ended(), prints(name))


@example("two_phase")
def two_phase():
    queued("two_phase", "my-key")
    alone("two_phase", want=["enqueue status: acquired", "lock held, doing work..."])


@example("two_phase_status")
def two_phase_status():
    queued("two_phase_status", "deploy")
    alone("two_phase_status", want=["deploying"])


@example("two_phase_notify")
def two_phase_notify():
    alone("two_phase_notify", text=["echo notified:"])
    # The notification makes the holder go.
    with serving() as server:
        c = server.client()
        token = token_of(c.req("l", "two-phase-key", "0 60"))
        where = temp_dir()
        with started(program("two_phase_notify"), {LOCAL: server}, "touch", cwd=where) as p:
            eventually(lambda: os.path.exists(os.path.join(where, "queued")), 20,
                       "nobody was notified")
            check_eq(c.req("r", "two-phase-key", token), "ok", "the release")
            compare(p.ended(), ["enqueue status: queued", "critical section"])


THREE = ["10.0.0.1:6388", "10.0.0.2:6388", "10.0.0.3:6388"]


def sharded(name, key, index):
    """Of three servers only the right one hears of the key."""
    servers = {address: serving().start() for address in THREE}
    try:
        compare(ran(program(name), servers), prints(name))
        for i, server in enumerate(servers.values()):
            c = server.client()
            found = json_of(c.req("list", "*"))
            check_eq(key in str(found), i == index, f"the key is known to server {i}")
    finally:
        for server in servers.values():
            server.stop()


@example("sharding")
def sharding():
    sharded("sharding", "my-key", 2)


@example("sharding_with_lock")
def sharding_with_lock():
    sharded("sharding_with_lock", "my-resource", 0)


@example("shard_function")
def shard_function():
    compare(ran(program("shard_function"), {}), prints("shard_function"))


def with_authority(name="localhost"):
    """A directory with ca.pem, and the arguments of a server with a certificate of this authority."""
    ca = authority()
    where = temp_dir()
    with open(os.path.join(where, "ca.pem"), "wb") as f:
        f.write(text_of(ca.cert))
    cert = ca._sign(name, f"subjectAltName=DNS:{name},IP:127.0.0.1", 30)
    return where, ["--tls-cert", cert[0], "--tls-key", cert[1]]


@example("tls", needs=["tls"])
def tls():
    where, args = with_authority()
    alone("tls", args, cwd=where)
    with open(os.path.join(where, "ca.pem"), "wb") as f:
        f.write(text_of(authority("stranger").cert))
    with serving(args) as server, started(program("tls"), {LOCAL: server}, cwd=where) as p:
        compare(p.ended(1), [])
        check(re.search("certificate", p.err.decode()), f"it says why: {p.err.decode()}")


@example("tls_system", needs=["tls"])
def tls_system():
    where, args = with_authority()
    # OpenSSL's own variable: what the system trusts.
    alone("tls_system", args, env={"SSL_CERT_FILE": os.path.join(where, "ca.pem")})


@example("tls_auth", needs=["tls"])
def tls_auth():
    where, args = with_authority("lockd.internal")
    with serving([*args, "--auth-token", "shared-secret"]) as server:
        compare(ran(program("tls_auth"), {"10.0.0.1:6388": server}, cwd=where,
                    hosts={"lockd.internal": "10.0.0.1"}), prints("tls_auth"))


@example("auth")
def auth():
    alone("auth", ["--auth-token", "my-secret-token"])
    with serving(["--auth-token", "another"]) as server:
        with started(program("auth"), {LOCAL: server}) as p:
            compare(p.ended(1), [])
            check("auth" in p.err.decode(), f"it says why: {p.err.decode()}")


@example("on_renew_error", deadline=150)
def on_renew_error():
    with serving() as server:
        with started(program("on_renew_error"), {LOCAL: server}) as p:
            check_eq(p.line(), prints("on_renew_error")[0], "the first line")
            # A server that is stopped at once forgets its locks.
            server.kill(signal.SIGTERM)
            server.wait_log("draining", 20)
            server.kill(signal.SIGTERM)
            server.exited(20)
            server.start_again()
            compare(p.ended(1, timeout=60), prints("on_renew_error")[1:])


class Nobody:
    """Has a port that nobody else gets, and does not listen."""

    def __enter__(self):
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        return self

    def __exit__(self, *what):
        self.sock.close()


@example("error_handling")
def error_handling():
    alone("error_handling", want=["work done"])
    alone("error_handling", ["--auth-token", "x"],
          want=["authentication failed (bad or missing token)"])
    with Nobody() as nobody:
        compare(ran(program("error_handling"), {LOCAL: nobody}), ["connect: …"])
    with serving() as server:
        c = server.client()
        token_of(c.req("l", "my-key", "0 60"))
        compare(ran(program("error_handling"), {LOCAL: server}), prints("error_handling"))


@contextlib.contextmanager
def holding(name, servers, target):
    """The program, when it holds the lock. Its lease is 2 s: one that does not run for as long when it
    is granted does not take it for its own."""
    for _ in range(5):
        with started(program(name), servers, target) as p:
            if p.says_something():
                check_eq(p.line(), prints(name)[0], "the first line")
                yield p
                return
            p.ended(2)
            check(p.err.endswith(b"the lock is not to be had\n"), f"{p.err.decode()}")
    fail("five times it did not take what it was granted")


def late_writer(name, target, read_back):
    """One process is stopped while it holds the lock, past the end of its lease; another writes
    meanwhile. When the first goes on, its write is refused."""
    with serving() as server:
        servers = {LOCAL: server}
        with holding(name, servers, target) as first:
            first.proc.send_signal(signal.SIGSTOP)
            with holding(name, servers, target) as second:
                second.say("second\n", end=True)
                compare(second.ended(), prints(name)[1:])
            first.proc.send_signal(signal.SIGCONT)
            first.say("first\n", end=True)
            compare(first.ended(1), ["refused: …"])
            check_eq(read_back(), "second\n", "what is there")
            # Who comes later may write.
            with holding(name, servers, target) as third:
                third.say("third\n", end=True)
                compare(third.ended(), prints(name)[1:])
            check_eq(read_back(), "third\n", "what is there")


@example("fence_file", "the write of a holder that slept through its lease is refused")
def fence_file():
    target = os.path.join(temp_dir(), "document")

    def text():
        with open(target, encoding="utf-8") as f:
            return f.read().split("\n", 1)[1]
    late_writer("fence_file", target, text)


@example("fence_sql", "the update of a holder that slept through its lease is refused")
def fence_sql():
    target = os.path.join(temp_dir(), "database")

    def text():
        db = sqlite3.connect(target)
        try:
            return db.execute("SELECT body FROM doc WHERE id = 1").fetchone()[0]
        finally:
            db.close()
    late_writer("fence_sql", target, text)


@test("docs/examples/crontab: of two hosts one runs the job, also if it is quick; the next time again",
      rules=["X6"], deadline=120)
def crontab():
    text = read("crontab")
    line = re.search(r"^0 3 \* \* \*  (\S+/dflock .*)$", text, re.M)[1]
    check("--min-hold 60" in line and "/usr/local/bin/nightly-report" in line, line)
    job, ran_at = os.path.join(temp_dir(), "job"), os.path.join(temp_dir(), "ran")
    install_script(job, f"echo $HOST $DFLOCK_FENCE >>{ran_at}\n")
    line = line.replace("/usr/local/bin/nightly-report", job)
    line = line.replace("/usr/local/bin/dflock", os.path.join(programs_path().split(":")[0], "dflock"))

    def runs():
        if not os.path.exists(ran_at):
            return []
        with open(ran_at, encoding="utf-8") as f:
            return [x.split() for x in f]

    with serving() as server:
        def cron(host, hold):
            env = {"HOST": host, "PATH": "/usr/bin:/bin", "DFLOCK_SERVERS": f"127.0.0.1:{server.port}"}
            return started("/bin/sh", {}, "-c", line.replace("--min-hold 60", f"--min-hold {hold}"),
                           env=env)
        with cron("first", 15) as first:
            eventually(runs, 20, "the job has not run")
            with cron("second", 15) as second:
                compare(second.ended(1), [])
                check_eq(second.err, b"", "cron has nothing to mail")
            compare(first.ended(0, timeout=60), [])
        # It had said so, but not waited for long for an answer.
        c = server.client()
        eventually(lambda: not json_of(c.req("stats"))["locks"], 20, "it is still held")
        with cron("second", 0) as second:
            compare(second.ended(0), [])
        check_eq([x[0] for x in runs()], ["first", "second"], "who has run it")
        check(int(runs()[0][1]) < int(runs()[1][1]), f"the fences: {runs()}")


@test("docs/examples/README.md names each program, and each is run here", rules=["X6", "X7"])
def all_are_there():
    there = {os.path.basename(x) for x in glob.glob(os.path.join(WHERE, "*")) if "README" not in x}
    named = set(re.findall(r"\]\(([\w.-]+)\)", read("README.md")))
    check_eq(sorted(there ^ named), [], "only in the directory, or only in README.md")
    check_eq(sorted({x[:-2] for x in there if x.endswith(".c")} ^ tested), [], "not run")


if __name__ == "__main__":
    # Now, and not while servers run: a machine that compiles beside them is slow.
    for each in sorted(tested):
        program(each)
    main()
