"""protocol_storm_test.py - whatever clients do, the server still serves, with the same workers.

DFLOCKD_SEED=n repeats what a run printed.
"""

import os
import random

from harness import (Client, Server, check_eq, diag, eventually, in_threads, json_of, main, test,
                     token_of)

SEED = int(os.environ.get("DFLOCKD_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
WORDS = [b"l", b"sl", b"r", b"sr", b"n", b"sn", b"e", b"se", b"w", b"sw", b"ping", b"stats",
         b"auth", b"list", b"show", b"evict", b"", b"L", b"ping\r", b"\r", b"no such"]
# No long timeouts: a FIN right behind a blocking request is a half-close, and is waited for.
ARGS = [b"", b"0", b"0 1", b"1 2", b"0 3 5", b"3", b"lock", b"sem", b"1-1", b"-1", b"x", b"0" * 32,
        b"f" * 32, b"\0", b"0 9223372036", b"lock 1", b"\xff\xfe"]


def serves(server, pids):
    """It does what it did at the start, nothing is left over, and nobody has died."""
    check_eq(server.worker_pids(), pids, "the workers")
    with Client(server) as c:
        eventually(lambda: json_of(c.req("stats"))["connections"] == 1, 25,
                   "connections are left over")
        stats = json_of(c.req("stats"))  # again: its parts are not of one moment
        check_eq((stats["locks"], stats["semaphores"]), ([], []), "what connections left held")
        token = token_of(c.req("l", "after-the-storm", "0"))
        check_eq(c.req("r", "after-the-storm", token), "ok", "a release")


def drain(c):
    """Reads for as long as something is there, so that the server need not wait for us."""
    c.sock.setblocking(False)
    try:
        while c.sock.recv(1 << 16):
            pass
    except OSError:
        pass


def storm(rules_of_the_game, rounds, threads=8, abrupt=True):
    """abrupt: ends with a reset, since a long wait may have been begun by chance."""
    diag(f"DFLOCKD_SEED={SEED}")
    with Server(["--max-locks", "200", "--read-timeout", "60"]) as server:
        pids = server.worker_pids()

        def one(n):
            rng = random.Random(SEED * 1000 + n)
            for _ in range(rounds):
                c = Client(server)
                try:
                    rules_of_the_game(rng, c)
                except OSError:  # the server may close whenever a line is too long
                    pass
                drain(c)
                how = rng.randrange(3)
                if abrupt or how == 0:
                    c.reset()
                elif how == 1:
                    try:
                        c.half_close()
                    except OSError:
                        pass
                c.close()

        in_threads(one, range(threads))
        serves(server, pids)


@test("random bytes", rules=["P53", "P1", "P11"], deadline=60)
def random_bytes():
    def game(rng, c):
        for _ in range(rng.randrange(1, 6)):
            n = rng.choice([1, 10, 100, 1000, 70000])
            alphabet = rng.choice([None, b"\n", b"\n\r", b"lswrne \n0123", b"auth\n", b"x"])
            data = rng.randbytes(n) if alphabet is None else bytes(rng.choices(alphabet, k=n))
            c.send(data)

    storm(game, 40)


@test("random requests of known words, cut anywhere", rules=["P53", "P1", "P12"], deadline=60)
def random_requests():
    def game(rng, c):
        data = b""
        for _ in range(rng.randrange(1, 60)):
            key = rng.choice([b"a", b"b", b"c", b"", b"a b", b"\xff", b"k" * 256, b"k" * 257, b"*"]
                             [:9 if rng.random() < 0.02 else 3])
            data += b"%b\n%b\n%b\n" % (rng.choice(WORDS), key, rng.choice(ARGS))
        data = data[:rng.randrange(len(data) + 1)] if rng.random() < 0.3 else data
        while data:
            n = rng.randrange(1, len(data) + 1)
            c.send(data[:n])
            data = data[n:]

    storm(game, 150, abrupt=False)


@test("random requests, as stored ones are changed a little", rules=["P53", "P6"], deadline=60)
def mutations():
    seeds = [b"l\nkey\n0 5\n", b"sl\nkey\n0 3 5\n", b"e\nkey\n\nw\nkey\n0\n", b"stats\n\n\n" * 3,
             b"auth\n\n" + b"s" * 65536 + b"\n", b"r\nkey\n" + b"0" * 32 + b"\n",
             b"ping\n" + b"k" * 256 + b"\n" + b"a" * 256 + b"\n", b"list\n*\n\nshow\nkey\nlock\n"]

    def game(rng, c):
        data = bytearray(rng.choice(seeds) * rng.randrange(1, 5))
        for _ in range(rng.randrange(8)):
            at = rng.randrange(len(data))
            what = rng.randrange(4)
            if what == 0:
                data[at] = rng.randrange(256)
            elif what == 1:
                del data[at:at + rng.choice([1, 2, 100])]
            elif what == 2:
                data[at:at] = rng.choice([b"\n", b"\r", b"\0", b"9" * 20, b" " * 300])
            else:
                data[at:at] = data[at:at + 50]
            if not data:
                return
        c.send(data)

    storm(game, 100)


@test("connections that come and go by the thousands", rules=["P10", "P63"], deadline=60)
def come_and_go():
    with Server() as server:
        pids = server.worker_pids()

        def one(n):
            for i in range(500):
                source = f"127.0.{n + 1}.{i % 200 + 1}"  # else the ports of one address run out
                c = Client(server, source=source)
                if i % 5 == 1:
                    c.send("ping\n\n")
                elif i % 5 == 2:
                    c.send(f"l\nkey-{i % 7}\n5\n")
                elif i % 5 == 3:
                    check_eq(c.req("ping"), "ok", "ping")
                elif i % 5 == 4:
                    c.send(f"e\nkey-{i % 7}\n\nw\nkey-{i % 7}\n5\nping\n\n\n")
                if i % 2:
                    c.reset()
                c.close()

        in_threads(one, range(8))
        serves(server, pids)


@test("many connections at once, all served, all closed at once", rules=["P12"], deadline=60)
def many():
    n = 2000
    with Server(["--max-locks", str(n)]) as server:
        pids = server.worker_pids()
        clients = [Client(server) for _ in range(n)]
        for i, c in enumerate(clients):
            c.ask("l", f"key-{i}", "0")
        for c in clients:
            token_of(c.line())
        for i, c in enumerate(clients):
            c.ask("e", f"key-{(i + 1) % n}")
        for c in clients:
            c.expect("queued")
        for c in clients:
            c.close()
        serves(server, pids)


if __name__ == "__main__":
    main()
