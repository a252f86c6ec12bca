"""protocol_auth_test.py - docs/rules.md, "Authentication"."""

import os
import re

from harness import (Client, Server, check, check_eq, diag, elapsed, eventually, in_threads,
                     json_of, main, temp_file, test, token_of)

SECRET = "the-Secret of this test"
OTHER = "second-Secret"
ADMIN = "admin-Secret"
PING = b"ping\n\n\n"


def guarded(args=(), tokens=SECRET + "\n", **options):
    return Server(["--auth-token-file", temp_file(tokens), *args], **options)


def closed_after_penalty(c, took):
    """took: since before the request was sent, so that 100 ms is a hard limit."""
    c.expect_close(how="fin")
    check(0.1 <= took() <= 10, f"closed {took() * 1000:.0f} ms after a wrong request was sent")


@test("the right token: ok, then normal service", rules=["P66", "P41", "P8"])
def right():
    with guarded() as server:
        for key, arg in [("", SECRET), ("ignored", SECRET), (" \t\xff", f" \t\v{SECRET}\f \r"),
                         ("", SECRET + "\r\r")]:
            with Client(server) as c:
                check_eq(c.req("auth", key, arg), "ok", f"auth {key!r} {arg!r}")
                token = token_of(c.req("l", "key", "0"))
                check_eq(c.req("r", "key", token), "ok", "the release")
        with Client(server) as c:  # pipelined
            c.send(f"auth\n\n{SECRET}\nping\n\n\nbad\n\n\nping\n\n\n")
            check_eq(c.lines(4), ["ok", "ok", "error", "ok"], "the replies")


@test("anything else first: error_auth, closed 100 ms later", rules=["P67", "P68", "P70", "P53"])
def wrong():
    first = [f"auth\n\n{x}\n" for x in [
        "", " ", SECRET[:-1], SECRET + "x", SECRET.lower(), "x" * len(SECRET), "x" * 65536, "\0",
        SECRET.replace(" ", "  "), SECRET + " " + SECRET]]
    first += ["ping\n\n\n", "stats\n\n\n", "l\nkey\n0\n", "no such\n\n\n", "\n\n\n", "r\nkey\nx\n",
              f"Auth\n\n{SECRET}\n", f"auth \n\n{SECRET}\n", f" auth\n\n{SECRET}\n",
              f"l\nkey\n{SECRET}\n", "l\n\nx\n", "list\n*\n\n", "show\nkey\nlock\n",
              "evict\nkey\nlock\n", f"ping\n\n{SECRET}\n",
              "x" * 257 + "\n", "auth\n" + "k" * 257 + "\n", "auth\n\n" + "x" * 65537 + "\n",
              "l\n" + "k" * 5000 + "\n", "auth\n\n" + SECRET + " " * 65536 + "\n"]
    with guarded() as server:
        def attempt(case):
            n, request = case  # each from an address of its own, or it would be slowed
            with Client(server, source=f"127.0.1.{n + 1}") as c:
                took = elapsed()
                c.send(request)
                c.expect("error_auth", request[:40])
                closed_after_penalty(c, took)

        in_threads(attempt, enumerate(first))
        with Client(server) as c:
            check_eq(c.req("auth", "", SECRET), "ok", "the right one, after all that")
            check_eq(c.req("l", "key", "0")[:3], "ok ", "nothing was locked")


@test("one attempt a connection: what follows is not read", rules=["P68", "P67"])
def one_attempt():
    with guarded() as server:
        with Client(server) as c:
            took = elapsed()
            c.send(f"auth\n\nwrong\nauth\n\n{SECRET}\nl\nkey\n0\n" + "ping\n\n\n" * 1000)
            c.expect("error_auth")
            closed_after_penalty(c, took)
        with Client(server) as c:
            c.send("auth\n\nwrong\n")
            c.expect("error_auth")
            c.send(f"auth\n\n{SECRET}\nl\nkey\n0\n")
            c.expect_close(how="fin")
        with Client(server) as c:
            check_eq(c.req("auth", "", SECRET), "ok", "auth")
            check_eq(c.req("l", "key", "0")[:3], "ok ", "the key was not locked")


@test("the deadline before the first request: error_auth", rules=["P67", "P15", "P16"])
def deadline():
    with guarded(["--read-timeout", "1"]) as server:
        def attempt(part):
            took = elapsed()
            with Client(server) as c:
                c.send(part)
                c.expect("error_auth", repr(part[:20]))
                check(1 <= took() < 11, f"after {took():.2f} s")
                c.expect_close(how="fin")

        in_threads(attempt, ["", "auth", "auth\n\n", f"auth\n\n{SECRET}", "x" * 1000,
                             "auth\n\n" + "y" * 70000])


@test("EOF before the first request", rules=["P67", "P9", "P7"])
def eof():
    with guarded() as server:
        for part in ["", "auth\n", f"auth\n\n{SECRET}"]:
            with Client(server) as c:
                c.send(part)
                c.half_close()
                c.expect_close(how="fin")
        with Client(server) as c:
            c.send("x" * 300)
            c.half_close()
            c.expect("error_auth", "over-long, ended by EOF")
            c.expect_close(how="fin")
        with Client(server) as c:
            c.send(f"auth\n\n{SECRET}\nping\n\n\n")
            c.half_close()
            check_eq(c.lines(2), ["ok", "ok"], "whole requests are answered")
            c.expect_close(how="fin")


@test("failed attempts delay nobody else", rules=["P69"], alone=True)
def nobody_waits():
    with guarded(workers=1) as server:
        c = server.client()
        check_eq(c.req("auth", "", SECRET), "ok", "auth")
        bad = [server.client(source=f"127.0.1.{n + 1}") for n in range(200)]
        for b in bad:
            b.ask("auth", "", "wrong")
        took = elapsed()
        for _ in range(200):
            check_eq(c.req("ping"), "ok", "ping")
        took = took()
        diag(f"200 pings took {took * 1000:.0f} ms")
        # One after the other the 200 failures would be 20 s.
        check(took < 12, f"200 pings took {took:.2f} s")
        for b in bad:
            b.expect("error_auth")
        for b in bad:
            b.expect_close(how="fin")


@test("a second auth is error, the connection stays", rules=["P71"])
def second():
    with guarded() as server, Client(server) as c:
        check_eq(c.req("auth", "", SECRET), "ok", "auth")
        for arg in [SECRET, "wrong", "", "x" * 65536]:
            check_eq(c.req("auth", "", arg), "error", "a second")
            check_eq(c.req("ping"), "ok", "still open")


@test("without a token configured auth is error, the connection stays", rules=["P72"])
def none_configured():
    with Server() as server, Client(server) as c:
        for arg in [SECRET, "", "x" * 65536]:
            check_eq(c.req("auth", "", arg), "error", "auth")
            check_eq(c.req("ping"), "ok", "still open")


@test("several tokens in a file; each opens, with CRLF, blank lines, spaces around", rules=["P66"])
def several():
    with guarded(tokens=f"\n{SECRET}\r\n\n  {OTHER} \n") as server:
        for arg, want in [(SECRET, "ok"), (OTHER, "ok"), (f"{SECRET} {OTHER}", "error_auth"),
                          ("", "error_auth"), (OTHER[:-1], "error_auth")]:
            with Client(server) as c:
                check_eq(c.req("auth", "", arg), want, arg)
    with Server(env={"DFLOCKD_AUTH_TOKEN": SECRET}) as server, Client(server) as c:
        check_eq(c.req("auth", "", SECRET), "ok", "from the environment")


@test("a Unix socket asks for the same secret", rules=["P66", "P67"])
def unix():
    path = temp_file() + ".sock"
    with guarded(["--unix-socket", path]) as server:
        with Client(server, unix=path) as c:
            took = elapsed()
            check_eq(c.req("ping"), "error_auth", "ping")
            closed_after_penalty(c, took)
        with Client(server, unix=path) as c:
            check_eq(c.req("auth", "", SECRET), "ok", "auth")
            check_eq(c.req("ping"), "ok", "ping")


def memory_of(pid, needle):
    """How many times the bytes are in what a process has mapped; None when we may not look."""
    found = 0
    try:
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem, \
                open(f"/proc/{pid}/pagemap", "rb", 0) as pages:
            for line in maps:
                m = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
                if not m or "[v" in line:
                    continue
                at, end = int(m[1], 16), int(m[2], 16)
                if end - at > 4 << 30:  # a sanitizer's shadow
                    continue
                while at < end:  # only what is there: the region is mostly untouched
                    n = min(end - at, 256 << 12)
                    pages.seek(at // 4096 * 8)
                    entries = pages.read(n // 4096 * 8)
                    present = [entries[i + 7] & 0xe0 for i in range(0, len(entries), 8)]
                    if any(present):
                        try:
                            mem.seek(at)
                            found += mem.read(n).count(needle)
                        except OSError:
                            pass
                    at += n
    except PermissionError:
        return None
    return found


@test("the secret is in no log line, not in stats, not on the command line", rules=["P74", "P83"])
def secret_not_shown():
    file = temp_file(f"{SECRET}\n{OTHER}\n")
    with Server(["--auth-token-file", file, "--admin-token-file", temp_file(ADMIN), "--debug"],
                workers=1) as server:
        for arg in [SECRET, OTHER, ADMIN, SECRET + "x", "x" + OTHER, ADMIN * 3]:
            with Client(server) as c:
                if c.req("auth", "", arg) == "ok":
                    text = c.req("stats") + c.req("list", "*") + c.req("auth", "", arg)
                    check("Secret" not in text, "it is in stats")
        for request in [f"ping\n{SECRET}\n{SECRET}\n", f"{SECRET}\n{SECRET}\n{SECRET}\n",
                        f"auth\n{SECRET}\n{SECRET}" + "x" * 70000 + "\n",
                        f"auth\n\n{SECRET} {SECRET}\n"]:
            with Client(server) as c:
                c.send(request)
                c.expect("error_auth")
                c.expect_close()
        for pid in [server.pid] + server.worker_pids():
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                check(b"Secret" not in f.read(), "it is on the command line")
    shown = [x for x in server.log if "Secret" in x]
    check_eq(shown, [], "lines of the log with a secret")
    check(len(server.log) > 10, "there are lines")


@test("the secret is not in any process's memory after auth", rules=["P74"])
def secret_not_in_memory():
    secret = "remembered-%d" % os.getpid() * 20  # so that no client here holds what we look for
    half = secret[:40].encode()
    with guarded(tokens=secret + "\n") as server:
        keep = []

        def auth(pieces):
            c = server.client()
            for piece in pieces:
                c.send(piece)
            c.send(PING)
            check_eq(c.lines(2), ["ok", "ok"], "auth, ping")
            keep.append(c)

        auth([f"auth\n\n{secret}\n"])
        auth([f"auth\n\n{secret[:30]}", f"{secret[30:]}\n"])
        auth([f"auth\n\n" + " " * 60000, secret, "\n"])
        auth([f"auth\n\n" + " " * 200 + secret, "\n"])
        for c in keep:  # a second one, where it wraps in the ring
            for n in range(40):
                c.send(PING * (n + 1) + f"auth\n\n{secret}\n".encode())
                check_eq(c.lines(n + 2)[-1], "error", "a second auth")
        for leave in [Client.half_close, Client.reset]:  # in the middle of it
            for part in ["auth\n\n" + " " * 60000 + secret, f"auth\n\n{secret}"]:
                c = server.client()
                c.send(part)
                c.expect_silence(0.05)
                leave(c)
        eventually(lambda: json_of(keep[0].req("stats"))["connections"] == len(keep))
        found = [memory_of(pid, half) for pid in [server.pid] + server.worker_pids()]
        diag(f"copies found in the memory of master and workers: {found}")
        if None not in found:
            check_eq(found, [0] * len(found), "copies of the secret in memory")
            check(memory_of(server.pid, b"auth-token-file"), "the search finds what is there")


if __name__ == "__main__":
    main()
