"""scrape.py - /metrics, read.

scrape(server) → Scrape: .text; .types and .helps by family; .samples[name, ((label, value), …)];
    .get(name, label=value, …) the sum of the samples that have these labels; .family(name of a sample)
"""

import re

from harness import check, check_eq

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="[^"\\]*",?)+)\})? (\S+)')


class Scrape:
    def __init__(self, text):
        self.text, self.types, self.helps, self.samples = text, {}, {}, {}
        for line in text.splitlines():
            if line.startswith("# "):
                _, what, name, rest = line.split(" ", 3)
                known = self.types if what == "TYPE" else self.helps
                check(name not in known, f"{what} of {name} twice")
                known[name] = rest
                continue
            found = SAMPLE.fullmatch(line)
            check(found, f"no sample: {line}")
            labels = tuple(sorted(re.findall(r'([a-z]+)="([^"]*)"', found[2] or "")))
            check((found[1], labels) not in self.samples, f"twice: {line}")
            self.samples[found[1], labels] = float(found[3])

    def get(self, name, **labels):
        """The sum of all samples of this name that have these labels."""
        return sum(n for (m, has), n in self.samples.items()
                   if m == name and set(labels.items()) <= set(has))

    def family(self, name):
        return name if name in self.types else re.sub(r"_(sum|count|bucket)$", "", name)


def scrape(server, headers=None, **options):
    with server.web(**options) as web:
        reply = web.get("/metrics", headers)
    check_eq(reply.status, 200, "the status of /metrics")
    check_eq(reply.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8", "its type")
    return Scrape(reply.data.decode("ascii"))
