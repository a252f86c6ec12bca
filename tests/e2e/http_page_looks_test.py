"""http_page_looks_test.py - docs/rules.md, "What is seen over HTTP": how the status page looks, on screens of
all sorts, to a keyboard, and without JavaScript; and that its figures are those of `show`."""

import datetime
import re
import time

from browser import Browser
from harness import check, check_eq, diag, eventually, json_of, main, test, token_of
from page import browser, keys, number, polled, rows, seconds, url, well
from scene import PictureServer, scene
from web import WebServer, take

# Of each text that is seen: its colour against what is behind it, by the formula of WCAG 2.
CONTRASTS = """
function colour(text) {
    const n = text.match(/[0-9.]+/g).map(Number);
    return {r: n[0], g: n[1], b: n[2], a: n.length > 3 ? n[3] : 1};
}
function over(top, below) {
    const mix = (x, y) => x * top.a + y * (1 - top.a);
    return {r: mix(top.r, below.r), g: mix(top.g, below.g), b: mix(top.b, below.b), a: 1};
}
function light(c) {
    const part = (x) => (x /= 255) <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(c.r) + 0.7152 * part(c.g) + 0.0722 * part(c.b);
}
function ground(e) {
    const own = colour(getComputedStyle(e).backgroundColor);
    if (own.a === 1)
        return own;
    return over(own, e.parentElement ? ground(e.parentElement) : {r: 255, g: 255, b: 255, a: 1});
}
const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, text = walk.currentNode.data.trim();
    if (!text || !e.checkVisibility() || e.closest("script, style, noscript, .hidden, .skip"))
        continue;
    const behind = ground(e), own = colour(getComputedStyle(e).color);
    let alpha = own.a;
    for (let x = e; x; x = x.parentElement)
        alpha *= getComputedStyle(x).opacity;
    const a = light(over({...own, a: alpha}, behind)), b = light(behind);
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), text, e.localName + "." + e.className]);
}
return found.sort((a, b) => a[0] - b[0]);
"""

# What sticks out of the screen, and cells of a row that lie on each other.
MISPLACED = """
const bad = [], wide = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth > wide)
    bad.push("the document: " + document.documentElement.scrollWidth);
for (const e of document.querySelectorAll("#live *")) {
    const r = e.getBoundingClientRect();
    if (r.width > 1 && r.height > 1 && (r.right > wide + 1 || r.left < -1) && e.checkVisibility() &&
        !e.closest(".key a, thead, option, .tiles small"))
        bad.push(e.localName + "." + e.className + ": " + r.left + " to " + r.right);
}
for (const row of document.querySelectorAll("#table .row, #table .more tr")) {
    const boxes = [...row.cells].map((c) => {
        const range = document.createRange();
        range.selectNodeContents(c);
        return [c, c.matches(".key") ? c.getBoundingClientRect() : range.getBoundingClientRect()];
    }).filter(([c, r]) => r.width > 0 && c.checkVisibility());
    for (const [c, r] of boxes)
        for (const [d, s] of boxes)
            if (c !== d && r.left < s.right - 1 && s.left < r.right - 1 && r.top < s.bottom - 3 && s.top < r.bottom - 3)
                bad.push(c.innerText + " on " + d.innerText);
}
return bad;
"""


def date(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(
        tzinfo=datetime.timezone.utc).timestamp()


@test("dark and light, an empty server; headings, table, roles, names", rules=["V17"], deadline=180)
def looks():
    with WebServer() as server:
        b = browser()
        b.open(url(server))
        check_eq(b.text("#none"), "Nothing is held, and nobody waits.", "an empty server")
        check_eq((b.text("#count"), b.text("#n-oldest")), ("0 keys", "none"), "its figures")
        b.shot("empty")
        take(server, [f"app/{i:03}" for i in range(30)])
        server.client().ask("l", "app/003", "600")
        b.open(url(server))

        def ground():
            return b.run("return getComputedStyle(document.body).backgroundColor")

        light = ground()
        b.dark(True)
        check(sum(map(int, re.findall(r"\d+", ground())[:3])) < 150 < 600 <
              sum(map(int, re.findall(r"\d+", light)[:3])), f"light {light}, dark {ground()}")
        b.shot("dark")
        b.dark(False)
        check_eq(b.run("return [...document.querySelectorAll('h1, h2')].map((x) => x.localName)"),
                 ["h1", "h2", "h2"], "headings")
        check_eq(b.run("""return [...document.querySelectorAll("input:not([type=hidden]), select, button")]
            .filter((x) => !x.innerText && !(x.labels && [...x.labels].some(
            (l) => l.firstChild.nodeType === Node.TEXT_NODE))).length"""), 0, "without a name")
        check_eq(b.run("""return [...document.querySelectorAll("#table > thead th")].filter(
            (x) => x.scope !== "col").length"""), 0, "column heads without a scope")
        check_eq(b.run("return [...document.querySelectorAll('[aria-live], [role=status]')].map("
                       "(x) => x.id)"), ["count"], "only the count is read out")
        check_eq(b.run("return document.documentElement.lang"), "en", "its language")
        well(b)


@test("the keyboard: the skip link, then the table; arrows move without a row having been chosen",
      rules=["V17"], deadline=180)
def keyboard():
    with WebServer() as server:
        b = browser()
        take(server, [f"app/{i:03}" for i in range(90)])
        b.open(url(server, sort="key"))
        b.press("Tab")
        check_eq(b.run("return document.activeElement.className"), "skip", "the first stop")
        check(b.run("return document.activeElement.getBoundingClientRect().width > 20"), "it is visible")
        b.press("Enter")
        b.press("Tab")
        style = b.run("const s = getComputedStyle(document.activeElement);"
                      "return [document.activeElement.id, s.outlineStyle, s.outlineWidth]")
        check_eq(style, ["s-key", "solid", "3px"], "the focus is in the table, and visible")
        b.open(url(server, sort="key"))

        def focus():
            return b.run("return document.activeElement.id")

        check_eq(focus(), "", "nothing has the focus")
        b.press("ArrowDown")
        check_eq(focus(), "k-lock-app%2F000", "the first row")
        b.press("ArrowDown")
        check_eq(focus(), "k-lock-app%2F001", "the second one")
        b.run("document.activeElement.blur(); document.getElementById('k-lock-app%2F060').scrollIntoView()")
        b.press("ArrowDown")
        check(focus() > "k-lock-app%2F050", f"the first one on the screen: {focus()}")
        b.press("p")
        check_eq(b.text("#pulse"), "paused", "p pauses")
        well(b)


@test("from a telephone to a wide screen nothing sticks out or lies on another; rows are seen without "
      "scrolling", rules=["V17", "V11"], deadline=240)
def sizes():
    with PictureServer() as server:
        scene(server, hostile=True)
        b = browser()
        for width, height in [(320, 640), (390, 844), (600, 900), (768, 1024), (1057, 800), (1024, 768),
                              (1280, 800), (1920, 1080)]:
            b.size(width, height)
            for parameters in [{}, {"open": "sem/pool/pdf-render"}, {"open": "lock/" + "k" * 256},
                               {"contains": "no such"}, {"limit": 5, "sort": "key"}]:
                b.open(url(server, **parameters))
                check_eq(b.run(MISPLACED), [], f"{width} × {height}, {parameters}")
            b.open(url(server))
            first = b.run("return document.querySelector('#table .row').getBoundingClientRect().top")
            check(first < 0.7 * height, f"at {width} × {height} the first row begins at {first}")
            b.shot(f"width-{width}")
        b.size(390, 844)
        text = b.run("return document.querySelector('#table .row').innerText")
        for part in ["pool/pdf-render", "semaphore, 8 of 8", "and 7 more", "40"]:
            check(part in text, f"{part} is not seen on a telephone: {text}")
        b.run("const s = document.getElementById('sort'); s.value = 'key';"
              "s.dispatchEvent(new Event('input', {bubbles: true}))")
        eventually(lambda: keys(b) == sorted(keys(b)), 20, "there the order is chosen from a list")
        well(b)


@test("a key of 256 bytes stands beside its arrow, and is shown in full when it is open", rules=["V14"],
      deadline=120)
def long_key():
    with WebServer() as server:
        b = browser()
        take(server, ["k" * 256])
        b.open(url(server))
        top = b.run("""const r = document.createRange();
            r.selectNodeContents(document.querySelector("#table .key bdi"));
            const a = document.querySelector("#table .key a").getBoundingClientRect();
            return [r.getClientRects()[0].top - a.top, a.height]""")
        check(top[0] < 5 and top[1] < 100, f"below the arrow, height: {top}")
        b.click("#table .key a")
        b.until("return document.querySelector('.key-whole') !== null", "it does not open")
        check_eq(b.text(".key-whole"), "k" * 256, "the whole key")


@test("each text stands out from what is behind it, by 4.5 to 1 at least, dark and light", rules=["V17"],
      deadline=180)
def contrast():
    with PictureServer() as server:
        scene(server, hostile=True)
        b = browser()
        for dark in (False, True):
            b.dark(dark)
            for change in ["", "document.documentElement.classList.add('stale');"
                           "const t = document.getElementById('trouble'); t.hidden = false;"
                           "t.textContent = 'No answer'",
                           "document.getElementById('verdict').className = 'verdict warn'",
                           "document.getElementById('verdict').className = 'verdict bad'"]:
                b.open(url(server, open="sem/pool/pdf-render"))
                b.press("p")
                b.run("document.getElementById('workers').open = true")
                b.run(change)
                found = b.run(CONTRASTS)
                check(len(found) > 200, f"{len(found)} texts")
                check(found[0][0] >= 4.5, f"dark {dark}, {change or 'as it is'}: {found[:5]}")
            diag(f"{'dark' if dark else 'light'}: {found[0]}")


@test("nothing moves for those who want it so", rules=["V17"], deadline=120)
def motion():
    with WebServer() as server:
        b = browser()
        take(server, ["key"])
        b.open(url(server))
        moving = b.run("""const found = [];
            function look(rules) {
                for (const r of rules) {
                    for (const name of ["transition-duration", "animation-duration"])
                        if (r.style && r.style.getPropertyValue(name))
                            found.push(r.style.getPropertyValue(name));
                    if (r.cssRules)
                        look(r.cssRules);
                }
            }
            for (const sheet of document.styleSheets)
                look(sheet.cssRules);
            return found""")
        check_eq({x.strip() for x in moving}, {"var(--motion)"}, "all movement depends on one value")
        value = "return getComputedStyle(document.documentElement).getPropertyValue('--motion').trim()"
        check_eq(b.run(value), ".4s", "the value")
        b.prefer("prefers-reduced-motion", "reduce")
        check_eq(b.run(value), "0s", "the value for those")


@test("without JavaScript nothing is offered that needs it", rules=["V12"], deadline=120)
def plain():
    with WebServer() as server:
        take(server, ["app/1", "app/2"])
        b = Browser(javascript=False)
        try:
            b.open(url(server, contains="app/1"))
            seen = {css: b.shown(css) for css in ["#pause", "#pulse", "#keys", "#trouble", "#show",
                                                  "header noscript a", "#table .row"]}
            check_eq([css for css in seen if seen[css]], ["#show", "header noscript a", "#table .row"],
                     "what is seen")
            b.click("header noscript a")
            eventually(lambda: "contains=app%2F1" in b.url(), 20, "Reload is the same page")
        finally:
            b.close()
        b = browser()
        b.open(url(server))
        seen = {css: b.shown(css) for css in ["#pause", "#pulse", "#keys", "#show", "#trouble"]}
        check_eq([css for css in seen if seen[css]], ["#pause", "#pulse", "#keys"], "with it")


@test("times are those of show; since when is a time of day", rules=["V11"], deadline=180)
def times():
    with PictureServer() as server:
        b = browser()
        c = server.client()
        made, ahead = {}, 0
        for key, hours, lease in [("days", 50, 900000), ("hours", 3, 800000), ("minutes", 0.2, 700000),
                                  ("seconds", 0, 500)]:
            begun = time.time() + ahead
            token_of(c.req("l", key, f"0 {lease}"))
            made[key] = (begun, time.time() + ahead)
            ahead += 3600 * hours
            server.board.clocks(ahead, ahead)
        server.client().ask("l", "minutes", "600")
        eventually(lambda: json_of(c.req("show", "minutes", "lock"))["waiters"] == 1)
        b.open(url(server, sort="key"))
        for _ in range(3):
            before = {k: json_of(c.req("show", k, "lock")) for k in made}
            polled(b, 2)  # one may have been under way
            shown = {r[0]: r for r in rows(b)}
            since = b.run("""return Object.fromEntries([...document.querySelectorAll("#table .row")].map(
                (r) => [r.cells[0].innerText.trim(), r.querySelector(".since time").dateTime]))""")
            after = {k: json_of(c.req("show", k, "lock")) for k in made}
            for key, (begun, ended) in made.items():
                old, new = before[key]["holders"][0], after[key]["holders"][0]
                unit = {"days": 3600, "hours": 60}.get(key, 1)  # its last unit is rounded down
                held, left = seconds(shown[key][3]), seconds(shown[key][4])
                check(old["held_s"] - unit <= held <= new["held_s"], f"{key}: {held}, {old}, {new}")
                check(new["lease_expires_in_s"] - 3601 <= left <= old["lease_expires_in_s"] + 1,
                      f"{key}: {left}, {old}, {new}")
                check(begun - 1.5 <= date(since[key]) <= ended + 1.5,
                      f"{key}: {since[key]}, taken at {begun}")
            wait = seconds(shown["minutes"][6])
            check(before["minutes"]["queue"][0]["waiting_s"] - 1 <= wait <=
                  after["minutes"]["queue"][0]["waiting_s"], f"the wait: {wait}")
        check(re.fullmatch(r"2 d 5 h", shown["days"][3]), f"{shown['days']}")
        check(re.fullmatch(r"3 h 12 min", shown["hours"][3]), f"{shown['hours']}")
        check(re.fullmatch(r"1[23] min \d+ s", shown["minutes"][3]), f"{shown['minutes']}")
        check_eq(b.run("return document.querySelector('#k-lock-days').closest('tr').querySelector("
                       "'.since time').title"), "since " + since["days"].replace("T", " ")[:-1] + " UTC",
                 "in words")


@test("how long the queue is, in all and who has waited for longest, which one click opens",
      rules=["V11"], deadline=120)
def glance():
    with WebServer() as server:
        b = browser()
        c = take(server, ["a", "b", "c"])
        for key, waiters in [("b", 1), ("a", 1), ("a", 2), ("b", 2)]:
            server.client().ask("l", key, "600")
            eventually(lambda: json_of(c.req("show", key, "lock"))["waiters"] == waiters)
        b.open(url(server, contains="c"))
        check_eq((number(b, "waiting"), b.text("#n-waiting small")), (4, "in 2 queues"), "the queues")
        check_eq((number(b, "held"), b.text("#n-held small")), (3, "of 3 locks"), "locks")
        check_eq((number(b, "slots"), b.text("#n-slots small")), (0, "of 0 semaphores"), "semaphores")
        check_eq(b.text("#n-oldest small"), "for b", "who has waited for longest")
        token_of(c.req("sl", "pool", "0 3"))
        b.until("return document.querySelector('#n-slots small').textContent === 'of 1 semaphore'", "one")
        b.click("#n-oldest a")
        b.until("return document.querySelector('#opened .waiters') !== null", "a click opens it")
        check_eq(b.text("#opened h3 bdi"), "b", "it")
        well(b)


if __name__ == "__main__":
    main(jobs=1)
