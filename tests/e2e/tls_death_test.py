#!/usr/bin/env python3
"""tls_death_test.py - workers that die while they serve TLS: the connections end, and nothing else is
lost. Load over TLS, too."""

import errno
import os
import random
import signal
import ssl
import threading
import time

from certs import client_context, server_certificate
from harness import (BRIEF, Client, Failure, Server, check, check_eq, diag, elapsed, eventually,
                     fence_of, json_of, main, temp_dir, test, token_of)
from load import Load
from points import BEFORE, BY_NAME, FAIL, MASTER, WORKER, CrashServer

DIED = ["worker died", "worker hangs"]
LOST = r"connections lost by the server's fault, their slots are kept .*conns=(\d+)"


def tls_server(*args, program=Server, **options):
    options.setdefault("expect_log", DIED)
    return program([*server_certificate().args, *args], **options)


def locks(client):
    return {x["key"]: x for x in json_of(client.req("stats"))["locks"]}


def end_workers(server, signum=signal.SIGKILL):
    before = server.worker_pids()
    for pid in before:
        os.kill(pid, signum)
    eventually(lambda: len(server.worker_pids()) == server.workers and
               not set(server.worker_pids()) & set(before), 20, "all are replaced")


@test("a worker is killed: its TLS connections end at once; what they hold stays held, is renewed and "
      "released by token; who waited is gone", rules=["T9", "S42", "S10"], deadline=60)
def killed():
    path = os.path.join(temp_dir(), "socket")
    # One worker: when it has answered the next request, what was said to the Unix socket is recorded.
    with tls_server("--unix-socket", path, workers=1) as server:
        context = client_context()
        local = server.client(unix=path)
        check_eq(local.req("ping"), "ok", "a ping")
        holder, pair, waiter, queued, watch = (server.client(tls=context) for _ in range(5))
        tokens = {k: token_of(holder.req("l", k, "0 600")) for k in ("a", "b", "short")}
        sems = [token_of(pair.req("sl", "s", "0 2 600")) for _ in range(2)]
        waiter.ask("l", "a", "60")
        check_eq(queued.req("e", "b"), "queued", "an enqueue")
        check_eq(token_of(pair.req("e", "e", "600"), "acquired")[:4],
                 format(fence_of(tokens["a"]), "016x")[:4], "two-phase, not yet waited for")
        eventually(lambda: locks(watch)["a"]["waiters"] == 1, text="it waits")
        end_workers(server)
        for c in (holder, pair, waiter, queued, watch):
            check(c.expect_close() in ("cut", "rst"), "no close_notify")
        check_eq(local.req("ping"), "ok", "a Unix socket's connection lives")
        eventually(lambda: sum(int(x.rsplit("conns=", 1)[1].split()[0])
                               for x in server.logged(LOST)) == 5, text="five are lost")
        eventually(lambda: json_of(local.req("stats"))["connections"] == 1, text="one is left")
        now = locks(local)
        check_eq({k: (x["holders"] if "holders" in x else 1, x["waiters"]) for k, x in now.items()},
                 {k: (1, 0) for k in ("a", "b", "short", "e")}, "held, nobody waits")
        back = server.client(tls=context)
        check_eq(back.req("l", "a", "0"), "timeout", "a try")
        check_eq(back.req("n", "a", tokens["a"] + " 500"), "ok 500", "renewed by token")
        check_eq(back.req("r", "b", tokens["b"]), "ok", "released by token")
        check_eq(back.req("r", "b", tokens["b"]), "error", "once")
        for token in sems:
            check_eq(back.req("sr", "s", token), "ok", "a semaphore's slots")
        took = elapsed()
        check_eq(back.req("n", "short", tokens["short"] + " 1"), "ok 1", "a short lease")
        token_of(local.req("l", "short", "20", timeout=20))
        check(took() >= 0.99, f"the lease of 1 s ended after {took():.3f} s")
        # What was renewed belongs to who renewed it.
        back.close()
        token_of(local.req("l", "a", "20", timeout=20))


@test("a worker hangs: as when it is killed, and TLS handshakes go on with its heir", rules=["T9", "S58"],
      deadline=60)
def hangs():
    with tls_server(workers=1) as server:
        context = client_context()
        c = server.client(tls=context)
        token = token_of(c.req("l", "k", "0 600"))
        os.kill(server.worker_pids()[0], signal.SIGSTOP)
        c.expect_close(timeout=30)
        again = server.client(tls=context)
        check_eq(again.req("r", "k", token), "ok", "released by token")


@test("a grant that was not told passes on to the next one who waits", rules=["T9", "S48"])
def passes_on():
    path = os.path.join(temp_dir(), "socket")
    with tls_server("--unix-socket", path, program=CrashServer, workers=1) as server:
        holder, second = server.client(unix=path), server.client(unix=path)
        first = server.client(tls=client_context())
        token = token_of(holder.req("l", "k", "0 600"))
        first.ask("l", "k", "60 600")
        eventually(lambda: locks(holder)["k"]["waiters"] == 1, text="the first waits")
        second.ask("l", "k", "60 600")
        eventually(lambda: locks(holder)["k"]["waiters"] == 2, text="the second waits")
        server.board.arm("DELIVER_BEGIN", role=WORKER)
        check_eq(holder.req("r", "k", token), "ok", "the release")
        token_of(second.line(20))
        first.expect_close()


@test("killed in the middle of a handshake, and before it has begun", rules=["T9"])
def handshakes():
    with tls_server(program=CrashServer, workers=1) as server:
        begun = server.client(tls=client_context(), handshake=False)
        hello = begun.tls.flight()[0]
        begun.sock.sendall(hello[:50])
        other = server.client(tls=client_context())
        check_eq(other.req("ping"), "ok", "the worker has read it")
        end_workers(server)
        begun.expect_close()
        server.board.arm("LOOP_ADOPT", role=WORKER)
        fresh = server.client(tls=client_context())  # its worker dies before it looks at it
        check_eq(fresh.req("ping"), "ok", "the heir begins its handshake")
        eventually(lambda: server.board.fired == 1, text="it died there")


@test("a worker without resources for a connection: it is handed over again, and the handshake begins",
      rules=["T1"])
def returned():
    with tls_server(program=CrashServer, workers=1,
                    expect_log=["no resources for a connection"]) as server:
        server.board.arm("CONN_WATCH", action=FAIL, error=errno.ENOMEM, role=WORKER)
        c = server.client(tls=client_context())
        check_eq(c.req("ping"), "ok", "a ping")
        check_eq(server.board.fired, 1, "it failed once")


@test("everything that clients do, over TLS", rules=["T1", "S67", "S62"], deadline=120)
def load():
    with tls_server("--max-locks", "5000", workers=4) as server:
        load = Load(server, tls=client_context())
        end = time.monotonic() + (3 if BRIEF else 6)
        while time.monotonic() < end:
            load.check()
            time.sleep(0.05)
        load.stop()
        diag(f"seed {load.seed}, rounds {load.rounds}")
        watch = server.client(tls=client_context())
        eventually(lambda: json_of(watch.req("stats"))["locks"] == [], 20, "nothing is held")


class Left(Exception):
    """A client has left of its own accord."""


class Visitors:
    """Clients over TLS that come back when their connection is lost; locks have one holder."""

    KEYS, CLIENTS = 3, 6
    LEASE = 5  # seconds: what they have is theirs even if they are not run for some

    def __init__(self, server, seed):
        self.server, self.over, self.wrong = server, threading.Event(), []
        self.mutex, self.holds, self.rounds, self.losses = threading.Lock(), {}, 0, 0
        self.threads = [threading.Thread(target=self.run, args=(random.Random(seed + i),), daemon=True)
                        for i in range(self.CLIENTS)]
        for t in self.threads:
            t.start()

    def run(self, chance):
        client = None
        while not self.over.is_set() and not self.wrong:
            try:
                client = client or Client(("127.0.0.1", self.server.port), tls=client_context())
                self.round(client, chance)
            except (Left, Failure, OSError, ssl.SSLError) as e:
                if isinstance(e, Failure) and "the connection has ended" not in str(e):
                    self.wrong.append(str(e))
                self.losses += not isinstance(e, Left)
                if client:
                    client.close()
                client = None

    def round(self, client, chance):
        key = f"v{chance.randrange(self.KEYS)}"
        token = token_of(client.req("l", key, f"60 {self.LEASE}", timeout=90))
        got = time.monotonic()
        with self.mutex:
            last_token, until = self.holds.get(key, (None, 0))
            check(not last_token or fence_of(token) > fence_of(last_token), f"{key}: a fence goes back")
            check(got >= until, f"{key}: granted {until - got:.3f} s before the other gave it back")
            # Until its end, if nobody is heard to give it back: counted from before it was granted.
            self.holds[key] = (token, 0)
        asked = time.monotonic()
        check_eq(client.req("n", key, f"{token} {self.LEASE}"), f"ok {self.LEASE}", "a renew")
        with self.mutex:
            if self.holds[key][0] == token:
                self.holds[key] = (token, min(time.monotonic(), asked + self.LEASE - 0.1))
        leaves = chance.random()
        if leaves < 0.2:  # with what it holds, or without
            client.half_close() if leaves < 0.1 else client.close()
            raise Left
        check_eq(client.req("r", key, token), "ok", "the release")
        self.rounds += 1

    def stop(self):
        self.over.set()
        for t in self.threads:
            t.join(100)
            check(not t.is_alive(), "a client does not end")
        check(not self.wrong, self.wrong)


def place_test(name):
    row = BY_NAME[name]

    def body():
        with tls_server("--max-locks", "100", program=CrashServer,
                        expect_log=[*DIED, "no resources for a connection"]) as server:
            visitors = Visitors(server, random.randrange(1 << 30))
            for side in row.sides:
                fired = server.board.fired
                server.board.arm(name, side, nth=3, role=WORKER)
                eventually(lambda: server.board.fired > fired or visitors.wrong, 60, "a worker dies there")
            server.whole(20)
            rounds = visitors.rounds
            eventually(lambda: visitors.rounds > rounds + 20 or visitors.wrong, 60, "they are served")
            visitors.stop()
            diag(f"{visitors.rounds} rounds, {visitors.losses} connections lost")
            watch = server.client(tls=client_context())
            eventually(lambda: all(x["holders"] == 0 for x in json_of(watch.req("stats"))["semaphores"]) and
                       not json_of(watch.req("stats"))["locks"], 40, "leases end, nothing is left")
            eventually(lambda: json_of(watch.req("stats"))["connections"] == 1, 20, "no other connection")
            check(not server.logged("was damaged"), "nothing was damaged")
            check(not server.logged("poison"), "no request was taken for poison")

    body.__name__ = name
    test(f"a worker dies at {name} while clients come and go over TLS: {row.what}", rules=["T9"],
         deadline=300)(body)


for place in ["STREAM_RECV", "STREAM_SEND", "STREAM_SHUTDOWN", "STREAM_CLOSE", "STREAM_TUNED",
              "TRANSFER_RECEIVED", "TRANSFER_SENT", "SHARED_COMMIT", "SHARED_TELL", "DELIVER_TOLD",
              "CONN_WATCH", "CONN_UNWATCH", "CONN_DONE", "CONN_GIVEN"][::3 if BRIEF else 1]:
    place_test(place)


@test("the heir dies while it deals with what its predecessor held over TLS, at each step",
      rules=["T9"], deadline=180)
def heirs_too():
    for name in ["TAKEOVER_RECOVERED", "TAKEOVER_COUNTED", "TAKEOVER_BUFFERS", "TAKEOVER_ADOPTED",
                 "TAKEOVER_SETTLED", "CONN_LEAVE", "CONN_DONE", "CONN_GIVEN"]:
        with tls_server(program=CrashServer, workers=1) as server:
            holders = [server.client(tls=client_context()) for _ in range(3)]
            tokens = [token_of(c.req("l", f"k{i}", "0 600")) for i, c in enumerate(holders)]
            holders[2].ask("l", "k0", "60")
            watch = server.client(tls=client_context())
            eventually(lambda: locks(watch)["k0"]["waiters"] == 1, text="it waits")
            server.board.then(name, BEFORE, nth=2 if name.startswith("CONN") else 1, role=WORKER)
            server.board.arm("LOOP_TURN", role=WORKER)
            eventually(lambda: server.board.fired == 2, 20, f"the heir dies at {name}")
            back = server.client(tls=client_context())
            eventually(lambda: json_of(back.req("stats"))["connections"] == 1, 20, "one is left")
            check_eq(locks(back)["k0"]["waiters"], 0, "nobody waits")
            for i, token in enumerate(tokens):
                check_eq(back.req("r", f"k{i}", token), "ok", "released by token")


@test("the master dies while it cuts off a dead worker's connections: the next one does",
      rules=["T9", "S70"], deadline=90)
def master_too():
    for name, side in (("KEEPER_SHUTDOWN", 0), ("KEEPER_SHUTDOWN", 1), ("BURY_ORPHANED", 0)):
        with tls_server(program=CrashServer, workers=2, expect_log=[*DIED, "cannot be adopted"]) as server:
            holders = [server.client(tls=client_context()) for _ in range(6)]
            tokens = [token_of(c.req("l", f"k{i}", "0 600")) for i, c in enumerate(holders)]
            server.board.arm(name, side, nth=1 if name == "BURY_ORPHANED" else 2, role=MASTER)
            os.kill(server.worker_pids()[0], signal.SIGKILL)
            server.proc.wait(20)
            server.start_again()
            eventually(lambda: sum(c.is_closed() for c in holders) == 3, 20, "half of them are closed")
            back = server.client(tls=client_context())
            eventually(lambda: json_of(back.req("stats"))["connections"] == 4, 20, "the others live")
            for i, (c, token) in enumerate(zip(holders, tokens)):
                check_eq(back.req("l", f"k{i}", "0"), "timeout", "it is held")
                check_eq((back if c.is_closed() else c).req("r", f"k{i}", token), "ok", "released")


@test("the master dies: TLS connections go on, with sessions resumed by the next one's workers",
      rules=["T7", "T9", "S69"])
def without_master():
    with tls_server(workers=2) as server:
        context = client_context()
        c = server.client(tls=context)
        token = token_of(c.req("l", "k", "0 600"))
        session = c.tls.ssl.session
        server.master_dies()
        check_eq(c.req("n", "k", token + " 600"), "ok 600", "a renew without a master")
        server.start_again()
        again = server.client(tls=context, session=session)
        check_eq(again.req("l", "k", "0"), "timeout", "a try")
        check(again.tls.ssl.session_reused, "the session is resumed")
        check_eq(c.req("r", "k", token), "ok", "the old connection goes on")


@test("an upgrade, to the same layout and to another one: TLS connections end, what they hold stays held",
      rules=["T9", "S73", "S74"], deadline=60)
def upgraded():
    other = os.path.join(os.environ["top_builddir"], "tests/upgrade/dflockd")
    for target in (os.environ["DFLOCKD"], other):
        program, path = os.path.join(temp_dir(), "dflockd"), os.path.join(temp_dir(), "socket")
        os.symlink(os.environ["DFLOCKD"], program)
        with Server([*server_certificate().args, "--unix-socket", path], program=program) as server:
            local = server.client(unix=path)
            check_eq(local.req("ping"), "ok", "a ping")
            holder, waiter = (server.client(tls=client_context()) for _ in range(2))
            token = token_of(holder.req("l", "k", "0 600"))
            waiter.ask("l", "k", "60")
            eventually(lambda: locks(local)["k"]["waiters"] == 1, text="it waits")
            os.unlink(program)
            os.symlink(target, program)
            server.kill(signal.SIGUSR2)
            for c in (holder, waiter):
                check(c.expect_close(timeout=20) in ("cut", "rst"), "no close_notify")
            eventually(lambda: json_of(local.req("stats"))["connections"] == 1, 20, "one is left")
            back = server.client(tls=client_context())
            check_eq(locks(back)["k"]["waiters"], 0, "nobody waits")
            check_eq(back.req("l", "k", "0"), "timeout", "it is held")
            check_eq(back.req("r", "k", token), "ok", "released by token")


if __name__ == "__main__":
    main(jobs=3)
