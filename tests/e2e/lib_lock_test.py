"""lib_lock_test.py - libdflock's locks: what each call comes to, cancelling, closing, misuse; by
blocking and by an event loop; with a real server, and with ones that say what no dflockd says."""

import os
import signal
import subprocess
import time

from harness import check, check_eq, elapsed, eventually, in_threads, main, test, token_of
from puppet import BUILD, BusyServer, FakeServer, Puppet

TOKEN = "0123456789abcdef0123456789abcdef"
# Longer than all that a busy machine does to a call.
LONG = 40


def until_free(server, key):
    """At once, but that a release may not have been heard."""
    eventually(lambda: not is_busy(server, key), 10, f"{key} is still held")


def is_busy(server, key):
    client = server.client()
    reply = client.req("l", key, "0")
    if reply != "timeout":
        check_eq(client.req("r", key, token_of(reply)), "ok", "the release")
    return reply == "timeout"


def until_queued(server, key, n=1):
    client = server.client()
    eventually(lambda: f'"key":"{key}","owner_conn_id"' in client.req("stats", "_", "") and
               any(f'"key":"{key}"' in x and f'"waiters":{n}' in x
                   for x in client.req("stats", "_", "").split("}")), 10, "nobody queues")


def makers():
    """(how, a function that makes a handle, one that calls it)"""
    return [("blocking", lambda p, *a, **k: p.lock(*a, **k), lambda h, *a: h.call(*a)),
            ("driven", lambda p, *a, **k: p.driven(*a, **k), lambda h, *a: h.drive(*a))]


@test("acquire: held, timed out after the timeout, fractions too; release; acquire again",
      rules=["L1", "L13"])
def acquiring():
    with BusyServer() as server, Puppet(server, lease=20) as p:
        for how, make, call in makers():
            a = make(p, how)
            none, some, whole = [make(p, how, acquire_timeout=x) for x in (0, 0.3, 1)]
            got = call(a, "acquire")
            check_eq(got[0::2], ["held", "20"], f"{how}: acquire")
            check(is_busy(server, how), f"{how}: the server knows nothing of it")
            check_eq(call(none, "acquire"), ["timed_out"], f"{how}: a try")
            for handle, least in ((some, 0.3), (whole, 1)):
                took = elapsed()
                check_eq(call(handle, "acquire"), ["timed_out"], f"{how}: in time")
                check(took() > least - 0.05, f"{how}: {least} s came to {took():.3f}")
            check_eq(a.call("token")[:2], [got[1], str(int(got[1][:16], 16))], "token, fence")
            a.release()
            check_eq(a.call("token")[0], got[1], "the token after the release")
            until_free(server, how)
            check_eq(call(a, "acquire")[0], "held", f"{how}: acquire again")
            a.release()
            eventually(lambda: call(some, "acquire")[0] == "held", 10,
                       f"{how}: acquire after a timeout")
            a = make(p, how, acquire_timeout=0)
            some.release()
            eventually(lambda: call(a, "acquire")[0] == "held", 10, f"{how}: it is free")
            a.release()
            eventually(lambda: call(some, "acquire")[0] == "held", 10, f"{how}: it is taken")
            check_eq(call(a, "acquire"), ["timed_out"], f"{how}: a try in vain")
            check_eq(a.call("token")[-2:], ["0", "0"], f"{how}: fence and lease of before are gone")


@test("the server is told whole seconds, lease and limit; commands of semaphores", rules=["L1"])
def wire():
    heard = []

    def script(peer):
        while True:
            request = peer.request()
            heard.append(request)
            peer.say({"l": f"ok {TOKEN} 7\n", "sl": f"ok {TOKEN} 7\n", "e": "queued\n",
                      "se": f"acquired {TOKEN} 7\n", "w": f"ok {TOKEN} 7\n", "n": "ok 7\n",
                      "sn": "ok 7\n"}.get(request[0], "ok\n"))

    with FakeServer(script) as fake, Puppet(fake) as p:
        # Long enough for a machine that is busy, in all of it.
        a = p.lock("k", acquire_timeout=20.25, lease=7)
        check_eq(a.call("acquire", timeout=LONG), ["held", TOKEN, "7"], "a lock")
        a.release()
        b = p.sem("s", 3, acquire_timeout=0)
        check_eq(b.call("acquire")[0], "held", "a slot")
        b.release()
        check_eq(b.call("enqueue")[0], "held", "a place")
        b.release()
        check_eq(a.call("enqueue"), ["queued"], "a place")
        check_eq(a.call("wait", 20.5, timeout=LONG)[0], "held", "the wait")
        a.release()
        # What took long is renewed, which is not what this is about.
        said = [x for x in heard if x[0] not in ("n", "sn")]
        check_eq(said, [("l", "k", "21 7"), ("r", "k", TOKEN), ("sl", "s", "0 3"),
                        ("sr", "s", TOKEN), ("se", "s", "3"), ("sr", "s", TOKEN), ("e", "k", "7"),
                        ("w", "k", "21"), ("r", "k", TOKEN)], "the requests")


@test("semaphores: as many as the limit; another limit is an error", rules=["L1", "L16"])
def semaphores():
    with BusyServer() as server, Puppet(server) as p:
        a, b, c = [p.sem("s", 2, acquire_timeout=0) for _ in range(3)]
        check_eq([x.call("acquire")[0] for x in (a, b, c)], ["held", "held", "timed_out"], "three")
        a.release()
        eventually(lambda: c.call("acquire")[0] == "held", 20, "after a release")
        check_eq(p.sem("s", 3).call("acquire")[0], "limit_mismatch", "another limit")


@test("two phases: held or queued, then held or timed out; a place is left by release",
      rules=["L11", "L13"])
def two_phases():
    with BusyServer() as server, Puppet(server, lease=20) as p:
        for how, make, call in makers():
            a, b = make(p, how), make(p, how)
            check_eq(call(a, "enqueue")[0], "held", f"{how}: the first")
            check_eq(call(a, "wait", 0)[0], "held", f"{how}: its second phase")
            check_eq(call(a, "wait", 0)[0], "state", f"{how}: a third")
            check_eq(call(b, "enqueue"), ["queued"], f"{how}: the second")
            check_eq(call(b, "enqueue")[0], "state", f"{how}: twice")
            check_eq(call(b, "acquire")[0], "state", f"{how}: acquire in the queue")
            check_eq(call(b, "wait", 0.2), ["timed_out"], f"{how}: in vain")
            check_eq(call(b, "wait", 1)[0], "state", f"{how}: the place is given up")
            check_eq(call(b, "enqueue"), ["queued"], f"{how}: again")
            check_eq(call(b, "release"), ["released"], f"{how}: leaves the queue")
            check_eq(call(b, "enqueue"), ["queued"], f"{how}: once more")
            a.release()
            check_eq(call(b, "wait", 10)[0], "held", f"{how}: the second's turn")
            b.release()
            until_free(server, how)


@test("a first phase whose answer took long is followed by a second one as any other",
      rules=["L10", "L11", "L13"])
def slow_first_phase():
    def script(peer):
        while True:
            command = peer.request()[0]
            if command == "e":
                time.sleep(2.5)
            peer.say({"e": f"acquired {TOKEN} 30\n", "n": "ok 30\n"}.get(command, "ok\n"))

    with FakeServer(script) as fake, Puppet(fake, lease=30) as p:
        for how, make, call in makers():
            a = make(p, how)
            check_eq(call(a, "enqueue")[0], "held", f"{how}: the first phase")
            check_eq(call(a, "wait", 0)[0], "held", f"{how}: the second")
            check_eq(call(a, "wait", 0)[0], "state", f"{how}: a third")


@test("a grant that nobody fetched until its lease ended is an error", rules=["L11", "L16"])
def not_fetched():
    with BusyServer() as server, Puppet(server, lease=20) as p:
        a, b, c = p.lock("k"), p.lock("k", lease=1), p.lock("k")
        a.acquire()
        check_eq(b.call("enqueue"), ["queued"], "a place")
        a.release()
        c.acquire()  # after the lease of b's grant
        check_eq(b.call("wait", 1)[0], "lease_expired", "the wait")
        check_eq(b.call("enqueue"), ["queued"], "another place")


@test("cancel: the call that blocks returns soon, whatever it is; the handle goes on", rules=["L7"])
def cancelling():
    with BusyServer() as server, Puppet(server, lease=20, acquire_timeout=60) as p:
        a, b = p.lock("k"), p.lock("k")
        check_eq(b.call("cancel"), ["state"], "nothing to cancel")
        a.acquire()
        for call, first in (("acquire", None), ("wait", "enqueue")):
            if first:
                check_eq(b.call(first), ["queued"], first)
            b.start(call, 60)
            until_queued(server, "k")
            # The place in the queue is there before the wait is.
            eventually(lambda: b.call("cancel") == ["0"], 10, f"nothing to cancel for {call}")
            check_eq(b.wait(call)[0], "cancelled", call)
            until_queued(server, "k", 0)
        driven = p.driven("k")
        driven.do("acquire")
        until_queued(server, "k")
        driven.do("cancel")
        check_eq([driven.wait("cancel")[0] for _ in range(2)], ["timed_out", "cancelled"],
                 "0 from dflock_cancel(), then what dflock_process() says")
        b.start("acquire")
        until_queued(server, "k")
        a.release()
        check_eq(b.wait("acquire")[0], "held", "after all that")


@test("thousands of cancels that race with grants leave nothing held", rules=["L7"], deadline=240)
def cancel_storm():
    # A busy machine: the master may take a worker that does not run for one that hangs.
    with BusyServer(expect_log=["."]) as server:
        done = subprocess.run([os.path.join(BUILD, "tests/client/storm"), str(server.port), "6000"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=200)
        check_eq(done.returncode, 0, done.stdout[-500:])
        # What was cancelled is released when the server sees the connection end.
        for key in ("storm-0", "storm-1"):
            eventually(lambda key=key: not is_busy(server, key), 20, f"{key} is held")
        client = server.client()
        for _ in range(2):
            eventually(lambda: client.req("sl", "storm-s", "0 2")[:2] == "ok", 20, "a slot is held")


@test("close: ends what blocks, releases what is held, and nothing works after it", rules=["L8"])
def closing():
    with BusyServer() as server, Puppet(server, lease=20, acquire_timeout=60) as p:
        a, b = p.lock("k"), p.lock("k")
        a.acquire()
        b.start("acquire")
        until_queued(server, "k")
        b.call("close")
        check_eq(b.wait("acquire")[0], "cancelled", "what blocked")
        a.call("close")
        eventually(lambda: not is_busy(server, "k"), 10, "it is still held")
        for call in ("acquire", "enqueue", "wait", "release"):
            check_eq(a.call(call, 1)[0], "closed", call)
        check_eq(a.held(), (False, 0.0), "is_held")
        a.call("free")
        b.call("free")


@test("calls at the wrong time are errors, and change nothing", rules=["L14"])
def misuse():
    with BusyServer() as server, Puppet(server, lease=20, acquire_timeout=60) as p:
        a, b = p.lock("k"), p.lock("k")
        check_eq(a.call("release")[0], "state", "release of nothing")
        check_eq(a.call("wait", 1)[0], "state", "wait without enqueue")
        a.acquire()
        for call in ("acquire", "enqueue", "wait"):
            check_eq(a.call(call, 1)[0], "state", f"{call} of what is held")
        check_eq(a.held()[0], True, "after that")
        b.start("acquire")
        until_queued(server, "k")
        check_eq(b.call("release")[0], "state", "release beside an acquire")
        b.start("enqueue")
        check_eq(b.wait("enqueue")[0], "state", "another call beside it")
        b.call("driver")
        check_eq(b.drive("enqueue")[0], "state", "an event loop beside it")
        b.call("cancel")
        check_eq(b.wait("acquire")[0], "cancelled", "the first call")
        check_eq(b.drive("acquire")[0], "state", "an event loop for one that blocks")
        driven = p.driven("other")
        check_eq(driven.drive("acquire")[0], "held", "an event loop")
        check_eq(driven.call("release")[0], "state", "a blocking call for one with an event loop")
        check_eq(p.lock("x" * 257).made[:2], ["NULL", "dflock_lock_new:"], "a long key")
        check_eq(p.sem("x", 0).made[:2], ["NULL", "dflock_semaphore_new:"], "no limit")
        check_eq(p.sem("x", 1048577).made[0], "NULL", "a large limit")
        check_eq(a.held()[0], True, "in the end")


@test("with_lock: the function runs while it is held, and only then", rules=["L1"])
def with_lock():
    with BusyServer() as server, Puppet(server, lease=20) as p:
        a, b = p.lock("k"), p.lock("k", acquire_timeout=0)
        a.start("with", -1)
        check_eq(a.wait("inside"), ["1"], "is_held inside")
        check_eq(b.call("with", 0)[:2], ["0", "-1"], "beside it")
        p.write("leave", 0)
        check_eq(a.wait("with")[:2], ["1", "42"], "what came of it")
        until_free(server, "k")
        check_eq(b.call("with", 0)[:2], ["1", "42"], "after it")


@test("each refusal of the server has its error", rules=["L16"])
def refusals():
    with BusyServer(["--max-locks", "2", "--max-waiters", "1"]) as server, Puppet(server) as p:
        p.lock("a").acquire()
        p.lock("b").acquire()
        check_eq(p.lock("c").call("acquire")[0], "max_locks", "a full table")
        check_eq(p.lock("a").call("enqueue"), ["queued"], "the first waiter")
        check_eq(p.lock("a").call("acquire")[0], "max_waiters", "a full queue")
        check_eq(p.lock("a").call("enqueue")[0], "max_waiters", "a full queue, by enqueue")
    with BusyServer(["--auth-token", "secret"]) as server, Puppet(server) as p:
        check_eq(p.lock("a").call("acquire")[0], "auth", "no secret")
        check_eq(p.lock("a", auth_token="other").call("acquire")[0], "auth", "another secret")
        check_eq(p.lock("a", auth_token="secret").call("acquire")[0], "held", "the secret")
    # A server that has none refuses it, and would serve whoever goes on: nothing may be got.
    with BusyServer() as server, Puppet(server) as p:
        for call in ("acquire", "enqueue"):
            for name, make, does in makers():
                key = f"{call}-{name}"
                asker = make(p, key, auth_token="secret")
                check_eq(does(asker, call)[0], "auth", f"{key}: a secret for a server without one")
                check(not asker.held()[0], "it is not held")
                check_eq(p.lock(key, acquire_timeout=0).call("acquire")[0], "held", "somebody else")
    with BusyServer() as server, Puppet(server, lease=20) as p:
        a, b, c = p.lock("a"), p.lock("b"), p.lock("a", acquire_timeout=60)
        a.acquire()
        b.acquire()
        b.release()
        c.start("acquire")
        until_queued(server, "a")
        server.kill(signal.SIGTERM)
        check_eq(c.wait("acquire")[0], "server", "who waits when the drain begins")
        check(b.call("acquire")[0] in ("draining", "connect"), "who asks later")
        check_eq(p.lock("a").call("acquire")[0], "connect", "who comes later")
        a.release()
        server.stop()


@test("answers that no dflockd gives are protocol errors; none is an error of the connection",
      rules=["L18"])
def nonsense():
    for answer, kind in (("what?\n", "protocol"), (f"ok {TOKEN}\n", "protocol"), ("ok\n", "protocol"),
                         (f"acquired {TOKEN} 3\n", "protocol"), (f"ok {TOKEN.upper()} 3\n", "protocol"),
                         ("x" * 100000, "protocol"), (f"ok {TOKEN} 3", "connect"), ("", "connect"),
                         ("error\n", "server"), ("timeout\n", "timed_out")):
        def script(peer, answer=answer):
            peer.request()
            peer.say(answer)

        with FakeServer(script) as fake, Puppet(fake) as p:
            reply = p.lock("k").call("acquire")
            check_eq(reply[0], kind, f"{answer[:40]!r} ({' '.join(reply)})")
            check_eq(fake.accepted, 1, f"connections for {answer[:40]!r}")


@test("a server that does not answer: connect, after the timeout and the connect timeout",
      rules=["L1", "L18"])
def silence():
    with FakeServer(lambda peer: peer.wait_end()) as fake, \
            Puppet(fake, connect_timeout=1) as p:
        for call, timeout, least in (("acquire", 0, 1), ("acquire", 1, 2), ("enqueue", 1, 1)):
            took = elapsed()
            reply = p.lock("k", acquire_timeout=timeout).call(call)
            check_eq(reply[0], "connect", f"{call} ({' '.join(reply)})")
            check(took() > least - 0.05, f"{call} with {timeout}: {took():.3f} s")
        for how, make, call in makers():
            own = make(p, "k", acquire_timeout=0.3, connect_timeout=60)
            check_eq(call(own, "acquire"), ["timed_out"], f"{how}: the client's own timer")


@test("a connection that the server closed while it was idle is not an error", rules=["L12"])
def idle_connections():
    def script(peer):
        acquired = False
        while True:
            command = peer.request()[0]
            if command == "l" and acquired:  # crosses with the end of an idle connection
                peer.say(ends.pop())
                return
            acquired = acquired or command == "l"
            peer.say({"l": f"ok {TOKEN} 30\n", "n": "ok 30\n"}.get(command, "ok\n"))

    ends = ["", "error\n"] * 2
    with FakeServer(script) as fake, Puppet(fake) as p:
        for _ in range(2):
            a = p.lock("k")
            for n in range(3):
                took = elapsed()
                reply = a.call("acquire")
                # Whoever does not run for 2 s meanwhile does not try again, and says so.
                if reply[0] in ("connect", "server") and took() > 1.9:
                    reply = a.call("acquire")
                check_eq(reply[0], "held", f"acquire {n} ({' '.join(reply)})")
                a.release()
            a.call("close")
    with BusyServer(["--read-timeout", "2"]) as server, Puppet(server, lease=20) as p:
        a = p.lock("k")
        for _ in range(2):
            a.acquire()
            a.release()
            # Its end is noticed, though nobody calls: one descriptor less.
            fds = f"/proc/{p.pid}/fd"
            eventually(lambda: not any("socket:" in os.readlink(f"{fds}/{x}")
                                       for x in os.listdir(fds)), 20, "the socket stays")


@test("one thread for all that is held, which blocks all signals; none for what is not",
      rules=["L15"], deadline=120)
def one_thread():
    with BusyServer() as server, Puppet(server, lease=20) as p:
        def name_of(thread):
            try:
                with open(f"/proc/{p.pid}/task/{thread}/comm") as f:
                    return f.read()
            except OSError:  # it has just ended
                return ""

        def threads():
            return [x for x in os.listdir(f"/proc/{p.pid}/task") if name_of(x) == "dflock\n"]

        locks = [p.lock(f"k{i}") for i in range(20)]
        p.driven("driven").drive("acquire")
        check_eq(threads(), [], "threads before")
        in_threads(lambda x: x.acquire(), locks)
        # Who starts it names it then.
        found = eventually(threads, 10, "no thread while 20 are held")
        check_eq(len(found), 1, "threads while 20 are held")
        with open(f"/proc/{p.pid}/task/{found[0]}/status") as f:
            blocked = int([x.split()[1] for x in f if x.startswith("SigBlk")][0], 16)
        # All but KILL, STOP and the two that glibc keeps for itself.
        check_eq(blocked | 1 << 8 | 1 << 18 | 3 << 31, (1 << 64) - 1, "its signals")
        in_threads(lambda x: x.release(), locks)
        eventually(lambda: not threads(), 40, "the thread does not end")
        locks[0].acquire()
        check_eq(len(eventually(threads, 10, "no thread when one is held again")), 1,
                 "threads when one is held again")
        in_threads(lambda x: x.call("free"), locks)
        eventually(lambda: not threads(), 20, "the thread outlives the handles")
        check_eq(p.end(), 0, "the exit code")


if __name__ == "__main__":
    main()
