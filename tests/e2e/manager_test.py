#!/usr/bin/env python3
"""manager_test.py - the server and its service manager, played by the test: what it is told and when,
the sockets that it passes and keeps. tests/systemd/ has the same with a real systemd."""

import array
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading

from harness import (Client, Program, Server, check, check_eq, eventually, fail, main, temp_dir,
                     temp_file, test, token_of)
from web import Session, Web

ACTIVATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "activate.py")


class Manager:
    """Hears what is sent to NOTIFY_SOCKET, and keeps the descriptors that come with it."""

    def __init__(self):
        self.path = os.path.join(temp_dir(), "notify")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.said = []  # lines, in order
        self.stored = []  # (name, descriptor)
        threading.Thread(target=self.hear, daemon=True).start()

    def hear(self):
        while True:
            data, ancillary, _, _ = self.sock.recvmsg(4096, 1024)
            lines, fds = data.decode().split("\n"), array.array("i")
            for _, _, part in ancillary:
                fds.frombytes(part)
            if "FDSTORE=1" in lines:
                check("FDPOLL=0" in lines, "what looks hung up is kept, too")
                name = next(x[7:] for x in lines if x.startswith("FDNAME="))
                for fd in list(fds):  # the same once more is closed, as below
                    if not any(os.path.sameopenfile(fd, x) for _, x in self.stored):
                        self.stored.append((name, fd))
                        fds.remove(fd)
            if "FDSTOREREMOVE=1" in lines:
                gone = [x for x in self.stored if f"FDNAME={x[0]}" in lines]
                self.stored = [x for x in self.stored if x not in gone]
                fds = [fd for _, fd in gone]
            self.said += lines
            for fd in fds:
                os.close(fd)  # a barrier's: it waits for this

    def kept(self, name):
        return len([x for x in self.stored if x[0] == name])

    def wait(self, line, since=0, timeout=20):
        """Until it is said; the position after it."""
        def look():
            return next((i + 1 for i, x in enumerate(self.said) if i >= since and
                         (line(x) if callable(line) else x == line)), None)

        return eventually(look, timeout, f"{line!r} is not said: {self.said}")


def listening(family=socket.AF_INET, kind=socket.SOCK_STREAM, address=("127.0.0.1", 0), protocol=0):
    s = socket.socket(family, kind, protocol)
    s.bind(address)
    if kind == socket.SOCK_STREAM:
        s.listen()
    return s


def numbers(sockets):
    return [s if isinstance(s, int) else s.fileno() for s in sockets]


def activated(sockets, names, args=(), env=None, **options):
    """A server that the sockets are passed to."""
    fds = numbers(sockets)
    return Server(args, env=env, program=[sys.executable, ACTIVATE, ":".join(names),
                                          ",".join(map(str, fds)), os.environ["DFLOCKD"]],
                  fds=fds, **options)


def refused(sockets, names, program=None):
    """(exit status, what it says)"""
    fds = numbers(sockets)
    done = subprocess.run([sys.executable, ACTIVATE, ":".join(names), ",".join(map(str, fds)),
                           program or os.environ["DFLOCKD"], "--port", "0"], pass_fds=fds, timeout=60,
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True)
    return done.returncode, done.stderr


# --- what it is told


@test("ready when connections are accepted; a status with workers and connections", rules=["D3"])
def ready():
    manager = Manager()
    with Server(env={"NOTIFY_SOCKET": manager.path}) as server:
        at = manager.wait("READY=1")
        check(any(x.startswith("STATUS=Serving") for x in manager.said[:at]), "a status before it")
        clients = [server.client() for _ in range(3)]
        check_eq(clients[0].req("ping"), "ok", "the answer")
        manager.wait("STATUS=Serving: 2 of 2 workers, connections: 3", at)
        check(not any("WATCHDOG" in x for x in manager.said), "nobody asked for signs of life")
    check_eq(manager.said.count("READY=1"), 1, "once")


@test("a drain: stopping, how many are left and how long, and more time as long as it lasts",
      rules=["D9"])
def drain():
    manager = Manager()
    with Server(["--shutdown-timeout", "60"], env={"NOTIFY_SOCKET": manager.path}) as server:
        a = server.client()
        token = token_of(a.req("l", "key", "0"))
        server.kill(signal.SIGTERM)
        at = manager.wait("STOPPING=1")
        for _ in range(3):
            at = manager.wait("EXTEND_TIMEOUT_USEC=10000000", at)
        manager.wait(lambda x: x.startswith("STATUS=Draining, connections left: 1, 5"))
        check_eq(a.req("r", "key", token), "ok", "the release")


@test("signs of life when the manager waits for them", rules=["D8"])
def watchdog():
    manager = Manager()
    with Server(env={"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": 1000000}):
        at = 0
        for _ in range(5):
            at = manager.wait("WATCHDOG=1", at)


# --- sockets that are passed


@test("passed sockets are served as they are bound, and nothing else is", rules=["D5"])
def passed():
    manager, path = Manager(), os.path.join(temp_dir(), "sock")
    hidden = f"\0dflockd-test-{os.getpid()}"
    sockets = [listening(), listening(socket.AF_UNIX, address=path),
               listening(socket.AF_UNIX, address=hidden),
               listening(socket.AF_INET6, address=("::", 0))]
    port, port6 = sockets[0].getsockname()[1], sockets[3].getsockname()[1]
    own = socket.socket()  # a port that --port must not take, nor anybody else meanwhile
    own.bind(("127.0.0.1", 0))
    own_port = own.getsockname()[1]
    server = activated(sockets, ["lock", "lock-unix", "dflockd.socket", "other"],
                       ["--host", "127.0.0.1", "--unix-socket", path + "-own"], expect_log=["warn"],
                       env={"DFLOCKD_PORT": own_port, "NOTIFY_SOCKET": manager.path})
    with server:
        check_eq(server.port, port, "the address in the log")
        server.wait_log(r" sockets were passed: --host, --port and --unix-socket are not used .*=4$")
        server.wait_log(rf" listening .*address=unix:{path}$")
        server.wait_log(rf" listening .*address=unix:@{hidden[1:]}$")
        server.wait_log(rf" listening .*address=\[::\]:{port6}$")
        server.wait_log(r" warn anybody who reaches this address .*address=\[::\]")
        for where in (dict(), dict(unix=path), dict(unix=hidden)):
            check_eq(Client(server, **where).req("ping"), "ok", f"the answer {where}")
        check_eq(Client(("127.0.0.1", port6)).req("ping"), "ok", "IPv4 by the IPv6 socket")
        check(not os.path.exists(path + "-own"), "--unix-socket is not used")
        try:
            socket.create_connection(("127.0.0.1", own_port), 20)
            fail("--port is used")
        except ConnectionRefusedError:
            pass
    check(os.path.exists(path), "who made it removes it")
    check_eq(manager.kept("own-listener"), 0, "listeners that the manager has to keep besides")
    late = socket.create_connection(("127.0.0.1", port), 20)  # ours still listens
    late.close()
    own.close()


@test("a passed socket of the name http is served by HTTP; each protocol binds its own address unless one "
      "was passed for it", rules=["D21"], needs=["http"])
def passed_http():
    lock, web = listening(), listening()
    port = web.getsockname()[1]
    for names, sockets in ((["lock", "http"], [lock, web]), (["http"], [web]), (["lock"], [lock])):
        with activated(sockets, names, ["--http-port", "auto"]) as server:
            check_eq(server.port == lock.getsockname()[1], "lock" in names, f"the port, {names}")
            check_eq(Client(server).req("ping"), "ok", f"the line protocol, {names}")
            chosen = int(server.wait_log(r" serving HTTP .*address=\S*:(\d+)$")[1])
            check_eq(chosen == port, "http" in names, f"the port of HTTP, {names}")
            with Web(("127.0.0.1", chosen)) as client:
                client.get("/health").expect(200)
            if "http" in names:
                server.wait_log(r" sockets were passed: --http-host and --http-port are not used")


@test("a passed socket that begins to block, as systemd makes it for the next master, stops no worker of the last "
      "one", rules=["D21", "S69"], needs=["http"])
def blocks_again():
    web = listening()
    with activated([web], ["http"]) as server:
        session = Session(web.getsockname())
        server.master_dies()
        server.wait_log(r" the master is gone, serving on .*proc=http$")
        os.set_blocking(web.fileno(), True)
        for _ in range(3):
            session.close()
            session.ping().expect(204)
        since = server.mark()
        server.start_again()
        server.wait_log("took over from another master .*workers=3 ", 20, since)
        server.wait_log("took over .*proc=http", 20, since)
        session.close()
        session.end().expect(204)


@test("beside a passed socket for HTTP there are at most 63 workers, at the start and after a reload",
      rules=["D21"], deadline=90, needs=["http"])
def many_workers():
    web, path = listening(), temp_file("workers = 64\n")
    with activated([web], ["http"], ["--config", path], workers=0,
                   expect_log=["worker hangs", "worker died"]) as server:
        server.wait_log(r" a socket for HTTP was passed, .* asked=64 workers=63$", 60)
        since = server.mark()
        server.kill(signal.SIGHUP)
        server.wait_log(r" reload: more workers than .* asked=64 allowed=63$", 60, since)
        server.wait_log(r" reload .*result=done", 60, since)
        with Web(web.getsockname(), timeout=60) as client:
            client.get("/health").expect(200)


@test("a socket that cannot be served is refused, with what to change", rules=["D7"])
def unfit():
    pair = socket.socketpair()
    listener = listening()
    client = socket.create_connection(listener.getsockname())
    connection = listener.accept()[0]
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    pipe = os.pipe()
    cases = [
        (connection, "x", "the socket unit must say Accept=no"),
        (pair[0], "x", "the socket unit must say Accept=no"),
        (bound, "x", "does not listen"),
        (listening(kind=socket.SOCK_DGRAM), "x", "not a stream socket: use ListenStream="),
        (pipe[0], "x", "not a socket: only ListenStream= is served"),
    ]
    with contextlib.suppress(OSError):  # not every kernel has it
        cases.append((listening(protocol=262), "x", "its protocol is not TCP"))
    with contextlib.suppress(OSError):
        cases.append((listening(socket.AF_VSOCK, address=(socket.VMADDR_CID_ANY, 40000)), "x",
                      "a family that is not served"))
    for sock, name, text in cases:
        status, said = refused([sock], [name])
        check_eq(status, 78, f"the exit status for {text}")
        check(text in said and f"the socket '{name}'" in said, f"{text}: {said}")
        check_eq(len(said.splitlines()), 1, "one line")
    client.close()
    good = [listening() for _ in range(65)]
    status, said = refused(good, ["x"] * 65)
    check(status == 78 and "more sockets than" in said, f"too many: {said}")
    status, said = refused([good[0], listening(kind=socket.SOCK_DGRAM)], ["good", "bad"])
    check(status == 78 and "'bad'" in said, f"one of two: {said}")


@test("sockets that were passed to another process are not ours", rules=["D5"])
def not_ours():
    with Server(env={"LISTEN_PID": 1, "LISTEN_FDS": 1, "LISTEN_FDNAMES": "x"}) as server:
        check_eq(server.client().req("ping"), "ok", "the answer")
        check(not server.logged("sockets were passed"), "none were")


@test("a server without libsystemd refuses passed sockets, and needs no manager", rules=["D14"])
def without():
    plain = os.path.join(os.environ["top_builddir"], "tests/systemd/plain")
    status, said = refused([listening()], ["x"], plain)
    check(status == 78 and "built without systemd" in said, f"refused: {said}")
    manager = Manager()
    with Server(program=plain, env={"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": 1,
                                    "LISTEN_PID": 1, "LISTEN_FDS": 1}) as server:
        check_eq(server.client().req("ping"), "ok", "the answer")
    check_eq(manager.said, [], "what the manager hears")


# --- sockets that it keeps


def next_life(manager, args):
    """A server that is given what the manager keeps; it serves a client."""
    since, fds = len(manager.said), [fd for _, fd in manager.stored]
    options = dict(env={"NOTIFY_SOCKET": manager.path}, expect_log=["warn"], expect_exit=None)
    server = (activated(fds, [name for name, _ in manager.stored], args, **options) if fds
              else Server(args, **options)).start()
    manager.wait("READY=1", since)
    check_eq(server.client().req("ping"), "ok", "the answer")
    return server


def end(server):
    """All of it, before its clients leave."""
    eventually(lambda: server.signal_members(signal.SIGKILL) == 0, 20, "all are dead")
    server.destroy()


@test("its own addresses are kept by the manager: the next one serves who has come meanwhile",
      rules=["D6"])
def kept():
    manager = Manager()
    path = os.path.join(temp_dir(), "sock")
    reserved = socket.socket()  # of all addresses, and not listened at: nobody else gets it
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("0.0.0.0", 0))
    args = ["--host", "127.0.0.1,127.0.0.2", "--unix-socket", path, "--port",
            reserved.getsockname()[1]]
    first = next_life(manager, args)
    check_eq(manager.kept("own-listener"), 3, "what is kept")
    end(first)
    meanwhile = [Client(("127.0.0.1", first.port)), Client(("127.0.0.2", first.port)),
                 Client(first, unix=path)]
    second = next_life(manager, args)
    for c in meanwhile:
        check_eq(c.req("ping"), "ok", "the answer to one that came meanwhile")
    check_eq(manager.kept("own-listener"), 3, "kept anew")
    end(second)
    # Another address, which an old one is in the way of; and one that is not wanted any more.
    third = next_life(manager, ["--port", first.port, "--host", "0.0.0.0"])
    check_eq((third.port, manager.kept("own-listener")), (first.port, 1),
             "the port, and what is kept")
    since = len(manager.said)
    for c in third.clients:
        c.close()
    third.kill(signal.SIGTERM)
    manager.wait("FDSTOREREMOVE=1", since)
    check_eq((third.exited(20), manager.kept("own-listener")), (0, 0), "the end")


@test("one lock table is kept, the one that is served: also after upgrades to another layout and back",
      rules=["S74", "S76", "D6"], deadline=180)
def one_region():
    manager, program = Manager(), Program()
    server = Server(env={"NOTIFY_SOCKET": manager.path}, program=program.path, expect_exit=None)
    server.start()
    a = server.client()
    tokens = [token_of(a.req("l", "key", "0 100"))]
    other = os.path.join(os.environ["top_builddir"], "tests/upgrade/dflockd")
    for i, target in enumerate((other, os.environ["DFLOCKD"])):
        program.becomes(target)
        since, at = server.mark(), len(manager.said)
        server.kill(signal.SIGUSR2)
        server.wait_log("took over from another master", 20, since)
        manager.wait("READY=1", at)
        eventually(lambda: manager.kept("region") == 1, 20, f"one is kept: {manager.stored}")
        tokens.append(token_of(a.req("l", f"key{i}", "0 100")))
    end(server)
    second = next_life(manager, ["--port", server.port])
    b = second.client()
    check_eq(b.req("l", "key1", "0"), "timeout", "what was granted last is held")
    check_eq(b.req("n", "key", f"{tokens[0]} 90"), "ok 90", "and what was granted first")
    check_eq(b.req("n", "key1", f"{tokens[2]} 90"), "ok 90", "in the table that was served last")
    end(second)


if __name__ == "__main__":
    main()
