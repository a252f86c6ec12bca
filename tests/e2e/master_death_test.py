#!/usr/bin/env python3
"""master_death_test.py - the master is killed. Its workers serve on; the next one finds the lock
table, the workers and their sockets, and accepts connections again. What cannot be taken over is
refused or ended: two lock tables are never served at a time."""

import os
import re
import signal
import socket
import subprocess
import tempfile

from harness import (BRIEF, Client, Failure, Server, check, check_eq, diag, elapsed, eventually, fence_of,
                     json_of, main, temp_dir, test, token_of)
from load import Load
from points import WORKER, CrashServer

GONE = "the master is gone, serving on"
DIED = ["worker died", "worker hangs", "cannot be adopted"]
LASTING = ["pairs", "two_phase", "semaphores", "timeouts", "long_answers", "bytewise"]


def run(*args, env=None, timeout=60):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("DFLOCKD_")}
    clean.update(env or {})
    p = subprocess.run([os.environ["DFLOCKD"], *args], env=clean, text=True, timeout=timeout,
                       stdin=subprocess.DEVNULL, capture_output=True)
    return p.returncode, p.stderr


@test("what was under way goes on, without a master and with the next one", rules=["S69", "S70"])
def all_goes_on():
    path = os.path.join(temp_dir(), "sock")
    with Server(["--unix-socket", path], workers=3) as server:
        holder, waiter, half = (server.client() for _ in range(3))
        local = server.client(unix=path)
        token = token_of(holder.req("l", "key", "0 100"))
        waiter.ask("l", "key", "60")
        eventually(lambda: json_of(local.req("stats"))["locks"][0]["waiters"] == 1, 20,
                   "it waits before the next one asks")
        check_eq(local.req("e", "key"), "queued", "a unix client enqueues")
        check_eq(half.req("ping"), "ok", "a ping")
        half.send("l\nother\n")
        workers = server.worker_pids()
        server.master_dies()
        check_eq(len(server.worker_pids()), 3, "the workers live")
        check_eq(holder.req("n", "key", f"{token} 100"), "ok 100", "a renew without a master")
        eventually(lambda: len(server.logged(GONE)) == 3, 20, "all notice")
        took = elapsed()
        server.start_again()
        stranger = server.client()
        check_eq(stranger.req("ping"), "ok", "a new connection")
        diag(f"a new connection is served {took() * 1000:.0f} ms after the start")
        check_eq(server.worker_pids(), workers, "the same workers")
        stats = json_of(stranger.req("stats", "", ""))
        check_eq(stats["connections"], 5, "connections")
        half.send("0\n")
        check_eq(half.req("r", "other", token_of(half.line())), "ok", "what was half sent")
        check_eq(holder.req("r", "key", token), "ok", "the release")
        second = token_of(waiter.line())
        local.ask("w", "key", "20")
        check_eq(waiter.req("r", "key", second), "ok", "the second's release")
        third = token_of(local.line())
        check(fence_of(token) < fence_of(second) < fence_of(third), "fences in the order of grants")
        # Who was adopted is watched.
        os.kill(workers[0], signal.SIGKILL)
        # Of a Unix socket the kernel does not say how far its worker got.
        server.expect_log += [re.compile("worker died"), re.compile("stream position is lost")]
        eventually(lambda: len(set(server.worker_pids()) - set(workers)) == 1, 20, "it is replaced")
        for c in (holder, waiter, half, stranger):
            check_eq(c.req("ping"), "ok", "nobody lost a connection")


@test("a master that has taken workers over is upgraded: they are replaced, and watched until then",
      rules=["S70", "S73"])
def upgraded_afterwards():
    with Server(workers=2) as server:
        clients = [server.client() for _ in range(4)]
        tokens = [token_of(c.req("l", f"key{i}", "0 100")) for i, c in enumerate(clients)]
        server.master_dies()
        server.start_again()
        workers = server.worker_pids()
        since = server.mark()
        server.kill(signal.SIGUSR2)
        server.wait_log("upgraded: all workers run this program", 20, since)
        check(not set(workers) & set(server.worker_pids()), "all were replaced")
        for i, c in enumerate(clients):
            check_eq(c.req("r", f"key{i}", tokens[i]), "ok", "a release")


@test("caps count the connections that were taken over", rules=["S70"])
def caps():
    with Server(["--max-connections-per-ip", "2"]) as server:
        a, b = server.client(), server.client()
        check_eq([a.req("ping"), b.req("ping")], ["ok", "ok"], "pings")
        server.master_dies()
        server.start_again()
        Client(server).expect_close()
        a.close()

        def admitted():
            try:
                return Client(server).req("ping") == "ok"
            except (Failure, OSError):
                return False

        eventually(admitted, 20, "one may come when one has left")


@test("a worker dies with its master: its connections are lost, their slots are kept", rules=["S71"])
def both_die():
    with Server(workers=2, expect_log=DIED) as server:
        a = server.client()
        token = token_of(a.req("l", "key", "0 100"))
        b = server.client()
        b.ask("l", "key", "60")
        c = server.client()
        check_eq(c.req("e", "key"), "queued", "the third in the queue")
        server.master_dies()
        server.signal_members(signal.SIGKILL)
        eventually(lambda: not server.members(), 20, "all are dead")
        server.start_again()
        check_eq(server.logged("table=kept"), [], "nobody was left to keep it")


@test("one of two workers dies with its master", rules=["S71"])
def one_dies():
    with Server(workers=2, expect_log=DIED) as server:
        clients = [server.client() for _ in range(6)]
        tokens = [token_of(c.req("l", f"key{i}", "0 100")) for i, c in enumerate(clients)]
        waiters = [server.client() for _ in range(6)]
        for i, c in enumerate(waiters):
            c.ask("l", f"key{i}", "60")
        eventually(lambda: json_of(server.client().req("stats", "", ""))["connections"] >= 12, 20)
        server.master_dies()
        victim = server.worker_pids()[0]
        os.kill(victim, signal.SIGKILL)
        # Who is still dying when it is called is another case: it cannot be adopted.
        eventually(lambda: victim not in server.members(), 20, "it is dead")
        server.start_again()
        server.wait_log("is gone, its connections are lost", 20)
        stranger = server.client()
        lost = [c.is_closed() for c in clients]
        check(True in lost and False in lost, f"one worker's are lost: {lost}")
        for i, (c, token) in enumerate(zip(clients, tokens)):
            check_eq(stranger.req("l", f"key{i}", "0"), "timeout", "nobody else gets it")
            check_eq((stranger if lost[i] else c).req("n", f"key{i}", f"{token} 90"), "ok 90",
                     "who has the token renews")
        for i, c in enumerate(waiters):
            check_eq(stranger.req("r", f"key{i}", tokens[i]), "ok", "a release by token")
            if not c.is_closed():
                token_of(c.line())
                c.close()
            check_eq(token_of(stranger.req("l", f"key{i}", "20")) != "", True, "the queue moves on")


@test("a worker that does not answer is ended before another serves its slot", rules=["S71"])
def hung():
    with Server(workers=2, expect_log=DIED) as server:
        clients = [server.client() for _ in range(4)]
        tokens = [token_of(c.req("l", f"key{i}", "0 100")) for i, c in enumerate(clients)]
        server.master_dies()
        stopped = server.worker_pids()[0]
        os.kill(stopped, signal.SIGSTOP)
        server.start_again()
        check(stopped not in server.members(), "it is dead")
        stranger = server.client()
        for i, token in enumerate(tokens):
            check_eq(stranger.req("n", f"key{i}", f"{token} 90"), "ok 90", "held on")


@test("a worker that cannot even be called is never taken for dead: no second table beside it",
      rules=["S71"], deadline=240)
def never_answers():
    with Server(workers=1, expect_log=DIED) as server:
        a = server.client()
        token = token_of(a.req("l", "key", "0 1000"))
        server.master_dies()
        stopped = server.worker_pids()[0]
        os.kill(stopped, signal.SIGSTOP)
        for _ in range(12):  # more than its backlog holds
            since = server.mark()
            server._exec(server.port)
            check_eq(server.proc.wait(20), 1, "the start is refused")
            eventually(lambda: server.logged("does not answer", since), 20, "and says why")
        os.kill(stopped, signal.SIGCONT)
        check_eq(a.req("n", "key", f"{token} 1000"), "ok 1000", "it serves on")
        eventually(lambda: server.logged(GONE), 20, "it notices")
        server.start_again()
        check_eq(a.req("r", "key", token), "ok", "and is taken over")


@test("whoever is at a rendezvous and cannot be told is not passed over: the start is refused until it has gone",
      rules=["S71"])
def nameless():
    with Server(workers=2, expect_log=DIED) as server:
        a = server.client()
        token = token_of(a.req("l", "key", "0 1000"))
        server.master_dies()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
            stranger.bind(os.path.join(server.extra_env["DFLOCKD_RUN_DIR"], "worker-5"))
            stranger.listen(8)
            since = server.mark()
            server._exec(server.port)
            check_eq(server.proc.wait(20), 1, "the start is refused")
            eventually(lambda: server.logged("worker 5 does not answer", since), 20, "and says why")
            check_eq(a.req("n", "key", f"{token} 1000"), "ok 1000", "the workers serve on")
        server.start_again()
        check_eq(a.req("r", "key", token), "ok", "and are taken over")


@test("a server that was ending ends: no worker stays behind", rules=["S72"])
def ending():
    with Server(["--shutdown-timeout", "0"], expect_exit=None) as server:
        a = server.client()
        token_of(a.req("l", "key", "0 100"))
        os.kill(server.worker_pids()[0], signal.SIGSTOP)
        server.kill(signal.SIGTERM)
        server.wait_log(" draining: ")
        server.kill(signal.SIGTERM)
        server.wait_log(" stopping ")
        server.master_dies()
        server.signal_members(signal.SIGCONT)  # the other one is on its way out
        eventually(lambda: not server.members(), 20, "no process is left")


@test("a master that dies while it drains: the next one serves as if there had been no drain",
      rules=["S72"])
def draining():
    with Server() as server:
        a = server.client()
        token = token_of(a.req("l", "key", "0 100"))
        server.kill(signal.SIGTERM)
        server.wait_log(" draining: ")
        check_eq(a.req("l", "other", "0"), "error_draining", "a new lock during the drain")
        server.master_dies()
        server.start_again()
        eventually(lambda: a.req("l", "other", "0").startswith("ok "), 20, "new locks again")
        check_eq(a.req("n", "key", f"{token} 90"), "ok 90", "held on")


@test("one server a run directory; without one workers end with their master", rules=["C50", "C51"])
def directories():
    directory = os.path.join(temp_dir(), "run")
    with Server(["--run-dir", directory]) as server:
        code, err = run("--port", "0", "--run-dir", directory)
        check_eq(code, 1, err)
        check(f"is in use by process {server.pid}" in err and "--run-dir" in err, err)
        check_eq(os.stat(directory).st_mode & 0o777, 0o700, "its mode")
    for bad, word in ((temp_dir() + "/x" * 100, "longer than"), ("/dev/null", "Not a directory"),
                      ("/proc/dflockd", "cannot be made")):
        code, err = run("--port", "0", "--run-dir", bad)
        check_eq(code, 1, err)
        check(word in err, err)
    shared = temp_dir()
    os.chmod(shared, 0o777)
    code, err = run("--port", "0", "--run-dir", shared)
    check_eq(code, 1, err)
    check("chmod it to 0700" in err, err)


@test("--discard-region ends what is left and starts with an empty table", rules=["C52"])
def discard():
    with Server(["--discard-region"]) as server:
        a = server.client()
        token_of(a.req("l", "key", "0 100"))
        old = server.worker_pids()
        server.master_dies()
        server.start_again()
        check(not set(old) & set(server.members()), "the old workers are gone")
        a.expect_close()
        token_of(server.client().req("l", "key", "0"))


@test("workers of a table that cannot be taken over: the start is refused, they serve on",
      rules=["C52"])
def other_version():
    with Server(workers=1, expect_exit=None) as server:
        a = server.client()
        token = token_of(a.req("l", "key", "0 100"))
        server.master_dies()
        directory = server.extra_env["DFLOCKD_RUN_DIR"]
        worker = server.worker_pids()[0]
        fd = int(re.search(r"region_fd=(\d+)", server.log[0])[1])
        with open(f"/proc/{worker}/fd/{fd}", "r+b") as region:
            region.seek(8)
            version = region.read(4)
            region.seek(8)
            region.write(b"\xff\xff\xff\x7f")
        code, err = run("--port", "0", "--run-dir", directory)
        check_eq(code, 1, err)
        check("another version" in err and "--discard-region" in err, err)
        check_eq(a.req("n", "key", f"{token} 100"), "ok 100", "its client is served on")
        with open(f"/proc/{worker}/fd/{fd}", "r+b") as region:
            region.seek(8)
            region.write(version)
        server.start_again()
        check_eq(a.req("r", "key", token), "ok", "and by the right version taken over")
        server.stop()


@test("a stranger at the rendezvous is sent away", rules=["S70"])
def stranger():
    if os.geteuid() != 0:
        return
    with Server(workers=1, expect_exit=None) as server:
        a = server.client()
        token = token_of(a.req("l", "key", "0 100"))
        server.master_dies()
        server.wait_log(GONE, 20)
        directory = server.extra_env["DFLOCKD_RUN_DIR"]
        os.chmod(directory, 0o711)
        os.chmod(f"{directory}/worker-0", 0o666)
        code = ("import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); "
                f"s.connect('{directory}/worker-0'); s.settimeout(10); print(s.recv(100))")
        p = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                            "python3", "-c", code], capture_output=True, text=True, timeout=20)
        check_eq(p.stdout, "b''\n", p.stderr)
        server.wait_log("a stranger at the rendezvous")
        os.chmod(directory, 0o700)
        server.start_again()
        check_eq(a.req("r", "key", token), "ok", "taken over by its own")


@test("masters are killed again and again under load: nothing is lost, nothing happens twice",
      rules=["S69", "S70"], deadline=300)
def again_and_again():
    rounds = 20 if BRIEF else 100
    with Server(["--max-locks", "5000"], workers=2) as server:
        load = Load(server, LASTING)
        eventually(lambda: len(load.rounds) == len(load.threads), 20, "everybody is served")
        for _ in range(rounds):
            before = dict(load.rounds)
            server.master_dies()
            eventually(lambda: load.wrong or load.rounds["pairs"] > before["pairs"], 20,
                       "served without a master")
            server.start_again()
            check_eq(server.client().req("ping"), "ok", "a new connection")
            load.check()
        load.stop()
        diag(f"{rounds} masters killed, rounds {load.rounds}")
        check(not server.logged("connections lost"), "none was lost")


ORPHAN_ROWS = ["RENDEZVOUS_ACCEPT", "RENDEZVOUS_PEER", "ORPHAN_CLOSE", "ORPHAN_UNWATCH", "ORPHAN_FOUND",
               "ORPHAN_OFFERED", "PASS_SEND"]


def orphan_test(name):
    def body():
        for side in (0, 1) if not name.startswith("ORPHAN_F") and name != "ORPHAN_OFFERED" else (0,):
            with CrashServer(workers=2, expect_log=DIED) as server:
                clients = [server.client() for _ in range(4)]
                tokens = [token_of(c.req("l", f"key{i}", "0 100")) for i, c in enumerate(clients)]
                server.board.arm(name, side, role=WORKER)
                server.master_dies()
                if name != "ORPHAN_CLOSE":
                    eventually(lambda: len(server.logged(GONE)) == 2, 20, "both notice")
                server.start_again()
                eventually(lambda: server.board.fired == 1, 20, f"a worker dies at {name}")
                eventually(lambda: len(server.worker_pids()) == 2, 20, "two workers again")
                stranger = server.client()
                for i, token in enumerate(tokens):
                    check_eq(stranger.req("l", f"key{i}", "0"), "timeout", "held on")
                    check_eq(stranger.req("n", f"key{i}", f"{token} 90"), "ok 90", "and renewed")
                check(any(not c.is_closed() for c in clients), "the other's connections live")

    return body


for place in ORPHAN_ROWS:
    function = orphan_test(place)
    function.__name__ = place
    test(f"a worker dies at {place} as it is handed to the next master", deadline=180)(function)

if __name__ == "__main__":
    main(jobs=4)
