"""lib_renew_test.py - libdflock's locks stay held as long as they can be, and are said to be lost when
they cannot: renewals, other connections, losses and their callbacks; by blocking and by an event loop."""

import functools
import os
import signal
import threading
import time

from certs import authority, server_certificate
from harness import (check, check_eq, elapsed, eventually, json_of, main, signal_process, temp_dir,
                     test, token_of)
from puppet import BusyServer, FakeServer, Proxy, Puppet

TOKEN = "0123456789abcdef0123456789abcdef"
# Longer than any pause of the machine that tests run on.
LONG = 20
# Renewed early, each 1.2 s: who does not run for seven seconds has not lost it.
BRISK = {"lease": 9, "ratio": 0.13}
# Longer than that lease.
OUTLIVES = 11


def makers():
    return [("blocking", Puppet.lock, lambda h, *a: h.call(*a)),
            ("driven", Puppet.driven, lambda h, *a: h.drive(*a))]


def both_ways(body):
    @functools.wraps(body)
    def run():
        for maker in makers():
            body(*maker)
    return run


class Recorder:
    """A server with one lock: what it was asked, and when; each answer can be changed."""

    def __init__(self, lease, answers=None):
        self.lease, self.answers = lease, dict(answers or {})
        self.said = []
        self.connections = 0
        self.ended = set()  # numbers of those that the client has ended

    def __call__(self, peer):
        self.connections += 1
        number = self.connections
        while True:
            try:
                request = peer.request()
            except (OSError, EOFError):
                self.ended.add(number)
                raise
            self.said.append((number, *request, time.monotonic()))
            answer = self.answers.get(request[0])
            if callable(answer):
                answer = answer(self)
            if answer is None:
                answer = {"l": f"ok {TOKEN} {self.lease}\n", "e": f"acquired {TOKEN} {self.lease}\n",
                          "n": f"ok {self.lease}\n", "r": "ok\n"}[request[0]]
            if answer == "close":
                return
            peer.say(answer)

    def all(self, command):
        return [x for x in list(self.said) if x[1] == command]

    def wait(self, command, n=1, timeout=LONG):
        eventually(lambda: len(self.all(command)) >= n, timeout, f"{n} times {command}")
        return self.all(command)


@test("a lock outlives its lease, renewed in the background; a semaphore's slot does", rules=["L2"],
      deadline=120)
@both_ways
def renewing(how, make, call):
    with BusyServer() as server, Puppet(server, **BRISK) as p:
        a = make(p, "k")
        client = server.client()
        token = call(a, "acquire")[1]
        b = p.sem("s", 1)
        b.acquire()
        end = elapsed()
        while end() < OUTLIVES:
            check_eq(client.req("l", "k", "0"), "timeout", f"{how}: another at {end():.1f} s")
            check_eq(client.req("sl", "s", "0 1"), "timeout", f"slot: another at {end():.1f} s")
            time.sleep(0.2)
        held, left = a.held()
        check(held and 0 < left <= BRISK["lease"], f"{how}: held {held}, {left} s left")
        check_eq(a.call("token")[0], token, "its token")
        a.release()
        b.release()


@test("renewals: after ratio times lease, earlier by the jitter; for the lease that was set",
      rules=["L2"], deadline=120)
def when_renewed():
    for lease, ratio in ((8, 0.25), (6, 0.2)):
        script = Recorder(lease)
        with FakeServer(script) as fake, Puppet(fake, lease=lease, ratio=ratio) as p:
            p.lock("k").acquire()
            times = [x[4] for x in script.all("l")] + [x[4] for x in script.wait("n", 4)[:4]]
            check_eq(script.all("n")[0][2:4], ("k", f"{TOKEN} {lease}"), "the renewal")
            # When they were read, which may be late: half of what it must be.
            took = times[-1] - times[0]
            check(took > lease * ratio * 0.9 * 4 / 2, f"renewed four times in {took:.3f} s")
    # The server's default lease is asked for by not naming one.
    script = Recorder(6)
    with FakeServer(script) as fake, Puppet(fake, ratio=0.2) as p:
        p.lock("k").acquire()
        check_eq(script.wait("n", 2)[1][3], TOKEN, "a renewal without a lease")


@test("a connection that ends is noticed at once, and the lock renewed over another", rules=["L3"],
      deadline=120)
@both_ways
def reconnecting(how, make, call):
    def ends_once(script):
        if script.connections == 1:
            return "close"
        return None

    # A lease so long that only the end of the connection can be the reason to renew.
    script = Recorder(3000)
    with FakeServer(script) as fake, Puppet(fake, lease=3000) as p:
        a = make(p, "k")
        call(a, "acquire")
        asked = len(script.all("n"))  # 1 after an answer that took long
        fake.cut()
        # Without the cut it would take more than 13 s.
        check_eq(script.wait("n", asked + 1, timeout=10)[asked][0], 2, f"{how}: connections")
        eventually(lambda: a.held()[1] > 2999, LONG, "the lease was not renewed")
        # It could have been lost without this side seeing it: renewed every second for a while.
        script.wait("n", asked + 3)
        check_eq({x[0] for x in script.all("n")[asked:]}, {2}, "the connection of later renewals")
        a.release()
        check_eq(script.wait("r")[0][:4], (2, "r", "k", TOKEN), "the release")
    # The same in the middle of a renewal.
    script = Recorder(60, {"n": ends_once})
    with FakeServer(script) as fake, Puppet(fake, lease=60, ratio=0.02) as p:
        a = make(p, "k")
        call(a, "acquire")
        script.wait("n", 3)
        check_eq(a.held()[0], True, f"{how}: held after a renewal was cut")
        check(script.connections == 2, f"{how}: {script.connections} connections")


@test("no server for a while: tried again, less and less often, until there is one", rules=["L3"],
      deadline=120)
@both_ways
def no_server(how, make, call):
    with BusyServer(["--no-auto-release-on-disconnect"]) as server, Proxy(server) as proxy, \
            Puppet(proxy, lease=30, on_loss="tell") as p:
        a = make(p, "k")
        token = call(a, "acquire")[1]
        proxy.refuse()
        eventually(lambda: proxy.accepted >= 4, LONG, "attempts")
        time.sleep(2)
        check(proxy.accepted < 40, f"{how}: {proxy.accepted} attempts")
        check_eq(a.held()[0], True, f"{how}: held meanwhile")
        proxy.go()
        eventually(lambda: a.held()[1] > 28, LONG, f"{how}: not renewed")
        check_eq(a.call("token")[0], token, "its token")
        a.release()
        check_eq(a.losses, [], "losses")


def to_workers(server, signum):
    """Their pids."""
    pids = server.worker_pids()
    for pid in pids:
        signal_process(pid, signum)
    return pids


def all_workers_die(server):
    dead = to_workers(server, signal.SIGKILL)
    eventually(lambda: len(set(server.worker_pids()) - set(dead)) == 2, LONG, "no workers")


@test("workers and master die: the lock stays held, nobody is told of a loss", rules=["L3"],
      deadline=150)
@both_ways
def server_dies(how, make, call):
    with BusyServer(expect_log=["."]) as server, Puppet(server, lease=40, on_loss="tell") as p:
        a = make(p, "k")
        token = call(a, "acquire")[1]
        all_workers_die(server)
        check_eq(server.client().req("l", "k", "0"), "timeout", f"{how}: after the workers died")
        server.kill(signal.SIGUSR1)  # ends, and keeps what is held
        eventually(lambda: server.proc.poll() is not None, LONG, "the server does not end")
        server.start_again()
        stats = server.client()
        eventually(lambda: json_of(stats.req("stats", "_", ""))["connections"] == 2, LONG,
                   f"{how}: it did not come back")
        check_eq(server.client().req("l", "k", "0"), "timeout", f"{how}: after the restart")
        check_eq(a.call("token")[0], token, "its token")
        check_eq(a.losses, [], "losses")
        a.release()


@test("the server says no: lost at once, told of once, the token stays; release says so",
      rules=["L5", "L6"], deadline=120)
@both_ways
def refused(how, make, call):
    # Long before the lease ends.
    with BusyServer() as server, Puppet(server, lease=100, ratio=0.02, on_loss="tell") as p:
        a = make(p, "k")
        token = call(a, "acquire")[1]
        check_eq(server.client().req("r", "k", token), "ok", "somebody releases it")
        check_eq(a.wait_loss(timeout=LONG)[0], "server", f"{how}: the loss")
        check_eq(a.held(), (False, 0.0), "is_held")
        check_eq(a.call("token")[0], token, "the token")
        if how == "driven":
            check_eq(a.wait("acquire")[0], "server", "dflock_process()")
        check_eq(call(a, "release")[0], "server", "release")
        check_eq(call(a, "release")[0], "state", "release again")
        # Once more, and no release between.
        token = call(a, "acquire")[1]
        check_eq(server.client().req("r", "k", token), "ok", "somebody releases it again")
        a.wait_loss(2, timeout=LONG)
        if how == "driven":
            check_eq(a.wait("acquire")[0], "server", "dflock_process() again")
        check_eq(call(a, "acquire")[0], "held", "acquire again")
        time.sleep(0.5)  # for what must not come
        a.release()
        check_eq(len(a.losses), 2, "losses")


@test("no renewal comes through: lost when the lease ends by this clock, not before; what comes late "
      "does not revive it and is given back", rules=["L4", "L6"], deadline=120)
@both_ways
def expiring(how, make, call):
    script = Recorder(3)
    with FakeServer(script) as fake, Puppet(fake, lease=3, on_loss="tell") as p:
        a = make(p, "k")
        for n in range(1, 6):
            script.answers.pop("n", None)
            took = a.got("acquire")[1]
            last = script.connections
            script.answers["n"] = ""
            error, text = a.wait_loss(n, timeout=LONG)
            if a.driven:
                a.wait("acquire")  # the same, by dflock_process()
            check(took() > 2.5, f"{how}: lost after {took():.3f} s")
            check(error in ("connect", "lease_expired"), f"{error} {text}")
            check_eq(a.held(), (False, 0.0), "is_held")
            check_eq(call(a, "release")[0], "lease_expired", "release")
            # By a release, or by the end of its last connection: if nobody ran when the lease ended
            # there may be no other to say it over.
            eventually(lambda: [x for x in script.all("r") if x[0] >= last] or
                       script.ended >= {last, script.connections}, LONG, "not given back")
            if script.all("r"):
                break
        check(script.all("r"), f"{how}: never given back by a release")
    with FakeServer(Recorder(5)) as fake, Puppet(fake, lease=5, on_loss="tell") as p:
        a = make(p, "k")
        a.got("acquire")
        fake.end()
        check_eq(a.wait_loss(timeout=LONG)[0], "connect", f"{how}: without a server")


@test("an answer to a renewal that is read after the lease's end does not revive it", rules=["L4"],
      deadline=120)
@both_ways
def too_late(how, make, call):
    armed = []

    def renewal(_):
        if not armed:
            return None
        # Longer than what is left of the lease, shorter than a new one.
        os.kill(p.pid, signal.SIGSTOP)
        threading.Timer(3, p.proc.send_signal, (signal.SIGCONT,)).start()
        return None

    script = Recorder(4, {"n": renewal})
    with FakeServer(script) as fake, Puppet(fake, lease=4, on_loss="tell") as p:
        a = make(p, "k")
        a.got("acquire")
        armed.append(True)
        a.wait_loss(timeout=LONG)
        check_eq(a.held()[0], False, f"{how}: is_held")
        script.wait("r")


@test("an error on a connection that was idle at the server is not believed until asked again",
      rules=["L3", "L12"], deadline=120)
def idle_out():
    """Over a second connection nothing is held: the server may end it with "error"."""
    asked = []

    def renewal(script):
        asked.append(script.connections)
        return "error\n" if asked.count(2) == 2 and script.connections == 2 else None

    script = Recorder(300, {"n": renewal})
    with FakeServer(script) as fake, Puppet(fake, lease=300, on_loss="tell") as p:
        a = p.lock("k")
        a.acquire()
        fake.cut()
        eventually(lambda: 3 in asked, LONG, "not asked again")
        check_eq(a.held()[0], True, "held")
        check_eq(a.losses, [], "losses")
        a.release()


@test("the callback may release, acquire again, close; one that blocks holds up nobody",
      rules=["L6"], deadline=120)
def callbacks():
    with BusyServer() as server, Puppet(server, **BRISK) as p:
        handles = {x: p.lock(x, on_loss=x) for x in ("release", "acquire", "close", "block")}
        other = p.lock("other")
        tokens = {x: h.acquire() for x, h in handles.items()}
        other.acquire()
        client = server.client()
        check_eq(client.req("r", "block", tokens.pop("block")), "ok", "the first")
        handles["block"].wait_loss(timeout=LONG)
        for key, token in tokens.items():
            check_eq(client.req("r", key, token), "ok", key)
        check_eq(handles["release"].wait("release", LONG)[0], "server", "release in the callback")
        check_eq(handles["acquire"].wait("acquire", LONG)[0], "held", "acquire in the callback")
        handles["close"].wait_loss(timeout=LONG)
        eventually(lambda: handles["close"].call("release")[0] == "closed", LONG, "not closed")
        time.sleep(OUTLIVES)
        check_eq(other.held()[0], True, "another lock, while a callback blocks")
        check_eq(server.client().req("l", "other", "0"), "timeout", "the same at the server")
        check_eq([len(x.losses) for x in handles.values()], [1] * 4, "losses")


@test("release, close and free wait for a callback that runs; none is called after them", rules=["L6"], deadline=120)
def no_callback_after():
    with BusyServer() as server, Puppet(server, lease=20, ratio=0.05) as p:
        for call in ("release", "close", "free"):
            a = p.lock(call, on_loss="linger")
            check_eq(server.client().req("r", call, a.acquire()), "ok", "the release by another")
            a.wait_loss(timeout=LONG)
            took = elapsed()
            a.call(call)
            check(not a.is_waiting("lingered") or (call != "free" and took() > 1.9),
                  f"{call} while the callback was running, after {took():.3f} s")
        script = Recorder(2)
        with FakeServer(script) as fake:
            # At any moment around the loss.
            handles = [p.lock(f"k{i}", servers=fake.address, lease=2, ratio=0.5, on_loss="tell")
                       for i in range(60)]
            for handle in handles:
                handle.call("acquire")  # which some may not get when the machine is busy
            script.answers["n"] = "error\n"
            for i, handle in enumerate(handles):
                took = elapsed()
                handle.call("release" if i % 2 else "close", timeout=LONG)
                # A callback that runs is waited for for 2 s.
                handle.told = len(handle.losses) if took() < 1.9 else None
                time.sleep(0.01)
            time.sleep(1)
            for handle in handles:
                check(handle.told in (None, len(handle.losses)), "callbacks afterwards")


@test("release: over another connection if need be; 2 s when the server is gone", rules=["L9"],
      deadline=120)
@both_ways
def releasing(how, make, call):
    def first_ends(script):
        return "close" if script.connections == 1 else None

    script = Recorder(300, {"r": first_ends})
    with FakeServer(script) as fake, Puppet(fake, lease=300) as p:
        a = make(p, "k")
        call(a, "acquire")
        if a.release() == "released":
            check_eq([x[0] for x in script.all("r")], [1, 2], "connections that released")
    script = Recorder(300, {"r": ""})
    with FakeServer(script) as fake, Puppet(fake, lease=300) as p:
        a = make(p, "k")
        call(a, "acquire")
        took = elapsed()
        check_eq(call(a, "release")[0], "connect", f"{how}: no answer")
        check(took() > 1.9, f"{how}: gave up after {took():.3f} s")
        script.answers.clear()
        check_eq(call(a, "acquire")[0], "held", f"{how}: it may acquire again")


@test("a client that was stopped past its lease does not take the grant for its own", rules=["L10"],
      deadline=120)
@both_ways
def stopped(how, make, call):
    with BusyServer() as server, Puppet(server, lease=2, acquire_timeout=60, on_loss="tell") as p:
        client = server.client()
        token = token_of(client.req("l", "k", "0 100"))
        a = make(p, "k")
        (a.start if how == "blocking" else a.do)("acquire")
        stats = server.client()
        eventually(lambda: '"waiters":1' in stats.req("stats", "_", ""), LONG, "it does not wait")
        p.pause()
        check_eq(client.req("r", "k", token), "ok", "the release")
        token = token_of(client.req("l", "k", "20 100"))  # after the lease of the one that is stopped
        p.go_on()
        reply = a.wait("acquire", LONG)
        check_eq(reply[0], "lease_expired", f"{how}: {' '.join(reply)}")
        check_eq(a.held()[0], False, "is_held")
        check_eq(client.req("r", "k", token), "ok", "the other's release")
        # Held, and then stopped.
        a.got("acquire")
        p.pause()
        token_of(client.req("l", "k", "20 100"))
        p.go_on()
        check_eq(a.held()[0], False, f"{how}: is_held, the first thing after it")
        a.wait_loss(timeout=LONG)
        check_eq(len(a.losses), 1, "losses")


@test("a grant that was on its way for longer than its lease is nobody's", rules=["L10"], deadline=120)
@both_ways
def late_grant(how, make, call):
    with BusyServer() as server, Proxy(server) as proxy, \
            Puppet(server, servers=proxy.address, lease=2, acquire_timeout=60) as p:
        client, stats = server.client(), server.client()
        token = token_of(client.req("l", "k", "0 100"))
        a = make(p, "k")
        (a.start if how == "blocking" else a.do)("acquire")
        eventually(lambda: '"waiters":1' in stats.req("stats", "_", ""), LONG, "it does not wait")
        proxy.hold()
        check_eq(client.req("r", "k", token), "ok", "the release")
        token_of(client.req("l", "k", "20 100"))  # after the lease of the one that has not heard
        proxy.go()
        reply = a.wait("acquire", LONG)
        check_eq(reply[0], "lease_expired", f"{how}: {' '.join(reply)}")
        check_eq(a.held()[0], False, "is_held")


@test("a wait of more than its lease is followed by a whole lease", rules=["L10"], deadline=120)
def long_wait():
    with BusyServer() as server, Puppet(server, acquire_timeout=60, **BRISK) as p:
        client = server.client()
        token = token_of(client.req("l", "k", "0 100"))
        a = p.lock("k")
        a.start("acquire")
        time.sleep(OUTLIVES)
        check_eq(client.req("r", "k", token), "ok", "the release")
        check_eq(a.wait("acquire", LONG)[0], "held", "the grant")
        check(a.held()[0], "is_held")
        time.sleep(OUTLIVES)
        check(a.held()[0], "is_held later")


@test("a worker that stops, and goes on or is replaced, costs no lock", rules=["L3"], deadline=120)
@both_ways
def server_stopped(how, make, call):
    with BusyServer(expect_log=["."]) as server, \
            Puppet(server, lease=20, ratio=0.3, on_loss="tell") as p:
        a = make(p, "k")
        call(a, "acquire")
        to_workers(server, signal.SIGSTOP)
        time.sleep(9)
        check_eq(server.client().req("l", "k", "0"), "timeout", f"{how}: another")
        check_eq(a.held()[0], True, how)
        check_eq(a.losses, [], "losses")
        a.release()


@test("silent for 15 s at most, however long the lease", rules=["L2"], deadline=90)
def at_most():
    script = Recorder(3000)
    with FakeServer(script) as fake, Puppet(fake, lease=3000) as p:
        p.lock("k").acquire()
        last = list(script.said)[-1]  # a renewal already, if the answer took long
        n = len(script.all("n"))
        after = script.wait("n", n + 1, timeout=50)[n][4] - last[4]
        # When they were read, which may be late: half of what it must be.
        check(after > 13.5 / 2, f"renewed after {after:.1f} s")


@test("over TLS and Unix sockets: renewed, also over other connections", rules=["L2", "L3"],
      deadline=150, needs=["tls"])
@both_ways
def transports(how, make, call):
    path = os.path.join(temp_dir(), "socket")
    with BusyServer([*server_certificate().args, "--unix-socket", path], expect_log=["."]) as server, \
            Puppet(None, on_loss="tell", **BRISK) as p:
        locks = [make(p, "tls", servers=f"localhost:{server.port}", tls_ca_file=authority().cert),
                 make(p, "unix", servers=f"unix:{path}")]
        for a in locks:
            call(a, "acquire")
        time.sleep(OUTLIVES)
        check_eq([a.held()[0] for a in locks], [True] * 2, f"{how}: after their leases")
        # Over TLS a worker's death is the end of its connections, and keeps their slots.
        all_workers_die(server)
        time.sleep(OUTLIVES)
        check_eq([a.held()[0] for a in locks], [True] * 2, f"{how}: after the workers died")
        check_eq([a.losses for a in locks], [[], []], "losses")
        for a in locks:
            a.release()


@test("a child after fork() has locks of its own, which are renewed", rules=["L17"], deadline=120)
def after_fork():
    with BusyServer() as server, Puppet(server, **BRISK) as p:
        a = p.lock("parent")
        a.acquire()
        p.rests()
        p.write("fork", 0, "child")
        check_eq(a.wait("fork", LONG)[0], "held", "in the child")
        time.sleep(OUTLIVES)
        for key in ("parent", "child"):
            check_eq(server.client().req("l", key, "0"), "timeout", f"the lock of the {key}")
        a.release()


if __name__ == "__main__":
    main(jobs=7)
