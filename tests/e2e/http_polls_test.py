#!/usr/bin/env python3
"""http_polls_test.py - long polls: requests of one session in order, clients that leave, races of grants
with the end of a wait, very many at once, drain."""

import os
import random
import resource
import signal
import time

from harness import (BRIEF, check, check_eq, diag, elapsed, eventually, fence_of, in_threads, main,
                     poll_in, test, token_of, waiters)
from web import Raw, Session, WebServer

# A session that holds something keeps a server that drains: not for long here. And clients of the line
# protocol may be silent while the test is kept busy.
PATIENT = ["--shutdown-timeout", "1", "--read-timeout", "300"]


def poll(session, key, what="", **body):
    """Asks without waiting for the answer."""
    session.ask("POST", f"/v1/locks/{key}{what}", body or {"acquire_timeout_s": 1000})


def raw_poll(server, session, key, what="", body='{"acquire_timeout_s":1000,"lease_ttl_s":1000}'):
    raw = server.raw()
    raw.ask_http("POST", f"/v1/locks/{key}{what}", [("X-Dflockd-Session", session.id)], body.encode())
    return raw


@test("behind a long poll the others of its session stand in line; release, renew, ping do not",
      rules=["J13"])
def one_after_another():
    with WebServer(PATIENT) as server:
        tcp, look, s = server.client(), server.client(), server.session()
        other, line = server.session(), [Session(server, id=s.id) for _ in range(4)]
        own = s.token("own", lease=1000)
        busy = token_of(tcp.req("l", "busy", "0 1000"))
        poll(line[0], "busy")
        eventually(lambda: waiters(look, "busy") == 1, 20, "the long poll")
        poll(line[1], "free-1", acquire_timeout_s=0, lease_ttl_s=1000)
        # Whether it is in line can be seen from nobody; that it does not pass, always.
        s.renew("own", own, 2000).expect(200)
        s.ping().expect(204)
        poll(line[2], "free-2", "/enqueue", lease_ttl_s=1000)
        s.release("own", own).expect(204)
        check_eq(tcp.req("l", "free-1", "0 1000")[:3], "ok ", "the key of the second in line is free")
        check_eq(tcp.req("r", "busy", busy), "ok", "the release")
        check_eq(line[0].answer().expect(200)["status"], "ok", "the first")
        check_eq(line[1].answer().expect(200)["status"], "timeout", "the second, for a busy key now")
        check_eq(line[2].answer().expect(200)["status"], "acquired", "the third")
        check_eq(line[2].wait("free-2", 0).expect(200)["status"], "ok", "its wait")
        other.token("other")


@test("a client that leaves a long poll, by FIN or reset: its place is gone, its session lives",
      rules=["J15"], deadline=60)
def leaves():
    with WebServer(PATIENT) as server:
        tcp, look, s = server.client(), server.client(), server.session()
        token = token_of(tcp.req("l", "key", "0 1000"))
        worst = 0
        for how in ("reset", "close", "half_close") * 3:
            for what in ("", "/wait"):
                if what:
                    check_eq(s.enqueue("key").expect(200)["status"], "queued", "the enqueue")
                raw = raw_poll(server, s, "key", what, '{"timeout_s":1000}' if what else
                               '{"acquire_timeout_s":1000}')
                # What was asked before has been read when several later requests are answered.
                for _ in range(10):
                    s.ping().expect(204)
                eventually(lambda: waiters(look, "key") == 1, 20, "it waits")
                took = elapsed()
                getattr(raw, how)()
                eventually(lambda: waiters(look, "key") == 0, 20, f"its place after {how}{what}")
                worst = max(worst, took())
                s.ping().expect(204)
                if what:
                    s.wait("key", 0).expect(409, "not_enqueued")
        diag(f"the slowest was noticed after {worst * 1000:.0f} ms")
        check_eq(tcp.req("r", "key", token), "ok", "the release")
        s.token("key")


@test("who leaves while it stands in line behind a long poll is forgotten", rules=["J13", "J15"])
def leaves_line():
    with WebServer(PATIENT) as server:
        tcp, look, s = server.client(), server.client(), server.session()
        token = token_of(tcp.req("l", "key", "0 1000"))
        first = raw_poll(server, s, "key")
        eventually(lambda: waiters(look, "key") == 1, 20, "the first")
        for how in ("reset", "close") * 5:
            getattr(raw_poll(server, s, "never"), how)()
        check_eq(tcp.req("r", "key", token), "ok", "the release")
        check_eq(first.reply().expect(200)["status"], "ok", "the first")
        s.ping().expect(204)


@test("who leaves with several requests of a session leaves nothing: what comes into turn behind a long "
      "poll is not granted to nobody", rules=["J13", "J15"], deadline=120)
def leaves_with_all():
    with WebServer(PATIENT) as server:
        tcp, look, other = server.client(), server.client(), server.session()
        token_of(tcp.req("l", "key", "0 100000"))
        for i in range(8 if BRIEF else 24):
            s, enqueued = server.session(), i % 4 == 3
            if enqueued:
                check_eq(s.enqueue("key").expect(200)["status"], "queued", "an enqueue")
            raws = [raw_poll(server, s, "key", "/wait", '{"timeout_s":1000}') if enqueued else
                    raw_poll(server, s, "key")]
            raws += [raw_poll(server, s, f"behind-{i}") for _ in range(2)]
            with Session(server, id=s.id) as behind:
                behind.renew("key", "0" * 32).expect(404)  # what came before it has been read
            eventually(lambda: waiters(look, "key") == 1, 20, "the poll")
            pid = server.http_pid()
            os.kill(pid, signal.SIGSTOP)  # it hears of all at once, the poll's end first
            for raw in raws:
                getattr(raw, "reset" if i % 2 else "close")()
            os.kill(pid, signal.SIGCONT)
            eventually(lambda: waiters(look, "key") == 0, 20, "the poll is gone")
            s.ping().expect(204)
            check_eq(other.acquire(f"behind-{i}", 0).expect(200)["status"], "ok", "a lock that nobody has")
            s.end().expect(204)
            s.close()
        other.end().expect(204)


@test("a grant that races with its client's leaving is delivered or passed on", rules=["J15"],
      deadline=120)
def leaving_races():
    with WebServer(PATIENT) as server:
        look, holder, s, last = (server.client(), server.client(), server.session(),
                                 server.session())
        passed = 0
        for i in range(20 if BRIEF else 50):
            token = token_of(holder.req("l", "key", "0 1000"))
            raw = raw_poll(server, s, "key")
            eventually(lambda: waiters(look, "key") == 1, 20, "the first")
            poll(last, "key")
            eventually(lambda: waiters(look, "key") == 2, 20, "the second")

            def release():
                check_eq(holder.req("r", "key", token), "ok", "the release")

            def leave():
                if i % 2:
                    time.sleep(random.random() / 500)
                raw.reset()

            in_threads(lambda f: f(), (release, leave))
            if poll_in(last.sock, 0.3):
                passed += 1
            else:  # it was delivered to the one that has gone: its session has it still
                s.end().expect(204)
                s = server.session()
            got = last.answer().expect(200)
            check_eq(got["status"], "ok", "who waited behind")
            last.release("key", got["token"]).expect(204)
        diag(f"{passed} grants were passed on")


@test("a grant that races with the end of the wait is delivered or passed on", rules=["J14"],
      deadline=120)
def timeout_races():
    with WebServer(PATIENT) as server:
        def one(i):
            holder, s, tcp = server.client(), server.session(), server.client()
            granted = 0
            for n in range(4 if BRIEF else 12):
                key = f"key-{i}"
                token = token_of(holder.req("l", key, "0 1000"))
                poll(s, key, acquire_timeout_s=1, lease_ttl_s=1000)
                time.sleep(0.99 + random.random() / 50)
                check_eq(holder.req("r", key, token), "ok", "the release")
                got = s.answer().expect(200)
                if got["status"] == "ok":
                    granted += 1
                    check_eq(tcp.req("l", key, "0"), "timeout", "it is the session's")
                    s.release(key, got["token"]).expect(204)
                check_eq(tcp.req("r", key, token_of(tcp.req("l", key, "0"))), "ok", "it is free")
            return granted

        diag(f"granted: {in_threads(one, range(8))}")


@test("thousands of long polls: little memory each; a grant reaches the right one", rules=["J16"],
      deadline=300, alone=True)
def thousands():
    n = 500 if BRIEF else 5000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with WebServer(PATIENT + ["--max-connections", "100"]) as server:
        first, look = server.session(), server.client()
        token = first.token("queue", lease=1000)
        maker = server.web()
        ids = [maker.post("/v1/sessions").expect(200)["session_id"] for _ in range(n)]
        before, line = server.http_memory(), []
        for i, id in enumerate(ids):
            raw = Raw(("127.0.0.1", server.http_port))
            server.clients.append(raw)
            raw.ask_http("POST", "/v1/locks/queue", [("X-Dflockd-Session", id)],
                         b'{"acquire_timeout_s":1000,"lease_ttl_s":1000}')
            line.append(raw)
            if i % 100 == 99:  # so that their order is known, and the queue of accept is not full
                eventually(lambda: waiters(look, "queue") == i + 1, 60, f"{i + 1} wait")
        eventually(lambda: waiters(look, "queue") == n, 60, "all wait")
        each = (server.http_memory() - before) / n
        times, fences = [], [fence_of(token)]
        answered = [False] * n
        for i in range(300):
            took = elapsed()
            first.release("queue", token).expect(204)
            who = next_answer(line, answered, i // 100 * 100)
            token = line[who].reply().expect(200)["token"]
            times.append(took())
            fences.append(fence_of(token))
            answered[who] = True
        check_eq(fences, sorted(set(fences)), "fences in the order of grants")
        check_eq(waiters(look, "queue"), n - 300, "who waits still")
        check(each < 65536, f"{each:.0f} bytes each")
        diag(f"{n} long polls: {each:.0f} bytes each; release to grant: median "
             f"{sorted(times)[150] * 1e3:.2f} ms, worst {max(times) * 1e3:.2f} ms")


def next_answer(line, answered, first):
    """The one of the hundred that came together which has an answer: no other may have one."""
    found = []

    def look():
        found.extend(i for i in range(first, first + 100)
                     if not answered[i] and poll_in(line[i].sock, 0))
        return found

    eventually(look, 30, "nobody was granted")
    check_eq(len(found), 1, "who has an answer")
    return found[0]


@test("drain: waits end with 503, new ones and new sessions are refused, release and renew go on",
      rules=["J18"], deadline=60)
def drain():
    with WebServer(["--shutdown-timeout", "40"]) as server:
        holder, waiter, looker = server.session(), server.session(), server.client()
        twophase, empty = server.session(), server.session()
        token = holder.token("key", lease=1000)
        got = twophase.enqueue("other", 1000).expect(200)
        poll(waiter, "key")
        behind = Session(server, id=waiter.id)
        poll(behind, "free")
        eventually(lambda: waiters(looker, "key") == 1, 20, "the wait")
        queued = server.session()
        check_eq(queued.enqueue("key").expect(200)["status"], "queued", "an enqueue")
        server.kill(signal.SIGTERM)
        waiter.answer().expect(503, "draining")
        behind.answer().expect(503, "draining")
        holder.acquire("new", 0).expect(503, "draining")
        holder.acquire("new", 5).expect(503, "draining")
        holder.enqueue("new").expect(503, "draining")
        holder.acquire("new", 0, sem=2).expect(503, "draining")
        holder.post("/v1/sessions").expect(503, "draining")
        holder.ping().expect(204)
        holder.renew("key", token, 500).expect(200)
        check_eq(twophase.wait("other", 5).expect(200)["token"], got["token"], "a wait for a grant")
        eventually(lambda: empty.ping().status == 410, 20, "a session that holds nothing ends")
        queued.wait("key", 5).expect(503, "draining")
        check(server.proc.poll() is None, "it ended though sessions hold something")
        looker.close()
        twophase.release("other", got["token"]).expect(204)
        holder.release("key", token).expect(204)
        check_eq(server.exited(20), 0, "its exit")


if __name__ == "__main__":
    main()
