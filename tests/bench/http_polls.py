"""http_polls.py - what thousands of long polls cost: memory each, and the time from a release by the line
protocol to the grant at the client who is first in line.

    http_polls.py [POLLS [GRANTS]]      5000 polls, 1000 grants; --tls: over TLS

Polls are connections of 127.0.0.1, each with a session of its own, all in one queue, in a known order.
The time is that of one client: from the release leaving to the grant's arrival, its own Python included.
Any grant that reaches another than the first in line ends it with a message.
"""

import json
import os
import resource
import select
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))

from certs import client_context, server_certificate
from harness import eventually, json_of, token_of
from web import Raw, WebServer

KEY = "queue"
BODY = b'{"acquire_timeout_s":3600,"lease_ttl_s":3600}'


def rank(sorted_times, part):
    return sorted_times[min(len(sorted_times) - 1, int(len(sorted_times) * part))] * 1e3


def stand_in_line(server, n, options):
    """Polls in the order of the queue, and what each costs in bytes."""
    look, line = server.client(**options), []
    with server.web(**options) as web:
        ids = [web.post("/v1/sessions").expect(200)["session_id"] for _ in range(n)]
    before = server.http_memory()
    for i, id in enumerate(ids):
        raw = Raw(("127.0.0.1", server.http_port), **options)
        raw.ask_http("GET", "/health")  # and TLS has said all it had to say
        raw.reply().expect(200)
        raw.ask_http("POST", f"/v1/locks/{KEY}", [("X-Dflockd-Session", id)], BODY)
        line.append(raw)
        eventually(lambda: json_of(look.req("show", KEY, "lock"))["waiters"] == i + 1, 60, f"{i + 1} wait")
    return line, (server.http_memory() - before) / n


def grants(holder, token, line, n):
    """Seconds from each release to its grant."""
    poll, times = select.epoll(), []
    for raw in line:
        poll.register(raw.sock.fileno(), select.EPOLLIN)
    if poll.poll(0.1):
        sys.exit("somebody has an answer before there is one")
    by_fd = {raw.sock.fileno(): raw for raw in line}
    for i in range(n):
        began = time.perf_counter()
        holder.ask("r", KEY, token)
        (fd, _), = poll.poll(60, 1)
        times.append(time.perf_counter() - began)
        if by_fd[fd] is not line[i]:
            sys.exit(f"grant {i}: it reached another than the first in line")
        poll.unregister(fd)
        if holder.line() != "ok":
            sys.exit("a release failed")
        token = line[i].reply().expect(200)["token"]
    return sorted(times)


def main(argv):
    tls = "--tls" in argv
    given = [int(x) for x in argv if x != "--tls"]
    n, m = given + [5000, 1000][len(given):]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    options = {"tls": client_context()} if tls else {}
    args = ["--shutdown-timeout", "1", "--read-timeout", "3600", "--http-session-idle-timeout", "0",
            "--http-max-sessions", str(n + 10)]
    with WebServer(args + (server_certificate().args if tls else [])) as server:
        holder = server.client(**options)
        token = token_of(holder.req("l", KEY, "0 3600"))
        line, each = stand_in_line(server, n, options)
        times = grants(holder, token, line, min(m, n))
        print(json.dumps({"polls": n, "tls": tls, "bytes_each": round(each), "grants": len(times),
                          "ms": {"median": round(rank(times, .5), 3), "p99": round(rank(times, .99), 3),
                                 "worst": round(times[-1] * 1e3, 3)}}))
        for raw in line:
            raw.close()


if __name__ == "__main__":
    main(sys.argv[1:])
