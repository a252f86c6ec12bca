#!/usr/bin/env python3
"""http_clock_test.py - the same as clock_test.py for what is served over HTTP: sessions, what they hold,
and waits."""

import signal
import threading

from clocks import PATIENT, SLACK, STEPS, Clock, Fences, paused, server_of
from dflock import boottime
from harness import (check, check_eq, elapsed, eventually, is_free, main, signal_process, stopped, test,
                     token_of, waiters)
from points import HANG, HTTP, Board, CrashServer
from web import WebServer


class Poll:
    """A wait for a lock that somebody holds; .reply once it is over."""

    def __init__(self, server, key, timeout):
        self.reply = None
        self.session = server.web().session()
        self.thread = threading.Thread(target=self._run, args=(key, timeout), daemon=True)
        self.thread.start()
        watch = server.client()
        eventually(lambda: waiters(watch, key) >= 1)

    def _run(self, key, timeout):
        self.reply = self.session.acquire(key, timeout=timeout).json

    def wait(self):
        self.thread.join(20)
        return self.reply


@test("the wall clock is set: sessions stay, waits of HTTP last as long as they should",
      rules=["J3", "J14", "S78"])
def wall_steps():
    clock = Clock()
    with server_of(clock, kind=WebServer) as server:
        session, watch = server.web().session(), server.client()
        session.token("web", lease=600)
        for step in STEPS:
            took = elapsed()
            poll = Poll(server, "web", 1)
            clock.wall(step)
            check_eq(poll.wait(), {"status": "timeout"}, "the wait")
            check(1 <= took() < 1 + SLACK, f"{step}: a wait of a second took {took():.3f} s")
            check_eq(session.ping().status, 204, "the session")
            check_eq(watch.req("l", "web", "0"), "timeout", "what it holds")


@test("the machine was suspended: waits of HTTP end, sessions have a while to be heard of, then end",
      rules=["J3", "J14", "S79"])
def suspend():
    clock = Clock()
    with server_of(clock, kind=WebServer) as server:
        server.http_pid()  # it serves
        pids = server.members()
        session, watch = server.web().session(), server.client()
        session.token("web", lease=9000)
        poll = Poll(server, "web", 100)
        clock.sleeps(20)
        took = elapsed()
        while took() < 0.6:  # a turn of everybody
            check_eq(watch.req("l", "web", "0"), "timeout", "what it holds, after 20 s")
        check_eq(session.ping().status, 204, "the session, after 20 s")
        check_eq(poll.reply, None, "the wait, after 20 s")
        clock.sleeps(3600)
        took = elapsed()
        check_eq(poll.wait(), {"status": "timeout"}, "the wait")
        check(took() < SLACK, f"it ended after {took():.1f} s")
        check_eq(watch.req("l", "web", "0"), "timeout", "nobody could ask: it is still there")
        clock.sleeps(100)
        eventually(lambda: is_free(watch, "web"), 20, "the session is over")
        server.web().post(f"/v1/sessions/{session.id}/ping").expect(410, "session_gone")
        check_eq(server.members(), pids, "the processes")


@test("it was suspended while a wait was answered: nobody else's session ends of it",
      rules=["J3", "S79"])
def suspend_in_a_turn():
    clock, board = Clock(), Board()
    with CrashWebServer(PATIENT, board=board, env=clock.env) as server:
        holds, watch = server.web().session(), server.client()
        holds.token("web", lease=9000)
        for i in range(3):
            key = f"another-{i}"
            token = token_of(watch.req("l", key, "0 9000"))
            poll = Poll(server, key, 9000)
            # A grant is delivered in a turn, not by a sleep that a request ends.
            board.arm("HTTP_ANSWER", action=HANG, role=HTTP)
            check_eq(watch.req("r", key, token), "ok", "the release")
            eventually(lambda: board.fired > i and stopped(board.pid))
            clock.sleeps(600)
            signal_process(board.pid, signal.SIGCONT)
            check_eq(poll.wait()["status"], "ok", "the wait")
            check_eq(watch.req("l", "web", "0"), "timeout", "what it holds")
            server.web().post(f"/v1/sessions/{holds.id}/ping").expect(204)


@test("a virtual machine is paused: a session and what it holds stay, one whose lease is over has lost it",
      rules=["S62", "S65", "S79"])
def pause():
    clock, fences = Clock(), Fences()
    with server_of(clock, kind=WebServer) as server:
        server.http_pid()  # it serves
        pids = server.members()
        session, b, watch = server.web().session(), server.client(), server.client()
        session.token("stays", lease=60)
        session.token("ends", lease=2)
        b.ask("l", "ends", "60")
        paused(server, 6.5, lambda: None)
        fences.grant(b.line())
        fences.take(server)
        check_eq(session.ping().status, 204, "the session")
        check_eq(watch.req("l", "stays", "0"), "timeout", "what it holds")
        check_eq(watch.req("l", "ends", "0"), "timeout", "one holder")
        check_eq(server.members(), pids, "the processes")


class CrashWebServer(WebServer, CrashServer):
    pass


@test("after a pause lock workers end no lease of sessions before their process runs as well",
      rules=["J17", "S79"])
def runs_last():
    while not ran_last():  # the machine did not run us for so long that the leases were over
        pass


def ran_last():
    board, keys = Board(), [f"k{i}" for i in range(8)]  # of the shards of both workers
    with CrashWebServer(PATIENT, board=board) as server:
        session, watch = server.web().session(), server.client()
        since = boottime()
        tokens = [session.token(k, lease=2) for k in keys]
        board.arm("LOG_LINE", action=HANG, role=HTTP)  # says that it did not run: stops again
        began = paused(server, 2.5, lambda: None, first=server.http_pid(),
                       until=lambda: board.fired and stopped(board.pid))
        for _ in range(5):  # turns, in which workers look for leases that have ended
            for k in keys:
                check_eq(watch.req("ping"), "ok", "ping")
        signal_process(board.pid, signal.SIGCONT)
        replies = [session.renew(k, t, 60).status for k, t in zip(keys, tokens)]
        if began - since > 2 or boottime() - since > 2 + 2.5 - 0.1:
            return False
        check_eq(replies, [200] * len(keys), "the renewals")
        return True


if __name__ == "__main__":
    main(jobs=16)
