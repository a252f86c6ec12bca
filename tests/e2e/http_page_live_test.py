"""http_page_live_test.py - docs/rules.md, "What is seen over HTTP": the status page goes on: it asks again and
again, whatever becomes of the server and of what it has asked."""

import os
import selectors
import signal
import socket
import threading

from harness import check, check_eq, diag, eventually, main, temp_file, test
from page import SOON, browser, keys, polled, polls, url, well
from web import WebServer, take


class Proxy:
    """Between browser and server. .swallow(): the answer to the page's next request goes no further than here,
    and the connection stays; .swallowed then."""

    def __init__(self, server):
        self.server = server
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.http_port = self.listener.getsockname()[1]
        self.wanted = False
        self.swallowed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow(self):
        self.wanted = True

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(near,), daemon=True).start()

    def _pass(self, near):
        far = socket.create_connection(("127.0.0.1", self.server.http_port))
        both = selectors.DefaultSelector()
        both.register(near, selectors.EVENT_READ, far)
        both.register(far, selectors.EVENT_READ, near)
        mine = False
        with near, far, both:
            while True:
                for key, _ in both.select():
                    try:
                        data = key.fileobj.recv(65536)
                        if not data:
                            return
                        if key.fileobj is near and self.wanted and b"part=live" in data:
                            self.wanted, mine, self.swallowed = False, True, True
                        if not (mine and key.fileobj is far):
                            key.data.sendall(data)
                    except OSError:
                        return


@test("it asks every 2 s, not sooner", rules=["V13"], deadline=180)
def every():
    with WebServer() as server:
        b = browser()
        b.open(url(server))
        began = """return performance.getEntriesByType("resource").filter((e) => e.name.includes("part=live"))
            .map((e) => [e.startTime, e.responseEnd])"""
        b.until(began + ".length >= 6", "it asks too seldom", timeout=90)
        asked = b.run(began)
        gaps = [later[0] - one[1] for one, later in zip(asked, asked[1:])]
        diag("ms from an answer to the next request: " + ", ".join(f"{x:.0f}" for x in gaps))
        check(min(gaps) > 1990, f"it does not wait for 2 s: {gaps}")
        check(min(gaps) < 3000, f"it never asks after 2 s: {gaps}")  # a machine may be slow, not always
        polled(b, 2)
        well(b)


@test("what was taken before the page asks is in the answer to that", rules=["V13"], deadline=180)
def next_answer():
    with WebServer() as server:
        b = browser()
        c = take(server, ["first"])
        b.open(url(server))
        for i in range(3):
            take(server, [f"late/{i}"], client=c)
            polled(b, 2)  # one may have been under way
            check_eq(b.count(f"#k-lock-late\\%2F{i}"), 1, f"late/{i} is shown")
        well(b)


@test("an answer that gets lost is not waited for", rules=["V13", "V18"], deadline=180)
def lost():
    with WebServer() as server:
        b = browser()
        proxy = Proxy(server)
        c = take(server, ["first"])
        try:
            b.open(url(proxy))
            polled(b)
            proxy.swallow()
            eventually(lambda: proxy.swallowed, SOON, "it does not ask")
            take(server, ["late"], client=c)
            b.until("return document.getElementById('k-lock-late') !== null", "it waits", timeout=60)
            check(b.run("return document.getElementById('trouble').hidden"), "it still complains")
            b.open("about:blank")
        finally:
            proxy.close()


@test("an answer that takes long is shown when it comes, though others were asked for since",
      rules=["V13"], deadline=180)
def long_answers():
    with WebServer() as server:
        b = browser()
        c = take(server, ["first"])
        b.open(url(server))
        polled(b)
        # Each takes 5 s from now on: longer than it is waited for before the next is asked for.
        b.run("""const real = window.fetch;
            window.fetch = async (address, options) => {
                await new Promise((done) => setTimeout(done, 5000));
                return real(address, options);
            }""")
        take(server, ["late"], client=c)
        b.until("return document.getElementById('k-lock-late') !== null", "it gives up", timeout=90)
        polled(b, 2)
        well(b)


@test("the server ends, and another begins: the page says so, keeps what it had, and goes on",
      rules=["V18"], deadline=240)
def restart():
    with socket.socket() as kept:  # nobody else gets the port meanwhile
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        port = ["--http-port", str(kept.getsockname()[1])]
        b = browser()
        with WebServer(port) as server:
            take(server, ["before"])
            b.open(url(server))
            polled(b)
        b.until("return !document.getElementById('trouble').hidden", "it says nothing", timeout=60)
        check("No answer" in b.text("#trouble"), b.text("#trouble"))
        check(b.run("return document.documentElement.classList.contains('stale')"), "it looks as before")
        check_eq(keys(b), ["before"], "what it had")
        b.until("return /^[0-9]+ s old$/.test(document.getElementById('pulse').textContent)", "how old it is")
        with WebServer(port) as server:
            take(server, ["after"])
            b.until("return document.getElementById('trouble').hidden", "it still complains", timeout=60)
            b.until("return document.getElementById('k-lock-after') !== null", "it does not go on")
            check_eq(keys(b), ["after"], "what there is now")
            check_eq(b.text("#pulse"), "live", "it is live")
            b.open("about:blank")


@test("HTTP's worker is killed: the page goes on", rules=["V18"], deadline=180)
def killed():
    with WebServer(expect_log=["worker", "HTTP"]) as server:
        b = browser()
        c = take(server, ["first"])
        b.open(url(server))
        polled(b)
        for i in range(3):
            os.kill(server.http_pid(), signal.SIGKILL)
            take(server, [f"late{i}"], client=c)
            b.until("return document.getElementById('k-lock-late' + arguments[0]) !== null",
                    "it does not go on", i, timeout=60)
            b.until("return document.getElementById('trouble').hidden", "it complains", timeout=60)


@test("another secret: the page says that it is to be loaded again", rules=["V18", "V19"], deadline=180)
def another_secret():
    path = temp_file(b"a-secret\n")
    with WebServer(["--auth-token-file", path]) as server:
        b = browser()
        b.open(f"http://anybody:a-secret@127.0.0.1:{server.http_port}/")
        polled(b)
        with open(path, "wb") as f:
            f.write(b"another\n")
        server.kill(signal.SIGHUP)
        b.until("return !document.getElementById('trouble').hidden", "it says nothing", timeout=60)
        check("secret" in b.text("#trouble"), b.text("#trouble"))
        b.open(f"http://anybody:another@127.0.0.1:{server.http_port}/")
        polled(b)
        check(b.run("return document.getElementById('trouble').hidden"), "with the new one")
        for said in b.errors():
            check("401" in said, said)


@test("the server ends while somebody holds a lock: the page says so until the end", rules=["V18"],
      deadline=180)
def draining():
    with WebServer(["--shutdown-timeout", "120"]) as server:
        b = browser()
        c = take(server, ["held"])
        b.open(url(server))
        polled(b)
        server.kill(signal.SIGTERM)
        b.until("return document.querySelector('#verdict b').textContent === 'Ending'", "it does not say so",
                timeout=60)
        check(b.run("return document.getElementById('verdict').classList.contains('warn')"), "it stands out")
        polled(b, 2)
        check_eq(keys(b), ["held"], "it is still shown")
        well(b)
        c.close()
        server.exited(60)
        b.until("return !document.getElementById('trouble').hidden", "it does not see the end", timeout=60)
        b.open("about:blank")


@test("it can be paused; says when the server does not answer, and goes on when it does",
      rules=["V13", "V18"], deadline=240)
def away():
    # Its master may find that it was silent, and have it replaced.
    with WebServer(expect_log=["worker", "HTTP", "did not run"]) as server:
        b = browser()
        c = take(server, ["first"])
        b.open(url(server))
        polled(b)
        b.click("#pause")
        b.until("return document.getElementById('pulse').textContent === 'paused'", "it does not pause")
        at = polls(b)
        take(server, ["second"], client=c)
        later = b.run("""return new Promise((r) => setTimeout(
            () => r(document.documentElement.dataset.polls), 5000))""")
        check_eq(int(later), at, "it asks while it is paused")
        b.click("#pause")
        b.until("return document.getElementById('k-lock-second') !== null", "it does not go on")
        stopped = [server.pid, server.http_pid()]  # without its master nobody replaces it
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            b.until("return !document.getElementById('trouble').hidden", "it says nothing", timeout=60)
            check("No answer" in b.text("#trouble"), b.text("#trouble"))
        finally:
            for pid in reversed(stopped):
                os.kill(pid, signal.SIGCONT)
        b.until("return document.getElementById('trouble').hidden", "it still complains", timeout=60)


@test("when not all is well the page says what; workers that died are counted", rules=["V18"],
      deadline=180)
def trouble():
    deaths = [r"worker", r"died", r"restart"]
    with WebServer(["--shutdown-timeout", "60"], expect_log=deaths) as server, server.web() as web:
        take(server, ["held"])
        page = web.get("/").data.decode()
        check("All is well" in page and "0 restarted, 0 repairs" in page and "1 restart" not in page,
              "at first")
        lock_worker = [p for p in server.worker_pids() if p != server.http_pid()][0]
        os.kill(lock_worker, signal.SIGKILL)
        eventually(lambda: ", 1 restart<" in web.get("/").data.decode(), SOON, "a death is not counted")
        check("All is well" in web.get("/").data.decode(), "it has been replaced")
        server.kill(signal.SIGTERM)
        eventually(lambda: ">Ending<" in web.get("/").data.decode(), SOON, "it does not say that it ends")
        for c in server.clients:
            c.close()
        server.exited(60)


@test("with a secret the page, and its own requests, take Basic", rules=["V19"], deadline=180)
def secret():
    path = temp_file(b"a-secret\n")
    with WebServer(["--auth-token-file", path]) as server, server.web() as web:
        b = browser()
        got = web.get("/")
        got.expect(401, "unauthorized")
        check(got.headers["www-authenticate"].startswith("Basic "), "a browser asks its user")
        check_eq(web.get("/?part=live").headers["www-authenticate"], "Bearer",
                 "but not for what the page asks by itself")
        c = server.client()
        check_eq(c.req("auth", "_", "a-secret"), "ok", "auth")
        take(server, ["key"], client=c)
        b.open(f"http://anybody:a-secret@127.0.0.1:{server.http_port}/")
        check_eq(keys(b), ["key"], "the page")
        polled(b)
        take(server, ["late"], client=c)
        b.until("return document.getElementById('k-lock-late') !== null", "its requests have no secret",
                timeout=SOON)
        check("a-secret" not in b.run("return document.documentElement.outerHTML"), "the secret is shown")
        b.errors()  # the first 401 of its own accord


if __name__ == "__main__":
    main(jobs=1)
