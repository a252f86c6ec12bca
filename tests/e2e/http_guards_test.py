"""http_guards_test.py - docs/rules.md, "HTTP: connections": tokens, origins, caps, rates, TLS."""

import base64
import os
import signal
import socket
import ssl
import subprocess
import sys

from certs import authority, client_context, server_certificate
from harness import (Server, check, check_eq, elapsed, eventually, in_threads, main, temp_dir, temp_file,
                     test)
from web import Raw, WebServer

ACTIVATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "activate.py")

SECRET, OTHER, ADMIN = "correct horse", "battery staple", "overseer"
BASIC = ["/metrics", "/v1/stats", "/v1/resources", "/v1/resources/lock/x", "/"]
BEARER_ONLY = [("POST", "/v1/sessions"), ("POST", "/v1/locks/x"), ("GET", "/nothing"),
               ("DELETE", "/v1/sessions/x"), ("PUT", "/v1/sessions")]


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def basic(token, user="anyone"):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()}


def secrets(*tokens):
    path = temp_file("\n".join(tokens) + "\n")
    os.chmod(path, 0o600)
    return path


@test("with a token every route needs it but /health, /ready and the document; 401 comes after 100 ms",
      rules=["H10"])
def tokens():
    args = ["--auth-token-file", secrets(SECRET, OTHER), "--admin-token-file", secrets(ADMIN)]
    with WebServer(args) as server:
        web = server.web()
        for path in ["/health", "/ready"]:
            web.get(path).expect(200)
        check(web.get("/v1/openapi.json").status != 401, "the document is open")
        wrong = [{}, bearer("wrong"), bearer(""), bearer(SECRET + "x"), bearer(SECRET[:-1]),
                 basic("wrong"), basic("", SECRET), {"Authorization": SECRET},
                 {"Authorization": "Basic ???"}, {"Authorization": "Basic "},
                 {"Authorization": "Digest " + SECRET}, {"Authorization": "Bearer"}]

        def refused(case):
            (method, path), headers = case
            client = server.web()
            took = elapsed()
            reply = client.request(method, path, None, headers)
            check(took() >= 0.1, f"{took()} s")
            reply.expect(401, "unauthorized")
            scheme = 'Basic realm="dflockd"' if path in BASIC else "Bearer"
            check_eq(reply.headers["www-authenticate"], scheme, path)
            check_eq(client.get("/health").status, 200, "the connection serves on")

        cases = [(("GET", path), h) for path in BASIC for h in wrong]
        cases += [(route, h) for route in BEARER_ONLY for h in wrong + [basic(SECRET)]]
        in_threads(refused, cases)
        for token in [SECRET, OTHER, ADMIN, f"  {SECRET} "]:
            check(web.get("/v1/stats", bearer(token)).status != 401, token)
            check(web.get("/v1/stats", basic(token.strip())).status != 401, token)
            check_eq(web.post("/v1/sessions", None, bearer(token)).status, 200, token)
        check(web.get("/v1/stats", basic(SECRET, "")).status != 401, "no user")
        check(web.get("/v1/stats", {"Authorization": f"bEARER {SECRET}"}).status != 401, "a scheme")
        web.get("/nothing", bearer(SECRET)).expect(404, "not_found")
        check(server.logged(r"authentication failed .*peer=127\.0\.0\.1:\d+ .*why="), "it is logged")
        for line in server.log:
            check(not any(x in line for x in (SECRET, OTHER, ADMIN, "wrong horse")), line)


@test("who leaves before the 401 costs nothing; without a token all may ask", rules=["H10"])
def left_before_the_refusal():
    with WebServer(["--auth-token-file", secrets(SECRET)]) as server:
        for _ in range(50):
            raw = server.raw()
            raw.ask_http("GET", "/v1/stats")
            raw.reset()
        check_eq(server.web().get("/health").status, 200, "it serves on")
    with WebServer() as server:
        check_eq(server.web().post("/v1/sessions", None, bearer("anything")).status, 200, "open")


@test("origins: none, listed ones, any; a preflight is answered before anything else", rules=["H11"])
def cross_origin():
    page, stranger = "https://page.example", "https://stranger.example"
    ask = {"Access-Control-Request-Method": "POST"}

    def allowed(reply):
        return {k: v for k, v in reply.headers.items()
                if k.startswith("access-control") or k == "vary"}

    def every_answer(server, headers, want, statuses):
        """Of each kind of status."""
        seen = set()
        for method, path, body, more in [
                ("GET", "/health", None, {}), ("HEAD", "/health", None, {}), ("GET", "/nothing", None, {}),
                ("POST", "/health", b"{}", {}), ("OPTIONS", "/v1/sessions", None, {}),
                ("POST", "/v1/locks/x", b"{", {}), ("GET", "/v1/stats", None, {}),
                ("GET", "/v1/stats", None, bearer("wrong")), ("POST", "/v1/locks/a%20", b"{}", bearer(SECRET)),
                ("POST", "/v1/sessions/x/ping", None, bearer(SECRET)),
                ("DELETE", "/v1/sessions/" + "0" * 32, None, bearer(SECRET)),
                ("POST", "/v1/sessions", None, bearer(SECRET)), ("GET", "/", None, bearer(SECRET)),
                ("GET", "/metrics", None, bearer(SECRET)), ("GET", "/v1/openapi.json", None, {}),
                ("GET", "/v1/resources", None, bearer(SECRET)), ("OPTIONS", "/v1/locks/x", None, bearer(SECRET)),
                ("PUT", "/v1/locks/x", b"{}", bearer(SECRET))]:
            with server.web() as web:
                reply = web.request(method, path, body, {**more, **headers})
            check_eq(allowed(reply), want, f"{method} {path}, {headers}: {reply!r}")
            seen.add(reply.status)
        check_eq(seen, statuses, f"with {headers}")

    with WebServer() as server:
        every_answer(server, {}, {}, {200, 204, 400, 404, 405, 410})
        every_answer(server, {"Origin": page}, {}, {200, 204, 400, 404, 405, 410})
        reply = server.web().request("OPTIONS", "/v1/locks/x", None, {"Origin": page, **ask})
        check_eq((reply.status, allowed(reply)), (204, {}), "no preflight: off")
        check_eq(reply.headers["allow"], "POST, OPTIONS", "an OPTIONS")
    listed = ["--http-cors-allowed-origins", f"https://first.example, {page}", "--auth-token-file",
              secrets(SECRET)]
    statuses = {200, 204, 400, 401, 404, 405, 410}
    with WebServer(listed) as server:
        web = server.web()
        # The answer is for this origin only, and so is the answer without: caches must know.
        varies = {"vary": "Origin"}
        want = {"access-control-allow-origin": page, **varies}
        every_answer(server, {"Origin": page}, want, statuses - {404})
        every_answer(server, {}, varies, statuses - {404})
        every_answer(server, {"Origin": stranger}, varies, statuses - {404})
        for other in (page + ".evil", "https://page.exampl", "null", "*", "HTTPS://PAGE.EXAMPLE",
                      page + ":443", "", f"https://first.example, {page}"):
            check_eq(allowed(web.get("/health", {"Origin": other})), varies, other)
        for path in ("/v1/locks/x", "/v1/sessions", "/health", "/nothing", "/%", "*"):
            reply = web.request("OPTIONS", path, None, {"Origin": page, **ask})  # no token
            check_eq((reply.status, reply.data), (204, b""), f"preflight of {path}")
            check_eq(allowed(reply), {
                **want, "access-control-allow-methods": "GET, POST, DELETE, OPTIONS",
                "access-control-allow-headers": "Authorization, Content-Type, X-Dflockd-Session",
                "access-control-max-age": "300"}, f"preflight of {path}")
        for headers in ({"Origin": stranger, **ask}, {"Origin": page}, ask, {}):
            web.request("OPTIONS", "/v1/locks/x", None, headers).expect(401, "unauthorized")
        # Asked for in another way it is none.
        web.request("GET", "/v1/stats", None, {"Origin": page, **ask}).expect(401, "unauthorized")
    for origins in ("*", f"{page}, *"):
        with WebServer(["--http-cors-allowed-origins", origins]) as server:
            any_ = {"access-control-allow-origin": "*"}  # and nothing of credentials
            every_answer(server, {"Origin": stranger}, any_, {200, 204, 400, 404, 405, 410})
            every_answer(server, {"Origin": page}, any_, {200, 204, 400, 404, 405, 410})
            every_answer(server, {}, {}, {200, 204, 400, 404, 405, 410})


@test("a listed origin that no browser sends is refused, with what to say instead", rules=["H11"])
def wrong_origins():
    flag = "--http-cors-allowed-origins"
    p = subprocess.run([os.environ["DFLOCKD"], "-t", flag, "https://a.example/, foo, null, https://B.example"],
                       stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    check_eq((p.returncode, p.stdout), (78, ""), f"exit status, output; {p.stderr}")
    lines = p.stderr.splitlines()
    check_eq(len(lines), 4, f"a line each: {lines}")
    for line, says in zip(lines, ("'https://a.example/': an origin has no path; say https://a.example",
                                  "'foo': an origin is scheme://host", "'null' is what any page can send",
                                  "'https://B.example': browsers send it in lower case; say "
                                  "https://b.example")):
        check(line.startswith(f"dflockd: {flag}: {says}"), line)
    config = temp_file("http_cors_allowed_origins = https://page.example\n")
    with WebServer(["--config", config], expect_log=["has no path", "refused"]) as server:
        with open(config, "w", encoding="utf-8") as f:
            f.write("http_cors_allowed_origins = https://page.example/\n")
        since = server.mark()
        server.kill(signal.SIGHUP)
        server.wait_log(r"an origin has no path; say https://page\.example", 20, since)
        server.wait_log(r" reload proc=master .*refused", 20, since)
        check_eq(server.web().get("/health", {"Origin": "https://page.example"})
                 .headers.get("access-control-allow-origin"), "https://page.example", "as before")


@test("the rate of an address: a burst, then so many a second; others, /health and /ready do not count",
      rules=["H13"])
def rate():
    with WebServer(["--http-rate-limit-per-ip", "2", "--http-rate-limit-burst", "5"]) as server:
        web, other = server.web(), server.web(source="127.0.0.2")
        for _ in range(50):
            web.get("/health").expect(200)
            check_eq(web.get("/ready").status, 200, "/ready")
        took = elapsed()
        # A header that says otherwise is not believed.
        replies = [web.get("/nothing", {"X-Forwarded-For": f"10.0.0.{i}"}) for i in range(40)]
        most = 5 + 2 * took() + 1
        check_eq([x.status for x in replies[:5]], [404] * 5, "the burst")
        served = sum(x.status == 404 for x in replies)
        check(5 <= served <= most, f"{served} were served, {most} at most")
        refused = [x for x in replies if x.status != 404]
        for x in refused:
            x.expect(429, "rate_limited")
            check(1 <= int(x.headers["retry-after"]) <= 3, x.headers["retry-after"])
        check_eq([other.get("/nothing").status for _ in range(5)], [404] * 5, "another address")
        eventually(lambda: web.get("/nothing").status == 404, 10, "it is served again")


@test("caps of connections, of sessions and of requests know nothing of each other",
      rules=["H14"])
def caps():
    with WebServer(["--http-max-connections-per-ip", "3", "--http-max-sessions-per-ip", "2"]) as server:
        webs = [server.web() for _ in range(3)]
        for w in webs:
            w.get("/health").expect(200)
        for _ in range(5):
            raw = server.raw()
            eventually(raw.is_closed, 10, "one too many is closed")
            check(not raw.buffer, "without a word")
        server.wait_log(r"connection refused .*limit=http-max-connections-per-ip max=3 peer=127\.0\.0\.1:")
        server.web(source="127.0.0.2").get("/health").expect(200)
        made = [webs[0].post("/v1/sessions").expect(200)["session_id"] for _ in range(2)]
        webs[1].post("/v1/sessions").expect(503, "max_sessions_per_ip")
        server.web(source="127.0.0.2").post("/v1/sessions").expect(200)
        for w in webs:
            w.close()
        again = server.web()

        def admitted():
            try:
                return again.get("/health").status == 200
            except (ConnectionError, OSError):
                again.close()
                return False

        eventually(admitted, 10, "there is room again")
        again.post("/v1/sessions").expect(503, "max_sessions_per_ip")
        again.delete(f"/v1/sessions/{made[0]}").expect(204)
        again.post("/v1/sessions").expect(200)


@test("a Unix socket may be passed for HTTP; its clients have no address, and no cap", rules=["H14"],
      needs=["systemd"])
def unix_socket():
    path = os.path.join(temp_dir(), "http.sock")
    passed, tcp = socket.socket(socket.AF_UNIX), socket.socket()
    passed.bind(path)
    tcp.bind(("127.0.0.1", 0))
    for s in (passed, tcp):
        s.listen()
    program = [sys.executable, ACTIVATE, "http:lock", f"{passed.fileno()},{tcp.fileno()}",
               os.environ["DFLOCKD"]]
    with Server(["--http-max-connections-per-ip", "1", "--http-rate-limit-per-ip", "1"],
                program=program, fds=(passed.fileno(), tcp.fileno())) as server:
        raws = [Raw(server, unix=path) for _ in range(5)]
        for raw in raws:
            for _ in range(5):
                raw.ask_http("GET", "/nothing")
                check_eq(raw.reply().status, 404, "by a Unix socket")
        raws[0].reset()
        raws[1].close()
        raws[2].ask_http("GET", "/health")
        raws[2].reply().expect(200)


@test("caps, rates, origins and tokens are other ones after a reload", rules=["H14", "H10"])
def reloaded():
    config = temp_file(f"http_max_connections_per_ip = 1\nauth_token_file = {secrets(SECRET)}\n")
    with WebServer(["--config", config]) as server:
        web = server.web()
        web.get("/health").expect(200)
        raw = server.raw()
        eventually(raw.is_closed, 10, "one is allowed")
        with open(config, "w", encoding="utf-8") as f:
            f.write(f"auth_token_file = {secrets(OTHER)}\nhttp_rate_limit_per_ip = 1\n"
                    "http_cors_allowed_origins = *\n")
        since = server.mark()
        server.kill(signal.SIGHUP)
        server.wait_log("reload", 10, since)
        eventually(lambda: web.get("/nothing", bearer(OTHER)).status == 404, 20, "the new token")
        check_eq(server.web().get("/health", {"Origin": "https://x"})
                 .headers.get("access-control-allow-origin"), "*", "the new origins")
        eventually(lambda: web.get("/nothing", bearer(OTHER)).status == 429, 20, "the new rate")


@test("TLS: the same certificates as the line protocol, also after a reload; mutual; 1.2 at least",
      rules=["H7"], needs=["tls"])
def certificates():
    ca, cert = authority(), server_certificate()
    mutual = [*cert.args, "--tls-client-ca", ca.cert]
    with WebServer(mutual) as server:
        check_eq(server.web(tls=client_context(ca, ca.issue("me"))).get("/health").status, 200, "mine")
        for context in [client_context(ca), client_context(ca, authority("other").issue("them"))]:
            try:
                server.web(tls=context).get("/health")
                check(False, "a stranger was served")
            except (ssl.SSLError, ConnectionError, OSError):
                pass
    old = client_context(ca)
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    config = temp_file(f"tls_cert = {cert.cert}\ntls_key = {cert.key}\n")
    with WebServer(["--config", config]) as server:
        try:
            server.web(tls=old).get("/health")
            check(False, "TLS 1.1 was served")
        except (ssl.SSLError, ConnectionError, OSError):
            pass
        kept = server.web(tls=client_context(ca))
        kept.get("/health").expect(200)
        new = authority("new")
        issued = new.issue()
        with open(config, "w", encoding="utf-8") as f:
            f.write(f"tls_cert = {issued.cert}\ntls_key = {issued.key}\n")
        server.kill(signal.SIGHUP)

        def renewed():
            try:
                return server.web(tls=client_context(new)).get("/health").status == 200
            except ssl.SSLError:
                return False

        eventually(renewed, 20, "the new certificate")
        kept.get("/health").expect(200)


@test("a TLS session is resumed, also when the process that made it is dead", rules=["H7"], needs=["tls"])
def resumption():
    with WebServer(server_certificate().args, expect_log=["worker died"]) as server:
        context = client_context()

        def connect(session):
            sock = socket.create_connection(("127.0.0.1", server.http_port), 10)
            tls = context.wrap_socket(sock, server_hostname="localhost", session=session)
            tls.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while tls.recv(4096):
                pass
            return tls.session, tls.session_reused

        first, reused = connect(None)
        check(not reused, "the first one is new")
        check(connect(first)[1], "the second one is resumed")
        pid = server.http_pid()
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: server.http_pid() != pid, 20, "an heir")

        def resumed():
            try:
                return connect(first)[1]
            except (ConnectionError, OSError):
                return False

        eventually(resumed, 20, "it is resumed by the heir")


if __name__ == "__main__":
    main()
