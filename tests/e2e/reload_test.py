#!/usr/bin/env python3
"""reload_test.py - SIGHUP: settings that change while clients are served, whole or not at all."""

import collections
import os
import random
import signal
import threading
import time

from harness import (BRIEF, Server, check, check_eq, eventually, in_threads, main, temp_dir, test,
                     token_of, worker_born)
from load import Load


class Site(Server):
    """A server with a configuration file: .write(key=value…), .reload()."""

    def __init__(self, args=(), settings=None, **options):
        self.dir = temp_dir()
        self.conf = f"{self.dir}/conf"
        self.write(**(settings or {}))
        self.expected = int((settings or {}).get("workers", 0)) or len(
            os.sched_getaffinity(0))
        super().__init__(["--config", self.conf, *args], **dict(dict(workers=0), **options))

    def start(self, timeout=20.0):
        super().start(timeout)
        eventually(lambda: len(self.worker_pids()) >= self.expected, timeout, "too few workers")
        return self

    def file(self, name, text):
        """Replaces it at once, as an administrator would."""
        path = f"{self.dir}/{name}"
        with open(path + ".new", "w") as f:
            f.write(text)
        os.chmod(path + ".new", 0o600)
        os.rename(path + ".new", path)
        return path

    def write(self, text="", **settings):
        self.file("conf", text + "".join(f"{k} = {v}\n" for k, v in settings.items()))

    def ask_reload(self):
        since = self.mark()
        self.kill(signal.SIGHUP)
        return since

    def reload(self, result="done", **settings):
        """Returns the log's lines since."""
        if settings:
            self.write(**settings)
        since = self.ask_reload()
        found = self.wait_log(r" reload proc=master result=(\S+)(?: |.*refused)", 20, since)
        line = found.string
        check(f'result={result}' in line or (result == "refused" and "refused" in line), line)
        return "\n".join(self.log[since:])

    def readers(self):
        """Processes that read the settings."""
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as f:
            return {int(x) for x in f.read().split()} - set(self.worker_pids())

    def everywhere(self, **options):
        """Clients until each worker has at least one: connections go to the least loaded."""
        return [self.client(**options) for _ in range(2 * len(self.worker_pids()))]


def has(text, *parts):
    for part in parts:
        check(part in text, f"{part!r} in {text}")


@test("all workers go by the new settings when the log says that it is done",
      rules=["C41", "C44"])
def all_workers():
    with Site(settings=dict(workers=4, max_lease_ttl=100, default_lease_ttl=40)) as server:
        clients = server.everywhere()
        for limit in (60, 200, 70):
            log = server.reload(workers=4, max_lease_ttl=limit, default_lease_ttl=limit - 10)
            has(log, "max_lease_ttl", "default_lease_ttl")
            for i, c in enumerate(clients + server.everywhere()):
                key = f"{limit}-{i}"
                check_eq(c.req("l", key, f"0 {limit + 1}"), "error", "a lease above the maximum")
                reply = c.req("l", key, "0")
                token_of(reply)
                check_eq(reply.split()[2], str(limit - 10), "the default lease")
        has(server.reload(), "nothing changed")


@test("errors: each is logged with its line, and all old settings stay", rules=["C41"])
def errors():
    with Site(settings=dict(max_lease_ttl=100), expect_log=["configuration", "refused"]) as server:
        c = server.client()
        server.write("max_lease_ttl = 50\nmax_lock = 5\nread_timeout = soon\n")
        log = server.reload("refused")
        has(log, f"{server.conf}:2: unknown key 'max_lock' (did you mean 'max_locks'?)",
            f"{server.conf}:3: read_timeout: 'soon' is not a number", "the old settings stay")
        token_of(c.req("l", "k", "0 100"))
        os.unlink(server.conf)
        has(server.reload("refused"), "No such file")
        server.write(auth_token_file=f"{server.dir}/none")
        has(server.reload("refused"), f"{server.conf}:1: {server.dir}/none: No such file")
        server.write(auth_token_file=server.file("empty", "\n"))
        has(server.reload("refused"), "holds no token: write one a line into it")
        check_eq(c.req("ping"), "ok", "the old connection")
        token_of(server.client().req("l", "new", "0 100"))
        server.write(max_lease_ttl=50)
        server.reload()
        check_eq(c.req("l", "k2", "0 100"), "error", "after a good one")


@test("what a flag or variable shadows, and what needs a restart, is named and stays",
      rules=["C43"])
def shadowed():
    with Site(["--max-waiters", "1"], dict(max_waiters=5, port=0, gc_interval=7),
              env={"DFLOCKD_GC_INTERVAL_S": "9"}) as server:
        log = server.reload(max_waiters=6, port=7001, gc_interval=7, workers=1,
                            unix_socket=f"{server.dir}/s")
        has(log, "setting=max_waiters wins=--max-waiters", "setting=unix_socket")
        check("setting=gc_interval" not in log, "what has not changed is not named")
        check("setting=port" not in log.replace("setting=port wins", ""), "the flag has the port")
        a, b, c = (server.client() for _ in range(3))
        token_of(a.req("l", "k", "0"))
        check_eq(b.req("e", "k"), "queued", "the first waiter")
        check_eq(c.req("e", "k"), "error_max_waiters", "the flag's limit")
        check(not os.path.exists(f"{server.dir}/s"), "no socket was made")
        has(server.reload(), "setting=unix_socket")
        check("setting=max_waiters" not in server.log[-1], "said once")


@test("secrets of flag and environment are kept over a reload", rules=["C43", "C45"])
def kept_secrets():
    def one(case):
        args, env, token = case
        with Site(args, env=env) as server:
            for n in range(3):
                check_eq(server.client().req("auth", "", token), "ok", f"the token, {n} reloads")
                check_eq(server.client().req("auth", "", "other"), "error_auth", "another")
                check_eq(server.client().req("auth", "", "x" * len(token)), "error_auth", "the mask")
                check("setting=auth_token" not in server.reload(max_waiters=n + 1), "no change of it")
            with open(f"/proc/{server.pid}/cmdline", "rb") as f:
                check(token.encode() not in f.read(), "the process list")

    in_threads(one, [(["--auth-token", "flagtoken"], {}, "flagtoken"),
                     ([], {"DFLOCKD_AUTH_TOKEN": "envtoken"}, "envtoken")])


@test("rotation of secrets: both, then the new one; who is in stays in", rules=["C45"])
def rotation():
    with Site(settings=dict(workers=3)) as server:
        early = server.everywhere()
        for c in early:
            check_eq(c.req("ping"), "ok", "no secret yet")
        server.reload(workers=3, auth_token_file=server.file("tokens", "one\n"),
                      admin_token_file=server.file("admin", "boss\n"))
        for c in early:
            check_eq(c.req("ping"), "ok", "who came without a secret")
        check_eq(server.client().req("ping"), "error_auth", "who comes now")
        old = server.everywhere()
        for c in old:
            check_eq(c.req("auth", "", "one"), "ok", "the first token")
        admin = server.client()
        check_eq(admin.req("auth", "", "boss"), "ok", "the admin's")
        server.file("tokens", "two\none\n")
        server.reload()
        for token in ("one", "two"):
            for c in server.everywhere():
                check_eq(c.req("auth", "", token), "ok", token)
        server.file("tokens", "two\n")
        server.file("admin", "chief\n")
        has(server.reload(), "tokens")
        for c in server.everywhere():
            check_eq(c.req("auth", "", "one"), "error_auth", "the removed token")
        for c in old + early:
            check_eq(c.req("ping"), "ok", "who was in")
        token_of(old[0].req("l", "k", "0"))
        check_eq(admin.req("evict", "k", "lock"), "ok", "the old admin")
        check_eq(server.client().req("auth", "", "boss"), "error_auth", "no new one")
        server.reload(workers=3)
        check_eq(server.client().req("ping"), "ok", "no secret any more")
        for pid in server.worker_pids():
            os.kill(pid, signal.SIGKILL)
        server.expect_log.append(__import__("re").compile("worker died"))
        for c in old + early:
            check_eq(c.req("ping"), "ok", "after the workers' death")


@test("a token in the file itself, or none, changes with a restart only", rules=["C43", "C45"])
def token_in_file():
    with Site(settings=dict(auth_token="one")) as server:
        for settings in (dict(auth_token="two"), dict(max_waiters=3)):
            has(server.reload(**settings), "setting=auth_token")
            check_eq(server.client().req("auth", "", "one"), "ok", "the old token")
            check_eq(server.client().req("auth", "", "two"), "error_auth", "the new one")


@test("--max-locks: lowered it evicts nobody, and is exact; raised it admits at once",
      rules=["C44", "S50"])
def max_locks():
    with Site(settings=dict(workers=3, max_locks=10)) as server:
        c = server.client()
        tokens = [token_of(c.req("l", f"k{i}", "0 1000")) for i in range(8)]
        server.reload(workers=3, max_locks=5)
        for x in server.everywhere():
            check_eq(x.req("l", "new", "0"), "error_max_locks", "above the new limit")
        for i, t in enumerate(tokens):
            check_eq(c.req("n", f"k{i}", f"{t} 1000"), "ok 1000", "what was held")
        for i in range(3):
            check_eq(c.req("r", f"k{i}", tokens[i]), "ok", "a release")
            check_eq(c.req("l", f"new{i}", "0"), "error_max_locks", f"{7 - i} of 5 are held")
        check_eq(c.req("r", "k3", tokens[3]), "ok", "a release")
        token_of(c.req("l", "new", "0"))
        check_eq(c.req("l", "more", "0"), "error_max_locks", "five of five")
        server.reload(workers=3, max_locks=7)
        token_of(c.req("l", "six", "0"))
        token_of(server.client().req("l", "seven", "0"))
        check_eq(c.req("l", "more", "0"), "error_max_locks", "seven of seven")
        has(server.reload(workers=3, max_locks=50), "asked=50 allowed=10")
        for i in range(3):
            token_of(c.req("l", f"ten{i}", "0"))
        check_eq(c.req("l", "more", "0"), "error_max_locks", "what there is room for")


@test("--max-connections, -per-ip, --max-waiters: raised and lowered", rules=["C44", "S53"])
def connection_limits():
    with Site(settings=dict(max_connections=6)) as server:
        clients = [server.client() for _ in range(5)]
        check(all(c.req("ping") == "ok" for c in clients), "five of six")
        server.reload(max_connections=3)
        check(all(c.req("ping") == "ok" for c in clients), "nobody is evicted")
        server.client().expect_close()
        for c in clients[3:]:
            c.close()
        clients[0].close()
        # The slot is free when the server has seen the end.
        third = eventually(lambda: (lambda x: x if not x.is_closed() and try_ping(x) else None)(
            server.client()), 20, "a connection below the new limit")
        server.client().expect_close()
        has(server.reload(max_connections=60), "asked=60 allowed=6")
        more = [server.client() for _ in range(3)]
        check(all(c.req("ping") == "ok" for c in more + [third]), "six again")
        server.client().expect_close()
        server.reload(max_connections=6, max_connections_per_ip=2)
        other = [c.close() for c in more]
        eventually(lambda: try_ping(server.client(source="127.0.0.9")), 20, "another address")
        del other
    with Site(settings=dict(max_waiters=1)) as server:
        a, b, c, d = (server.client() for _ in range(4))
        token_of(a.req("l", "k", "0"))
        check_eq(b.req("e", "k"), "queued", "the first")
        check_eq(c.req("e", "k"), "error_max_waiters", "the second")
        server.reload(max_waiters=2)
        check_eq(c.req("e", "k"), "queued", "the second, later")
        server.reload(max_waiters=1)
        check_eq(d.req("e", "k"), "error_max_waiters", "the third")
        check_eq(c.req("e", "k"), "error_already_enqueued", "the second is still there")


def try_ping(c):
    try:
        return c.req("ping") == "ok"
    except (AssertionError, OSError):
        return False


@test("timeouts: a shorter one applies to connections that are open", rules=["C44"])
def timeouts():
    with Site(settings=dict(read_timeout=3000, shutdown_timeout=3000)) as server:
        idle = server.everywhere()
        holder = server.client()
        token_of(holder.req("l", "k", "0 3000"))
        server.reload(read_timeout=1, shutdown_timeout=1)
        for c in idle:
            c.expect("error", "idle for longer than the new timeout")
            c.expect_close()
        check_eq(holder.req("ping"), "ok", "who owns something")
        server.clients.clear()
        server.kill(signal.SIGTERM)
        check_eq(server.exited(20), 0, "the new time for the end")
        holder.close()


@test("log level and format change in all processes", rules=["C41"])
def log_settings():
    with Site(settings=dict(log_level="info")) as server:
        server.everywhere()[0].req("nonsense")
        server.reload(log_level="debug")
        for c in server.everywhere():
            check_eq(c.req("nonsense"), "error", "a bad request")
        eventually(lambda: len({x.split("proc=")[1].split()[0]
                                for x in server.logged(" debug bad request")}) ==
                   len(server.worker_pids()), 20, "lines of all workers")
        server.write(log_format="json")
        server.kill(signal.SIGHUP)
        server.wait_log(r'^\{.*"msg":"reload"', 20)


@test("50 reloads under load: nobody notices", rules=["C42"], deadline=300)
def many_reloads():
    with Site(settings=dict(workers=3, max_locks=5000)) as server:
        load = Load(server)
        for n in range(10 if BRIEF else 50):
            server.reload(workers=3, max_locks=5000 - n % 3, read_timeout=20 + n,
                          gc_max_idle=n % 5, auto_release_on_disconnect="true",
                          log_level=("info", "warn")[n % 2])
            load.check()
        load.stop()


@test("workers 4, 2, 6, 1 … under load: every reply comes, in its turn", rules=["C42", "C46"],
      deadline=400)
def resize_under_load():
    with Site(settings=dict(workers=4, max_locks=5000)) as server:
        load = Load(server)
        unix_free = [server.client() for _ in range(20)]
        held = [token_of(c.req("l", f"held{i}", "0 1000")) for i, c in enumerate(unix_free)]
        blocked = [server.client() for _ in unix_free]
        for i, c in enumerate(blocked):
            c.send(f"l\nheld{i}\n600\nping\n\n\npi")
        for n in [2, 6, 1, 5, 3, 1, 4] * (1 if BRIEF else 4):
            server.reload(workers=n, max_locks=5000)
            eventually(lambda: len(server.worker_pids()) == n, 30, f"{n} workers")
            load.check()
            for i, c in enumerate(unix_free):
                check_eq(c.req("n", f"held{i}", f"{held[i]} 1000"), "ok 1000", "a renew")
        for i, c in enumerate(unix_free):
            check_eq(c.req("r", f"held{i}", held[i]), "ok", "the release")
        for c in blocked:
            token_of(c.line())
            c.expect("ok", "the ping behind it")
            c.send("ng\n\n\n")
            c.expect("ok", "the ping that came in halves")
        load.stop()


@test("connections over Unix sockets are handed over, too", rules=["C46"], deadline=180)
def resize_unix():
    path = f"{temp_dir()}/s"
    with Site(settings=dict(workers=4, unix_socket=path)) as server:
        load = Load(server, ["pairs", "two_phase", "semaphores", "bytewise", "timeouts", "churn"],
                    unix=path)
        for n in [1, 4, 2, 3] * 3:
            server.reload(workers=n, unix_socket=path)
            eventually(lambda: len(server.worker_pids()) == n, 20, f"{n} workers")
            load.check()
        load.stop()


@test("grants that are made while their connection changes hands arrive", rules=["C46", "C42"],
      deadline=180)
def grants_in_transit():
    with Site(settings=dict(workers=4)) as server:
        holders = [server.client() for _ in range(64)]
        waiters = [server.client() for _ in range(64)]
        tokens = [token_of(c.req("l", f"k{i}", "0 1000")) for i, c in enumerate(holders)]
        for round_ in range(12):
            for i, c in enumerate(waiters):
                c.ask("l", f"k{i}", "600 1000")
            server.write(workers=(1, 4, 2, 3)[round_ % 4])
            since = server.ask_reload()
            for i in random.sample(range(64), 64):
                check_eq(holders[i].req("r", f"k{i}", tokens[i]), "ok", "the release")
            for i, c in enumerate(waiters):
                tokens[i] = token_of(c.line())
            holders, waiters = waiters, holders
            server.wait_log(r" reload .*result=done", 20, since)


def opened(fifo):
    """For writing, if somebody reads it."""
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


@test("a SIGHUP during a reload comes after it; reading that hangs stops nothing", rules=["C48"],
      deadline=180)
def slow_file():
    with Site(settings=dict(max_lease_ttl=100)) as server:
        os.mkfifo(f"{server.dir}/slow")
        server.write(auth_token_file=f"{server.dir}/slow", max_lease_ttl=60)
        since = server.ask_reload()
        slow = eventually(lambda: opened(f"{server.dir}/slow"), 20, "somebody reads it")
        c = server.client()
        token_of(c.req("l", "a", "0 100"))
        server.kill(signal.SIGHUP)
        token_of(server.client().req("l", "b", "0 100"))
        check(not server.logged("result=", since), "it waits")
        server.write(max_lease_ttl=50)
        os.write(slow, b"token\n")
        os.close(slow)
        eventually(lambda: len(server.logged("reload .*result=done", since)) == 2, 20, "both")
        check_eq(c.req("l", "c", "0 55"), "error", "the second one's limit")
        check_eq(server.client().req("ping"), "ok", "and its tokens")


@test("what reads the settings is killed: the old ones stay", rules=["C47"])
def reader_killed():
    with Site(settings=dict(max_lease_ttl=100), expect_log=["refused"]) as server:
        workers = set(server.worker_pids())
        os.mkfifo(f"{server.dir}/slow")
        server.write(auth_token_file=f"{server.dir}/slow")
        since = server.ask_reload()
        reader = eventually(server.readers, 20, "the reader").pop()
        os.kill(reader, signal.SIGKILL)
        server.wait_log("refused.*failed", 20, since)
        token_of(server.client().req("l", "k", "0 100"))
        server.reload(max_lease_ttl=50)
        check_eq(server.client().req("l", "k2", "0 100"), "error", "the next one")
        check_eq(set(server.worker_pids()), workers, "the workers")


@test("reading that hangs for half a minute is given up", rules=["C48"], deadline=180)
def reader_hangs():
    with Site(settings=dict(max_lease_ttl=100), expect_log=["refused"]) as server:
        os.mkfifo(f"{server.dir}/slow")
        server.write(auth_token_file=f"{server.dir}/slow")
        since = server.ask_reload()
        server.wait_log("refused.*took too long", 80, since)
        check_eq(server.readers(), set(), "who reads")
        server.reload(max_lease_ttl=50)
        check_eq(server.client().req("l", "k", "0 100"), "error", "the next one")


@test("a worker that does not take the settings is replaced by one that has them", rules=["C47"],
      deadline=180)
def stopped_worker():
    with Site(settings=dict(workers=3, max_lease_ttl=100),
              expect_log=["worker died", "worker hangs"]) as server:
        clients = server.everywhere()
        stopped = server.worker_pids()[1]
        os.kill(stopped, signal.SIGSTOP)
        server.reload(workers=3, max_lease_ttl=50)
        eventually(lambda: stopped not in server.worker_pids(), 20, "it was replaced")
        for i, c in enumerate(clients):
            check_eq(c.req("l", f"k{i}", "0 100"), "error", "the new settings")
            token_of(c.req("l", f"k{i}", "0 50"))


@test("workers are killed during reloads: all end up with the same settings, nothing is lost",
      rules=["C47", "C42"], deadline=300)
def killed_workers():
    with Site(settings=dict(workers=4), expect_log=["worker died", "worker hangs"]) as server:
        over = threading.Event()
        load = Load(server, ["pairs", "two_phase", "semaphores", "churn", "half_closes",
                             "bytewise", "timeouts"])

        def killer():
            chance, times = random.Random(1), collections.defaultdict(list)
            while not over.wait(0.02):
                try:
                    pid = chance.choice(server.worker_pids())
                    born = worker_born(pid)
                    # Three in a row while one request is served would be the request's fault.
                    mine = times[born and born[1]]
                    if born and (len(mine) < 2 or time.monotonic() - mine[-2] > 0.3):
                        mine.append(time.monotonic())
                        os.kill(pid, signal.SIGKILL)
                except (ProcessLookupError, IndexError):
                    pass

        t = threading.Thread(target=killer)
        t.start()
        done = 0
        try:
            for n in range(8 if BRIEF else 30):
                server.write(workers=1 + n % 5, max_lease_ttl=100000 + n)
                since = server.ask_reload()
                line = server.wait_log(r" reload proc=master result=.*", 30, since)[0]
                done += "result=done" in line  # the killer may have met the reader
                load.check()
        finally:
            over.set()
            t.join()
        check(done > 0, "some were done")
        server.reload(workers=4, max_lease_ttl=50000)
        eventually(lambda: len(server.worker_pids()) == 4, 30, "four workers")
        for c in server.everywhere():
            check_eq(c.req("l", "k", "0 50001"), "error", "the last settings")
        # Its own leases are shorter.
        load.stop()


@test("the master is killed during reloads: the next one's settings are everybody's",
      rules=["C47", "C46"], deadline=300)
def killed_master():
    with Site(settings=dict(workers=4, max_lease_ttl=100)) as server:
        clients = [server.client() for _ in range(16)]
        tokens = [token_of(c.req("l", f"k{i}", "0 100")) for i, c in enumerate(clients)]
        for n in range(4 if BRIEF else 12):
            server.write(workers=(2, 4, 1, 3)[n % 4], max_lease_ttl=100 + n)
            server.ask_reload()
            threading.Event().wait(0.001 * (n % 6))  # anywhere in it
            server.master_dies()
            since = server.mark()
            server.expected = (2, 4, 1, 3)[n % 4]
            server.start_again()
            server.wait_log("reload .*result=done.*taken over", 20, since)
            eventually(lambda: len(server.worker_pids()) == server.expected, 20, "the workers")
            left = [i for i, c in enumerate(clients) if not c.is_closed()]
            for i in left:
                check_eq(clients[i].req("l", "other", f"0 {101 + n}"), "error", "above the maximum")
                check_eq(clients[i].req("n", f"k{i}", f"{tokens[i]} 100"), "ok 100", "a renew")
            # What was between two workers may be lost; its slots are kept.
            for i in set(range(16)) - set(left):
                clients[i] = server.client()
                check_eq(clients[i].req("n", f"k{i}", f"{tokens[i]} 100"), "ok 100", "a renew")


@test("a reload during a drain is refused, and the log says so", rules=["C48"])
def while_draining():
    with Site(settings=dict(max_lease_ttl=100)) as server:
        c = server.client()
        token_of(c.req("l", "k", "0 100"))
        server.kill(signal.SIGTERM)
        server.wait_log("draining", 20)
        log = server.reload("refused", max_lease_ttl=50)
        has(log, "draining")
        check_eq(c.req("ping"), "ok", "it is served")
        c.close()
        check_eq(server.exited(20), 0, "a clean end")


if __name__ == "__main__":
    main(jobs=4)
