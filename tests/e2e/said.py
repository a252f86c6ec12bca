"""said.py - what a document says is printed, compared with what was.

compare(lines, ["ok TOKEN", …], what="")   all of them, in order, and no more
matches(text, "ok TOKEN")                  whether one does

TOKEN and SESSION stand for 32 hexadecimal digits, NUMBER, and N after a colon, for a number, … for
anything."""

import re

from harness import check_eq, fail

WORDS = {"TOKEN": "[0-9a-f]{32}", "SESSION": "[0-9a-f]{32}", "NUMBER": "[0-9]+"}


def matches(text, said):
    pattern = re.escape(said).replace("…", ".*")
    for word, stands_for in WORDS.items():
        pattern = pattern.replace(word, stands_for)
    return re.fullmatch(re.sub(r"(?<=:)N\b", "[0-9.]+", pattern), text) is not None


def compare(got, said, what=""):
    what = what and f"{what}: "
    for i, text in enumerate(said):
        if i >= len(got) or not matches(got[i], text):
            fail(f"{what}'{text}' expected, not {got[i:i + 1]}")
    check_eq(got[len(said):], [], f"{what}output behind the last line expected")
