"""tests/bench/flame.py - where the workers' time goes: a flame graph of the hot path, as one SVG file.

    flame.py BUILD-DIRECTORY OUT.svg [SECONDS]

Starts dflockd with two workers, loads it as the first row of `make bench` does (100 connections, one
request in flight each), has perf(1) look at the workers a thousand times a second, and draws what it
saw: who calls whom, from below; as wide as the part of the time that it takes. The kernel's frames are
blue, the C library's yellow, ours red.
"""

import html
import re
import subprocess
import sys
import tempfile

from bench import Bench
from servers import children, program

WIDTH, ROW, LEAST = 1200, 17, 0.0015  # px, px, part of the whole that is drawn
COLOURS = {"kernel": "#8fb4d9", "libc": "#e3cf74", "ours": "#e08f6b", "all": "#cccccc"}


class Frame:
    def __init__(self, name, kind):
        self.name, self.kind = name, kind
        self.samples, self.callees = 0, {}

    def callee(self, name, kind):
        return self.callees.setdefault(name, Frame(name, kind))

    def depth(self, least):
        return 1 + max((f.depth(least) for f in self.callees.values() if f.samples >= least), default=0)


def kind_of(dso, caller):
    if dso == "inlined":
        return "ours" if caller.kind == "all" else caller.kind
    if "kernel" in dso or dso.startswith("[") and "vdso" not in dso:
        return "kernel"
    return "ours" if "dflockd" in dso else "libc"


def record(pids, path, load):
    """perf(1) looks while load() runs."""
    perf = [program("perf", "linux-perf"), "record", "-q", "-F", "999", "--call-graph", "dwarf,16384",
            "-p", ",".join(map(str, pids)), "-o", path]
    with subprocess.Popen(perf, stderr=subprocess.PIPE, text=True) as process:
        try:
            load()
        finally:
            process.send_signal(2)
            said = process.stderr.read()
        if process.wait() not in (0, -2, 130):
            sys.exit(f"flame: {' '.join(perf)}: {said}")


def read(path):
    """The tree of all that perf saw."""
    root = Frame("workers", "all")
    out = subprocess.run([program("perf", "linux-perf"), "script", "-i", path, "-F", "ip,sym,dso"],
                         check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    for stack in out.split("\n\n"):
        frames = re.findall(r"^\s*[0-9a-f]+ (.+?)(?:\+0x[0-9a-f]+)? \((.*)\)$", stack, re.M)
        if not frames:
            continue
        at = root
        at.samples += 1
        frames = [(name.split(".")[0], dso) for name, dso in reversed(frames) if name != "[unknown]"]
        names = [name for name, _ in frames]
        begin = names.index("turns") if "turns" in names else 0  # what led there is always the same
        for name, dso in frames[begin:]:
            at = at.callee(name, kind_of(dso, at))
            at.samples += 1
    return root


def boxes(frame, x, level, total, least):
    yield frame, x, level
    for f in sorted(frame.callees.values(), key=lambda f: f.name):
        if f.samples >= least:
            yield from boxes(f, x, level + 1, total, least)
        x += f.samples


def draw(root):
    total = root.samples
    least = total * LEAST
    levels = root.depth(least)
    height = levels * ROW + 40
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
             f'font-family="sans-serif" font-size="11">',
             f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
             f'<text x="6" y="16" font-size="13">dflockd: the workers\' time under 100 connections that '
             f'acquire and release ({total} samples; blue: kernel, yellow: C library, red: dflockd)</text>']
    for f, x, level in boxes(root, 0, 0, total, least):
        left, width = x / total * WIDTH, f.samples / total * WIDTH
        y = height - (level + 1) * ROW - 4
        text = html.escape(f.name)
        room = int(width / 6.3)
        shown = text if len(f.name) <= room else html.escape(f.name[:max(0, room - 1)]) + "…"
        lines.append(f'<g><title>{text}: {f.samples / total:.1%}</title>'
                     f'<rect x="{left:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}" rx="1" '
                     f'fill="{COLOURS[f.kind]}"/>' +
                     (f'<text x="{left + 2:.1f}" y="{y + 12}">{shown}</text>' if room > 2 else "") +
                     "</g>")
    return "\n".join(lines + ["</svg>"]) + "\n"


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    build, out = sys.argv[1:3]
    seconds = float(sys.argv[3]) if len(sys.argv) == 4 else 5
    with Bench(build, 1, seconds, False, print) as bench, \
            tempfile.TemporaryDirectory(prefix="dflockd-bench-") as directory:
        server = bench.dflockd()
        path = f"{directory}/perf.data"
        record(children(server.pid), path, lambda: bench.load(server, connections=100))
        root = read(path)
    if not root.samples:
        sys.exit("flame: perf saw nothing: may it look at other processes "
                 "(/proc/sys/kernel/perf_event_paranoid)?")
    with open(out, "w", encoding="utf-8") as f:
        f.write(draw(root))
    print(f"{out}: {root.samples} samples")


main()
