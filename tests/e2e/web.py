"""web.py - HTTP for the tests of the whole server.

WebServer(args=[], …): harness.Server with --http-port auto;  .http_port; .web(…) → Web, .raw(…) → Raw
    (closed when it stops);  .http_pid() of the process that serves HTTP, .http_dies() kills it,
    .http_memory(), .http_resident() of it;  .stats() by HTTP

Web(server or (host, port), source=None, tls=None): a client with one connection that is kept alive.
    .get(path), .post(path, body), .delete(path), .request(method, path, body=None, headers={}) → Reply;
    body: bytes as they are, anything else as JSON. Connects again when the server has closed.
    .session() → Session, with a connection of its own
Reply: .status .headers (lower-case names) .data (bytes) .json (None: no JSON) .code (of an error)
    .expect(status, code=None) checks, and returns the JSON

Session(server): .id;  .post(path, body), .get(path), .delete(path) with its header;
    .acquire(key, timeout=0, lease=None), .release(key, token), .renew(key, token), .enqueue(key),
    .wait(key, timeout) → Reply; sem=LIMIT makes it a semaphore's;  .token(key, timeout=0) acquires or
    fails;  .end(), .ping()

Raw(server, tls=None): a Client of the harness at HTTP's port, for what no library sends: send(),
    half_close(), reset(), expect_close(); and .reply(head=False, timeout=10) reads one answer.
take(server, keys, lease=900, client=None) → the Client, of the line protocol, that has these locks;
take_long(server, n) the same with n keys of which stats says half a KiB each
path_of(key) percent-encodes a key, bytes or str, for a path: "/v1/locks/" + path_of(key)
CODES = {code of an error: status}
"""

import http.client
import json
import mmap
import os
import re
import signal
import time
import urllib.parse

from harness import (TIMEOUT, Client, Server, as_bytes, check, check_eq, eventually, fail, shown,
                     token_of)

# Of errors, with their statuses, as clients know them.
CODES = {"bad_request": 400, "unauthorized": 401, "not_found": 404, "not_held": 404,
         "method_not_allowed": 405, "limit_mismatch": 409, "already_enqueued": 409, "not_enqueued": 409,
         "lease_expired": 409, "session_gone": 410, "rate_limited": 429, "internal": 500,
         "max_locks": 503, "max_waiters": 503, "max_sessions": 503, "max_sessions_per_ip": 503,
         "draining": 503, "fence_persistence": 503}


def path_of(key):
    return urllib.parse.quote_from_bytes(as_bytes(key), safe="")


class WebServer(Server):
    def __init__(self, args=(), **options):
        super().__init__(["--http-port", "auto", *args], **options)
        self.http_port = None

    def start(self, timeout=TIMEOUT):
        super().start(timeout)
        self.http_port = self._http_port(0)
        return self

    def start_again(self, timeout=TIMEOUT):
        since = self.mark()
        super().start_again(timeout)
        self.http_port = self._http_port(since)
        return self

    def _http_port(self, since):
        return int(self.wait_log(r" serving HTTP .*address=\S*:(\d+)$", TIMEOUT, since)[1])

    def http_pid(self):
        """Waits until there is one that lives."""
        return eventually(self._http_pid, TIMEOUT, "no process serves HTTP")

    def _http_pid(self):
        for pid in self.members():
            with open(f"/proc/{pid}/comm") as f:
                if f.read().strip() == "dflockd-http":
                    return pid
        return None

    def http_dies(self):
        """Kills it, and returns when another serves."""
        pid, since = self.http_pid(), self.mark()
        os.kill(pid, signal.SIGKILL)
        self.wait_log("took over .*proc=http", TIMEOUT, since)
        return eventually(lambda: self.http_pid() != pid, TIMEOUT, "another process serves HTTP")

    def http_memory(self):
        """Bytes that are that process's alone."""
        with open(f"/proc/{self.http_pid()}/smaps_rollup") as f:
            return int(re.search(r"^Anonymous: *(\d+) kB$", f.read(), re.M)[1]) * 1024

    def http_resident(self):
        """Bytes, with what it shares and has looked at."""
        with open(f"/proc/{self.http_pid()}/statm") as f:
            return int(f.read().split()[1]) * mmap.PAGESIZE

    def web(self, **options):
        return Web(self, **options)

    def raw(self, **options):
        return Raw(self, **options)

    def session(self, **options):
        return Session(self, **options)

    def stats(self, **options):
        with self.web(**options) as web:
            return web.get("/v1/stats").expect(200)


def take(server, keys, lease=900, client=None):
    """Locks of a connection of the line protocol, which is returned."""
    c = client or server.client()
    for at in range(0, len(keys), 2000):
        part = keys[at:at + 2000]
        c.send(b"".join(b"l\n%b\n0 %d\n" % (k if isinstance(k, bytes) else k.encode(), lease)
                        for k in part))
        for reply in c.lines(len(part)):
            token_of(reply)
    return c


def take_long(server, n, **options):
    """The same with keys of which stats says half a KiB each."""
    return take(server, [b"%06d" % i + b'"' * 250 for i in range(n)], client=server.client(**options))


class Reply:
    def __init__(self, status, headers, data):
        self.status, self.data = status, data
        self.headers = {name.lower(): value for name, value in headers}
        self.json = None
        if self.headers.get("content-type", "").startswith("application/json") and data:
            self.json = json.loads(data)
        self.code = self.json.get("error") if isinstance(self.json, dict) else None

    def __repr__(self):
        return f"{self.status} {shown(self.data)}"

    def expect(self, status, code=None):
        check_eq(self.status, status, f"the status of {self!r}")
        if code:
            check_eq(self.code, code, f"the error code of {self!r}")
        return self.json


class Connection(http.client.HTTPConnection):
    def __init__(self, address, source, tls, timeout):
        super().__init__(*address, timeout=timeout, source_address=source and (source, 0))
        self.context = tls

    def connect(self):
        super().connect()
        if self.context:
            self.sock = self.context.wrap_socket(self.sock, server_hostname="localhost")


class Web:
    def __init__(self, server, source=None, tls=None, timeout=TIMEOUT * 3, headers=None):
        address = server if isinstance(server, tuple) else ("127.0.0.1", server.http_port)
        self.connection = Connection(address, source, tls, timeout)
        self.headers = dict(headers or {})
        if isinstance(server, Server):
            server.clients.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.close()

    def close(self):
        self.connection.close()

    @property
    def sock(self):
        """Connects if there is no connection."""
        if self.connection.sock is None:
            self.connection.connect()
        return self.connection.sock

    def ask(self, method, path, body=None, headers=None):
        """Sends a request; its answer is .answer()'s."""
        named = {**self.headers, **(headers or {})}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            named.setdefault("Content-Type", "application/json")
        self.connection.request(method, path, body, named)

    def answer(self):
        got = self.connection.getresponse()
        return Reply(got.status, got.getheaders(), got.read())

    def request(self, method, path, body=None, headers=None):
        fresh = self.connection.sock is None
        try:
            self.ask(method, path, body, headers)
            return self.answer()
        except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
            self.close()
            if fresh or method not in ("GET", "HEAD"):
                raise
        self.ask(method, path, body, headers)
        return self.answer()

    def get(self, path, headers=None):
        return self.request("GET", path, None, headers)

    def post(self, path, body=None, headers=None):
        return self.request("POST", path, body, headers)

    def delete(self, path, headers=None):
        return self.request("DELETE", path, None, headers)

    def session(self, **options):
        return Session((self.connection.host, self.connection.port), **options)


class Session(Web):
    def __init__(self, server, id=None, **options):
        super().__init__(server, **options)
        if id is None:
            id = self.post("/v1/sessions").expect(200)["session_id"]
            check(re.fullmatch(r"[0-9a-f]{32}", id), f"no session id: {shown(id)}")
        self.id = id
        self.headers["X-Dflockd-Session"] = id

    def _operation(self, key, sem, what, body):
        path = ("/v1/semaphores/" if sem else "/v1/locks/") + path_of(key)
        return self.post(path + what, {k: v for k, v in body.items() if v is not None})

    def acquire(self, key, timeout=0, lease=None, sem=None):
        return self._operation(key, sem, "", {"acquire_timeout_s": timeout, "lease_ttl_s": lease,
                                              "limit": sem})

    def release(self, key, token, sem=None):
        return self._operation(key, sem, "/release", {"token": token})

    def renew(self, key, token, lease=None, sem=None):
        return self._operation(key, sem, "/renew", {"token": token, "lease_ttl_s": lease})

    def enqueue(self, key, lease=None, sem=None):
        return self._operation(key, sem, "/enqueue", {"lease_ttl_s": lease, "limit": sem})

    def wait(self, key, timeout, sem=None):
        return self._operation(key, sem, "/wait", {"timeout_s": timeout})

    def token(self, key, timeout=0, lease=None, sem=None):
        got = self.acquire(key, timeout, lease, sem).expect(200)
        check_eq(got["status"], "ok", f"acquiring {shown(key)}")
        return got["token"]

    def ping(self):
        return self.post(f"/v1/sessions/{self.id}/ping")

    def end(self):
        return self.delete(f"/v1/sessions/{self.id}")


class Raw(Client):
    def __init__(self, server, **options):
        address = server
        if isinstance(server, WebServer):
            address = ("127.0.0.1", server.http_port)
        super().__init__(address, **options)
        if isinstance(server, WebServer):
            server.clients.append(self)

    def _until(self, enough, end, what):
        """Waits until enough(bytes so far) is not None and returns it."""
        while True:
            got = enough(bytes(self.buffer))
            if got is not None:
                return got
            if not self._more(end):
                how = f"the connection has ended ({self.ended})" if self.ended else "it did not come"
                fail(f"{what}: {how} after {shown(bytes(self.buffer))}")

    def reply(self, head=False, timeout=None):
        """One answer; `head`: it has no body whatever its length says. A 100 is an answer."""
        end = time.monotonic() + (timeout or self.timeout)
        at = self._until(lambda b: b.find(b"\r\n\r\n") if b"\r\n\r\n" in b else None, end,
                         "the head of an answer")
        first, *lines = bytes(self.buffer[:at]).decode("latin-1").split("\r\n")
        found = re.fullmatch(r"HTTP/1\.[01] ([1-5][0-9][0-9]) .*", first)
        check(found, f"no status line: {shown(first)}")
        status = int(found[1])
        headers = [tuple(x.split(": ", 1)) for x in lines]
        named = {k.lower(): v for k, v in headers}
        begin = at + 4
        if head or status in (100, 204, 304):
            length = 0
        elif "content-length" in named:
            length = int(named["content-length"])
        else:  # it ends with the connection
            while self._more(end):
                pass
            check(self.ended, "an answer without a length does not end")
            length = len(self.buffer) - begin
        self._until(lambda b: True if len(b) >= begin + length else None, end, "the body")
        data = bytes(self.buffer[begin:begin + length])
        del self.buffer[:begin + length]
        return Reply(status, headers, data)

    def ask_http(self, method, path, headers=(), body=b"", version="HTTP/1.1"):
        """headers: (name, value); Host is added."""
        lines = [f"{method} {path} {version}", "Host: localhost"]
        lines += [f"{k}: {v}" for k, v in headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
