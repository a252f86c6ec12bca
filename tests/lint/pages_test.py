"""pages_test.py - the manual pages as they are seen: groff and mandoc render them without a warning, no
column of a list is narrower than what stands in it, no text is wider than a terminal.
docs_test.py compares what they say with the source."""

import glob
import os
import re
import subprocess
import sys

top = os.environ.get("top_srcdir", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
PAGES = sorted(glob.glob(os.path.join(top, "docs/man/*.[1-9]")))
WIDTH = 80
MACROS = set("Ac Ao Ap Aq Ar Bc Bo Bq Brc Bro Brq Cd Cm Dc Do Dq Dv Em Er Ev Fa Fl Fn Ic Li Nm No Ns Oc Oo "
             "Op Pa Pc Pf Po Pq Qc Qo Qq Sc So Sq Sx Sy Ta Tn Ux Va Vt Xr".split())
PUNCTUATION = set(". , : ; ( ) [ ] ? ! |".split())


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def name(path):
    return os.path.relpath(path, top)


def plain(text):
    """Of a line in a display, as it is shown."""
    return text.replace("\\e", "\\").replace("\\&", "")


def groff(path):
    """(lines as they are shown, what was complained about)"""
    r = subprocess.run(["groff", "-K", "utf8", "-mdoc", "-ww", "-T", "utf8", "-P", "-cbou", path],
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
    return r.stdout.splitlines(), r.stderr.splitlines() or (
        [f"{name(path)}: groff ends with {r.returncode}"] if r.returncode else [])


def mandoc(path):
    r = subprocess.run(["mandoc", "-T", "utf8", "-O", "width=78", path], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, encoding="utf-8")
    return re.sub(".\b", "", r.stdout).splitlines(), r.stderr.splitlines()


def rendered():
    return [x for path in PAGES for x in groff(path)[1] + mandoc(path)[1]]


def wide():
    """Only what is to be typed, or was printed, may be wider."""
    wrong = []
    for path in PAGES:
        shown = {plain(line).strip() for display in
                 re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", read(path), re.M | re.S)
                 for line in display.splitlines()}
        shown |= {plain(line).strip() for line in re.findall(r"^\.D[l1] (.*)$", read(path), re.M)}
        for lines, _ in (groff(path), mandoc(path)):
            if len(lines) < 20:
                wrong.append(f"{name(path)}: only {len(lines)} lines")
            wrong += [f"{name(path)}: {len(x)} columns: {x.strip()}" for x in lines
                      if len(x) > WIDTH and x.strip() not in shown]
    return wrong


def cells(row):
    """What is seen of each cell of a row."""
    found = [""]
    for word in row.split():
        if word == "Ta":
            found.append("")
        elif word in PUNCTUATION:
            found[-1] += word
        elif word not in MACROS:
            found[-1] += (" " if found[-1] else "") + plain(word)
    return found


def columns():
    wrong = []
    for path in PAGES:
        for head, rows in re.findall(r"^\.Bl ([^\n]*-column [^\n]*)\n(.*?)^\.El", read(path),
                                     re.M | re.S):
            widths = re.findall(r'"([^"]*)"', head) or head.split("-column ")[1].split()
            for row in re.findall(r"^\.It (.*)$", rows, re.M):
                # The last one has all the rest of the line.
                for width, cell in list(zip(widths, cells(row)))[:-1]:
                    if len(cell) > len(width):
                        wrong.append(f'{name(path)}: "{cell}" in a column as wide as "{width}"')
    return wrong


def options():
    """Words behind an option are options again for mdoc, behind punctuation, too: No ends that."""
    wrong = []
    for path in PAGES:
        for line in re.findall(r"^\.(.*)$", read(path), re.M):
            words, inside = line.split(), False
            for word in words:
                if word in MACROS:
                    inside = word == "Fl"
                elif inside and not re.match(r"-|[A-Za-z]$|\\", word) and word not in PUNCTUATION:
                    wrong.append(f"{name(path)}: '{word}' looks like an option in: {line}")
    return wrong


CHECKS = [
    (f"groff and mandoc render the {len(PAGES)} manual pages without a warning", rendered),
    (f"no text is wider than {WIDTH} columns", wide),
    ("each column of a list is as wide as what stands in it", columns),
    ("what is no option does not look like one", options),
]

failed = not PAGES
for n, (text, function) in enumerate(CHECKS, 1):
    try:
        found = function()
    except FileNotFoundError as e:
        found = [f"{e.filename} is not installed"]
    print(f"{'not ok' if found else 'ok'} {n} - {text}")
    for line in found:
        print(f"# {line}")
    failed = failed or bool(found)
print(f"1..{len(CHECKS)}")
sys.exit(failed)
