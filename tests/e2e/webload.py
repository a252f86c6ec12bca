"""webload.py - load.py's twin for HTTP: sessions that lock, wait, leave and look, while the process that
serves them may die at any moment. What it may cut is a request that is under way, and never a session,
what one holds, a place of enqueue, or a connection of the line protocol.

    load = WebLoad(server)             begins; load.stop() ends it and raises what went wrong
    WebLoad(server, ["long_polls"])    only some of the scripts, see WebLoad.SCRIPTS
"""

import http.client
import select
import socket
import struct
import time

from harness import Failure, check, check_eq, eventually, token_of, waiters
from load import PATIENCE, WAIT, Load
from web import Raw, Web

GONE = (ConnectionError, http.client.HTTPException)
AS_RESET = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def ended(web):
    """Nothing is to be read from who waits, but an end."""
    return bool(select.select([web.sock], [], [], 0)[0])


def again(web, action):
    """What was cut is asked again, by another connection. Returns the reply, and whether it was cut."""
    cut = False
    end = time.monotonic() + 3 * PATIENCE
    while True:
        try:
            return action(web), cut
        except GONE:
            check(time.monotonic() < end, "each request is cut")
            cut = True
            web.close()


def sure(web, action, status, after_cut=None):
    """For what may be asked twice: the second time the first may have been done."""
    reply, cut = again(web, action)
    if not (cut and reply.status == after_cut):
        reply.expect(status)
    return reply


class WebLoad(Load):
    def web(self):
        return Web(("127.0.0.1", self.server.http_port), timeout=3 * PATIENCE)

    def session(self):
        with self.web() as web:
            return again(web, lambda w: w.session(timeout=3 * PATIENCE))[0]

    def end_session(self, session):
        sure(session, lambda s: s.end(), 204, 410)
        session.close()

    def took(self, key, reply):
        """Its token, when it is a grant."""
        got = reply.expect(200)
        check_eq(got["status"], "ok", f"acquiring {key}")
        return self.granted(key, f"ok {got['token']} {got['lease_ttl_s']}")

    def answer(self, session, key):
        """The grant that it waits for. When that is cut nobody knows whether it was made: the session is
        given up, and another asks. Returns session and token."""
        try:
            return session, self.took(key, session.answer())
        except GONE:
            session.close()
            self.end_session(session)
        return self.take(self.session(), key)

    def take(self, session, key):
        while True:
            try:
                return session, self.took(key, session.acquire(key, WAIT, WAIT))
            except GONE:
                session.close()
                self.end_session(session)
                session = self.session()

    def release(self, session, key, token):
        sure(session, lambda s: s.release(key, token), 204, 404)

    def ask(self, session, key):
        """Begins a long poll. False: it was cut."""
        try:
            session.ask("POST", f"/v1/locks/{key}", {"acquire_timeout_s": WAIT, "lease_ttl_s": WAIT})
            return True
        except GONE:
            session.close()
            return False

    def queued(self, look, key, session):
        """Waits until it is in the queue, or cut."""
        eventually(lambda: waiters(look, key) == 1 or ended(session), PATIENCE, "it waits")

    # --- scripts

    def pairs(self, key, chance):
        """Two sessions pass a lock to each other."""
        holder, waiter = self.session(), self.session()
        holder, token = self.take(holder, key)
        count = 0
        while True:
            asked = self.ask(waiter, key)
            got = sure(holder, lambda s: s.renew(key, token, WAIT), 200).json
            check_eq(got, {"remaining_s": WAIT}, "a renew")
            self.release(holder, key, token)
            waiter, token = self.answer(waiter, key) if asked else self.take(waiter, key)
            holder, waiter = waiter, holder
            count += 1
            yield count

    def two_phase(self, key, chance):
        """A place of enqueue outlives everything; a wait that is cut is asked again."""
        first, second = self.session(), self.session()
        count = 0
        while True:
            for s in (first, second):
                reply, cut = again(s, lambda s: s.enqueue(key, WAIT))
                if not cut or reply.status != 409:
                    reply.expect(200)
                else:
                    reply.expect(409, "already_enqueued")
            waiting, first, second = (first, second), None, None
            for s in waiting:
                reply, cut = again(s, lambda s: s.wait(key, WAIT))
                if cut and reply.status == 409:
                    reply.expect(409, "not_enqueued")  # it was granted, and the answer cut
                    self.end_session(s)
                    s = self.session()
                else:
                    self.release(s, key, self.took(key, reply))
                first, second = second, s
            count += 1
            yield count

    def mixed(self, key, chance):
        """The other protocol in the same queue notices nothing."""
        holder, behind, look = self.client(), self.client(), self.client()
        session = self.session()
        token = self.granted(key, holder.req("l", key, "0 100000"))
        count = 0
        while True:
            asked = self.ask(session, key)
            if asked:
                self.queued(look, key, session)
            behind.send(f"l\n{key}\n{WAIT} 100000\n")
            check_eq(holder.req("r", key, token), "ok", "the release")
            if asked:
                try:
                    got = session.answer().expect(200)
                    if got["status"] == "ok":
                        self.release(session, key, got["token"])
                except GONE:
                    session.close()
                    self.end_session(session)
                    session = self.session()
            token = token_of(behind.line())
            holder, behind = behind, holder
            count += 1
            yield count

    def long_polls(self, key, chance):
        """Who leaves while it waits is forgotten, its session is not."""
        holder, look = self.client(), self.client()
        leaver = self.session()
        count = 0
        while True:
            token = self.granted(key, holder.req("l", key, "0 100000"))
            if self.ask(leaver, key):
                self.queued(look, key, leaver)
                if count % 2:
                    leaver.sock.setsockopt(*AS_RESET)
                leaver.close()
                eventually(lambda: waiters(look, key) == 0, PATIENCE, "it is forgotten")
            check_eq(holder.req("r", key, token), "ok", "the release")
            sure(leaver, lambda s: s.ping(), 204)
            if count % 4 == 0:
                other, token = self.take(self.session(), key)
                self.release(other, key, token)
                self.end_session(other)
            count += 1
            yield count

    def churn(self, key, chance):
        """Sessions that come, take what is new, and are ended with it."""
        watch = self.client()
        count = 0
        while True:
            session = self.session()
            names = [f"{key}-{chance.randrange(1 << 40):x}" for _ in range(3)]
            for name in names:
                again(session, lambda s: s.acquire(name, 0, 100))[0].expect(200)
            self.end_session(session)
            for name in names:
                token = self.granted(name, watch.req("l", name, str(WAIT)))
                check_eq(watch.req("r", name, token), "ok", "the release")
            count += 1
            yield count

    def keeper(self, key, chance):
        """What a session holds it holds, and the session is there."""
        session, token = self.take(self.session(), key)
        semaphore = f"{key}-semaphore"
        count = 0
        while True:
            sure(session, lambda s: s.ping(), 204)
            sure(session, lambda s: s.renew(key, token, 1000), 200)
            reply, cut = again(session, lambda s: s.acquire(semaphore, 0, 100, sem=1 << 20))
            unit = reply.expect(200)["token"]
            reply, cut = again(session, lambda s: s.release(semaphore, unit, sem=1 << 20))
            check(reply.status == 204 or cut and reply.status == 404, f"the release: {reply}")
            count += 1
            yield count

    def timeouts(self, key, chance):
        holder, session = self.client(), self.session()
        self.granted(key, holder.req("l", key, "0 100000"))
        count = 0
        while True:
            began = time.monotonic()
            reply, cut = again(session, lambda s: s.acquire(key, 1))
            took = time.monotonic() - began
            check_eq(reply.expect(200), {"status": "timeout"}, "a wait of a second")
            check(took >= 0.99, f"the wait of 1 s ended after {took:.3f} s")
            count += 1
            yield count

    def expiry(self, key, chance):
        """A lease that nobody renews ends, not before its time."""
        behind = self.client()
        count = 0
        while True:
            session = self.session()
            began = time.monotonic()
            reply, cut = again(session, lambda s: s.acquire(key, WAIT, 1))
            reply.expect(200)
            token = self.granted(key, behind.req("l", key, f"{WAIT} 60"))
            took = time.monotonic() - began
            check(took >= 0.99, f"the lease of 1 s ended after {took:.3f} s")
            check_eq(behind.req("r", key, token), "ok", "the release")
            self.end_session(session)
            count += 1
            yield count

    def looks(self, key, chance):
        """What is only looked at, whole each time."""
        count = 0
        web = self.web()
        while True:
            for path in ("/metrics", "/v1/stats", "/v1/resources", "/", "/v1/openapi.json", "/health"):
                reply = sure(web, lambda w: w.get(path), 200)
                check_eq(reply.data[-1:], b"\n", f"the end of {path}")
            count += 1
            yield count

    def halves(self, key, chance):
        """Who ends its side right after a request hears the answer."""
        count = 0
        while True:
            try:
                with Raw(("127.0.0.1", self.server.http_port), timeout=PATIENCE) as raw:
                    raw.ask_http("GET", "/v1/stats")
                    raw.half_close()
                    check("locks" in raw.reply().expect(200), "statistics")
            except OSError:
                pass  # it was cut
            except Failure as e:
                check("the connection has ended" in str(e), str(e))
            count += 1
            yield count

    def errors(self, key, chance):
        count = 0
        session = self.session()
        while True:
            for path, body, status in ((f"/v1/locks/{key}", b"{", 400), ("/nowhere", {}, 404),
                                       (f"/v1/locks/{key}/renew", {"token": "0" * 32}, 404),
                                       (f"/v1/locks/{key}/wait", {"timeout_s": 0}, 409)):
                sure(session, lambda s: s.post(path, body), status)
            with self.web() as web:
                nobody = web.session(id="0" * 32)
                sure(nobody, lambda s: s.release(key, "0" * 32), 410)
                nobody.close()
            count += 1
            yield count

    SCRIPTS = {f.__name__: f for f in [
        pairs, two_phase, mixed, long_polls, churn, keeper, timeouts, expiry, looks, halves, errors]}
