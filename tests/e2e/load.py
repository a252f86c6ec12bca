"""load.py - a bit of everything that clients do, as exactly checked as one can: each request has its
reply, at once or in its turn, each key one holder, fences grow, no connection is lost.

    load = Load(server)       begins; load.stop() ends it and raises what went wrong
    Load(server, ["pairs"])   only some of the scripts, see Load.SCRIPTS
    Load(server, tls=context) over TLS; unix=path over a Unix socket
"""

import random
import threading
import time
import traceback

from harness import Client, Failure, check, check_eq, elapsed, fence_of, json_of, token_of

PATIENCE = 20  # seconds; a worker that hangs is replaced after two, and may die again
WAIT = 60  # what requests ask for: who is granted only when this is over was forgotten


class Load:
    def __init__(self, server, scripts=None, unix=None, seed=None, tls=None):
        self.server, self.unix, self.tls = server, unix, tls
        self.seed = random.randrange(1 << 30) if seed is None else seed
        self.over = threading.Event()
        self.wrong = []
        self.rounds = {}
        self.fences = {}  # key → the last fence given out for it
        self.threads = []
        for n, name in enumerate(scripts or self.SCRIPTS):
            t = threading.Thread(target=self._run, args=(name, n), daemon=True)
            self.threads.append(t)
            t.start()

    def _run(self, name, n):
        chance = random.Random(self.seed + n)
        try:
            for count in self.SCRIPTS[name](self, f"{name}{n}", chance):
                self.rounds[name] = count
                if self.over.is_set() or self.wrong:
                    return
        except Failure as e:
            where = [f for f in traceback.extract_tb(e.__traceback__) if f.filename == __file__]
            self.wrong.append(f"{name}: {e}, at line {where[-1].lineno if where else '?'}")
        except Exception:
            self.wrong.append(f"{name}: {traceback.format_exc()}")

    def check(self):
        check(not self.wrong, "; ".join(self.wrong))

    def stop(self):
        self.over.set()
        for t in self.threads:
            t.join(3 * PATIENCE)
            check(not t.is_alive(), f"a script does not end: {self.rounds}")
        self.check()

    # --- what scripts use

    def client(self, source=None):
        return Client(("127.0.0.1", self.server.port), source=source, unix=self.unix,
                      timeout=PATIENCE, tls=self.tls)

    def granted(self, key, reply):
        """Its token; fences of a key grow in the order of its grants."""
        token = token_of(reply)
        fence = fence_of(token)
        check(fence > self.fences.get(key, 0), f"{key}: fence {fence} after {self.fences.get(key)}")
        self.fences[key] = fence
        return token

    def asks_and_ends(self, client, text):
        """Sends it and a FIN. Whether that was fast enough for the server to see that this is a
        half-close; for a Unix socket it counts when the server looked."""
        took = elapsed()
        client.send(text)
        client.half_close()
        return took() < 0.2 and not self.unix

    def line_or_end(self, client, must):
        """A line, or None at the end that comes instead, unless there must be one."""
        if must:
            return client.line()
        try:
            return client.line()
        except Failure:
            if client.ended and client.at == len(client.buffer):
                return None
            raise

    def end(self, *clients):
        for c in clients:
            c.expect_silence(0)
            c.close()

    # --- scripts: a generator each, one value a round

    def pairs(self, key, chance):
        """Two clients pass a lock to each other; the one that waits has more requests behind."""
        holder, waiter = self.client(), self.client()
        token = self.granted(key, holder.req("l", key, "0"))
        count = 0
        while True:
            waiter.send(f"l\n{key}\n{WAIT}\nping\n\n\n")
            check_eq(holder.req("n", key, token + " 60"), "ok 60", "a renew")
            holder.send(f"ping\n\n\nr\n{key}\n{token}\n")
            check_eq(holder.lines(2), ["ok", "ok"], "ping and release")
            token = self.granted(key, waiter.line())
            waiter.expect("ok", "the ping behind the wait")
            holder, waiter = waiter, holder
            count += 1
            yield count

    def two_phase(self, key, chance):
        first, second = self.client(), self.client()
        count = 0
        while True:
            a = self.granted(key, first.req("e", key).replace("acquired", "ok"))
            check_eq(second.req("e", key), "queued", "the second")
            if count % 2:
                second.ask("w", key, WAIT)
            check_eq(token_of(first.req("w", key, "0")), a, "the same token")
            check_eq(first.req("r", key, a), "ok", "the release")
            if not count % 2:
                second.ask("w", key, WAIT)
            b = self.granted(key, second.line())
            check_eq(second.req("w", key, "0"), "error_not_enqueued", "a second wait")
            check_eq(second.req("r", key, b), "ok", "the release")
            count += 1
            yield count

    def semaphores(self, key, chance):
        client, other = self.client(), self.client()
        count = 0
        while True:
            n = 8
            client.send(f"sl\n{key}\n0 {n}\n" * (n + 2))
            replies = client.lines(n + 2)
            tokens = [self.granted(key, x) for x in replies[:n]]
            check_eq(replies[n:], ["timeout", "timeout"], "more than there are")
            other.ask("sl", key, f"{WAIT} {n}")
            client.send("".join(f"sr\n{key}\n{t}\n" for t in tokens + tokens[:1]))
            check_eq(client.lines(n + 1), ["ok"] * n + ["error"], "releases")
            check_eq(other.req("sr", key, self.granted(key, other.line())), "ok", "the other's")
            count += 1
            yield count

    def expiry(self, key, chance):
        """A lease that nobody renews ends, not before its time, and the next one is served."""
        first, second = self.client(), self.client()
        count = 0
        while True:
            began = time.monotonic()
            token = self.granted(key, first.req("l", key, "0 1"))
            self.granted(key, second.req("l", key, f"{WAIT} 60"))
            took = time.monotonic() - began
            check(took >= 0.99, f"the lease of 1 s ended after {took:.3f} s")
            check_eq(first.req("r", key, token), "error", "a release that comes late")
            second.close()  # and not the release: leaving gives it back
            self.granted(key, first.req("l", key, f"{WAIT} 60"))
            first.close()
            first, second = self.client(), self.client()
            token = self.granted(key, first.req("l", key, f"{WAIT} 60"))
            check_eq(first.req("r", key, token), "ok", "the release")
            count += 1
            yield count

    def timeouts(self, key, chance):
        holder, waiter = self.client(), self.client()
        self.granted(key, holder.req("l", key, "0 100000"))
        count = 0
        while True:
            began = time.monotonic()
            check_eq(waiter.req("l", key, "1"), "timeout", "a wait of a second")
            took = time.monotonic() - began
            check(took >= 0.99, f"the wait of 1 s ended after {took:.3f} s")
            count += 1
            yield count

    def churn(self, key, chance):
        """Clients that come, take a new key, and leave with it, or while they wait."""
        watch = self.client()
        count = 0
        while True:
            name = f"{key}-{chance.randrange(1 << 40):x}"
            a, b = self.client(), self.client()
            self.granted(name, a.req("l", name, "0"))
            check_eq(a.req("sl", name + "s", "0 3")[:3], "ok ", "a semaphore")
            b.ask("l", name, WAIT)
            if chance.random() < 0.5:
                a.close()
                self.granted(name, b.line())
                b.reset()
            else:
                b.close()
                a.close()
            token = self.granted(name, watch.req("l", name, str(WAIT)))
            check_eq(watch.req("r", name, token), "ok", "the release")
            count += 1
            yield count

    def half_closes(self, key, chance):
        """As with nc: all is sent, the answers still come, then the end."""
        count = 0
        while True:
            client = self.client()
            known = self.asks_and_ends(client, f"ping\n\n\nl\n{key}\n{WAIT}\n")
            client.expect("ok", "the ping")
            reply = self.line_or_end(client, known)
            if reply:
                self.granted(key, reply)
                client.expect_close(how="fin")
            count += 1
            yield count

    def leavers(self, key, chance):
        """Who goes while it waits is forgotten; not who has only said all it had to say."""
        holder = self.client()
        count = 0
        while True:
            token = self.granted(key, holder.req("l", key, WAIT))
            gone = self.client()
            gone.ask("l", key, WAIT)
            half = self.client()
            known = self.asks_and_ends(half, f"l\n{key}\n{WAIT}\n")
            if known:
                half.expect_silence(0.2)
            time.sleep(0.3)
            gone.close()
            check_eq(holder.req("r", key, token), "ok", "the release")
            reply = self.line_or_end(half, known)
            if reply:
                check(self.granted(key, reply) != token, "another token")
                half.expect_close(how="fin")
            count += 1
            yield count

    def long_answers(self, key, chance):
        """Statistics too long for a ring, read at leisure; pings behind them."""
        keys = 300
        holder, client = self.client(), self.client()
        holder.send("".join(f"l\n{key}-{i:0100}\n0 100000\n" for i in range(keys)))
        tokens = [token_of(x) for x in holder.lines(keys)]
        check_eq(len(set(tokens)), keys, "tokens")
        count = 0
        while True:
            client.send("stats\n\n\nping\n\n\n")
            stats = json_of(client.line())
            check_eq(sum(x["key"].startswith(key) for x in stats["locks"]), keys, "what is held")
            client.expect("ok", "the ping behind it")
            count += 1
            yield count

    def slow_readers(self, key, chance):
        """Asks for much and reads it late."""
        count = 0
        while True:
            n = 40
            client = Client(("127.0.0.1", self.server.port), unix=self.unix, timeout=PATIENCE,
                            tls=self.tls, **({} if self.unix else {"rcvbuf": 4096}))
            client.send("stats\n\n\n" * n)
            for _ in range(n):
                json_of(client.line())
            self.end(client)
            count += 1
            yield count

    def errors(self, key, chance):
        """Bad requests: some have an answer, some are the end."""
        count = 0
        while True:
            client = self.client()
            client.send(f"nonsense\n\n\nr\n{key}\nno token\nl\n{key}\n-1\nping\n\n\n")
            check_eq(client.lines(4), ["error", "error", "error", "ok"], "bad requests")
            client.send(b"l\n" + b"x" * 5000 + b"\n")
            client.expect("error", "a line without end")
            client.expect_close()
            count += 1
            yield count

    def bytewise(self, key, chance):
        client = self.client()
        count = 0
        while True:
            request = f"l\n{key}\n0 60\nping\n\n\n"
            for c in request:
                client.send(c)
            token = self.granted(key, client.line())
            client.expect("ok", "the ping")
            for part in (f"r\n{key}\n", token[:7], token[7:], "\n"):
                client.send(part)
            client.expect("ok", "the release")
            count += 1
            yield count

    SCRIPTS = {f.__name__: f for f in [
        pairs, two_phase, semaphores, expiry, timeouts, churn, half_closes, leavers, long_answers,
        slow_readers, errors, bytewise]}
