#!/usr/bin/env python3
"""systemd_test.py - dflockd as a service of a real systemd, pid 1 of a container: installed by make
install, started by sockets, watched, drained, killed. Root; run by make check-systemd."""

import contextlib
import functools
import json
import os
import re
import signal
import socket
import stat

from certs import authority, client_context, text_of
from comeback import Comeback
from container import Container, hang
from harness import (Client, check, check_eq, diag, elapsed, eventually, fail, fence_of, main, test,
                     token_of)
from web import Session, Web

ADDRESS = ("127.0.0.1", 6388)
HTTP = ("127.0.0.1", 6389)
FENCES = "/var/lib/dflockd/fences"
PROGRAM = "/usr/local/sbin/dflockd"
SLOW = 60.0  # seconds for what the manager does
AWAY = 6  # seconds that a test can look at a server that is away, even if it is not run for some
UNITS = ["dflockd.socket", "dflockd-unix.socket", "dflockd-http.socket", "dflockd.service"]

container = Container(os.environ["top_builddir"])


class Service:
    """The units as installed, with drop-ins of the test's."""

    def __init__(self):
        self.since = None

    def drop_in(self, unit, text):
        container.write(f"/etc/systemd/system/{unit}.d/test.conf", text)
        container.run("systemctl", "daemon-reload")

    def systemctl(self, *words, ok=True):
        return container.run("systemctl", *words, ok=ok)

    def show(self, name, unit="dflockd.service"):
        return container.run("systemctl", "show", "--property", name, "--value", unit).strip()

    def state(self):
        return self.show("ActiveState")

    def wait_state(self, state, text=""):
        eventually(lambda: self.state() == state, SLOW, text or f"the service is never {state}")

    def wait_status(self, regex):
        return eventually(lambda: re.search(regex, self.show("StatusText")), SLOW,
                          f"the status is never {regex!r}")

    def processes(self):
        """{pid here: process} of the server."""
        return {pid: p for pid, p in container.processes().items()
                if p.name.startswith("dflockd")}

    def master(self):
        inner = int(self.show("MainPID"))
        return next((pid for pid, p in self.processes().items() if p.inner == inner), None)

    def workers(self):
        """Not the fence writer."""
        return [pid for pid, p in self.processes().items() if p.name.startswith("dflockd-w")]

    def begin(self):
        """What the journal has so far is another test's."""
        container.run("journalctl", "--sync")
        text = container.run("journalctl", "--show-cursor", "--lines=0", "--no-pager")
        self.since = re.search(r"^-- cursor: (.*)$", text, re.M)[1]

    def journal(self):
        """[(priority, line)] since the test began."""
        lines = container.run("journalctl", "--unit=dflockd.service", "--output=json",
                              f"--after-cursor={self.since}", "--no-pager").splitlines()
        return [(int(x["PRIORITY"]), x["MESSAGE"]) for x in map(json.loads, lines)
                if x.get("_SYSTEMD_UNIT") == "dflockd.service" and isinstance(x["MESSAGE"], str)]

    def wait_journal(self, regex):
        """(priority, match)"""
        def look():
            return next(((n, re.search(regex, x)) for n, x in self.journal()
                         if re.search(regex, x)), None)

        return eventually(look, SLOW, f"the journal has no line with {regex!r}")

    def reload(self):
        """Returns when the result is there, which must be a good one."""
        def results():
            return [x for _, x in self.journal() if re.search(r"reload .*result=", x)]

        before = len(results())
        self.systemctl("reload", "dflockd")
        eventually(lambda: len(results()) > before, SLOW, "nothing comes of the reload")
        check("result=done" in results()[before], results()[before])

    def upgrade(self):
        self.systemctl("kill", "--kill-who=main", "--signal=USR2", "dflockd.service")
        self.wait_journal(r"upgraded: all workers run this program")

    def reset(self):
        self.systemctl("stop", *UNITS, ok=False)
        eventually(lambda: not self.processes(), SLOW, "processes are left after a stop")
        self.systemctl("disable", *UNITS, ok=False)
        self.systemctl("reset-failed", ok=False)
        for unit in UNITS:
            container.remove(f"/etc/systemd/system/{unit}.d")
        container.remove("/etc/dflockd")
        # Who starts next shall not wait for the leases of this one's locks.
        container.remove(FENCES)
        container.run("systemctl", "daemon-reload")


def service_test(text, rules, errors=False):
    """A test that gets the service, stopped and as installed, and leaves it so. rules: as of test();
    errors: it may have the server log some."""
    def register(function):
        @functools.wraps(function)
        def body():
            service = Service()
            service.reset()
            service.begin()
            try:
                function(service)
                wrong = [line for priority, line in service.journal() if priority <= 3]
                check(errors or not wrong, f"errors in the journal: {wrong}")
            except BaseException:
                for line in service.journal()[-25:]:
                    diag(f"{line[0]} {line[1]}"[:300])
                diag(service.systemctl("status", "dflockd.service", ok=False))
                raise
            finally:
                service.reset()

        return test(text, deadline=180)(body)

    return register


def connect():
    return Client(ADDRESS, timeout=SLOW)


# --- as installed


@service_test("systemd has nothing to say against the units, and little against their exposure",
              rules=["D1"])
def units(service):
    check_eq(container.run("systemd-analyze", "verify", "--man=no", *UNITS, ok=False).strip(), "",
             "verify")
    text = container.run("systemd-analyze", "security", "--no-pager", "dflockd.service")
    exposure = re.search(r"Overall exposure level for dflockd.service: ([\d.]+)", text)
    check(float(exposure[1]) <= 1.5, f"the exposure is {exposure[1]}")


@service_test("the server runs as its account, without capabilities, and cannot get any",
              rules=["D2"])
def account(service):
    service.systemctl("start", "dflockd")
    uid = int(container.run("id", "-u", "dflockd"))
    running = service.processes()
    check(len(running) >= 2 and uid != 0, f"a master and workers: {len(running)}, uid {uid}")
    for p in running.values():
        check_eq(p.uid, uid, "the user")
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            check_eq(int(p.status[name], 16), 0, name)
        check_eq(p.status["NoNewPrivs"], "1", "no new privileges")
        check_eq(p.status["Seccomp"], "2", "a filter of system calls")
    for path in ("/run/dflockd", "/var/lib/dflockd"):
        info = os.stat(container.path(path))
        check_eq((info.st_uid, stat.S_IMODE(info.st_mode)), (uid, 0o700), path)


@service_test("systemctl start returns when connections are accepted; the status says how many",
              rules=["D3"])
def start(service):
    for _ in range(5):
        service.systemctl("start", "dflockd")
        c = socket.create_connection(ADDRESS, 5)  # at the first attempt
        c.close()
        service.systemctl("stop", "dflockd")
    service.systemctl("start", "dflockd")
    service.wait_status(r"^Serving: (\d+) of \1 workers, connections: 0$")
    clients = [connect() for _ in range(3)]
    check_eq(clients[0].req("ping"), "ok", "the answer")
    service.wait_status(r", connections: 3$")
    check_eq(service.show("NRestarts"), "0", "starts again")


# --- sockets


@service_test("the first connection to dflockd.socket starts the server", rules=["D5"])
def activation(service):
    service.systemctl("enable", "--now", "dflockd.socket")
    check_eq(service.state(), "inactive", "nobody has come yet")
    a = connect()
    token = token_of(a.req("l", "key", "0"))
    service.wait_state("active")
    check_eq(service.wait_journal(r"sockets were passed.* sockets=1")[0], 6, "the priority")
    service.wait_journal(r" listening .*address=127\.0\.0\.1:6388$")
    check_eq(a.req("r", "key", token), "ok", "the release")
    a.close()
    service.systemctl("stop", "dflockd.service")
    check_eq(connect().req("ping"), "ok", "and the next one starts it again")


@service_test("both socket units together; the Unix socket is for the group", rules=["D5"])
def activation_unix(service):
    service.systemctl("enable", "--now", "dflockd.socket", "dflockd-unix.socket")
    path = container.path("/run/dflockd.sock")
    info = os.stat(path)
    check_eq((info.st_gid, stat.S_IMODE(info.st_mode)),
             (int(container.run("id", "-g", "dflockd")), 0o660), "group and mode")
    local = Client(ADDRESS, unix=path, timeout=SLOW)
    token = token_of(local.req("l", "key", "0"))
    far = connect()
    check_eq(far.req("l", "key", "0"), "timeout", "the same table")
    service.wait_journal(r"sockets were passed.* sockets=2")
    service.wait_journal(r"listening .*address=unix:/run/dflockd\.sock$")
    check_eq(local.req("r", "key", token), "ok", "the release")
    for c in (local, far):
        c.close()
    service.systemctl("stop", "dflockd.service")
    check(os.path.exists(path), "a socket of the manager's is not removed")


@service_test("clients that come while the passed socket's server is away wait for the next one",
              rules=["D5"])
def activation_gap(service):
    service.drop_in("dflockd.service", f"[Service]\nRestartSec={AWAY}\n")
    service.systemctl("start", "dflockd.socket")
    check_eq(connect().req("ping"), "ok", "the first one")
    os.kill(service.master(), signal.SIGKILL)
    eventually(lambda: service.state() == "activating", SLOW, "it is to be restarted")
    check_eq(connect().req("ping"), "ok", "the one that came meanwhile")
    check_eq(service.show("NRestarts"), "1", "starts again")


@service_test("the same for addresses that the server bound itself", rules=["D6"])
def store_gap(service):
    hosts = [f"127.0.0.{n}" for n in range(1, 17)]  # as many as there may be
    service.drop_in("dflockd.service", f"[Service]\nRestartSec={AWAY}\n"
                    f"Environment=DFLOCKD_HOST={','.join(hosts)} "
                    "DFLOCKD_UNIX_SOCKET=/run/dflockd/sock\n")
    service.systemctl("start", "dflockd")
    check_eq(connect().req("ping"), "ok", "the first one")
    os.kill(service.master(), signal.SIGKILL)
    eventually(lambda: service.state() == "activating", SLOW, "it is to be restarted")
    waiting = [Client((host, 6388), timeout=SLOW) for host in hosts]
    waiting.append(Client(ADDRESS, unix=container.path("/run/dflockd/sock"), timeout=SLOW))
    for c in waiting:
        check_eq(c.req("ping"), "ok", "one that came meanwhile")
    # Another address: what was kept is not in its way.
    service.drop_in("dflockd.service", "[Service]\nEnvironment=DFLOCKD_HOST=0.0.0.0\n")
    os.kill(service.master(), signal.SIGKILL)
    service.wait_journal(r"listening .*address=0\.0\.0\.0:6388$")
    waiting.append(connect())
    check_eq(waiting[-1].req("ping"), "ok", "there")
    for c in waiting:
        c.close()
    service.systemctl("stop", "dflockd")
    try:
        socket.create_connection(ADDRESS, 5)
        fail("somebody still listens")
    except ConnectionRefusedError:
        pass


@service_test("the first request to dflockd-http.socket starts the server; sessions go on when the master is "
              "killed, and over a restart", rules=["D21", "D15", "D16"])
def activation_http(service):
    service.systemctl("enable", "--now", "dflockd-http.socket")
    check_eq(service.state(), "inactive", "nobody has come yet")
    with Web(HTTP, timeout=SLOW) as web:
        web.get("/health").expect(200)
        check_eq(service.state(), "active", "after the first request")
        check_eq(connect().req("ping"), "ok", "the line protocol at its own address")
    session = Session(HTTP, timeout=SLOW)
    token = session.token("key", lease=1000)
    for how in ("kill", "restart"):
        master = service.master()
        if how == "kill":
            os.kill(master, signal.SIGKILL)
        else:
            service.systemctl("restart", "dflockd")
        eventually(lambda master=master: service.master() not in (None, master), SLOW, "no master")
        if how == "kill":
            # It replaces the worker that it finds, whose connections end with it.
            service.wait_journal(r"took over .*proc=http")
        session.close()
        session.ping().expect(204)
        session.renew("key", token, lease=1000).expect(200)
        eventually(lambda: try_to_get("key") == "timeout", SLOW, f"after the {how}: the lock")
    session.release("key", token).expect(204)
    session.end().expect(204)


def try_to_get(key):
    try:
        return connect().req("l", key, "0")
    except OSError:
        return None


@service_test("requests that come as the next master is about to start are answered by the worker of the last "
              "one", rules=["D21", "D15"])
def activation_http_between(service):
    for blocking in (False, True):
        # A master that waits before its first step: what systemd does to the sockets that it passes is done.
        service.drop_in("dflockd.service", f"[Service]\nNonBlocking={'no' if blocking else 'yes'}\nExecStart=\n"
                        "ExecStart=/bin/sh -c 'test ! -p /run/gate || read x </run/gate; "
                        f"exec {PROGRAM} --fence-state-file=%S/dflockd/fences'\n")
        service.systemctl("enable", "--now", "dflockd-http.socket")
        session = Session(HTTP, timeout=SLOW)
        token = session.token("key", lease=1000)
        worker = next(pid for pid, p in service.processes().items() if p.name == "dflockd-http")
        service.begin()
        with gate("/run/gate"):
            os.kill(service.master(), signal.SIGKILL)
            eventually(lambda: any(p.name == "sh" and p.inner == int(service.show("MainPID"))
                                   for p in container.processes().values()), SLOW, "nobody waits")
            check_eq(blocks(worker), blocking, "a socket blocks")
            for _ in range(3):
                session.close()
                session.ping().expect(204)
        service.wait_journal(r"took over from another master .*workers=3 ")
        service.wait_journal(r"took over .*proc=http")
        session.close()
        session.release("key", token).expect(204)
        session.end().expect(204)
        service.reset()


@contextlib.contextmanager
def gate(path):
    """Who reads it waits until the end of the block."""
    container.run("mkfifo", "--mode=666", path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # nobody waits there
            os.close(os.open(container.path(path), os.O_WRONLY | os.O_NONBLOCK))
        container.remove(path)


def blocks(pid):
    """Whether a worker has a socket that does; the log does not count."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        if int(fd) > 2 and os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:"):
            with open(f"/proc/{pid}/fdinfo/{fd}") as f:
                found.append(int(re.search(r"^flags:\s*(\d+)$", f.read(), re.M)[1], 8) & os.O_NONBLOCK == 0)
    return any(found)


@service_test("dflockd.socket and dflockd-http.socket together serve one table", rules=["D21"])
def activation_both(service):
    service.systemctl("enable", "--now", "dflockd.socket", "dflockd-http.socket")
    session = Session(HTTP, timeout=SLOW)
    token = session.token("key")
    check_eq(connect().req("l", "key", "0"), "timeout", "the lock by the line protocol")
    session.release("key", token).expect(204)
    check_eq(token_of(connect().req("l", "key", "0")) > token, True, "its fence is greater")
    session.end().expect(204)


@service_test("a socket unit that cannot be served is refused with what to change", rules=["D7"], errors=True)
def bad_socket(service):
    service.drop_in("dflockd.socket", "[Socket]\nListenStream=\nListenDatagram=127.0.0.1:6388\n")
    service.systemctl("start", "dflockd.socket")
    service.systemctl("start", "dflockd.service", ok=False)
    priority, _ = service.wait_journal(r"^dflockd: the socket 'lock' that was passed: .*ListenStream=")
    check_eq(priority, 3, "the priority")
    check_eq(service.show("ExecMainStatus"), "78", "the exit status")


# --- life and death


@service_test("a killed worker is replaced: its clients and locks stay", rules=["D4"])
def kill_worker(service):
    service.systemctl("start", "dflockd")
    a, b = connect(), connect()
    token = token_of(a.req("l", "key", "0"))
    b.ask("l", "key", "60")
    for pid in service.workers():
        os.kill(pid, signal.SIGKILL)
    check_eq(a.req("r", "key", token), "ok", "the release")
    token_of(b.line())
    check_eq((service.state(), service.show("NRestarts")), ("active", "0"), "the service")


@service_test("a killed master is started again; meanwhile the workers serve on", rules=["D15"])
def kill_master(service):
    service.drop_in("dflockd.service", f"[Service]\nRestartSec={AWAY}\n")
    service.systemctl("start", "dflockd")
    service.wait_status(r"^Serving: (\d+) of \1 workers")
    a, b = connect(), connect()
    token = token_of(a.req("l", "key", "0"))
    b.ask("l", "key", "100")
    a.req("ping")
    workers = service.workers()
    os.kill(service.master(), signal.SIGKILL)
    eventually(lambda: service.state() == "activating", SLOW, "it is to be restarted")
    check_eq(a.req("n", "key", f"{token} 50"), "ok 50", "a worker's answer")
    service.wait_state("active")
    service.wait_status("connections: 2$")
    check_eq((sorted(service.workers()), service.show("NRestarts")), (sorted(workers), "1"),
             "the workers, and starts")
    check_eq(a.req("r", "key", token), "ok", "the release")
    token_of(b.line())


@service_test("a worker that hangs as the master is killed is ended before another serves its slot", rules=["D15"],
              errors=True)
def kill_master_of_hung(service):
    service.systemctl("start", "dflockd")
    clients = [connect() for _ in range(2)]
    tokens = [token_of(c.req("l", f"key{i}", "0 1000")) for i, c in enumerate(clients)]
    hung = service.workers()[0]
    hang(hung)
    os.kill(service.master(), signal.SIGKILL)
    service.wait_journal("took over from another master")
    check(hung not in service.processes(), "two serve one slot")
    other = connect()
    for i, token in enumerate(tokens):
        check_eq(other.req("n", f"key{i}", f"{token} 900"), "ok 900", "held on")


@service_test("a master that hangs is killed and started again by the watchdog", rules=["D8"])
def watchdog(service):
    service.drop_in("dflockd.service", "[Service]\nWatchdogSec=8\n")
    service.systemctl("start", "dflockd")
    service.wait_status("^Serving")
    a = connect()
    token = token_of(a.req("l", "key", "0"))
    hang(service.master())
    eventually(lambda: service.show("NRestarts") == "1", SLOW, "it is not started again")
    service.wait_state("active")
    check_eq(a.req("r", "key", token), "ok", "the workers have served on")
    check_eq(connect().req("ping"), "ok", "the answer")
    text = container.run("journalctl", "--no-pager", f"--after-cursor={service.since}")
    check("Watchdog timeout" in text, "for another reason")
    # And one that does not is left alone.
    beats = service.show("WatchdogTimestampMonotonic")
    for _ in range(3):
        beats = eventually(lambda last=beats: (x := service.show("WatchdogTimestampMonotonic"))
                           != last and x, SLOW, "no sign of life")
    check_eq(service.show("NRestarts"), "1", "starts again")


@service_test("a restart keeps every lock and fence", rules=["D16"])
def restart(service):
    service.systemctl("start", "dflockd")
    holder = connect()
    token = token_of(holder.req("l", "key", "0 1000"))
    for _ in range(3):
        service.systemctl("restart", "dflockd")
        holder.expect_close()
        other, holder = connect(), connect()
        check_eq(other.req("l", "key", "0"), "timeout", "somebody else")
        check_eq(holder.req("n", "key", f"{token} 1000"), "ok 1000", "the holder, from now on")
        check(fence_of(token_of(other.req("l", "other", "0"))) > fence_of(token), "the fence")
        other.close()
    check_eq(holder.req("r", "key", token), "ok", "the release")
    check_eq((service.show("NRestarts"), service.show("Result")), ("0", "success"), "the service")


@service_test("fences grow over stop and start, and what was held at the stop is nobody's until its lease "
              "has ended", rules=["D19"])
def stop_and_start(service):
    service.drop_in("dflockd.service", "[Service]\nEnvironment=DFLOCKD_SHUTDOWN_TIMEOUT_S=1\n")
    service.systemctl("start", "dflockd")
    fences, took = [0], elapsed()

    def held(reply):
        token = token_of(reply)
        check(fence_of(token) > fences[-1], f"fence {fence_of(token)} after {fences}")
        fences.append(fence_of(token))
        return token

    def again():
        service.systemctl("stop", "dflockd")
        service.systemctl("start", "dflockd")

    holder = connect()
    held(holder.req("l", "key", "0 5"))
    again()
    holder.expect_close()
    holder = connect()
    token = held(holder.req("l", "key", "60"))
    check(took() >= 4.99, f"granted after {took():.2f} s of a lease of 5 s")
    check_eq(holder.req("r", "key", token), "ok", "the release")
    holder.close()
    again()
    holder = connect()
    held(holder.req("l", "key", "0 1000"))
    again()
    other = connect()
    for key in ("key", "another"):
        check_eq(other.req("l", key, "0"), "timeout", "a try while the lease runs")
    check_eq(service.wait_journal(r"no locks yet")[0], 4, "the priority")
    check(os.path.exists(container.path(FENCES)), "the state file")


@service_test("a restart while the master hangs ends all of it, and starts another", rules=["D10"], errors=True)
def restart_hung(service):
    service.drop_in("dflockd.service", "[Service]\nTimeoutStopSec=2\n")
    service.systemctl("start", "dflockd")
    before = set(service.processes())
    for pid in before:
        hang(pid)
    service.systemctl("restart", "dflockd")
    check_eq(connect().req("ping"), "ok", "the answer")
    check_eq(before & set(service.processes()), set(), "processes of the one before")


@service_test("systemctl reload reads the settings again; connections and locks stay",
              rules=["D18"])
def reload(service):
    container.write("/etc/dflockd/dflockd.conf", "max_waiters = 5\n")
    service.systemctl("start", "dflockd")
    holder = connect()
    token = token_of(holder.req("l", "key", "0"))
    container.write("/etc/dflockd/dflockd.conf", "max_waiters = 1\n")
    service.systemctl("reload", "dflockd")
    service.wait_status("^Reloaded: ")
    waiter, refused = connect(), connect()
    check_eq(waiter.req("e", "key", ""), "queued", "the first waiter")
    check_eq(refused.req("e", "key", ""), "error_max_waiters", "the second one")
    check_eq(holder.req("r", "key", token), "ok", "the release")
    token_of(waiter.req("w", "key", "10"))
    check_eq((service.state(), service.show("NRestarts")), ("active", "0"), "the service")


@service_test("SIGUSR2 replaces the program in place, under load: same pid, connections and locks stay",
              rules=["D17"])
def upgrade(service):
    service.systemctl("start", "dflockd.socket")
    a, b = connect(), connect()
    token = token_of(a.req("l", "key", "0"))
    b.ask("l", "key", "100")
    load = Comeback(ADDRESS)
    load.goes_on()
    master, workers = service.master(), set(service.workers())
    service.upgrade()
    check_eq(service.master(), master, "the master's pid")
    check_eq(workers & set(service.workers()), set(), "the old workers")
    load.goes_on()
    load.stop()
    check_eq(load.ends, 0, "connections that ended")
    check_eq(a.req("r", "key", token), "ok", "the release")
    token_of(b.line())
    c = connect()
    check_eq(c.req("ping"), "ok", "a new connection")
    service.wait_status("connections: 3$")
    # It is watched as before.
    beats = service.show("WatchdogTimestampMonotonic")
    eventually(lambda: service.show("WatchdogTimestampMonotonic") != beats, SLOW, "no sign of life")
    check_eq((service.state(), service.show("NRestarts")), ("active", "0"), "the service")


@service_test("a stop waits for clients longer than TimeoutStopSec=, and tells how long",
              rules=["D9"])
def drain(service):
    service.drop_in("dflockd.service", "[Service]\nTimeoutStopSec=2\n"
                    "Environment=DFLOCKD_SHUTDOWN_TIMEOUT_S=120\n")
    service.systemctl("start", "dflockd")
    a, b = connect(), connect()
    token = token_of(a.req("l", "key", "0"))
    b.ask("l", "key", "100")
    service.wait_status("connections: 2$")
    service.systemctl("stop", "--no-block", "dflockd")
    b.expect("error")
    def left():
        found = re.search(r"^Draining, connections left: \d+, (\d+) s at most$",
                          service.show("StatusText"))
        return found and int(found[1])

    first = eventually(left, SLOW, "the status does not tell how long")
    eventually(lambda: (left() or first) <= first - 15, SLOW, "the time does not go by")
    check_eq(service.state(), "deactivating", "the service")
    check_eq(a.req("r", "key", token), "ok", "the release")
    for c in (a, b):
        c.close()
    service.wait_state("inactive")
    check_eq(service.show("Result"), "success", "the result")


def stop_leaves_nothing(service, pids):
    service.drop_in("dflockd.service", "[Service]\nTimeoutStopSec=2\n"
                    "Environment=DFLOCKD_SHUTDOWN_TIMEOUT_S=1\n")
    service.systemctl("start", "dflockd")
    service.wait_status("^Serving")
    for pid in pids(service):
        hang(pid)
    service.systemctl("stop", "dflockd")
    check_eq(sorted(service.processes()), [], "processes left")
    check(not os.path.exists(container.path("/run/dflockd/stop")), "the mark is removed")


@service_test("a stop leaves no process when workers hang", rules=["D10"], errors=True)
def stop_hung_workers(service):
    stop_leaves_nothing(service, Service.workers)


@service_test("a stop leaves no process when the master hangs", rules=["D10"], errors=True)
def stop_hung_master(service):
    stop_leaves_nothing(service, lambda s: [s.master()])


@service_test("a stop leaves no process when all hang", rules=["D10"], errors=True)
def stop_all_hung(service):
    stop_leaves_nothing(service, lambda s: list(s.processes()))


# --- settings


@service_test("secrets come as credentials that only root can read otherwise", rules=["D11"])
def credentials(service):
    container.write("/etc/dflockd/secret", "correct horse\n", 0o600)
    service.drop_in("dflockd.service", "[Service]\nLoadCredential=auth-token:/etc/dflockd/secret\n"
                    "Environment=DFLOCKD_AUTH_TOKEN_FILE=%d/auth-token\n")
    service.systemctl("start", "dflockd")
    check_eq(connect().req("auth", "_", "battery staple"), "error_auth", "a wrong one")
    c = connect()
    check_eq(c.req("auth", "_", "correct horse"), "ok", "the right one")
    token_of(c.req("l", "key", "0"))
    check(not any("horse" in line for _, line in service.journal()), "the log does not have it")


@service_test("a private key that only root can read comes as a credential", rules=["D11"])
def credential_key(service):
    certificate = authority().issue()
    container.write("/etc/dflockd/dflockd.conf", "tls_cert = /etc/dflockd/cert.pem\n")
    container.write("/etc/dflockd/cert.pem", text_of(certificate.cert).decode())
    container.write("/etc/dflockd/key.pem", text_of(certificate.key).decode(), 0o600)
    service.drop_in("dflockd.service", "[Service]\nLoadCredential=tls-key:/etc/dflockd/key.pem\n"
                    "Environment=DFLOCKD_TLS_KEY=%d/tls-key\n")
    service.systemctl("start", "dflockd.socket")
    for _ in range(2):
        c = Client(ADDRESS, timeout=SLOW, tls=client_context())
        check_eq(c.req("r", "key", token_of(c.req("l", "key", "0"))), "ok", "the release")
        service.reload()  # it is still there


@service_test("wrong settings: the journal has each as an error, and it is not tried again",
              rules=["D12"], errors=True)
def wrong_settings(service):
    service.drop_in("dflockd.service", "[Service]\nEnvironment=DFLOCKD_PORT=abc\n"
                    "Environment=DFLOCKD_MAX_LOCKS=-1\n")
    check("failed" in service.systemctl("start", "dflockd", ok=False), "start must fail")
    for regex in (r"^dflockd: DFLOCKD_PORT: 'abc'", r"^dflockd: DFLOCKD_MAX_LOCKS:"):
        check_eq(service.wait_journal(regex)[0], 3, "the priority")
    check_eq((service.show("ActiveState"), service.show("ExecMainStatus"),
              service.show("NRestarts")), ("failed", "78", "0"), "the service")


@service_test("an address in use: an error in the journal, tried again until it is free",
              rules=["D12"], errors=True)
def address_in_use(service):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(ADDRESS)
        other.listen()
        check("failed" in service.systemctl("start", "dflockd", ok=False), "start must fail")
        check_eq(service.wait_journal(r"^dflockd: cannot listen on 127\.0\.0\.1 port 6388")[0], 3,
                 "the priority")
        eventually(lambda: int(service.show("NRestarts")) >= 3, SLOW, "it is tried again")
    service.wait_state("active")
    check_eq(connect().req("ping"), "ok", "the answer")


@service_test("lines of the log have their priorities in the journal, as JSON too", rules=["D13"])
def priorities(service):
    for level in ("text", "json"):
        service.drop_in("dflockd.service", f"[Service]\nEnvironment=DFLOCKD_LOG_FORMAT={level}\n")
        service.systemctl("start", "dflockd")
        for regex, want in ((r"dflockd starts", 6), (r"the fence state file is new", 4)):
            regex = regex if level == "text" else r'^\{"time.*' + regex
            check_eq(service.wait_journal(regex)[0], want, f"priority of {regex}")
        service.systemctl("stop", "dflockd")
        container.remove(FENCES)


# --- all of it


class Files:
    """Settings, a certificate and secrets as an administrator has them: not for everybody to read."""

    def __init__(self):
        self.group = int(container.run("id", "-g", "dflockd"))
        self.write("dflockd.conf", "tls_cert = /etc/dflockd/cert.pem\ntls_key = /etc/dflockd/key.pem\n"
                   "auth_token_file = /etc/dflockd/auth-token\n")

    def write(self, name, text):
        container.write(f"/etc/dflockd/{name}", text, 0o640, self.group)

    def certificate(self, certificate):
        self.write("cert.pem", text_of(certificate.cert).decode())
        self.write("key.pem", text_of(certificate.key).decode())

    def secrets(self, *secrets):
        self.write("auth-token", "".join(x + "\n" for x in secrets))


@service_test("with TLS and secrets, started by its socket: a reload rotates both, and an upgrade and a "
              "restart under load lose no lock", rules=["D20"])
def done_when(service):
    files, context = Files(), client_context()
    files.certificate(authority().issue())
    files.secrets("correct horse")

    def come(secret):
        """(a client, what it was told)"""
        c = Client(ADDRESS, timeout=SLOW, tls=context)
        return c, c.req("auth", "_", secret)

    def admitted(secret):
        c, told = come(secret)
        check_eq(told, "ok", f"the secret {secret!r}")
        return c

    def serial(client):
        return client.tls.ssl.getpeercert()["serialNumber"]

    def still_held():
        check_eq(admitted("battery staple").req("l", "key", "0"), "timeout", "another one's try")
        check_eq(holder.req("n", "key", f"{token} 1000"), "ok 1000", "the renewal")

    service.systemctl("enable", "--now", "dflockd.socket")
    check_eq(service.state(), "inactive", "nobody has come yet")
    holder = admitted("correct horse")
    token = token_of(holder.req("l", "key", "0 1000"))
    check_eq(come("battery staple")[1], "error_auth", "a secret that is not one yet")
    load = Comeback(ADDRESS, context, "correct horse")
    load.goes_on()

    files.certificate(authority().issue())
    files.secrets("correct horse", "battery staple")
    service.reload()
    for secret in ("correct horse", "battery staple"):
        check(serial(admitted(secret)) != serial(holder), "the certificate is another one")
    still_held()
    load.secret = "battery staple"
    files.secrets("battery staple")
    service.reload()
    check_eq(come("correct horse")[1], "error_auth", "a secret that is none any more")
    still_held()
    load.goes_on()
    check_eq(load.ends, 0, "connections that ended")

    master = service.master()
    for replace in (service.upgrade, lambda: service.systemctl("restart", "dflockd")):
        ends = load.ends
        replace()
        holder.expect_close()
        load.goes_on()
        check(load.ends > ends, "TLS connections end")
        holder = admitted("battery staple")
        still_held()
        if replace == service.upgrade:
            check_eq(service.master(), master, "the master's pid")
    load.stop()
    check_eq(holder.req("r", "key", token), "ok", "the release")
    token_of(holder.req("l", "key", "0"))
    check_eq((service.state(), service.show("NRestarts")), ("active", "0"), "the service")


if __name__ == "__main__":
    container.boot()
    container.run("systemd-sysusers")  # as a package would when it is installed
    main(jobs=1)
