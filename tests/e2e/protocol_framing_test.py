"""protocol_framing_test.py - docs/rules.md, "Framing": lines, caps, ends of input, pipelining."""

import ctypes
import os
import re
import socket
import subprocess

from harness import (Client, Server, check, check_eq, elapsed, eventually, in_threads, json_of,
                     main, temp_file, test, token_of)

PING = b"ping\n\n\n"
LINE = 256
AUTH = 65536


@test("a request is three lines, a reply one, in order", rules=["P1", "P2", "P3"])
def three_lines():
    with Server() as server, Client(server) as c:
        c.send(b"l\nkey\n0 7\n" + PING + b"r\nkey\nnope\n" + b"no such\n\n\n" + b"l\nkey\n0\n")
        eventually(lambda: c.is_closed() or c.buffer.count(b"\n") == 5, text="five replies")
        raw = bytes(c.buffer)
        check(re.fullmatch(rb"ok [0-9a-f]{32} 7\nok\nerror\nerror\ntimeout\n", raw), repr(raw))
        c.lines(5)
        c.expect_silence()


@test("a request may come in any pieces", rules=["P1"])
def pieces():
    with Server() as server, Client(server) as c:
        for byte in b"l\npieces\n0 9\n":
            c.send(bytes([byte]))
        token = token_of(c.line())
        request = b"r\npieces\n%b\n" % token.encode()
        for cut in range(1, len(request)):
            c.send(request[:cut])
            c.send(request[cut:] + b"l\npieces\n0 9\n")
            c.expect("ok", f"released, cut at {cut}")
            token = token_of(c.line())
            request = b"r\npieces\n%b\n" % token.encode()


@test("LF ends a line, all CRs before it go, others are data", rules=["P4"])
def carriage_returns():
    with Server() as server, Client(server) as c:
        c.send(b"l\r\ncr\r\r\r\n0 8\r\r\n")
        token = token_of(c.line())
        check_eq(c.req("l", "cr", "0"), "timeout", "the same key without CR")
        check_eq(c.req("r\r", "cr\r", token + "\r\r\r"), "ok", "a release with CRs")
        check_eq(c.req("pi\rng"), "error", "a CR inside the command")
        check_eq(c.req("\rping"), "error", "a CR before the command")
        check_eq(c.req("l", "c\rr", "0"), "error", "a CR inside a key is white space")
        check_eq(c.req("l", "\rcr", "0"), "error", "a CR before a key")
        token = token_of(c.req("l", "cr", "\r0\r9\r"))  # white space between fields
        check_eq(c.req("r", "cr", token), "ok", "the release")


@test("256 bytes of each line pass, CRs counted", rules=["P5", "P29"])
def line_cap_passes():
    with Server() as server, Client(server) as c:
        check_eq(c.req("ping" + "\r" * (LINE - 4)), "ok", "a first line of 256")
        check_eq(c.req("x" * LINE), "error", "an unknown command of 256")
        for key in ["k" * LINE, "é" * (LINE // 2), "k" * 255 + "\r", b"\xff" * LINE]:
            token = token_of(c.req("l", key, "0"))
            check_eq(c.req("r", key, token), "ok", "a key line of 256")
        token = token_of(c.req("l", "arg", "0" + " " * (LINE - 1)))
        check_eq(c.req("r", "arg", token + " " * (LINE - 32)), "ok", "a third line of 256")
        check_eq(c.req("ping", "k" * LINE, "a" * LINE), "ok", "all that ping ignores, at the cap")
        check_eq(c.req("ping"), "ok", "still open")


@test("the 257th byte of each line fails: error, close", rules=["P5", "P7", "P64", "P8"])
def line_cap_fails():
    long = [
        b"x" * 257 + b"\n",
        b"ping" + b"\r" * 253 + b"\n",
        b"l\n" + b"k" * 257 + b"\n",
        b"l\n" + b"k" * 256 + b"\r\n",
        b"l\n" + "é".encode() * 128 + b"k\n",
        b"ping\n" + b"k" * 257 + b"\n",
        b"stats\n" + b"k" * 257 + b"\n",
        b"auth\n" + b"k" * 257 + b"\n",
        b"l\nkey\n0" + b" " * 256 + b"\n",
        b"ping\nkey\n" + b"a" * 257 + b"\n",
        b"stats\nkey\n" + b"a" * 257 + b"\n",
        b"auth \nkey\n" + b"a" * 257 + b"\n",
        b"Auth\nkey\n" + b"a" * 257 + b"\n",
        b"no such\nkey\n" + b"a" * 257 + b"\n",
    ]
    with Server() as server:
        for request in long:
            with Client(server) as c:
                c.send(PING + request)
                c.expect("ok", "the request before")
                c.expect("error", f"{request[:20]!r} of {len(request)}")
                c.expect_close(how="fin")
            with Client(server) as c:  # not before the line's end is known
                c.send(request[:-1])
                c.expect_silence(0.02)
                c.send(b"\n")
                c.expect("error", f"{request[:20]!r} after its LF")
                c.expect_close(how="fin")


@test("auth alone has a third line of 65,536 bytes", rules=["P6", "P11", "P41"])
def auth_cap():
    secret = b"s" * AUTH
    with Server(["--auth-token-file", temp_file(secret)]) as server:
        for line in [secret, b"s" * AUTH]:
            with Client(server) as c:
                c.send(b"auth\nignored\n" + line + b"\n" + PING)
                check_eq(c.lines(2), ["ok", "ok"], "the longest token")
        with Client(server) as c:
            c.send(b"auth\n\n" + secret + b"\r\n")
            c.expect("error_auth", "65,537 bytes")
            c.expect_close(how="fin")
    with Server() as server:
        with Client(server) as c:
            c.send(b"auth\n\n" + b"t" * AUTH + b"\n" + PING)
            check_eq(c.lines(2), ["error", "ok"], "65,536 bytes pass")
            c.send(b"auth\r\n\n" + b"t" * AUTH + b"\n" + PING)
            check_eq(c.lines(2), ["error", "ok"], "65,536 bytes pass, again")
            c.send(b"auth\n\n" + b"t" * (AUTH + 1) + b"\n" + PING)
            c.expect("error", "65,537 bytes")
            c.expect_close(how="fin")


@test("an over-long line is discarded up to its LF, then error", rules=["P7", "P64"])
def long_line_until_lf():
    with Server() as server:
        for start in [b"", b"l\n", b"l\nk\n", b"auth\n\n", b"auth\n"]:
            with Client(server) as c:
                c.send(start + b"x" * 500000)
                c.expect_silence(0.05)
                c.send(b"y" * 500000 + b"\nping\n\n\n")
                c.expect("error", f"a million bytes behind {start!r}")
                c.expect_close(how="fin")
        for size in [257, 258, 1000, 4095, 4096, 4097, 65535, 65536, 65537]:
            with Client(server) as c:
                c.send(b"x" * size + b"\n")
                c.expect("error", f"{size} bytes")
                c.expect_close(how="fin")


@test("an over-long line that ends with EOF: error, close", rules=["P7"])
def long_line_until_eof():
    with Server() as server:
        for start in [b"", b"l\n", b"l\nk\n", b"auth\n\n"]:
            with Client(server) as c:
                c.send(start + b"x" * 500000)
                c.half_close()
                c.expect("error", f"EOF behind {start!r}")
                c.expect_close(how="fin")


@test("an over-long line without an end is answered at the deadline", rules=["P7", "P15"])
def long_line_until_deadline():
    with Server(["--read-timeout", "1"]) as server, Client(server) as c:
        took = elapsed()
        c.send(PING + b"x" * 500000)
        c.expect("ok")
        c.expect("error")
        check(took() >= 1, f"error after {took():.2f} s")
        c.expect_close(how="fin")


@test("EOF before the third LF: no reply, close", rules=["P9"])
def eof_in_a_request():
    with Server() as server:
        for part in [b"", b"p", b"ping", b"ping\n", b"l\nkey", b"l\nkey\n", b"l\nkey\n0",
                     b"auth\n\n" + b"t" * 5000]:
            with Client(server) as c:
                c.send(part)
                c.half_close()
                c.expect_close(how="fin")
        with Client(server) as c:
            check_eq(c.req("l", "key", "0")[:3], "ok ", "the key is free")


@test("EOF after whole requests: all are executed and answered, then close", rules=["P10", "P9"])
def eof_after_requests():
    n = 5000
    with Server() as server:
        with Client(server) as c:
            c.send(b"l\nkey\n0 77\n" + PING * n + b"n\nkey\nx\n" + b"l\nother")
            c.half_close()
            token_of(c.line())
            check_eq(c.lines(n), ["ok"] * n, "the replies")
            c.expect("error")
            c.expect_close(how="fin")
        with Client(server) as c:  # also what needs a job, and what blocks
            c.send(b"l\nkey\n0\nstats\n\n\nlist\n*\n\nshow\nkey\nlock\nl\nkey\n1\nping\n\n\n")
            c.half_close()
            token_of(c.line())
            for _ in range(3):
                json_of(c.line())
            check_eq(c.lines(2), ["timeout", "ok"], "behind the blocked request")
            c.expect_close(how="fin")


@test("keys and tokens are bytes", rules=["P11", "P29", "P4"])
def binary():
    odd = [b for b in range(256) if b not in b" \t\n\r"]
    with Server(["--max-locks", "2000"]) as server, Client(server) as c:
        for b in odd:
            keys = [bytes([b]), b"a" + bytes([b]), bytes([b]) + b"z", b"k" + bytes([b]) * 3 + b"k"]
            for key in keys:
                c.ask("l", key, "0 9")
            tokens = [token_of(x) for x in c.lines(len(keys))]
            for key in keys:
                c.ask("l", key, "0")
            check_eq(c.lines(len(keys)), ["timeout"] * len(keys), f"byte {b}: the same key again")
            for key, token in zip(keys, tokens):
                c.ask("r", key, token)
            check_eq(c.lines(len(keys)), ["ok"] * len(keys), f"byte {b}: released")
        whole = bytes(odd)
        token = token_of(c.req("l", whole, "0"))
        check_eq(c.req("l", whole[:-1] + b"\x00", "0")[:3], "ok ", "another key")
        check_eq(c.req("l", whole, "0"), "timeout", "every byte at once")
        check_eq(c.req("r", whole, token), "ok", "every byte at once")
        for other in [b"nul\0a", b"nul\0b", b"nul", b"nul\0", "ä".encode(), "a\u0308".encode()]:
            token_of(c.req("l", other, "0"))
        for bad in [b"\0", b"\xff" * 32, b"\0" * 32, token.encode()[:-1] + b"\0"]:
            check_eq(c.req("r", b"nul", bad), "error", f"token {bad!r}")


@test("10,000 requests in one send are answered in order", rules=["P12", "P3"], deadline=60)
def pipeline():
    n = 10000
    with Server(["--max-locks", str(2 * n)]) as server, Client(server) as c:
        def reader(_):
            return c.lines(2 * n)

        def writer(_):
            c.sock.settimeout(None)  # it would hold for all of it
            c.sock.sendall(b"".join(b"l\nkey-%d\n0 %d\nping\n\n\n" % (i, i + 1) for i in range(n)))

        replies = in_threads(lambda f: f(None), [reader, writer])[0]
        for i in range(n):
            check_eq(replies[2 * i].split()[2:], [str(i + 1)], f"the lease of request {i}")
            check_eq(replies[2 * i + 1], "ok", f"the ping behind request {i}")
        tokens = [r.split()[1] for r in replies[::2]]
        check_eq(tokens, sorted(tokens), "fences in the order of the requests")
        c.expect_silence(0.05)


@test("10,000 requests whose client reads only afterwards", rules=["P12"])
def pipeline_small_answers():
    n = 10000
    with Server() as server, Client(server) as c:
        c.send(PING * n)  # 30 KiB of answers: they fit the socket's buffers
        check_eq(c.lines(n), ["ok"] * n, "the replies")


@test("behind a blocked request the server stops reading and drops nothing",
      rules=["P13", "P12", "P3"])
def back_pressure():
    with Server() as server, Client(server) as holder, Client(server) as c:
        token = token_of(holder.req("l", "key", "0"))
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        c.ask("l", "key", "20")
        c.expect_silence(0.05)
        c.sock.setblocking(False)
        sent, chunk = 0, PING * 10000

        def push():
            nonlocal sent
            try:
                while True:
                    at = sent % len(chunk)
                    sent += c.sock.send(chunk[at:])
                    check(sent < 64 << 20, "the server reads 64 MiB behind a blocked request")
            except BlockingIOError:
                return

        push()
        before = -1
        while before != sent:  # until nothing fits any more for a while
            before = sent
            c.expect_silence(0.1)
            c.sock.setblocking(False)
            push()
        check(sent > 65536, f"only {sent} bytes could be sent")
        check_eq(holder.req("r", "key", token), "ok", "the release")
        c.sock.setblocking(True)
        rest = -sent % len(PING)

        def finish(_):
            if rest:
                c.send(PING[-rest:])

        token_of(in_threads(lambda f: f(None), [finish, lambda _: c.line()])[1])
        n = (sent + rest) // len(PING)
        check_eq(c.lines(n), ["ok"] * n, f"the {n} requests behind it")


@test("requests behind a blocked one are served when it times out, also at once", rules=["P13"])
def behind_a_timeout():
    with Server() as server, Client(server) as holder, Client(server) as c:
        token_of(holder.req("l", "key", "0"))
        c.send(b"l\nkey\n1\n" + PING + b"l\nkey\n0\n" + PING)
        c.expect_silence(0.1)
        check_eq(c.lines(4), ["timeout", "ok", "timeout", "ok"], "the replies")


@test("blank lines are not skipped", rules=["P14", "P54"])
def blank_lines():
    with Server() as server, Client(server) as c:
        c.send(b"\n\n\n" + PING + b"\r\n\r\n\r\n" + PING + b"\nping\n\n" + b"\n" * 30)
        check_eq(c.lines(5 + 10), ["error", "ok", "error", "ok"] + ["error"] * 11, "the replies")
        c.send(b"\n")  # a whole line more: requests are no longer where the client thinks
        c.send(PING)
        c.expect("error")


@test("TCP_NODELAY and keepalive as promised", rules=["P20"])
def socket_options():
    with Server() as server, Client(server) as c:
        check_eq(c.req("ping"), "ok", "ping")
        port = c.local.rsplit(":", 1)[1]

        def timer():
            """What is left of the 15 s; there is another one until the reply is acknowledged."""
            out = subprocess.run(["ss", "-tnoH", "state", "established", "sport", "=",
                                  f":{server.port}", "dport", "=", f":{port}"],
                                 stdout=subprocess.PIPE, check=True).stdout.decode()
            return re.search(r"timer:\(keepalive,([0-9.]+)(sec|ms),0\)", out)

        m = eventually(timer, text="ss shows no keepalive timer")
        check(m[2] == "ms" or float(m[1]) <= 15, f"the keepalive timer is {m[0]}")
        # The options themselves, from a copy of the worker's descriptor.
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
                   (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
                   (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
                   (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
                   (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)]
        copy = stolen_socket(server, c)
        for level, option, want in options if copy else []:
            check_eq(copy.getsockopt(level, option), want, f"socket option {level}/{option}")


def stolen_socket(server, client):
    """A duplicate of the server's end of a connection; None when we may not (not root)."""
    libc = ctypes.CDLL(None, use_errno=True)
    for pid in server.worker_pids():
        try:
            pidfd = os.pidfd_open(pid)
            names = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            return None
        for name in names:
            fd = libc.syscall(438, pidfd, int(name), 0)  # pidfd_getfd
            if fd < 0:
                continue
            try:
                s = socket.socket(fileno=fd)
            except OSError:
                os.close(fd)
                continue
            try:
                peer = s.getpeername()
            except OSError:
                peer = None
            if peer == client.sock.getsockname():
                os.close(pidfd)
                return s
            s.close()
        os.close(pidfd)
    return None


if __name__ == "__main__":
    main()
