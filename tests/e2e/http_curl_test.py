#!/usr/bin/env python3
"""http_curl_test.py - HTTP as curl has it: each route, with the answer byte for byte, in the clear, with a
token and over TLS; each error code; and the first steps that documents of dflockd 2.x show, as
they stand there but for the port. The examples of our own documents are http_manual_test.py's."""

import json
import os
import re
import signal
import ssl
import subprocess

from certs import authority, server_certificate
from harness import check, check_eq, eventually, main, test
from said import compare, matches
from web import CODES, Reply, WebServer

SECRET = "sesame open"
# However slow the machine is, no session is reaped and no lease ends in the middle.
PATIENT = ["--http-session-idle-timeout", "600", "--default-lease-ttl", "300"]
OPEN = {"/health", "/ready", "/v1/openapi.json"}
# They take a password as well.
BROWSED = {"/", "/metrics", "/v1/stats", "/v1/resources", "/v1/resources/{kind}/{key}"}
# Only a fault brings them about; tests of their own do.
FAULTS = {"internal", "fence_persistence"}

with open(os.path.join(os.environ["top_srcdir"], "src/http/routes.def"), encoding="utf-8") as f:
    ROUTES = set(re.findall(r'^ROUTE\(\w+, (\w+), "([^"]+)",', f.read(), re.M))


def environment():
    """No proxy, and no settings of whoever runs the test."""
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    env["CURL_HOME"] = "/nonexistent"
    return env


def curl(*args):
    return subprocess.run(["curl", "-q", "-sS", "--globoff", *args], env=environment(),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=60)


class Curl:
    """curl, called for each request anew, with these options."""

    def __init__(self, server, *options, tls=False):
        self.url = f"http{'s' if tls else ''}://localhost:{server.http_port}"
        self.options = ["--cacert", authority().cert, *options] if tls else list(options)

    def __call__(self, method, path, body=None, *more):
        how = ["-I"] if method == "HEAD" else ["-i", "-X", method]
        if body is not None:
            how += ["-d", body]
        r = curl(*self.options, *how, *more, self.url + path)
        check_eq((r.returncode, r.stderr), (0, b""), f"curl for {method} {path}")
        head, _, data = r.stdout.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        return Reply(int(first.split()[1]), [tuple(x.split(": ", 1)) for x in lines], data)


class Walk:
    """Goes through routes, and remembers which."""

    def __init__(self, curl, stranger=None):
        self.curl, self.stranger = curl, stranger
        self.seen, self.codes = set(), set()

    def __call__(self, method, template, status, said, body=None, session=None, query="", **names):
        path = template
        for name, value in names.items():
            path = path.replace("{%s}" % name, value)
        more = ["-H", f"X-Dflockd-Session: {session}"] if session else []
        what = f"{method} {path}{query}"
        if self.stranger and template not in OPEN:
            refused = self.stranger(method, path + query, body, *more)
            refused.expect(401, "unauthorized")
            check("www-authenticate" in refused.headers, what)
        reply = self.curl(method, path + query, body, *more)
        check_eq(reply.status, status, f"{what}: {reply}")
        check_eq(reply.headers["x-content-type-options"], "nosniff", what)
        if status == 204:
            check_eq((reply.data, "content-type" in reply.headers), (b"", False), what)
        elif said is not None:
            check_eq(reply.headers["content-type"], "application/json", what)
            text = reply.data.decode()
            check(text.endswith("\n") and matches(text[:-1], said), f"{what}: {said} expected, not {text}")
        self.seen.add((method, template))
        if reply.code:
            self.codes.add((reply.code, status))
        return reply


def walk_all(ask):
    """Each route, as the table of endpoints has it."""
    def session():
        return ask("POST", "/v1/sessions", 200, '{"session_id":"SESSION","idle_timeout_s":600}'
                   ).json["session_id"]

    ask("GET", "/health", 200, '{"status":"ok"}')
    ask("GET", "/ready", 200, '{"status":"ok"}')
    ask("GET", "/v1/stats", 200,
        '{"connections":0,"locks":[],"semaphores":[],"idle_locks":[],"idle_semaphores":[]}')
    ask("GET", "/v1/resources", 200, '{"resources":[],"cursor":null}')
    a, b = session(), session()
    ask("POST", "/v1/sessions/{id}/ping", 204, None, id=a)
    ask("POST", "/v1/sessions/{id}/ping", 204, None, body="{}", id=a)
    for base, key, limit in (("/v1/locks/{key}", "deploy", ""),
                             ("/v1/semaphores/{key}", "pool", ',"limit":1')):
        more = limit.replace(",", "", 1)
        held = ask("POST", base, 200, '{"status":"ok","token":"TOKEN","lease_ttl_s":900}',
                   '{"acquire_timeout_s":10,"lease_ttl_s":900%s}' % limit, a, key=key).json["token"]
        ask("POST", base, 200, '{"status":"timeout"}', '{"acquire_timeout_s":0%s}' % limit, b, key=key)
        ask("POST", base, 200, '{"status":"timeout"}', '{"acquire_timeout_s":1%s}' % limit, b, key=key)
        ask("POST", base + "/renew", 200, '{"remaining_s":300}', '{"token":"%s"}' % held, a, key=key)
        ask("POST", base + "/renew", 200, '{"remaining_s":1200}',
            '{"token":"%s","lease_ttl_s":1200}' % held, b, key=key)
        ask("POST", base + "/enqueue", 200, '{"status":"queued"}', "{%s}" % more, b, key=key)
        ask("POST", base + "/release", 204, None, '{"token":"%s"}' % held, b, key=key)
        ask("POST", base + "/release", 404, '{"error":"not_held","detail":"…"}',
            '{"token":"%s"}' % held, a, key=key)
        held = ask("POST", base + "/wait", 200, '{"status":"ok","token":"TOKEN","lease_ttl_s":300}',
                   '{"timeout_s":10}', b, key=key).json["token"]
        ask("POST", base + "/release", 204, None, '{"token":"%s"}' % held, a, key=key)
        ask("POST", base + "/enqueue", 200, '{"status":"acquired","token":"TOKEN","lease_ttl_s":450}',
            '{"lease_ttl_s":450%s}' % limit, a, key=key)
        ask("POST", base + "/wait", 200, '{"status":"ok","token":"TOKEN","lease_ttl_s":450}', "{}", a,
            key=key)
    ask("POST", "/v1/locks/{key}/enqueue", 200, '{"status":"acquired","token":"TOKEN","lease_ttl_s":300}',
        None, a, key="no-body")
    ask("POST", "/v1/locks/{key}", 200, '{"status":"ok","token":"TOKEN","lease_ttl_s":300}', "{}", a,
        key="a%2Fb")
    ask("GET", "/v1/stats", 200,
        '{"connections":2,"locks":[…{"key":"deploy","owner_conn_id":N,"lease_expires_in_s":N,"waiters":0}…],'
        '"semaphores":[],"idle_locks":[],"idle_semaphores":[]}')
    ask("GET", "/v1/resources", 200,
        '{"resources":[{"kind":"lock","key":"a/b",…,"href":"/v1/resources/lock/a%2Fb"}],"cursor":"…",'
        '"matched":4}', query="?sort=key&limit=1")
    ask("GET", "/v1/resources/{kind}/{key}", 200,
        '{"kind":"lock","key":"a/b","limit":1,"holder_count":1,"waiters":0,"holders":[{"conn_id":N,…}],'
        '"queue":[]}', kind="lock", key="a%2Fb")
    ask("GET", "/v1/openapi.json", 200, '{"openapi":"3.1.0",…}')
    page = ask("GET", "/", 200, None)
    check_eq(page.headers["content-type"], "text/html; charset=utf-8", "the page's type")
    metrics = ask("GET", "/metrics", 200, None)
    check_eq(metrics.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8", "its type")
    check(b"\ndflockd_http_sessions 2\n" in metrics.data, "sessions in the metrics")
    for one in (a, b):
        ask("DELETE", "/v1/sessions/{id}", 204, None, id=one)
        ask("DELETE", "/v1/sessions/{id}", 410, '{"error":"session_gone","detail":"…"}', id=one)
    ask("GET", "/v1/stats", 200,
        '{"connections":0,"locks":[],"semaphores":[],"idle_locks":[…],"idle_semaphores":[…]}')
    check_eq(ask.seen ^ ROUTES, set(), "routes that there are not, or that were not walked")


@test("by curl each route answers as its description says, byte for byte", rules=["O5"], deadline=300)
def plain():
    with WebServer(PATIENT) as server:
        walk_all(Walk(Curl(server)))


@test("by curl with a token each route does the same, and without it is 401; those that are open are, and "
      "the page and what it shows take a password", rules=["O5"], deadline=300)
def with_token():
    with WebServer(["--auth-token", SECRET, *PATIENT]) as server:
        right = Curl(server, "-H", f"Authorization: Bearer {SECRET}")
        walk_all(Walk(right, stranger=Curl(server)))
        basic, wrong = Curl(server, "-u", f"me:{SECRET}"), Curl(server, "--oauth2-bearer", SECRET[:-1])
        check_eq(Curl(server, "--oauth2-bearer", SECRET)("POST", "/v1/sessions").status, 200,
                 "curl's own option for it")
        for method, template in sorted(ROUTES):
            path = template.replace("{kind}", "lock").replace("{key}", "k").replace("{id}", "0" * 32)
            check_eq(basic(method, path).status == 401, template not in OPEN | BROWSED,
                     f"{path}: a password")
            check_eq(wrong(method, path).status == 401, template not in OPEN, f"{path}: a wrong token")


@test("by curl over TLS each route does the same; without TLS nobody is answered", rules=["O5"],
      deadline=300, needs=["tls"])
def over_tls():
    with WebServer([*server_certificate().args, *PATIENT]) as server:
        walk_all(Walk(Curl(server, tls=True)))
        r = curl(f"http://localhost:{server.http_port}/health")
        check(r.returncode != 0 and r.stdout == b"", f"without TLS: {r.stdout}")
        r = curl(f"https://localhost:{server.http_port}/health")
        check_eq(r.returncode, 60, "curl without the authority")


@test("by curl each error code of the table comes with its status", rules=["O5"], deadline=300)
def errors():
    with WebServer(["--max-locks", "3", "--max-waiters", "1", "--http-max-sessions", "3",
                    "--http-max-sessions-per-ip", "2", "--auth-token", SECRET,
                    "--shutdown-timeout", "120", *PATIENT]) as server:
        bearer = ["-H", f"Authorization: Bearer {SECRET}"]
        ask = Walk(Curl(server, *bearer))
        lock, sem = "/v1/locks/{key}", "/v1/semaphores/{key}"

        def error(code, method, path, *args, **more):
            ask(method, path, CODES[code], '{"error":"%s"…}' % code, *args, **more)

        def session(*options):
            return Curl(server, *bearer, *options)("POST", "/v1/sessions").expect(200)["session_id"]

        Walk(Curl(server))("GET", "/v1/stats", 401, '{"error":"unauthorized","detail":"…"}')
        ask.codes.add(("unauthorized", 401))
        a, b = session(), session()
        error("max_sessions_per_ip", "POST", "/v1/sessions")
        c = session("--interface", "127.0.0.9")
        error("max_sessions", "POST", "/v1/sessions")
        ask("POST", lock, 200, None, "{}", a, key="k")
        error("bad_request", "POST", lock, '{"acquire_timeout_s":"10"}', a, key="k")
        error("not_found", "GET", "/v2")
        error("not_held", "POST", lock + "/release", '{"token":"t"}', a, key="k")
        error("method_not_allowed", "PUT", "/health")
        ask("POST", lock + "/enqueue", 200, '{"status":"queued"}', None, b, key="k")
        error("already_enqueued", "POST", lock + "/enqueue", None, b, key="k")
        error("max_waiters", "POST", lock, '{"acquire_timeout_s":5}', c, key="k")
        error("not_enqueued", "POST", lock + "/wait", '{"timeout_s":5}', c, key="k")
        ask("POST", sem, 200, None, '{"limit":2}', a, key="s")
        error("limit_mismatch", "POST", sem, '{"limit":3}', b, key="s")
        ask("POST", lock + "/enqueue", 200, '{"status":"acquired"…}', '{"lease_ttl_s":1}', a, key="brief")
        error("max_locks", "POST", lock, "{}", a, key="one-too-many")
        # An enqueued lock that nobody waits for in time: its key then counts no holder.
        eventually(lambda: b'"holder_count":0' in ask("GET", "/v1/resources/{kind}/{key}", 200, None,
                                                      kind="lock", key="brief").data, 20, "the lease ends")
        error("lease_expired", "POST", lock + "/wait", '{"timeout_s":5}', a, key="brief")
        ask("DELETE", "/v1/sessions/{id}", 204, None, id=c)
        for unknown in (c, "0" * 32, "x", a.upper(), a + "0"):
            error("session_gone", "POST", lock, "{}", unknown, key="k")
        server.kill(signal.SIGTERM)
        eventually(lambda: ask.curl("GET", "/ready").status == 503, 20, "it drains")
        ask("GET", "/ready", 503, '{"status":"draining"}')
        ask("GET", "/health", 200, '{"status":"ok"}')
        error("draining", "POST", lock, "{}", a, key="k")
        for one in (b, a):
            ask("DELETE", "/v1/sessions/{id}", 204, None, id=one)
        check_eq(server.exited(), 0, "its exit code")
    with WebServer(["--http-rate-limit-per-ip", "1"]) as server:
        ask.curl = Curl(server)
        eventually(lambda: ask.curl("GET", "/v1/stats").status == 429, 20, "a request too many")
        again = Curl(server)("GET", "/v1/stats")
        if again.status == 429:  # a second may have passed
            check(re.fullmatch("[1-9][0-9]*", again.headers["retry-after"]), "Retry-After")
        r = curl("--retry", "5", "-i", f"{ask.curl.url}/v1/stats")
        check(b" 200 OK" in r.stdout, f"curl --retry waits as long as it is told: {r.stdout}")
        ask.codes.add(("rate_limited", 429))
    check_eq(ask.codes ^ {(c, s) for c, s in CODES.items() if c not in FAULTS}, set(),
             "codes that there are not, or that did not come")


FIRST_STEPS = r"""
# a session, a lock, its release, the end of the session
sid=$(curl -sX POST http://localhost:6389/v1/sessions | jq -r .session_id)
curl -sX POST http://localhost:6389/v1/locks/deploy-job \
     -H "X-Dflockd-Session: $sid" \
     -d '{"acquire_timeout_s": 10, "lease_ttl_s": 60}' | tee granted
token=$(jq -r .token granted)
curl -sX POST -w '%{http_code}\n' http://localhost:6389/v1/locks/deploy-job/release \
     -H "X-Dflockd-Session: $sid" \
     -H "Content-Type: application/json" \
     -d "{\"token\": \"$token\"}"
curl -sX DELETE -w '%{http_code}\n' http://localhost:6389/v1/sessions/$sid
curl -sS http://localhost:6389/v1/openapi.json | jq -r .openapi
curl http://localhost:6389/v1/openapi.json 2>/dev/null | jq . | head -n 1
"""


@test("the first steps by curl and jq that documents of dflockd 2.x show do what is said there", rules=["O5"])
def first_steps():
    with WebServer() as server:
        r = subprocess.run(["bash", "-c", 'cd "$(mktemp -d)" && trap \'rm -rf "$PWD"\' EXIT\n' +
                            FIRST_STEPS.replace("6389", str(server.http_port))], env=environment(),
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           timeout=60, encoding="utf-8")
        check_eq(r.stderr, "", "what is complained about")
        compare(r.stdout.splitlines(), ['{"status":"ok","token":"TOKEN","lease_ttl_s":60}', "204", "204",
                                        "3.1.0", "{"])


@test("both listeners have the certificate that was named once; /health and /ready need no token",
      rules=["O5"], needs=["tls"])
def one_certificate():
    with WebServer([*server_certificate().args, "--auth-token", SECRET]) as server:
        one, two = (ssl.get_server_certificate(("127.0.0.1", port)) for port in
                    (server.port, server.http_port))
        check_eq(two, one, "certificates")
        ask = Curl(server, tls=True)
        for path, status in (("/health", 200), ("/ready", 200), ("/v1/stats", 401)):
            check_eq(ask("GET", path).status, status, path)


@test("--max-connections-per-ip 50, --http-rate-limit-per-ip 100 and --http-max-sessions-per-ip 20 each hold "
      "by themselves", rules=["O5"], deadline=300)
def guardrails():
    with WebServer(["--max-connections-per-ip", "50", "--http-rate-limit-per-ip", "100",
                    "--http-max-sessions-per-ip", "20"]) as server:
        ask = Curl(server)
        ids = [ask("POST", "/v1/sessions").expect(200)["session_id"] for _ in range(20)]
        ask("POST", "/v1/sessions").expect(503, "max_sessions_per_ip")
        clients = [server.client(source="127.0.0.1") for _ in range(50)]
        for client in clients:
            check_eq(client.req("ping"), "ok", "one of 50 connections")
        server.client(source="127.0.0.1").expect_close()

        def burst():
            """More than there may be, by one curl on one connection."""
            r = subprocess.run(["curl", "-q", "-sS", "-w", "%{http_code}\n", "-o", "/dev/null",
                                f"{ask.url}/v1/sessions/{'0' * 32}/ping?n=[1-500]"], env=environment(),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60)
            return b"429" in r.stdout.split()

        eventually(burst, 60, "no request was refused")
        check_eq(ask("GET", "/health").status, 200, "/health")
        check_eq(clients[0].req("ping"), "ok", "a client of the line protocol")

        def end(one):
            """The bucket is empty: until a token has come."""
            eventually(lambda: ask("DELETE", f"/v1/sessions/{one}").status != 429, 20, "a token")

        for one in ids:
            end(one)
        check_eq(json.loads(clients[0].req("stats").split(" ", 1)[1])["connections"], 50, "who is left")


if __name__ == "__main__":
    main()
