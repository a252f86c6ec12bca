#!/usr/bin/env python3
"""http_death_test.py - the process that serves HTTP dies or hangs, its master dies, is upgraded or
restarted, HTTP is switched off: what becomes of sessions, and of what they hold and wait for."""

import http.client
import os
import signal
import threading

from harness import (BRIEF, Program, Server, check, check_eq, diag, elapsed, eventually, fence_of,
                     in_threads, json_of, main, poll_in, signal_process, temp_file, test, token_of)
from points import HTTP, CrashServer
from web import Session, WebServer

# A session that holds something keeps a server that drains: not for long here. And clients of the line
# protocol may be silent while the test is kept busy.
PATIENT = ["--shutdown-timeout", "1", "--read-timeout", "300"]
DIES = ["worker died", "worker hangs"]
OTHER = os.path.join(os.environ["top_builddir"], "tests/upgrade/dflockd")
GONE = (ConnectionError, http.client.HTTPException)


def serve(*args, **options):
    return WebServer(PATIENT + list(args), expect_log=DIES, **options)


def lock(client, key):
    found = [x for x in json_of(client.req("stats"))["locks"] if x["key"] == key]
    return found[0] if found else {"waiters": 0, "lease_expires_in_s": 0}


def waiters(client, key):
    return lock(client, key)["waiters"]


def again(session, action):
    """What was cut by a death is asked again, by another connection."""
    for _ in range(50):
        try:
            return action(session)
        except GONE:
            session.close()
    raise AssertionError("it is cut each time")


@test("it is killed: sessions, what they hold and their places of enqueue stay; a wait in flight is "
      "given up and can be asked again; TCP notices nothing", rules=["J17"], deadline=60)
def killed():
    with serve() as server:
        tcp, behind, look = server.client(), server.client(), server.client()
        a, b, c, d = [server.session() for _ in range(4)]
        token = a.token("key", lease=1000)
        check_eq(b.enqueue("key", 100).expect(200)["status"], "queued", "the first in line")
        check_eq(c.enqueue("key", 100).expect(200)["status"], "queued", "the second")
        c.ask("POST", "/v1/locks/key/wait", {"timeout_s": 1000})
        d.ask("POST", "/v1/locks/key", {"acquire_timeout_s": 1000})
        eventually(lambda: waiters(look, "key") == 3, 20, "the third")
        behind.ask("l", "key", "1000")
        eventually(lambda: waiters(look, "key") == 4, 20, "the fourth")
        held = token_of(tcp.req("l", "tcp", "0 1000"))
        semaphore = a.token("sem", lease=1000, sem=2)
        server.http_dies()
        check_eq(waiters(look, "key"), 3, "the single-phase wait is gone, the others are there")
        for x in (a, b, c, d):
            x.close()
            x.ping().expect(204)
        a.renew("key", token, 900).expect(200)
        a.renew("sem", semaphore, 900, sem=2).expect(200)
        c.enqueue("key").expect(409, "already_enqueued")
        check_eq(tcp.req("r", "tcp", held), "ok", "a release by TCP")
        a.release("key", token).expect(204)
        fences = [fence_of(token)]
        for x in (b, c):
            got = x.wait("key", 20).expect(200)
            check_eq(got["status"], "ok", "who had enqueued")
            fences.append(fence_of(got["token"]))
            x.release("key", got["token"]).expect(204)
        last = token_of(behind.line())
        fences.append(fence_of(last))
        d.ask("POST", "/v1/locks/key", {"acquire_timeout_s": 100})
        eventually(lambda: waiters(look, "key") == 1, 20, "asked again")
        check_eq(behind.req("r", "key", last), "ok", "the release")
        fences.append(fence_of(d.answer().expect(200)["token"]))
        check_eq(fences, sorted(set(fences)), "fences grow in the order of the queue")


@test("a grant that nobody could hear of passes on; one for a place of enqueue waits for the next wait",
      rules=["J17"], deadline=60)
def killed_with_grants():
    with serve() as server:
        holder, behind, look = server.client(), server.client(), server.client()
        single, two_phase = server.session(), server.session()
        tokens = [token_of(holder.req("l", key, "0 1000")) for key in ("one", "two")]
        single.ask("POST", "/v1/locks/one", {"acquire_timeout_s": 1000})
        check_eq(two_phase.enqueue("two", 100).expect(200)["status"], "queued", "an enqueue")
        two_phase.ask("POST", "/v1/locks/two/wait", {"timeout_s": 1000})
        eventually(lambda: waiters(look, "one") == 1, 20, "it waits")
        in_line = Session(server, id=two_phase.id)  # answered when the wait has been looked at
        in_line.renew("two", "0" * 32).expect(404)
        behind.ask("l", "one", "1000 1000")
        eventually(lambda: waiters(look, "one") == 2, 20, "they wait")
        pid = server.http_pid()
        since = server.mark()
        os.kill(pid, signal.SIGSTOP)
        for key, token in zip(("one", "two"), tokens):
            check_eq(holder.req("r", key, token), "ok", "the release")
        os.kill(pid, signal.SIGKILL)
        server.wait_log("took over .*proc=http", 20, since)
        first = token_of(behind.line())
        check_eq(lock(look, "one")["waiters"], 0, "who waits")
        two_phase.close()
        got = two_phase.wait("two", 20).expect(200)
        check_eq(got["status"], "ok", "the wait")
        check(fence_of(got["token"]) > fence_of(tokens[1]), "fences grow")
        two_phase.release("two", got["token"]).expect(204)
        check_eq(behind.req("r", "one", first), "ok", "the release")
        single.close()
        single.token("one")


@test("it hangs: it is replaced, and leases end later by the time that they could not be renewed in",
      rules=["J17"], deadline=60)
def hangs():
    with serve() as server:
        look, s = server.client(), server.session()
        token = s.token("key", lease=1000)
        began = elapsed()
        before = lock(look, "key")["lease_expires_in_s"]
        pid, since = server.http_pid(), server.mark()
        os.kill(pid, signal.SIGSTOP)
        server.wait_log("took over .*proc=http", 30, since)
        after = lock(look, "key")["lease_expires_in_s"]
        check(after - (before - began()) >= 1.5, f"{before} s, {began():.3f} s later {after} s")
        s.close()
        s.renew("key", token, 50).expect(200)


@test("it hangs again and again: a lease whose client is silent ends, and so does its session",
      rules=["J17", "J3", "S15"], deadline=180)
def hangs_for_ever():
    with serve("--http-session-idle-timeout", "4") as server:
        tcp, s, idle = server.client(), server.session(), server.session()
        s.token("leased", lease=5)
        idle.token("idle", lease=1000)
        tcp.ask("l", "leased", "600 600")
        granted, t, deaths = [], elapsed(), 0
        tcp.ask("l", "idle", "600 600")
        while len(granted) < 2:
            check(t() < 120, f"after {deaths} deaths only {granted} have ended")
            pid, since = server.http_pid(), server.mark()
            signal_process(pid, signal.SIGSTOP)
            deaths += 1
            server.wait_log("took over .*proc=http", 30, since)
            with server.web() as web:  # it serves, for a moment
                web.get("/health").expect(200)
            while len(granted) < 2 and poll_in(tcp.sock, 0):
                token_of(tcp.line())
                granted.append(round(t(), 1))
        diag(f"{deaths} deaths; granted after {granted} s")
        s.close()
        s.ping().expect(410)


@test("killed again and again under load: never two holders, no session is lost, TCP goes on",
      rules=["J17"], deadline=180)
def chaos():
    with serve() as server:
        stop, holders, wrong = threading.Event(), [0], []
        rounds, fences, guard = [0, 0], [], threading.Lock()

        def critical(token):
            with guard:
                holders[0] += 1
                if holders[0] != 1:
                    wrong.append(token)
                fences.append(fence_of(token))
                holders[0] -= 1

        def by_http(_):
            s = server.session()
            while not stop.is_set():
                # An acquire that was cut may have been granted: the session is given up then.
                try:
                    got = s.acquire("shared", 20, 30)
                except GONE:
                    s.close()
                    again(s, lambda x: x.end())
                    s = eventually(lambda: new_session(server), 20, "a new session")
                    continue
                token = got.expect(200).get("token")
                if token:
                    critical(token)
                    again(s, lambda x: x.release("shared", token))
                    rounds[0] += 1

        def by_tcp(_):
            c = server.client(timeout=60)
            while not stop.is_set():
                token = token_of(c.req("l", "shared", "50"))
                critical(token)
                check_eq(c.req("r", "shared", token), "ok", "the release")
                rounds[1] += 1

        def kill(_):
            keeper = server.session()
            kept = keeper.token("kept", lease=3000)
            try:
                for _ in range(4 if BRIEF else 12):
                    server.http_dies()
                    keeper.close()
                    again(keeper, lambda x: x.renew("kept", kept, 3000)).expect(200)
                    before = list(rounds)
                    eventually(lambda: rounds[0] > before[0] and rounds[1] > before[1], 30,
                               "both go on")
            finally:
                stop.set()

        in_threads(lambda f: f(None), [by_http] * 4 + [by_tcp] * 2 + [kill])
        check_eq(wrong, [], "tokens of who was not alone")
        check_eq(fences, sorted(set(fences)), "fences in the order of grants")
        diag(f"rounds by HTTP and by TCP: {rounds}")


def new_session(server):
    try:
        return server.session()
    except GONE:
        return None


class CrashWebServer(WebServer, CrashServer):
    """One that dies where a test says."""


@test("killed while it takes away what an ended session held: its successor goes on with it",
      rules=["J17", "J5"], deadline=120)
def killed_while_ending():
    with CrashWebServer([*PATIENT, "--max-locks", "5000"]) as server:
        look = server.client()
        for n, nth in ((300, 1), (300, 150), (2400, 2200)):  # in the second turn
            s = server.session()
            for i in range(n):
                s.token(f"key-{i}", lease=3000)
            check_eq(s.enqueue("key-7").expect(200)["status"], "queued", "behind itself")
            since = server.mark()
            server.board.arm("CONN_LEAVE", nth=nth, role=HTTP)
            s.ask("DELETE", f"/v1/sessions/{s.id}")
            server.wait_log("took over .*proc=http", 20, since)
            s.close()
            again(s, lambda x: x.end()).expect(410, "session_gone")
            eventually(lambda: all(x["owner_conn_id"] == 0 and x["waiters"] == 0
                                   for x in json_of(look.req("stats"))["locks"]), 30,
                       "what it held is free")


@test("the master is killed: HTTP goes on; the next master takes over or replaces what serves it",
      rules=["J19"], deadline=60)
def master_dies():
    with serve() as server:
        s, waiter, look = server.session(), server.session(), server.client()
        token = s.token("key", lease=1000)
        check_eq(look.req("ping"), "ok", "a connection that has been handed on")
        server.master_dies()
        s.renew("key", token, 900).expect(200)
        other = server.session()
        other_token = other.token("other", lease=1000)
        waiter.ask("POST", "/v1/locks/key", {"acquire_timeout_s": 1000})
        eventually(lambda: waiters(look, "key") == 1, 20, "the wait")
        s.release("key", token).expect(204)
        check_eq(waiter.answer().expect(200)["status"], "ok", "a grant without a master")
        since = server.mark()
        server.start_again()
        server.wait_log("took over", 20, since)
        for x in (s, waiter, other):
            x.close()
        other = Session(server, id=other.id)
        eventually(lambda: again(other, lambda x: x.renew("other", other_token, 800)).status == 200, 20,
                   "what was held is held still")
        again(eventually(lambda: new_session(server), 20), lambda x: x.token("new"))


@test("SIGUSR2: sessions and what they hold are there after an upgrade, to another layout too",
      rules=["J19"], deadline=90)
def upgraded():
    program = Program()
    with serve(program=program.path) as server:
        a, b, behind = server.session(), server.session(), server.session()
        token = a.token("key", lease=1000)
        check_eq(b.enqueue("key", 500).expect(200)["status"], "queued", "an enqueue")
        for target in (OTHER, os.environ["DFLOCKD"], os.environ["DFLOCKD"]):
            pid, since = server.http_pid(), server.mark()
            program.becomes(target)
            server.kill(signal.SIGUSR2)
            server.wait_log("upgraded: all workers run this program", 30, since)
            check(server.http_pid() != pid, "another process serves HTTP")
            for x in (a, b, behind):
                x.close()
                again(x, lambda x: x.ping()).expect(204)
            a.renew("key", token, 900).expect(200)
            b.enqueue("key").expect(409, "already_enqueued")
            behind.acquire("key", 0).expect(200)
        a.release("key", token).expect(204)
        got = b.wait("key", 20).expect(200)
        check_eq((got["status"], got["lease_ttl_s"]), ("ok", 500), "the enqueue of before")


@test("a process that leaves in order loses no answer of a request that it has served",
      rules=["J22"], deadline=120)
def leaves_in_order():
    with serve() as server:
        stop, cuts, rounds = threading.Event(), [0], [0]

        sessions = [server.session() for _ in range(6)]

        def run(i):
            s = sessions[i]
            while not stop.is_set():
                token = cut_only_before(s, lambda: s.token(f"key-{i}", lease=1000))
                cut_only_before(s, lambda: s.release(f"key-{i}", token).expect(204))
                rounds[0] += 1

        def cut_only_before(s, action):
            """What is asked again must come to what it comes to when it is asked for the first time."""
            while True:
                try:
                    return action()
                except GONE:
                    s.close()
                    cuts[0] += 1

        def upgrade(_):
            try:
                for _ in range(3 if BRIEF else 8):
                    since, before = server.mark(), rounds[0]
                    # Requests come while it stands still, and so does the word to leave.
                    os.kill(server.http_pid(), signal.SIGSTOP)
                    stopped, pid = elapsed(), server.http_pid()
                    server.kill(signal.SIGUSR2)
                    eventually(lambda: stopped() > 1.5 or
                               len(server.logged("took over .*proc=worker", since)) == 2, 20)
                    word_comes = elapsed()
                    eventually(lambda: word_comes() > 0.2, 20)
                    try:
                        os.kill(pid, signal.SIGCONT)
                    except ProcessLookupError:
                        pass  # it stood still for too long
                    server.wait_log("upgraded: all workers run this program", 30, since)
                    eventually(lambda: rounds[0] > before + 20, 30, "they go on")
            finally:
                stop.set()

        in_threads(lambda f: f[0](f[1]), [(run, i) for i in range(6)] + [(upgrade, 0)])
        diag(f"{rounds[0]} rounds, {cuts[0]} requests cut")


@test("after a lock worker's crash no connection has the id of a session", rules=["J1"], deadline=60)
def ids_after_crash():
    with serve() as server:
        owners = [server.client()]
        token_of(owners[0].req("l", "first", "0 1000"))
        owners += [server.session() for _ in range(4)]
        for i, s in enumerate(owners[1:]):
            s.token(f"session-{i}", lease=1000)
        since = server.mark()
        os.kill(server.worker_pids()[0], signal.SIGSEGV)
        server.wait_log("took over .*proc=worker", 20, since)
        owners += [server.client() for _ in range(4)]
        for i, c in enumerate(owners[5:]):
            token_of(c.req("l", f"after-{i}", "0 1000"))
        ids = [x["owner_conn_id"] for x in json_of(owners[0].req("stats"))["locks"]]
        check_eq(len(set(ids)), len(owners), f"different ids in {ids}")


@test("SIGUSR1 and a start: sessions and what they hold are there", rules=["J19"], deadline=60)
def restarted():
    with serve("--http-session-idle-timeout", "100") as server:
        s, tcp = server.session(), server.client()
        token = s.token("key", lease=1000)
        server.kill(signal.SIGUSR1)
        check_eq(server.proc.wait(20), 0, "the exit status")
        server.start_again()
        s = Session(server, id=s.id)
        s.ping().expect(204)
        s.renew("key", token, 900).expect(200)
        check_eq(server.client().req("l", "key", "0"), "timeout", "it is held")
        s.end().expect(204)
        token_of(server.client().req("l", "key", "0"))


@test("HTTP is switched off by a restart: sessions end, their locks stay to the end of their leases",
      rules=["J20"], deadline=60)
def switched_off():
    with serve() as server:
        s = server.session()
        token = s.token("key", lease=1000)
        check_eq(s.enqueue("key").expect(200)["status"], "queued", "an enqueue")
        server.kill(signal.SIGUSR1)
        check_eq(server.proc.wait(20), 0, "the exit status")
        server.args = PATIENT
        super(WebServer, server).start_again()
        server.wait_log("HTTP is off, and the sessions of before have ended", 20)
        tcp = server.client()
        check_eq(waiters(tcp, "key"), 0, "who waits")
        check_eq(tcp.req("l", "key", "0"), "timeout", "it is held")
        check_eq(tcp.req("n", "key", f"{token} 50"), "ok 50", "who has the token renews")
        check_eq(tcp.req("r", "key", token), "ok", "and releases")


@test("upgrades switch HTTP off, on, off and on: what a session held is its token's, TCP notices nothing",
      rules=["J19", "J20"], deadline=120)
def off_and_on():
    config = temp_file(b"http_port = auto\n")
    with Server(PATIENT + ["--config", config], expect_log=DIES) as server:
        def session(since):
            port = int(server.wait_log(r" serving HTTP .*address=\S*:(\d+)$", 20, since)[1])
            return Session(("127.0.0.1", port))

        tcp, s = server.client(), session(0)
        for n in range(2):
            token = s.token("key", lease=1000)
            for text in (b"", b"http_port = auto\n"):
                with open(config, "wb") as f:
                    f.write(text)
                since = server.mark()
                server.kill(signal.SIGUSR2)
                server.wait_log("upgraded: all workers run this program", 60, since)
                check_eq(tcp.req("l", "key", "0"), "timeout", "it is held")
            s.close()
            s = session(since)
            s.renew("key", token, 1000).expect(200)
            s.release("key", token).expect(204)
            check_eq(tcp.req("r", "key", token_of(tcp.req("l", "key", "0"))), "ok", "it is free")
        s.end().expect(204)


@test("beside HTTP there are 63 workers at most, and these are served with it", rules=["J11", "J17"],
      deadline=120)
def as_many_as_there_may_be():
    with serve("--workers", 63) as server:
        clients = [server.client() for _ in range(126)]
        for i, c in enumerate(clients):
            token_of(c.req("l", f"key-{i}", "0 1000"))
        s = server.session()
        token = s.token("key", lease=1000)
        check_eq(len(server.stats()["locks"]), 127, "locks")
        clients[0].ask("l", "key", "100 1000")
        server.http_dies()
        s.close()
        s.release("key", token).expect(204)
        token_of(clients[0].line())
    server = WebServer(["--workers", 64])
    try:
        server.start()
    except AssertionError:
        pass
    check_eq(server.exited(), 78, "64 beside HTTP")


if __name__ == "__main__":
    main()
