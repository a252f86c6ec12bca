"""page.py - the status page in a Chromium that the tests of a file share.

browser() → Browser, on no page, light, 1280 × 900;  url(server, **parameters)
polls(b): how often the page has asked again;  polled(b, times=1) waits until it has, and shows what it heard
rows(b) → the cells' texts;  keys(b);  number(b, name) of the figures above the table
seconds("3 min 5 s") → 185
well(b): the console has no error
"""

import re
import threading
import urllib.parse

from browser import Browser
from harness import check_eq

SOON = 20  # seconds that a change may take to be seen on a machine that is busy; it is asked for every 2 s
shared = {}
starting = threading.Lock()


def browser():
    with starting:
        if "browser" not in shared:
            shared["browser"] = Browser()
    b = shared["browser"]
    b.open("about:blank")  # the last test's page asks its server no more
    b.errors()
    b.dark(False)
    b.size(1280, 900)
    return b


def url(server, **parameters):
    return f"http://127.0.0.1:{server.http_port}/?" + urllib.parse.urlencode(parameters)


def polls(b):
    return int(b.run("return document.documentElement.dataset.polls || 0"))


def polled(b, times=1):
    """The page has asked the server again since, and shows what it said."""
    at = polls(b)
    b.until("return (document.documentElement.dataset.polls || 0) >= arguments[0]",
            "the page does not ask again", at + times, timeout=60)


def rows(b):
    return b.run("""return [...document.querySelectorAll("#table .row")].map(
        (r) => [...r.cells].map((c) => c.innerText.trim()))""")


def keys(b):
    return [r[0] for r in rows(b)]


def number(b, name):
    return int(re.match(r"[0-9,]+", b.text("#n-" + name))[0].replace(",", ""))


def well(b):
    """No errors on the console: nothing of our own was blocked."""
    check_eq(b.errors(), [], "errors on the console")


def seconds(text):
    units = {"s": 1, "min": 60, "h": 3600, "d": 86400}
    return sum(int(n) * units[u] for n, u in re.findall(r"(\d+) (s|min|h|d)\b", text))
