#!/usr/bin/env python3
"""tls_reload_test.py - SIGHUP with other TLS files: new handshakes use them, connections go on; wrong
ones change nothing."""

import os
import shutil
import signal
import ssl

from certs import Authority, authority, client_context, in_file, text_of
from harness import Server, check, check_eq, eventually, fail, main, temp_dir, temp_file, test, token_of

DONE = "reload .*result=done"
REFUSED = 'reload .*result="refused, the old settings stay"'


def files(cert):
    """Copies that a test may replace."""
    at = temp_dir()
    paths = os.path.join(at, "cert"), os.path.join(at, "key")
    replace(paths, cert)
    return paths


def replace(paths, cert):
    for path, source in zip(paths, (cert.cert, cert.key)):
        shutil.copy(source, path + ".new")
        os.chmod(path + ".new", 0o600)
        os.rename(path + ".new", path)


def reload(server, result=DONE):
    since = server.mark()
    server.kill(signal.SIGHUP)
    server.wait_log(result, 20, since)
    return since


def shown(client):
    return client.tls.ssl.getpeercert()["serialNumber"]


@test("another certificate: for new handshakes, by every worker and by heirs; connections and locks stay",
      rules=["T13", "T7"])
def rotation():
    ca = authority()
    first, second = ca.issue(), ca.issue()
    paths = files(first)
    context = client_context()
    with Server(["--tls-cert", paths[0], "--tls-key", paths[1]], workers=3,
                expect_log=["worker died"]) as server:
        old = server.client(tls=context)
        token = token_of(old.req("l", "k", "0 600"))
        session, serial = old.tls.ssl.session, shown(old)
        waiter = server.client(tls=context)
        waiter.ask("l", "k", "60")
        replace(paths, second)
        reload(server)
        fresh = [server.client(tls=context) for _ in range(6)]
        check(shown(fresh[0]) != serial, "another certificate")
        check_eq(len({shown(c) for c in fresh}), 1, "of every worker")
        again = server.client(tls=context, session=session)
        check_eq(again.req("ping"), "ok", "a ping")
        check(not again.tls.ssl.session_reused, "a session of the first certificate is not resumed")
        check_eq(old.req("r", "k", token), "ok", "an old connection")
        token_of(waiter.line())
        before = server.worker_pids()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(server.worker_pids()) == 3 and
                   not set(server.worker_pids()) & set(before), 10, "they are replaced")
        check_eq(shown(server.client(tls=context)), shown(fresh[0]), "heirs have it")


@test("files that cannot be used: each error is logged, the old ones serve on", rules=["T13", "T11"])
def wrong():
    ca = authority()
    good, other = ca.issue(), ca.issue()
    paths = files(good)
    with Server(["--tls-cert", paths[0], "--tls-key", paths[1]],
                expect_log=["error configuration"]) as server:
        serial = shown(server.client(tls=client_context()))
        shutil.copy(other.key, paths[1])
        since = reload(server, REFUSED)
        check(server.logged("error configuration .*does not belong to the certificate", since), "why")
        os.unlink(paths[0])
        since = reload(server, REFUSED)
        check(server.logged("error configuration .*No such file", since), "why")
        check_eq(shown(server.client(tls=client_context())), serial, "the old one")


@test("other authorities for clients: who was let in stays, who comes must have one of theirs",
      rules=["T13", "T3"])
def authorities():
    first, second = Authority("first"), Authority("second")
    ca = in_file("ca", text_of(first.cert))
    one = client_context(authority(), first.issue("one"))
    two = client_context(authority(), second.issue("two"))
    paths = files(authority().issue())
    with Server(["--tls-cert", paths[0], "--tls-key", paths[1], "--tls-client-ca", ca]) as server:
        old = server.client(tls=one)
        check_eq(old.req("ping"), "ok", "let in")
        with open(ca, "wb") as f:
            f.write(text_of(second.cert))
        reload(server)
        check_eq(server.client(tls=two).req("ping"), "ok", "of the second")
        check_eq(old.req("ping"), "ok", "who is in")
        try:
            c = server.client(tls=one, session=old.tls.ssl.session)
            c.ask("ping")
            c.line()
            fail("it is let in")
        except (ssl.SSLError, OSError):
            pass


@test("TLS switched on and off: connections stay what they are", rules=["T13", "T1"])
def on_and_off():
    paths = files(authority().issue())
    config = temp_file("")
    with Server(["--config", config]) as server:
        plain = server.client()
        token = token_of(plain.req("l", "k", "0"))
        with open(config, "w") as f:
            f.write(f"tls_cert = {paths[0]}\ntls_key = {paths[1]}\n")
        reload(server)
        tls = server.client(tls=client_context())
        check_eq(tls.req("l", "k", "0"), "timeout", "over TLS")
        check_eq(plain.req("n", "k", token), "ok 33", "plain as before")
        open(config, "w").close()
        reload(server)
        check_eq(server.client().req("ping"), "ok", "plain again")
        check_eq(tls.req("r", "k", token), "ok", "TLS as before")


@test("fewer workers: those that are too many serve their TLS connections to the end", rules=["T13"])
def fewer():
    paths = files(authority().issue())
    config = temp_file("workers = 3\n")
    args = ["--config", config, "--tls-cert", paths[0], "--tls-key", paths[1]]
    with Server(args, workers=0) as server:
        eventually(lambda: len(server.worker_pids()) == 3, 10, "three workers")
        clients = [server.client(tls=client_context()) for _ in range(6)]
        tokens = [token_of(c.req("l", f"k{i}", "0 600")) for i, c in enumerate(clients)]
        with open(config, "w") as f:
            f.write("workers = 1\n")
        reload(server)
        for i, (c, token) in enumerate(zip(clients, tokens)):
            check_eq(c.req("n", f"k{i}", token + " 600"), "ok 600", "served on")
        for c in clients:
            c.close()
        eventually(lambda: len(server.worker_pids()) == 1, 20, "then they leave")


if __name__ == "__main__":
    main()
