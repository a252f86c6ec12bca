"""scene.py - a server as one finds it on an ordinary day, for those who look at its status page, and the
picture of it in README.md:

    top_srcdir=. top_builddir=_build DFLOCKD=_build/src/dflockd/dflockd PYTHONPATH=tests/e2e \\
        python3 tests/e2e/scene.py docs/status-page.png

scene(server, hostile=False): content for a PictureServer, whose clocks it moves: some of what is held is
    held for hours. hostile: and some keys that are hard to show
"""

import sys

from browser import Browser
from harness import eventually, json_of, token_of
from points import CrashServer
from web import WebServer

WIDTH, HEIGHT = 1200, 720

# How long ago in seconds; where from; what: a key and its lease, or a semaphore's limit and how many.
LOCKS = [
    (7320, "127.0.4.11", "leader/scheduler", 30000), (5400, "127.0.4.12", "cron/nightly-report", 28800),
    (2710, "127.0.7.31", "migrate/schema-42", 10800), (1260, "127.0.4.19", "backup/eu-west-1/full", 7200),
    (540, "127.0.8.2", "billing/invoice-run/2026-11", 3600),
    (312, "127.0.9.40", "tenant/müller-gmbh/import", 1800), (250, "127.0.9.41", "tenant/acme/sync", 1800),
    (95, "127.0.4.12", "cache/rebuild/product-listing", 300),
] + [(60 - 3 * i, f"127.0.5.{20 + i}", f"order/{104520 + 7 * i}", 120) for i in range(12)]
POOLS = [
    (900, "pool/pdf-render", 8, 8), (400, "pool/geocoder", 20, 13), (120, "upload/s3", 4, 4),
    (30, "pool/mail", 50, 3), (15, "gpu/a100", 2, 2),
]
QUEUES = [
    (70, "billing/invoice-run/2026-11", 3), (48, "pool/pdf-render", 40), (33, "order/104527", 1),
    (20, "migrate/schema-42", 2), (9, "gpu/a100", 6), (4, "upload/s3", 1),
]
HOSTILE = ["k" * 256, "report/" + "a-rather-long-name/" * 12 + "end", "e/مفتاح", "e/" + "字" * 60, "e/東京"]


class PictureServer(WebServer, CrashServer):
    def __init__(self):
        super().__init__(["--max-locks", "10000", "--shutdown-timeout", "1"])


def scene(server, hostile=False):
    Scene(server).make(hostile)


class Scene:
    def __init__(self, server):
        self.server = server
        self.clients = {}

    def make(self, hostile):
        steps = [(ago, self._lock, (where, key, lease)) for ago, where, key, lease in LOCKS]
        steps += [(ago, self._pool, (key, limit, n)) for ago, key, limit, n in POOLS]
        steps += [(ago, self._queue, (key, n)) for ago, key, n in QUEUES]
        if hostile:
            steps += [(10, self._lock, ("127.0.6.1", key, 900)) for key in HOSTILE]
        longest = max(ago for ago, _, _ in steps)
        for ago, what, arguments in sorted(steps, key=lambda s: -s[0]):
            self.server.board.clocks(longest - ago, longest - ago)
            what(*arguments)
        self.server.board.clocks(longest, longest)
        self.server.session().token("web/checkout/cart-8812", lease=60)

    def _client(self, where):
        if where not in self.clients:
            self.clients[where] = self.server.client(source=where)
        return self.clients[where]

    def _lock(self, where, key, lease):
        token_of(self._client(where).req("l", key, f"0 {lease}"))

    def _pool(self, key, limit, n):
        for i in range(n):
            token_of(self._client(f"127.0.10.{i + 1}").req("sl", key, f"0 {limit} 3600"))

    def _queue(self, key, n):
        limit = {k: limit for _, k, limit, _ in POOLS}.get(key)
        asker = self._client("127.0.0.1")
        for i in range(n):
            waiter = self.server.client(source=f"127.0.11.{i + 1}")
            waiter.ask("sl" if limit else "l", key, f"30000 {limit}" if limit else "30000")
            kind = "sem" if limit else "lock"
            eventually(lambda: json_of(asker.req("show", key, kind))["waiters"] == i + 1)


def main():
    with PictureServer() as server:
        scene(server)
        browser = Browser()
        try:
            browser.size(WIDTH, HEIGHT)
            browser.open(f"http://127.0.0.1:{server.http_port}/")
            with open(sys.argv[1], "wb") as f:
                f.write(browser.picture())
        finally:
            browser.close()


if __name__ == "__main__":
    main()
