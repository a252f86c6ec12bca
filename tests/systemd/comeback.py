"""comeback.py - a light load by clients that come back when the server has ended their connections, as a
restart does, and then want everything that they were told to be true.

    load = Comeback(address, tls=context, secret="…")    begins
    load.goes_on()       returns when everybody has been served several times since
    load.ends            how many connections the server has ended
    load.secret = "…"    for who comes from now on
    load.stop()          ends it; raises what went wrong
"""

import ssl
import threading
import traceback

from harness import Client, Failure, check, check_eq, eventually, fence_of, token_of

PAIRS = 3
ROUNDS = 3  # that show that somebody is served
PAUSE = 0.01  # seconds between rounds: a light load
LEASE = 1000  # seconds: no lease ends by itself


class Gone(Exception):
    """The server has ended the connection, or it could not be made."""


class Comeback:
    def __init__(self, address, tls=None, secret=None, timeout=60.0):
        self.address, self.tls, self.secret, self.timeout = address, tls, secret, timeout
        self.over = threading.Event()
        self.ends = 0
        self.wrong = []
        self.pairs = [Pair(self, f"pair{n}") for n in range(PAIRS)]

    def goes_on(self):
        want = [p.rounds + ROUNDS for p in self.pairs]
        eventually(lambda: self.wrong or all(p.rounds >= n for p, n in zip(self.pairs, want)),
                   self.timeout, "somebody is not served")
        check(not self.wrong, "; ".join(self.wrong))

    def stop(self):
        self.over.set()
        for p in self.pairs:
            p.thread.join(self.timeout)
            check(not p.thread.is_alive(), f"{p.key}: does not end")
        check(not self.wrong, "; ".join(self.wrong))


class Pair:
    """Two clients of one key: one holds it, and the other one must not get it."""

    def __init__(self, load, name):
        self.load, self.name, self.key = load, name, name
        self.rounds = self.fence = self.renamed = 0
        self.token = None  # of what is held for certain
        self.clients = [None, None]  # the one that holds, the one that tries
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while not self.load.over.is_set():
                try:
                    self.round()
                except Gone:
                    self.ended()
                self.load.over.wait(PAUSE)
        except Failure as e:
            self.load.wrong.append(f"{self.key}: {e}")
        except Exception:
            self.load.wrong.append(f"{self.key}: {traceback.format_exc()}")
        finally:
            self.close()

    def round(self):
        self.clients = [c or self.connect() for c in self.clients]
        holder, other = self.clients
        if not self.token:
            token = token_of(ask(holder, "l", self.key, f"0 {LEASE}"))
            check(fence_of(token) > self.fence, f"fence {fence_of(token)} after {self.fence}")
            self.token, self.fence = token, fence_of(token)
        check_eq(ask(other, "l", self.key, "0"), "timeout", "another one's try")
        check_eq(ask(holder, "n", self.key, f"{self.token} {LEASE}"), f"ok {LEASE}", "the renewal")
        token, self.token = self.token, None
        check_eq(ask(holder, "r", self.key, token), "ok", "the release")
        self.clients.reverse()
        self.rounds += 1

    def connect(self):
        load = self.load
        try:
            client = Client(load.address, timeout=load.timeout, tls=load.tls)
        except ssl.SSLCertVerificationError as e:
            raise Failure(f"the certificate: {e}") from e
        except OSError as e:
            raise Gone from e
        if load.secret:
            try:
                check_eq(ask(client, "auth", "_", load.secret), "ok", "the secret")
            except BaseException:
                client.close()
                raise
        return client

    def ended(self):
        """Who is still connected stays so: what is held would be released when its holder left."""
        self.load.ends += 1
        self.clients = [None if c and c.ended else c for c in self.clients]
        if not self.token:  # whether it was granted, or released, nobody knows
            self.renamed += 1
            self.key = f"{self.name}.{self.renamed}"

    def close(self):
        for c in self.clients:
            if c:
                c.close()


def ask(client, *request):
    try:
        return client.req(*request)
    except OSError as e:
        client.ended = "rst"
        raise Gone from e
    except Failure as e:
        if client.ended:
            raise Gone from e
        raise
