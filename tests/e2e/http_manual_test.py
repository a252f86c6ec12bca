#!/usr/bin/env python3
"""http_manual_test.py - dflockd-http(7) and README.md on HTTP say what happens: each line of a manual page's
display that begins with "$ ", with the lines that continue it, is run by bash, all of the page in one
shell, and what follows is what it prints, with the words of said.py; each block of README.md that is
marked ```bash test http is run with a server of its own."""

import json
import os
import re
import signal
import subprocess

from certs import authority, server_certificate
from harness import check, check_eq, eventually, main, temp_dir, test
from programs import programs_path
from said import compare
from web import WebServer

top = os.environ["top_srcdir"]
PORT = "6389"  # in the documents
QUICK = ["--shutdown-timeout", "1"]  # sessions of the examples hold locks at the end
# However slow the machine is, no session is reaped and no lease ends.
PATIENT = QUICK + ["--default-lease-ttl", "1000", "--http-session-idle-timeout", "600"]


def read(path):
    with open(os.path.join(top, path), encoding="utf-8") as f:
        return f.read()


PAGE = "docs/man/dflockd-http.7"
page, readme = read(PAGE), read("README.md")
blocks = [(readme[:m.start()].count("\n") + 1, m[1])
          for m in re.finditer(r"^```bash test http\n(.*?)^```$", readme, re.M | re.S)]


def steps(text):
    """[(commands, [lines that they print])] of the displays, as a reader sees them."""
    found = []
    for display in re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", text, re.M | re.S):
        goes_on = False
        for line in display.replace("\\e", "\\").replace("\\&", "").splitlines():
            if line.startswith("$ "):
                found.append([line[2:], []])
            elif goes_on:
                found[-1][0] += "\n" + line
            elif found and display.startswith("$ "):
                found[-1][1].append(line)
            goes_on = (line.startswith("$ ") or goes_on) and line.endswith("\\")
    return found


def run(script, server, curlrc=""):
    cwd = temp_dir()
    with open(os.path.join(cwd, ".curlrc"), "w", encoding="utf-8") as f:
        f.write(curlrc)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DFLOCKD", "http_", "HTTP_"))}
    env.update(PATH=programs_path(), CURL_HOME=cwd)
    script = script.replace("6388", str(server.port)).replace(PORT, str(server.http_port))
    r = subprocess.run(["bash", "-c", script], env=env, cwd=cwd, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, encoding="utf-8")
    check_eq(r.stderr, "", "what is complained about")
    return r.stdout


def run_manual(args, curlrc="", tls=False):
    todo = steps(page)
    check(len(todo) > 40, f"only {len(todo)} examples")
    mark = "--- the next example ---"
    script = "".join(f"{command}\necho '{mark}'\n" for command, _ in todo)
    if tls:
        script = script.replace("http://", "https://")
    options = re.search(r"^dflockd --http-port 6389 (.*)$", page, re.M)[1].split()
    with WebServer(options + args + QUICK) as server:
        parts = run(script, server, curlrc).split(mark + "\n")
        check_eq(len(parts), len(todo) + 1, "examples that were run")
        for (command, want), got in zip(todo, parts):
            compare(got.splitlines(), want, command)


@test("dflockd-http(7): each example prints what the page says", rules=["O4"], deadline=300)
def manual():
    run_manual([])


@test("dflockd-http(7): each example prints the same with a token, and over TLS", rules=["O4"], deadline=300,
      needs=["tls"])
def manual_guarded():
    run_manual(["--auth-token", "sesame"], 'header = "Authorization: Bearer sesame"\n')
    run_manual(server_certificate().args, f'cacert = "{authority().cert}"\n', tls=True)


@test("dflockd-http(7): the example with a certificate and a token in a file is right", rules=["O4"], needs=["tls"])
def manual_authority():
    example = re.search(r"^curl .*--cacert .*?[^\\]$", page.replace("\\e\n", "\\\n"), re.M | re.S)[0]
    certificate = authority().issue(host="locks.example")
    with WebServer([*certificate.args, "--auth-token", "sesame"]) as server:
        got = run(f"cp {authority().cert} ca.pem; echo sesame >token\n{example}", server,
                  'connect-to = "locks.example::127.0.0.1:"\n')
    check_eq(json.loads(got)["locks"], [], "its answer")


def served(server, what):
    """How many of these requests were answered with success."""
    with server.web() as web:
        text = web.get("/metrics").data.decode()
    found = re.findall(r'^dflockd_http_requests_total\{method="POST",path="/v1/locks/\{key\}%s",'
                       r'status="20[04]"\} (\d+)$' % what, text, re.M)
    return sum(map(int, found))


def unheard(server, session, key, what="", body=b"{}"):
    """Asks; the answer is lost."""
    raw, before = server.raw(), served(server, what)
    raw.ask_http("POST", f"/v1/locks/{key}{what}", [("X-Dflockd-Session", session.id)], body)
    eventually(lambda: served(server, what) > before, 20, f"{key}{what} is served")
    raw.reset()


@test("a client whose answer was lost goes on as dflockd-http(7) says", rules=["O6"], deadline=300)
def answers_lost():
    with WebServer(PATIENT) as server:
        other = server.session()

        def starts_anew(session, key):
            check_eq(session.acquire(key).expect(200)["status"], "timeout", "in the queue behind itself")
            session.end().expect(204)
            token = other.token(key)
            other.release(key, token).expect(204)

        a = server.session()
        unheard(server, a, "acquire")
        starts_anew(a, "acquire")

        a = server.session()
        unheard(server, a, "enqueue", "/enqueue")
        a.enqueue("enqueue").expect(409, "already_enqueued")
        token = a.wait("enqueue", 20).expect(200)["token"]
        unheard(server, a, "enqueue", "/release", json.dumps({"token": token}).encode())
        a.release("enqueue", token).expect(404, "not_held")

        a.enqueue("wait").expect(200)
        unheard(server, a, "wait", "/wait")
        a.wait("wait", 0).expect(409, "not_enqueued")
        starts_anew(a, "wait")

        a = server.session()
        token = other.token("busy")
        check_eq(a.enqueue("busy").expect(200)["status"], "queued", "enqueue")

        def leaves():
            """It may be too early: then the request was not read, and is made again."""
            raw = server.raw()
            raw.ask_http("GET", "/health")
            raw.reply()
            raw.ask_http("POST", "/v1/locks/busy/wait", [("X-Dflockd-Session", a.id)], b'{"timeout_s":1000}')
            other.ping().expect(204)
            raw.reset()
            return other.get("/v1/resources/lock/busy").json["waiters"] == 0

        eventually(leaves, 20, "it has left the queue")
        a.wait("busy", 0).expect(409, "not_enqueued")

        raw = server.raw()
        raw.ask_http("DELETE", f"/v1/sessions/{a.id}")
        eventually(lambda: a.ping().status == 410, 20, "it ends")
        raw.reset()
        a.end().expect(410, "session_gone")


@test("a grant whose answer was lost with the process that served HTTP stays its session's until that is "
      "ended", rules=["O6"], deadline=300)
def answer_lost_with_its_process():
    died = [r"worker died.* signal=KILL", r" died: its role is taken over"]
    with WebServer(PATIENT, expect_log=died) as server:
        a, other = server.session(), server.session()
        pid, since = server.http_pid(), server.mark()
        unheard(server, a, "k")
        os.kill(pid, signal.SIGKILL)
        server.wait_log("took over .*proc=http", 20, since)
        a.close()
        other.close()
        a.ping().expect(204)
        check_eq(a.acquire("k").expect(200)["status"], "timeout", "in the queue behind itself")
        check_eq(other.acquire("k").expect(200)["status"], "timeout", "another session")
        a.end().expect(204)
        other.token("k")


@test("README.md: each block about HTTP prints what it says", rules=["O4"], deadline=300)
def first_steps():
    check(blocks, "no block")
    for line, block in blocks:
        with WebServer(QUICK) as server:
            want = [x[3:] for x in block.splitlines() if x.startswith("#> ")]
            check(want, f"line {line}: it says nothing")
            compare(run(block, server).splitlines(), want, f"README.md line {line}")

@test("dflockd-http(7) has the routes, the error codes, the headers and the parameters that there are",
      rules=["O4"])
def complete():
    routes = {(m, p) for m, p in re.findall(r"^\.It Li (\w+) Ta (/\S*) Ta ", page, re.M)}
    source = set(re.findall(r'^ROUTE\(\w+, (\w+), "([^"]+)"', read("src/http/routes.def"), re.M))
    check_eq(routes ^ source, set(), "routes that only one of the two has")
    sessions = set(re.findall(r"^\.It Li \w+ Ta (/\S*) Ta yes Ta", page, re.M))
    needed = set(re.findall(r'^ROUTE\(\w+, \w+, "([^"]+)",\s*ROUTE_SESSION', read("src/http/routes.def"),
                            re.M))
    check_eq(sessions ^ needed, set(), "routes that need a session in only one of the two")
    codes = set(re.findall(r"^\.It (\d+) Ta Li (\w+) Ta ", page, re.M))
    with WebServer() as server, server.web() as web:
        doc = json.dumps(web.get("/v1/openapi.json").json)
    source = set(re.findall(r'\[HTTP_ERR_\w+\] = \{"(\w+)", (\d+)\}', read("src/http/call.c")))
    check_eq(codes ^ {(n, c) for c, n in source}, set(), "error codes that only one of the two has")
    for name in sorted(set(re.findall(r'"name": "([\w-]+)"', doc)) - {"MIT"}):
        check(name in page, f"{name} is not in the page")


if __name__ == "__main__":
    main()
