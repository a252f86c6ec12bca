#!/usr/bin/env python3
"""tls_connection_test.py - TLS as clients see it: versions, certificates, plain text, handshakes that
stall, records of all sorts, sessions that are resumed, ends. The clients are OpenSSL's own, Python's,
and tests/tls/records."""

import os
import re
import socket
import ssl
import subprocess
import time
import warnings

from certs import Authority, authority, client_context, in_file, server_certificate, text_of
from harness import (Client, Server, check, check_eq, elapsed, eventually, fail, in_threads, json_of,
                     main, temp_dir, test, token_of)


def tls_server(*args, cert=None, **options):
    return Server([*(cert or server_certificate()).args, *args], **options)


def s_client(server, *args, say=b"ping\n\n\n", timeout=20):
    """All that openssl s_client prints, when the server has answered once or closed."""
    p = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile",
                          authority().cert, "-verify_return_error", *args], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        try:
            p.stdin.write(say)
            p.stdin.flush()
        except BrokenPipeError:
            pass  # it was refused and has ended
        out, end = b"", time.monotonic() + timeout
        os.set_blocking(p.stdout.fileno(), False)
        while not re.search(rb"^(ok|error\w*)$", out, re.M):
            check(time.monotonic() < end, f"s_client says nothing more after {out.decode()}")
            data = p.stdout.read()
            if data == b"":
                break
            out += data or b""
            if data is None:
                time.sleep(0.01)
        return out.decode("utf-8", "replace")
    finally:
        try:
            p.stdin.close()
        except BrokenPipeError:
            pass
        p.terminate()
        p.wait()
        p.stdout.close()


def records(server, mode, n):
    program = os.path.join(os.environ["top_builddir"], "tests/tls/records")
    p = subprocess.run([program, str(server.port), mode, str(n)], capture_output=True, text=True,
                       timeout=25)
    check_eq((p.returncode, p.stderr), (0, ""), f"records {mode}")
    return p.stdout


def quiet(server):
    """A client that has not begun its handshake."""
    return server.client(tls=client_context(), handshake=False)


def on_wire(client, *texts):
    """What these texts are on the wire, a record each."""
    return b"".join(client.tls.encrypt(x.encode()) for x in texts)


@test("TLS 1.2 and 1.3, and nothing older; no compression; the system's ciphers", rules=["T2", "T1"])
def versions():
    with tls_server() as server:
        for flag, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
            out = s_client(server, flag)
            check(f"New, {name}, " in out and "\nok\n" in out, out)
            check("Compression: NONE" in out and "Verify return code: 0 (ok)" in out, out)
        mark = server.mark()
        for flag in ("-tls1", "-tls1_1"):
            out = s_client(server, flag, "-cipher", "ALL:@SECLEVEL=0")
            check("New, (NONE)" in out and "alert protocol version" in out, out)
        server.wait_log('connection failed .*why="unsupported protocol"', since=mark)
        out = s_client(server, "-tls1_2", "-cipher", "NULL:aNULL:@SECLEVEL=0")
        check("handshake failure" in out and "New, (NONE)" in out, out)
        check_eq(server.client(tls=client_context()).req("ping"), "ok", "others are served")


@test("the system's policy: what it allows below TLS 1.2 is not served, what it forbids above is not "
      "either", rules=["T2"])
def policy():
    def conf(text):
        return {"OPENSSL_CONF": in_file("openssl.cnf", f"""
openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = policy
[policy]
{text}
""".encode())}

    with tls_server(env=conf("MinProtocol = TLSv1\nCipherString = ALL:@SECLEVEL=0")) as server:
        out = s_client(server, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        check("alert protocol version" in out and "\nok\n" not in out, out)
        check("\nok\n" in s_client(server, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"),
              "what it allows")
    with tls_server(env=conf("MinProtocol = TLSv1.3")) as server:
        check("\nok\n" not in s_client(server, "-tls1_2"), "what it forbids")
        check("\nok\n" in s_client(server, "-tls1_3"), "what it allows")
    with tls_server(env=conf("CipherString = ECDHE+AESGCM")) as server:
        check("\nok\n" not in s_client(server, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"),
              "a cipher that it does not name")


@test("the server's certificate is verified by clients: another authority, another name, expired",
      rules=["T2", "T12"])
def verification():
    with tls_server() as server:
        try:
            server.client(tls=client_context(authority("other")))
            fail("it trusts an unknown authority")
        except ssl.SSLCertVerificationError as e:
            check("unable to get local issuer" in str(e), e)
        server.wait_log('connection failed .*why="tlsv1 alert unknown ca"')
        check("hostname mismatch" in s_client(server, "-verify_hostname", "example.org").lower(),
              "another name")
    with tls_server(cert=authority().issue(days=-1)) as server:
        server.wait_log("warn configuration .*has expired")
        try:
            server.client(tls=client_context())
            fail("it trusts an expired certificate")
        except ssl.SSLCertVerificationError as e:
            check("certificate has expired" in str(e), e)


def turned_away(server, context):
    """The handshake fails, or (TLS 1.3: the client is done first) the first read does."""
    try:
        c = server.client(tls=context)
        c.ask("ping")
        c.line()
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError) as e:
        return str(e)
    fail("it was served")


@test("client certificates: of the authority, of an intermediate one, none, a stranger's, expired",
      rules=["T3"])
def client_certificates():
    ca, clients, other = authority(), Authority("clients"), authority("other")
    intermediate = Authority("intermediate", signed_by=other)
    with tls_server("--tls-client-ca", clients.cert) as server:
        good = clients.issue("client")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            contexts = [client_context(ca, x) for x in (good, None, other.issue("x"),
                                                        clients.issue("old", days=-1))]
            for context in contexts:
                context.maximum_version = version
            check_eq(server.client(tls=contexts[0]).req("ping"), "ok", "of the authority")
            mark = server.mark()
            turned_away(server, contexts[1])
            server.wait_log('why="peer did not return a certificate"', since=mark)
            for context in contexts[2:]:
                mark = server.mark()
                turned_away(server, context)
                server.wait_log('why="certificate verify failed"', since=mark)
    with tls_server("--tls-client-ca", intermediate.cert) as server:
        check_eq(server.client(tls=client_context(ca, intermediate.issue("c"))).req("ping"), "ok",
                 "of an intermediate authority whose own is not known")
        turned_away(server, client_context(ca, other.issue("c")))


@test("plain text on a TLS address is closed at its first byte, without a byte, and the log says why",
      rules=["T5", "P22"])
def plain_text():
    with tls_server() as server:
        for text in ("p", "ping\n\n\n", "GET / HTTP/1.1\r\n\r\n", "\n", "\0"):
            mark, c = server.mark(), server.client()
            c.send(text)
            c.expect_close()
            server.wait_log(f'connection failed .*why="plain text on a TLS address" peer={c.local}',
                            since=mark)
        noise = server.client()
        noise.send(b"\x16\x03\x01\x00\x05hello")
        while not noise.is_closed():  # an alert of OpenSSL's may come first
            time.sleep(0.005)
        mark, silent = server.mark(), server.client()
        silent.close()
        check_eq(server.client(tls=client_context()).req("ping"), "ok", "others are served")
        check(not server.logged(f"connection failed .*{silent.local}", mark), "who only looks is no news")


@test("TLS on a plain-text address: a line in the log", rules=["T5"])
def tls_to_plain():
    with Server() as server:
        c = quiet(server)
        c.sock.sendall(c.tls.flight()[0])
        server.wait_log("warn TLS on a plain-text address")
        check_eq(server.client().req("ping"), "ok", "others are served")


@test("Unix sockets stay plain text beside TLS", rules=["T1"])
def unix():
    path = os.path.join(temp_dir(), "socket")
    with tls_server("--unix-socket", path) as server:
        a, b = server.client(unix=path), server.client(tls=client_context())
        token = token_of(a.req("l", "k", "0"))
        check_eq(b.req("l", "k", "0"), "timeout", "one table")
        check_eq(b.req("r", "k", token), "ok", "for both")


@test("a handshake that stalls, at any place, ends at the read timeout; others are served meanwhile",
      rules=["T4", "P21"], deadline=60)
def stalled():
    # So long that a client which is not run for some seconds is not taken for one that stalls.
    with tls_server("--read-timeout", "5", "--write-timeout", "0", workers=1) as server:
        took = elapsed()
        idle, half, mute, trickling = (quiet(server) for _ in range(4))
        hello = half.tls.flight()[0]
        half.sock.sendall(hello[:len(hello) // 2])
        mute.sock.sendall(mute.tls.flight()[0])  # and never goes on
        first = trickling.tls.flight()[0]

        def others():
            c = server.client(tls=client_context())
            for _ in range(100):
                check_eq(c.req("ping"), "ok", "a ping meanwhile")

        others()
        alive, i = True, 0
        while alive and i < len(first):  # a byte now and then buys no time
            try:
                trickling.sock.sendall(first[i:i + 1])
                i += 1
            except OSError:
                alive = False
            time.sleep(0.05)
        check(not alive, "the one that trickles is still there")
        for c in (idle, half, mute):
            eventually(c.is_closed, 20, "it is closed")
        check(took() >= 4.9, f"closed after {took():.2f} s")
        others()


@test("trickled bytes, several records in a packet, records of a byte, many requests in a record",
      rules=["T10", "P21", "P1", "P12"])
def shapes():
    with tls_server() as server:
        def slowly(data):
            for i in range(len(data)):
                c.sock.sendall(data[i:i + 1])

        c = quiet(server)
        c.tls.handshake(slowly)
        slowly(on_wire(c, "ping\n\n\n"))
        c.expect("ok", "a ping in bytes on the wire")
        c.sock.sendall(on_wire(c, *"l\nkey\n0\nping\n\n\n"))
        token = token_of(c.line())
        c.expect("ok", "records of a byte, in one packet")
        n = 2000
        c.sock.sendall(on_wire(c, "ping\n\n\n" * n))
        check_eq(c.lines(n), ["ok"] * n, "many in a record")
        both = on_wire(c, "ping\n\n\nr\nkey\n", token)
        c.sock.sendall(both[:-9])
        c.expect("ok", "what came whole")
        c.sock.sendall(both[-9:] + on_wire(c, "\n"))
        c.expect("ok", "the rest")
        c = server.client(tls=client_context())
        for x in "l\nkey\n0\n":
            c.send(x)
        token_of(c.line())


@test("a request behind a blocked one, in the same record or the next, is served after the grant",
      rules=["T10", "P13"])
def behind():
    with tls_server() as server:
        holder = server.client(tls=client_context())
        token = token_of(holder.req("l", "k", "0"))
        c = server.client(tls=client_context())
        c.sock.sendall(on_wire(c, "l\nk\n20\nping\n\n\n", "ping\n\n\npi"))
        watch = server.client(tls=client_context())
        eventually(lambda: json_of(watch.req("stats"))["locks"][0]["waiters"] == 1, text="it waits")
        c.send("ng\n\n\n")
        check_eq(holder.req("r", "k", token), "ok", "the release")
        token_of(c.line())
        check_eq(c.lines(3), ["ok"] * 3, "the pings")


@test("more requests than any buffer has room for, behind a blocked one", rules=["T10", "P13"])
def much_behind():
    with tls_server() as server:
        holder, c = (server.client(tls=client_context()) for _ in range(2))
        token = token_of(holder.req("l", "k", "0"))
        n = 20000
        c.send("l\nk\n20\n" + "ping\n\n\n" * n)
        check_eq(holder.req("r", "k", token), "ok", "the release")
        token_of(c.line())
        check_eq(c.lines(n), ["ok"] * n, "the pings")


@test("records without data: a few are skipped, without end they end the connection",
      rules=["T10"])
def empty_records():
    with tls_server() as server:
        check_eq(records(server, "empty", 0), "ok\n", "the client itself")
        check_eq(records(server, "empty", 20), "ok\n", "20")
        check_eq(records(server, "empty", 5000), "closed\n", "5000")
        check_eq(server.client(tls=client_context()).req("ping"), "ok", "others are served")


@test("key updates are answered, and a flood of them holds nobody up", rules=["T10"], deadline=60)
def key_updates():
    with tls_server(workers=1) as server:
        check_eq(records(server, "updates", 30), "ok\n", "the ping behind them")
        flood = subprocess.Popen([os.path.join(os.environ["top_builddir"], "tests/tls/records"),
                                  str(server.port), "flood", "100000000"], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        try:
            c = server.client(tls=client_context())
            for _ in range(50):
                check_eq(c.req("ping"), "ok", "a ping meanwhile")
            took = elapsed()
            while took() < 2.5:  # longer than a worker may be without a sign of life
                check_eq(c.req("ping"), "ok", "a ping meanwhile")
        finally:
            flood.kill()
            flood.wait()
        check(not server.logged("worker hangs"), "no worker was kept")


@test("renegotiation is refused, the server serves on", rules=["T6"])
def renegotiation():
    with tls_server(workers=1) as server:
        # "R" at the beginning of a line makes s_client ask for it.
        out = s_client(server, "-tls1_2", say=b"R\n")
        check("RENEGOTIATING" in out and "no renegotiation" in out, out)
        check("Secure Renegotiation IS supported" in out, out)
        check_eq(server.client(tls=client_context()).req("ping"), "ok", "others are served")
        server.wait_log("connection")


def resumed(server, context, session, close=True):
    """(whether the session was resumed, the session to go on with)"""
    c = server.client(tls=context, session=session)
    check_eq(c.req("ping"), "ok", "a ping")  # TLS 1.3: tickets come with the first data
    result = c.tls.ssl.session_reused, c.tls.ssl.session
    if close:
        c.close()
    return result


@test("a session goes on with any worker, and with the heirs of dead ones; not with other files",
      rules=["T7"], deadline=60)
def resumption():
    warnings.simplefilter("ignore")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = client_context()
        context.maximum_version = version
        with tls_server(workers=3, expect_log=["worker died"]) as server:
            again, session = resumed(server, context, None)
            check(not again, "the first one is new")
            for _ in range(6):  # each with the worker that has the fewest
                check(resumed(server, context, session, close=False)[0], f"{version.name}: resumed")
            before = server.worker_pids()
            for pid in before:
                os.kill(pid, 9)
            eventually(lambda: len(server.worker_pids()) == 3 and
                       not set(server.worker_pids()) & set(before), 20, "they are replaced")
            for _ in range(4):
                check(resumed(server, context, session, close=False)[0], "resumed with heirs")
        with tls_server() as server:
            check(not resumed(server, context, session)[0], "another server knows nothing of it")


@test("a session does not outlive the authorities that its client was let in by", rules=["T7", "T3"],
      deadline=60)
def other_files():
    clients, others = Authority("clients"), Authority("others")
    ca = in_file("ca", text_of(clients.cert))
    context = client_context(authority(), clients.issue("client"))
    with tls_server("--tls-client-ca", ca, expect_log=["worker died"]) as server:
        session = resumed(server, context, None)[1]
        check(resumed(server, context, session)[0], "with a client's certificate")
        server.master_dies()
        server.start_again()
        with open(ca, "wb") as f:
            f.write(text_of(others.cert))
        before = server.worker_pids()
        for pid in before:
            os.kill(pid, 9)
        eventually(lambda: len(server.worker_pids()) == 2 and
                   not set(server.worker_pids()) & set(before), 20, "they are replaced")
        check(resumed(server, context, session)[0], "the master has read the file before")
        server.master_dies()
        server.start_again()
        before = server.worker_pids()
        for pid in before:
            os.kill(pid, 9)
        eventually(lambda: len(server.worker_pids()) == 2 and
                   not set(server.worker_pids()) & set(before), 20, "they are replaced")
        c = server.client(tls=context, session=session, handshake=False)
        try:
            c.tls.handshake()
            c.ask("ping")
            c.line()
            fail("it is let in")
        except (ssl.SSLError, OSError):
            check(not c.tls.ssl.session_reused, "it is not resumed")


@test("half-close by close_notify alone, and by FIN alone: what was asked is answered, then the end",
      rules=["T8", "P10", "S46"])
def half_close():
    with tls_server() as server:
        holder = server.client(tls=client_context())
        token = token_of(holder.req("l", "k", "0"))
        said, part = (server.client(tls=client_context()) for _ in range(2))
        said.sock.sendall(on_wire(said, "ping\n\n\nl\nk\n60\n") + said.tls.close_notify())
        said.expect("ok", "the ping")
        took = 1
        while took > 0.2:  # or this test itself was kept from running, and the FIN came late
            cut, took = server.client(tls=client_context()), elapsed()
            cut.send("l\nk\n60\n")
            cut.sock.shutdown(socket.SHUT_WR)  # no close_notify
            took = took()
            if took > 0.2:
                cut.reset()
        watch = server.client(tls=client_context())
        eventually(lambda: json_of(watch.req("stats"))["locks"][0]["waiters"] == 2, 20, "both wait")
        time.sleep(0.5)
        check_eq(holder.req("r", "k", token), "ok", "the release")
        # Both are granted in their turn: what either holds goes with its connection.
        token_of(said.line())
        said.expect_close(how="fin")
        token_of(cut.line())
        cut.expect_close(how="fin")
        part.send("ping\n\n\nincompl")
        part.half_close()
        part.expect("ok", "the whole request")
        part.expect_close(how="fin")


@test("a client that leaves while it waits is forgotten at once, whichever way it leaves",
      rules=["T8", "S45", "S47"], deadline=120)
def leaving():
    with tls_server() as server:
        holder, watch = (server.client(tls=client_context()) for _ in range(2))
        token_of(holder.req("l", "k", "0"))

        def waiting():
            return json_of(watch.req("stats"))["locks"][0]["waiters"]

        for how in ("half_close", "close", "reset", "cut"):
            c = server.client(tls=client_context())
            c.ask("l", "k", "60")
            eventually(lambda: waiting() == 1, text="it waits")
            time.sleep(0.4)  # later than a half-close
            if how == "cut":
                c.sock.shutdown(socket.SHUT_WR)
            else:
                getattr(c, how)()
            # At once: not when its 60 s are over.
            eventually(lambda: waiting() == 0, 20, f"{how}: it is forgotten")
            c.close()


@test("the server's end begins with close_notify", rules=["T8", "P15"])
def our_end():
    with tls_server("--read-timeout", "5") as server:
        c = server.client(tls=client_context())
        check_eq(c.req("ping"), "ok", "a ping")
        c.expect("error", "idle for too long", 20)
        c.expect_close(how="fin")
        c = server.client(tls=client_context())
        check_eq(c.req("ping"), "ok", "a ping")
        c.half_close()
        c.expect_close(how="fin")


@test("answers larger than all buffers, to clients that read at leisure", rules=["T1", "P40", "P42"],
      deadline=60)
def long_answers():
    with tls_server("--max-locks", "3000", "--write-timeout", "60") as server:
        keys = 2500
        holder, reader = (server.client(tls=client_context()) for _ in range(2))
        holder.send("".join(f"l\nkey-{i:0200}\n0 1000\n" for i in range(keys)))
        check_eq(len({token_of(x) for x in holder.lines(keys)}), keys, "tokens")
        n = 12
        reader.send("stats\n\n\nping\n\n\n" * n)
        slow = Client(("127.0.0.1", server.port), rcvbuf=4096, tls=client_context())
        slow.send("stats\n\n\nlist\n*\n\n")
        for _ in range(n):
            check_eq(len(json_of(reader.line())["locks"]), keys, "all keys")
            reader.expect("ok", "the ping behind")
        check_eq(len(json_of(slow.line())["locks"]), keys, "all keys")
        check("cursor" in json_of(slow.line()), "a page of the list")
        slow.close()


@test("a peer that reads nothing is closed at the write timeout", rules=["P18", "T1"])
def deaf():
    with tls_server("--write-timeout", "1", "--max-locks", "3000", "--debug") as server:
        holder = server.client(tls=client_context())
        holder.send("".join(f"l\nkey-{i:0200}\n0 1000\n" for i in range(2500)))
        holder.lines(2500)
        c = Client(("127.0.0.1", server.port), rcvbuf=4096, tls=client_context())
        c.send("stats\n\n\n" * 20)
        server.wait_log('connection ends .*why="peer does not read its answers" '
                        f"peer={re.escape(c.local)}$", 20)
        # Who is not run for a second is one that reads nothing, too: the answer must be short.
        holder.close()
        watch = server.client(tls=client_context())
        eventually(lambda: json_of(watch.req("stats"))["connections"] == 1, 15, "it is closed")
        c.close()


@test("the secret, over TLS; a long one too", rules=["P41", "T1"])
def secret():
    token = "s" * 60000
    with tls_server(env={"DFLOCKD_AUTH_TOKEN": token}) as server:
        c = server.client(tls=client_context())
        check_eq(c.req("auth", "", token), "ok", "the right one")
        check_eq(c.req("ping"), "ok", "then")
        c = server.client(tls=client_context())
        check_eq(c.req("auth", "", "wrong"), "error_auth", "a wrong one")
        c.expect_close(how="fin")


if __name__ == "__main__":
    main()
