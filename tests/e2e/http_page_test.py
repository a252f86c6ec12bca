"""http_page_test.py - docs/rules.md, "What is seen over HTTP": the status page, in a real Chromium, and as
the bytes that the server sends."""

import html.parser
import re

from browser import Browser
from harness import check, check_eq, diag, eventually, fence_of, json_of, main, test, token_of
from page import SOON, browser, keys, number, polled, rows, url, well
from web import WebServer, take

HOSTILE = [b"<script>document.title='bad'</script>", b"\"><img/src=x/onerror=document.title='bad'>",
           b"'-alert(1)-'&amp;&lt;", b"bad\xff\xfe\x80", "\u202egnp.exe".encode(), b"\x1b[31mred\x07",
           "日本語-ключ-مفتاح".encode(), b"x" * 256, b"a#b?c=d&e/f%41", b"{{rows}}", b"</tbody></table>"]


class Document(html.parser.HTMLParser):
    """The page as a client without JavaScript has it: rows of the table, links, the form's fields."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.links, self.fields, self.tags = [], {}, {}, []
        self.row = self.select = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        self.tags.append((tag, a))
        if tag == "tr" and "row" in a.get("class", "").split():
            self.row = []
            self.rows.append(self.row)
        if tag == "tr" and a.get("class") == "more":
            self.row = None
        if tag == "td" and self.row is not None:
            self.row.append("")
        if tag == "a" and "href" in a:
            self.links[a.get("id", a["href"])] = a["href"]
        if tag == "select":
            self.select = a["name"]
        if tag == "option" and "selected" in a:
            self.fields[self.select] = a["value"]
        if tag == "input":
            self.fields[a["name"]] = a["value"]

    def handle_endtag(self, tag):
        if tag == "tr":
            self.row = None

    def handle_data(self, data):
        if self.row:
            self.row[-1] += data

    def keys(self):
        return [r[0] for r in self.rows]


def document(web, path):
    got = web.get(path)
    got.expect(200)
    check_eq(got.headers["content-type"], "text/html; charset=utf-8", "its type")
    return Document(got.data.decode("utf-8"))


@test("what the page shows is what stats says; a lock taken appears, one released goes",
      rules=["V11", "V13"], deadline=180)
def shows():
    with WebServer() as server:
        b = browser()
        c = take(server, [f"app/{i}" for i in range(10)])
        for _ in range(2):
            token_of(c.req("sl", "pool", "0 5"))
        waiters = [server.client() for _ in range(3)]
        for w in waiters:
            w.ask("l", "app/3", "600")
        eventually(lambda: json_of(c.req("show", "app/3", "lock"))["waiters"] == 3)
        session = server.session()
        session.token("of-http")
        b.open(url(server))
        stats = json_of(c.req("stats"))
        check_eq(sorted(keys(b)), sorted([x["key"] for x in stats["locks"]] + ["pool"]), "the keys")
        check_eq(number(b, "held"), len(stats["locks"]), "locks held")
        check_eq(number(b, "slots"), 2, "slots held")
        check_eq(number(b, "waiting"), 3, "who waits")
        check_eq(number(b, "connections") + number(b, "sessions"), stats["connections"], "connections")
        check_eq(number(b, "grants"), 13, "grants")
        check_eq(b.text("#verdict b"), "All is well", "the verdict")
        first = rows(b)[0]
        check_eq((first[0], first[1], first[5]), ("app/3", "lock", "3"), "the longest queue is first")
        check(first[2].startswith(c.local + " #"), f"its holder: {first}")
        check(re.match(r"[0-9]+ s$", first[6]), f"the oldest wait: {first}")
        pool = [r for r in rows(b) if r[0] == "pool"][0]
        check_eq(pool[1], "semaphore, 2 of 5", "the semaphore")
        check("and 1 more" in pool[2], f"its holders: {pool}")
        check("HTTP" in [r for r in rows(b) if r[0] == "of-http"][0][2], "a session is one of HTTP")
        check_eq(b.text("title"), "11 held, 3 waiting – dflockd", "the title")
        b.shot("light")
        token = token_of(c.req("l", "late", "0"))
        b.until("return document.getElementById('k-lock-late') !== null", "a new lock is not shown",
                timeout=SOON)
        b.until("return document.title.startsWith('12 held')", "the title stays", timeout=SOON)
        check_eq(c.req("r", "late", token), "ok", "the release")
        b.until("return document.getElementById('k-lock-late') === null", "a released lock stays",
                timeout=SOON)
        waiters[0].close()
        eventually(lambda: number(b, "waiting") == 2, SOON, "who has left still waits")
        session.end().expect(204)  # the server would wait for it
        well(b)


@test("live without flicker: focus, what is typed, what is marked, scrolling and nodes stay",
      rules=["V13"], deadline=180)
def still():
    with WebServer() as server:
        b = browser()
        c = take(server, [f"row/{i:03}" for i in range(60)])
        b.open(url(server))
        b.run("""const a = document.getElementById("k-lock-row%2F030");
            a.scrollIntoView(); a.focus(); window.kept = a;
            const r = document.createRange(); r.selectNodeContents(a);
            getSelection().removeAllRanges(); getSelection().addRange(r);
            document.getElementById("workers").open = true;""")
        at = b.run("return window.kept.getBoundingClientRect().top")
        # Above it comes one; then it gets a queue itself, and is the first.
        token_of(c.req("l", "row/0005", "0"))
        polled(b, 2)
        b.until("return document.getElementById('k-lock-row%2F0005') !== null", "it is not shown")
        check(b.run("return document.activeElement === window.kept"), "the focus stays")
        check_eq(b.run("return String(getSelection())").strip(), "row/030", "what is marked")
        check(b.run("return document.getElementById('workers').open"), "what was opened stays open")
        now = b.run("return window.kept.getBoundingClientRect().top")
        check(abs(now - at) < 200, f"it has moved on the screen from {at} to {now}")
        server.client().ask("l", "row/030", "600")
        b.until("return document.querySelector('#table .row .key a') === window.kept",
                "it is not moved to the top", timeout=SOON)
        check(b.run("return document.activeElement === window.kept"), "the focus goes with it")
        b.run("document.getElementById('contains').focus()")
        b.run("window.field = document.getElementById('contains'); field.value = 'half a wo'")
        polled(b, 2)
        check_eq(b.run("return window.field.isConnected && window.field.value"), "half a wo",
                 "what is being typed")
        well(b)


@test("filter, kind, state, order, paging: by mouse and keyboard; all of it is in the address",
      rules=["V12", "V13"], deadline=180)
def filters():
    with WebServer() as server:
        b = browser()
        c = take(server, [f"app/{i:03}" for i in range(150)])
        token_of(c.req("sl", "app/pool", "0 5"))
        check_eq(c.req("r", "app/idle", token_of(c.req("l", "app/idle", "0"))), "ok", "a release")
        server.client().ask("l", "app/077", "600")
        b.open(url(server))
        check_eq(b.text("#count"), "100 of 151 keys", "the count")
        b.click("#next")
        b.until("return document.querySelectorAll('#table .row').length === 51", "the second page")
        check_eq(b.text("#count"), "51 of 151 keys", "its count")
        b.click("#first")
        b.until("return document.querySelectorAll('#table .row').length === 100", "the first page")
        b.press("/")
        check_eq(b.run("return document.activeElement.id"), "contains", "/ goes to the filter")
        b.type("#contains", "07")
        b.until("return document.querySelectorAll('#table .row').length === 12", "what contains 07")
        check("contains=07" in b.run("return location.search"), "it is in the address")
        check_eq(b.run("return document.activeElement.id"), "contains", "the focus stays in the filter")
        b.run("location.reload()")
        b.until("return document.readyState === 'complete' && document.querySelectorAll"
                "('#table .row').length === 12", "the same after a reload")
        b.press("Escape")
        b.click("#s-key")
        b.until("return document.querySelector('#s-key').parentNode.ariaSort === 'ascending'", "by key")
        check_eq(keys(b), sorted(keys(b)), "by key")
        b.click("#s-key")
        b.until("return document.querySelector('#s-key').parentNode.ariaSort === 'descending'", "back")
        check_eq(keys(b), sorted(keys(b), reverse=True), "backwards")
        b.run("history.back()")
        b.until("return document.querySelector('#s-key').parentNode.ariaSort === 'ascending'",
                "the browser's way back")
        for name, want, there in [("sem", ["app/pool"], "kind"), ("", None, "kind"),
                                  ("waiting", ["app/077"], "state"), ("idle", ["app/idle"], "state")]:
            if there == "kind":
                b.open(url(server))
            b.run("""const e = document.getElementById(arguments[0]); e.value = arguments[1];
                e.dispatchEvent(new Event("input", {bubbles: true}))""", there, name)
            if want:
                b.until("return [...document.querySelectorAll('#table .row .key')].map((x) => "
                        "x.innerText.trim()).join() === arguments[0]", f"{there} {name}", want[0])
        b.open(url(server, contains="no such key"))
        check_eq(b.text("#none"), "No key is like that now.", "nothing found")
        well(b)


@test("a row opens by mouse and keyboard to its holders and its queue, with positions; it goes on living",
      rules=["V14"], deadline=180)
def opens():
    with WebServer() as server:
        b = browser()
        holder = server.client()
        token = token_of(holder.req("l", "b/key", "0"))
        take(server, ["a", "c"], client=holder)
        waiters = []
        for i in range(4):
            waiters.append(server.client())
            waiters[-1].ask("l", "b/key", "600")
            eventually(lambda: json_of(holder.req("show", "b/key", "lock"))["waiters"] == i + 1)
        b.open(url(server, sort="key"))
        b.click("#k-lock-b%2Fkey".replace("%", "\\%"))
        b.until("return document.querySelectorAll('.more .waiters tbody tr').length === 4", "it opens")
        queue = b.run("""return [...document.querySelectorAll(".waiters tbody tr")].map(
            (r) => [...r.cells].map((c) => c.innerText.trim()))""")
        check_eq([x[0] for x in queue], ["1", "2", "3", "4"], "positions")
        check_eq([x[1].split(" ")[0] for x in queue], [w.local for w in waiters], "the queue in order")
        check_eq(b.run("return document.querySelector('.holders tbody tr').cells[4].innerText"),
                 str(fence_of(token)), "the fence")
        check_eq(b.run("return document.activeElement.getAttribute('aria-expanded')"), "true",
                 "what a screen reader is told")
        b.shot("open")
        check_eq(holder.req("r", "b/key", token), "ok", "the release")
        b.until("return document.querySelectorAll('.more .waiters tbody tr').length === 3",
                "the queue stays", timeout=SOON)
        check(b.run("return document.querySelector('.holders tbody td').innerText").startswith(
            waiters[0].local), "the next one holds it")
        b.press("Escape")
        b.until("return document.querySelector('.more') === null", "Escape closes it")
        check_eq(b.run("return document.activeElement.id"), "k-lock-b%2Fkey", "the focus is on its row")
        b.press("ArrowDown")
        check_eq(b.run("return document.activeElement.id"), "k-lock-c", "the next row")
        b.press("ArrowUp")
        b.press("ArrowUp")
        check_eq(b.run("return document.activeElement.id"), "k-lock-a", "two rows back")
        b.press("Enter")
        b.until("return document.querySelector('.more') !== null", "Enter opens it")
        check("Nobody waits." in b.text(".more"), "its queue")
        b.open(url(server, open="lock/nowhere"))
        check("It is not there" in b.text("#opened"), "one that is not there")
        b.open(url(server, open="lock/a", contains="c"))
        check_eq((b.text("#opened h3 bdi"), keys(b)), ("a", ["c"]), "one that the filter hides")
        well(b)


@test("keys are text, whatever their bytes", rules=["V15"], deadline=180)
def hostile():
    with WebServer() as server:
        b = browser()
        c = take(server, HOSTILE)
        b.open(url(server, sort="key"))
        polled(b)
        check_eq(b.text("title"), f"{len(HOSTILE)} held, 0 waiting – dflockd", "the title")
        check_eq(b.count("#table .row"), len(HOSTILE), "rows")
        check_eq(b.count("img, iframe, object, form:not(#filter)"), 0, "elements that a key made")
        check_eq(b.count("script"), 1, "scripts")
        shown = sorted(b.run("return [...document.querySelectorAll('#table .key bdi')].map("
                             "(x) => x.textContent)"))
        want = [k.decode("utf-8", "replace") for k in HOSTILE if not any(x < 32 for x in k)]
        want = [x.replace("\u202e", "\\xe2\\x80\\xae") for x in want] + ["\\x1b[31mred\\x07"]
        check_eq(shown, sorted(want), "the keys as they are shown")
        for i in range(len(HOSTILE)):
            b.run("document.querySelectorAll('#table .key a')[arguments[0]].click()", i)
            b.until("const m = document.querySelectorAll('#table .key a')[arguments[0]];"
                    "return m.getAttribute('aria-expanded') === 'true' && "
                    "document.querySelectorAll('.more .holders').length === 1", f"row {i} does not open", i)
            check(c.local in b.text(".more"), "its holder")
        check(b.run("return document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out")
        b.open(url(server, contains=HOSTILE[0].decode()))
        check_eq(b.run("return document.getElementById('contains').value"), HOSTILE[0].decode(),
                 "what was looked for")
        check_eq(b.count("#table .row"), 1, "it is found")
        well(b)


@test("nothing from outside, nothing inline without its nonce, no frames; no two nonces are the same",
      rules=["V16"], deadline=120)
def policy():
    with WebServer() as server, server.web() as web:
        b = browser()
        take(server, ["key"])
        seen = set()
        for _ in range(3):
            got = web.get("/")
            said = got.headers["content-security-policy"]
            nonce = re.search(r"script-src 'nonce-([0-9a-f]{32})'", said)[1]
            seen.add(nonce)
            check_eq(said, f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "
                     "img-src data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
                     "frame-ancestors 'none'", "the policy")
            check_eq(got.headers["cache-control"], "no-store", "it is not kept")
            check_eq(got.headers["x-content-type-options"], "nosniff", "nor guessed about")
            text = got.data.decode()
            for tag, a in Document(text).tags:
                check(not any(x.startswith("on") or x == "style" for x in a), f"{tag} {a}")
                check("src" not in a, f"{tag} {a}")
                check(tag not in ("script", "style") or a["nonce"] == nonce, f"{tag} {a}")
                check(not a.get("href", "/").startswith(("http", "//")), f"{tag} {a}")
        check_eq(len(seen), 3, "nonces")
        b.open(url(server))
        polled(b)
        check_eq(b.run("return getComputedStyle(document.querySelector('.tiles')).display"), "grid",
                 "its style works")
        well(b)
        b.run("const s = document.createElement('script'); s.textContent = 'window.bad = 1';"
              "document.body.append(s)")
        check_eq(b.run("return window.bad || 0"), 0, "a script that is not ours does not run")
        check(b.errors(), "and that is said")


@test("without JavaScript: the same table, the form, links to sort, to page, to open", rules=["V12"],
      deadline=180)
def plain():
    with WebServer() as server, server.web() as web:
        take(server, [f"app/{i:03}" for i in range(120)])
        server.client().ask("l", "app/077", "600")
        eventually(lambda: web.get("/v1/resources/lock/app%2F077").expect(200)["waiters"] == 1)
        page = document(web, "/")
        check_eq((len(page.rows), page.keys()[0]), (100, "app/077"), "the longest queue first")
        check_eq(page.fields, {"contains": "", "kind": "", "state": "", "sort": "", "order": ""}, "form")
        after = document(web, page.links["next"])
        check_eq(sorted(page.keys() + after.keys()), [f"app/{i:03}" for i in range(120)], "both pages")
        check_eq(document(web, after.links["first"]).keys(), page.keys(), "the first page again")
        by_key = document(web, page.links["s-key"])
        check_eq(by_key.keys(), [f"app/{i:03}" for i in range(100)], "by key")
        back = document(web, by_key.links["s-key"])
        check_eq(back.keys(), [f"app/{i:03}" for i in range(119, 19, -1)], "backwards")
        some = document(web, "/?contains=07&kind=lock&state=held&sort=key&order=desc")
        check_eq(some.fields, {"contains": "07", "kind": "lock", "state": "held", "sort": "key",
                               "order": "desc"}, "the form keeps what was chosen")
        check_eq(some.keys(), ["app/107"] + [f"app/{i:03}" for i in range(79, 69, -1)] + ["app/007"],
                 "what was looked for")
        opened = document(web, some.links["k-lock-app%2F077"])
        check_eq(opened.keys(), some.keys(), "the rows stay")
        check(any(t == "table" and a.get("class") == "waiters" for t, a in opened.tags), "its queue")
        for bad in ["/?sort=x", "/?open=key", "/?open=lock/", "/?cursor=x", "/?foo=1", "/?limit=0"]:
            web.get(bad).expect(400, "bad_request")
        b = Browser(javascript=False)
        try:
            b.open(url(server))
            b.type("#contains", "077")
            b.click("#filter button")
            eventually(lambda: "contains=077" in b.url(), SOON, "the form is not sent")
            eventually(lambda: b.found("#table .row") == 1, SOON, "a browser without JavaScript")
            b.shot("plain")
        finally:
            b.close()


@test("100,000 locks: found, put in order and turned page by page", rules=["V10", "V11"], deadline=300,
      alone=True)
def many():
    with WebServer(["--max-locks", "120000"]) as server:
        b = browser()
        take(server, [f"orders/{i:06}" for i in range(100000)])
        b.open(url(server, limit=1000, sort="key"))
        check_eq(b.count("#table .row"), 1000, "rows")
        check_eq(b.text("#count"), "1,000 of 100,000 keys", "the count")
        polled(b, 2)
        b.click("#next")
        b.until("return document.querySelector('#table .row a').innerText === 'orders/001000'", "the next page")
        b.type("#contains", "07770")
        b.until("return document.querySelectorAll('#table .row').length === 11", "what contains 07770")
        check_eq(b.text("#count"), "11 keys found", "their number")
        b.click("#s-key")
        b.until("return document.querySelector('#table .row a').innerText === 'orders/077709'", "backwards")
        b.shot("many")
        for query in ["limit=1000", "contains=0777", "contains=0777&sort=key", "state=waiting", ""]:
            took = b.run("""const t = performance.now(); return fetch("/?part=live&" + arguments[0]).then(
                (r) => r.text()).then(() => performance.now() - t)""", query)
            diag(f"/?{query}: {took:.0f} ms")
        well(b)


if __name__ == "__main__":
    main(jobs=1)
