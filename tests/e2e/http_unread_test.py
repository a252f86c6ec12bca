#!/usr/bin/env python3
"""http_unread_test.py - docs/rules.md, "HTTP: connections": answers that clients read slowly, or not."""

import time

from certs import client_context, server_certificate
from harness import (SANITIZED, Stalls, check, check_eq, diag, elapsed, eventually, in_threads, main, poll_in,
                     test)
from web import WebServer, take_long

PATIENT = ["--shutdown-timeout", "1", "--read-timeout", "300", "--max-locks", "60000"]
MIB = 1 << 20
PAGE = "/?limit=1000"


def sip(raw, n):
    """Reads at most so much of what has come. Whether the connection is there still."""
    if not poll_in(raw.sock, 0):
        return True
    try:
        return bool(raw.sock.recv(n))
    except ConnectionError:
        return False


@test("an answer that moves too slowly for too long ends, one that is read at some pace does not",
      rules=["H25"], deadline=180, needs=["tls"])
def least_rate():
    context = client_context()

    def one(case):
        for _ in range(3):
            found, excused = read(case)
            if not excused or case[1:] == slow:
                break
        return found

    def read(case):
        """Reads all, n bytes at a time. Whether it ended before; and whether this machine, which did not run the
        reader or the server for a while, makes any reader slow."""
        secure, locks, timeout, rcvbuf, n, pause = case
        options = {"tls": context} if secure else {}
        with WebServer(PATIENT + ["--write-timeout", timeout] +
                       (server_certificate().args if secure else [])) as server:
            take_long(server, locks, **options)
            size = len(server.web(**options).get("/v1/stats").data)
            raw = server.raw(rcvbuf=rcvbuf, **options)
            raw.ask_http("GET", "/v1/stats")
            began, took, got = time.monotonic(), elapsed(), 0
            while got < size:
                check(took() < 100, "it goes on for ever")
                time.sleep(pause)
                if not poll_in(raw.sock, 0):
                    continue
                try:
                    piece = len(raw.sock.recv(n))
                except ConnectionError:
                    piece = 0
                if not piece:
                    diag(f"{got >> 10} of {size >> 10} KiB in {took():.1f} s")
                    return "ended", bool(Stalls.since(began) or server.logged("did not run for a while"))
                got += piece
            check(took() > 6 * timeout, "it was read too soon to tell anything")
            return "read", False

    # Of 300 KiB the kernel takes 128, and the rest may take 31 s; at 3.8 KiB/s it would take 45 s.
    slow = (540, 3, 4096, 2300, 0.6)
    # 5 MiB at no more than 320 KiB/s, with a window that holds a second of it: with a smaller one the
    # kernel's own timers set the pace.
    fast = (10000, 2, 1 << 19, 1 << 15, 0.1)
    found = in_threads(one, [(x, *y) for y in (slow, fast) for x in (False, True)])
    check_eq(found, ["ended", "ended", "read", "read"], "what became of them")


@test("many who ask for much and read next to nothing: memory has a bound, others are served",
      rules=["H26", "V10"], deadline=240, alone=True)
def unread():
    with WebServer(PATIENT + ["--write-timeout", "300"],
                   expect_log=["too much of answers is unread"]) as server:
        take_long(server, 20000)
        web = server.web()
        size = len(web.get(PAGE).data)
        before = most = server.http_resident()
        raws = []

        def look():
            nonlocal most
            for x in raws:
                sip(x, 100)
            most = max(most, server.http_resident())

        for i in range(500 * MIB // size):
            raws.append(server.raw(rcvbuf=4096))
            raws[-1].ask_http("GET", f"/?limit={1000 - i}")  # each another: the same is made once
            if i % 10 == 9:
                look()
        took = elapsed()
        for _ in range(5):
            look()
            check_eq(len(web.get("/v1/stats").expect(200)["locks"]), 20000, "stats")
            check_eq(web.get(PAGE).status, 200, "the page")
        diag(f"{len(raws)} answers of {size / MIB:.1f} MiB: {(most - before) / MIB:.0f} MiB more; "
             f"5 rounds of others took {took():.1f} s")
        spare = 512 * MIB if SANITIZED else 0  # they keep what was freed for a while
        check(most < before + spare + 400 * MIB, "there is no bound")
        eventually(lambda: not all(sip(x, 100) for x in raws), 20, "none of them is ended")


if __name__ == "__main__":
    main()
