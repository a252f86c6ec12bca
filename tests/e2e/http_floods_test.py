#!/usr/bin/env python3
"""http_floods_test.py - who asks very much, or nonsense, of HTTP: wrong tokens by the thousand, clients
that leave before they are refused."""

import os
import re
import threading

from harness import SANITIZED, check, check_eq, diag, elapsed, eventually, in_threads, main, temp_file, test
from web import WebServer

SECRET = "correct horse"
MINE = {"Authorization": f"Bearer {SECRET}"}


def with_token(*args):
    path = temp_file(SECRET + "\n")
    os.chmod(path, 0o600)
    return WebServer(["--shutdown-timeout", "1", "--auth-token-file", path, *args])


def metric(server, name, labels=""):
    with server.web() as web:
        text = web.get("/metrics", MINE).data.decode()
    return sum(float(x) for x in re.findall(rf"^{name}(?:{{.*{labels}.*}})? (\S+)$", text, re.M))


@test("thousands of wrong tokens: each is refused after its 100 ms, nobody waits for another, the log and "
      "memory stay small", rules=["H10"], deadline=180)
def wrong_tokens():
    connections, each = 100, 20
    with with_token() as server:
        began, flooded = elapsed(), threading.Event()

        def flood(raw):
            took = elapsed()
            for _ in range(each):
                raw.ask_http("GET", "/v1/stats", [("Authorization", "Bearer wrong")])
            for _ in range(each):
                raw.reply(timeout=100).expect(401, "unauthorized")
            return took()

        def serve(_):
            """Who has the token has its answers all the while."""
            over = False
            with server.web(headers=MINE) as web:
                id = web.post("/v1/sessions").expect(200)["session_id"]
                web.headers["X-Dflockd-Session"] = id
                while not over:
                    over = flooded.is_set()
                    token = web.post("/v1/locks/key", {}).expect(200)["token"]
                    web.post("/v1/locks/key/release", {"token": token}).expect(204)
                web.delete(f"/v1/sessions/{id}").expect(204)

        def flood_all(_):
            try:
                raws = [server.raw() for _ in range(connections)]
                return in_threads(flood, raws)
            finally:
                for raw in raws:
                    raw.close()
                flooded.set()

        sizes = []
        for _ in range(4):
            flooded.clear()
            _, took = in_threads(lambda f: f(0), (serve, flood_all))
            check(min(took) >= 0.1 * each, f"{each} refusals after {min(took):.2f} s")
            # One after another they would take 200 s.
            check(max(took) < 60, f"{connections * each} refusals in {max(took):.2f} s")
            sizes.append(server.http_memory())
        lines = server.logged("authentication failed")
        check(20 <= len(lines) <= 20 + began() + 2, f"{len(lines)} lines in {began():.0f} s")
        total = 4 * connections * each
        check_eq(metric(server, "dflockd_auth_failures_total"), total, "refusals")
        # The next line that may be written has the number of those that were not.
        waited = elapsed()
        eventually(lambda: waited() > 2, 20)
        server.web().get("/v1/stats").expect(401)
        eventually(lambda: len(server.logged("authentication failed")) > len(lines), 20, "a line")
        lines = server.logged("authentication failed")
        left_out = sum(int(x) for line in lines for x in re.findall(r" suppressed=(\d+)", line))
        check_eq(len(lines) + left_out, total + 1, "all that was refused is counted in the log")
        diag(f"{total} refusals, {len(lines)} lines, memory after each flood: {sizes}")
        if not SANITIZED:  # they keep what was freed for a while
            check(sizes[3] - sizes[1] < 1 << 20, f"memory grows: {sizes}")


@test("who leaves before it is refused is forgotten at once", rules=["H10"])
def leaves_before():
    with with_token() as server:
        left = 0

        def some_were_noticed():
            nonlocal left
            raws = [server.raw() for _ in range(20)]
            for raw in raws:
                raw.ask_http("GET", "/v1/stats")
            left += len(raws)
            # They are all being refused now, or have been if this test is slow.
            eventually(lambda: metric(server, "dflockd_auth_failures_total") == left, 20, "all are read")
            for raw in raws:
                raw.reset()
            requests = 'path="/v1/stats",status'
            eventually(lambda: metric(server, "dflockd_http_requests_total", requests) == left, 20,
                       "all have ended")
            return metric(server, "dflockd_http_requests_total", requests + '="499"') > 0

        eventually(some_were_noticed, 60, "each was kept till the end of its 100 ms")


if __name__ == "__main__":
    main()
