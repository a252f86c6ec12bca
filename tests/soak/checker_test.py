#!/usr/bin/env python3
"""checker_test.py - the checker of the soak objects to each sort of fault, and to nothing else:
first small made-up histories, then a real one of a server that nobody disturbs, doctored."""

import os
import random
import shutil
import tempfile

from harness import Server, check, check_eq, diag, main, temp_dir, test
from soak import Load, check_history

SALT = "00000000000000aa"


def token(fence):
    return f"{fence:016x}{SALT}"


def history(*lines, conns=3, floor=5):
    """Lines "SECONDS EVENT …": times in seconds, fences as <7>, in order of time."""
    out = [f"B 0 {floor}\n"] + [f"C 0 {c}\n" for c in range(1, conns + 1)]
    end = 0
    for line in lines:
        t, what, rest = line.split(" ", 2)
        end = int(float(t) * 1e9)
        while "<" in rest:
            a, b = rest.index("<"), rest.index(">")
            rest = rest[:a] + token(int(rest[a + 1:b])) + rest[b + 1:]
        out.append(f"{what} {end} {rest}\n")
    return out + [f"Z {end + 1}\n"]


def verdict(lines, *options):
    """(rules that are violated, all that is printed)"""
    path = os.path.join(temp_dir(), "history")
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(lines)
    text, good = check_history(path, *options)
    rules = {x.split()[1] for x in text.splitlines() if x.startswith("violation ")}
    check("violations " in text, f"it is read: {text}")
    check_eq(good, not rules, "the exit status")
    os.unlink(path)
    return rules, text


def objects(rule, *lines, **more):
    rules, text = verdict(history(*lines, **more))
    check_eq(rules, {rule} if rule else set(), "\n" + "".join(history(*lines)) + text)


# A name, the rule it must break (None: none), and the history.
CASES = [
    ("nothing", None, "1 S 1 ping - ", "1.1 R 1 ok"),
    ("one after the other", None, "1 S 1 l k 0", "1.1 R 1 ok <7> 33", "1.2 S 2 l k 40",
     "2 S 1 r k <7>", "2.1 R 1 ok", "2.2 R 2 ok <8> 33", "3 S 2 r k <8>", "3.1 R 2 ok"),
    ("two holders", "holders", "1 S 1 l k 0", "1.1 R 1 ok <7> 33", "1.2 S 2 l k 40",
     "1.3 R 2 ok <8> 33", "2 S 1 r k <7>", "2.1 R 1 ok", "3 S 2 r k <8>", "3.1 R 2 ok"),
    ("two holders, one of them by two-phase", "holders", "1 S 1 e k ", "1.1 R 1 acquired <7> 33",
     "1.2 S 2 l k 40", "1.3 R 2 ok <8> 33", "2 S 1 w k 0", "2.1 R 1 ok <7> 33"),
    ("the second when the first's lease may have ended", None, "1 S 1 l k 0 1",
     "1.1 R 1 ok <7> 1", "1.2 S 2 l k 40", "2.1 R 2 ok <8> 33"),
    ("the second before the first's lease can have ended", "holders", "1 S 1 l k 0 1",
     "1.1 R 1 ok <7> 1", "1.2 S 2 l k 40", "1.9 R 2 ok <8> 33"),
    ("the second although the first was renewed", "holders", "1 S 1 l k 0 1", "1.1 R 1 ok <7> 1",
     "1.2 S 2 l k 40", "1.5 S 1 n k <7> 60", "1.6 R 1 ok 60", "3 R 2 ok <8> 33"),
    ("the second after a renewal that shortened the lease", None, "1 S 1 l k 0 60",
     "1.1 R 1 ok <7> 60", "1.2 S 2 l k 40", "1.5 S 1 n k <7> 1", "1.6 R 1 ok 1",
     "3 R 2 ok <8> 33"),
    ("the second although the first is held: its release, late, is ok", "holders",
     "1 S 1 l k 0 1", "1.1 R 1 ok <7> 1", "1.2 S 2 l k 40", "3 R 2 ok <8> 33", "4 S 1 r k <7>",
     "4.1 R 1 ok"),
    ("the second after the first has left", None, "1 S 1 l k 0", "1.1 R 1 ok <7> 33",
     "1.2 S 2 l k 40", "2 X 1 reset", "2.1 R 2 ok <8> 33"),
    ("three of a semaphore of two", "holders", "1 S 1 sl k 0 2", "1.1 R 1 ok <7> 33",
     "1.2 S 2 sl k 0 2", "1.3 R 2 ok <8> 33", "1.4 S 3 sl k 40 2", "1.5 R 3 ok <9> 33"),
    ("two of a semaphore of two", None, "1 S 1 sl k 0 2", "1.1 R 1 ok <7> 33",
     "1.2 S 2 sl k 0 2", "1.3 R 2 ok <8> 33", "1.4 S 3 sl k 0 2", "1.5 R 3 timeout"),
    ("a lock and a semaphore of one name", None, "1 S 1 sl k 0 1", "1.1 R 1 ok <7> 33",
     "1.2 S 2 l k 0", "1.3 R 2 ok <8> 33"),
    ("the queue overtaken, by fences", "fifo", "1 S 1 sl k 0 2", "1.1 R 1 ok <7> 33",
     "1.2 S 1 sl k 0 2", "1.3 R 1 ok <8> 33", "1.4 S 2 se k 2", "1.5 R 2 queued",
     "1.6 S 3 sl k 40 2", "1.7 S 1 sr k <7>", "1.8 R 1 ok", "1.81 S 1 sr k <8>", "1.82 R 1 ok",
     "1.9 R 3 ok <10> 33", "2 S 2 sw k 40", "2.1 R 2 ok <11> 33"),
    ("the queue not overtaken, though the answers are", None, "1 S 1 sl k 0 2",
     "1.1 R 1 ok <7> 33", "1.2 S 1 sl k 0 2", "1.3 R 1 ok <8> 33", "1.4 S 2 se k 2",
     "1.5 R 2 queued", "1.6 S 3 sl k 40 2", "1.7 S 1 sr k <7>", "1.8 R 1 ok", "1.81 S 1 sr k <8>",
     "1.82 R 1 ok", "1.9 R 3 ok <11> 33", "2 S 2 sw k 40", "2.1 R 2 ok <10> 33"),
    ("the queue overtaken, by one while the first waits in vain", "fifo", "1 S 1 l k 0",
     "1.1 R 1 ok <7> 33", "1.2 S 2 e k ", "1.3 R 2 queued", "1.4 S 2 w k 3", "1.5 S 3 l k 40",
     "2 S 1 r k <7>", "2.1 R 1 ok", "2.2 R 3 ok <8> 33", "4.4 R 2 timeout"),
    ("who timed out was passed", None, "1 S 1 l k 0", "1.1 R 1 ok <7> 33", "1.2 S 2 e k ",
     "1.3 R 2 queued", "1.4 S 2 w k 1", "1.5 S 3 l k 40", "2.45 R 2 timeout", "2.5 S 1 r k <7>",
     "2.6 R 1 ok", "2.7 R 3 ok <8> 33"),
    ("a fence repeated", "fence-unique", "1 S 1 l k 0", "1 S 2 l j 0", "1.1 R 1 ok <7> 33",
     "1.3 R 2 ok <7> 33"),
    ("a fence that does not grow", "fence-order", "1 S 1 l k 0", "1.1 R 1 ok <8> 33",
     "1.2 S 2 l j 0", "1.3 R 2 ok <7> 33"),
    ("a fence below those of earlier rounds", "fence-order", "1 S 1 l k 0", "1.1 R 1 ok <5> 33"),
    ("fences of two that asked at once, in any order", None, "1 S 1 l k 0", "1 S 2 l j 0",
     "1.1 R 1 ok <8> 33", "1.3 R 2 ok <7> 33"),
    ("a key's holds not in the order of fences", "fence-key", "1 S 1 l k 0", "1 S 2 l k 40",
     "1.1 R 1 ok <8> 33", "1.2 S 1 r k <8>", "1.3 R 1 ok", "1.4 R 2 ok <7> 33", "1.5 S 2 r k <7>",
     "1.6 R 2 ok"),
    ("a reply missing", "reply-missing", "1 S 1 ping - ", "1 S 1 ping - ", "1.1 R 1 ok"),
    ("a reply missing, of a connection that left", None, "1 S 1 ping - ", "1.1 X 1 close"),
    ("a reply twice", "reply-surplus", "1 S 1 ping - ", "1.1 R 1 ok", "1.2 R 1 ok"),
    ("a reply after the end", "reply-surplus", "1 S 1 ping - ", "1.1 X 1 close", "1.2 R 1 ok"),
    ("a connection lost, idle", "connection-lost", "1 E 1 eof", "2 S 2 ping - ", "2.1 R 2 ok"),
    ("a connection lost, waiting", "connection-lost", "1 S 1 l k 0", "1.1 R 1 ok <7> 33",
     "1.2 S 2 l k 40", "2 E 2 reset"),
    ("a connection refused", "connection-lost", "1 O 4 ", "1.1 E 4 refused"),
    ("a connection never accepted", "end-missing", "1 O 4 "),
    ("a half-close, answered and ended", None, "1 S 1 l k 0", "1 H 1 1000", "1.1 R 1 ok <7> 33",
     "1.2 E 1 eof", "1.3 S 2 l k 0", "1.4 R 2 ok <8> 33"),
    ("a half-close, ended without an answer", "connection-lost", "1 S 1 l k 0", "1 H 1 1000",
     "1.1 E 1 eof"),
    ("a half-close, ended without an answer, though its FIN came with the request",
     "connection-lost", "1 S 2 l k 0", "1.1 R 2 ok <7> 33", "2 S 1 l k 40", "2 H 1 0",
     "4 E 1 eof"),
    ("a half-close that came in time, ended late without an answer", "connection-lost",
     "1 S 2 l k 0", "1.1 R 2 ok <7> 33", "2 S 1 l k 40", "2.2 H 1 1000", "4 E 1 eof"),
    ("a half-close that came late", None, "1 S 2 l k 0", "1.1 R 2 ok <7> 33", "2 S 1 l k 40",
     "2.3 H 1 1000", "2.4 E 1 eof"),
    ("a half-close that was never ended", "end-missing", "1 S 1 ping - ", "1 H 1 1000",
     "1.1 R 1 ok"),
    ("a waiter beside a free slot", "stuck", "1 S 1 l k 0", "1.1 R 1 ok <7> 33", "1.2 S 2 l k 40",
     "2 S 1 r k <7>", "2.1 R 1 ok", "35 R 2 ok <8> 33"),
    ("a waiter beside a free slot until it times out", "stuck", "1 S 1 l k 0",
     "1.1 R 1 ok <7> 33", "1.2 S 2 l k 40", "2 S 1 r k <7>", "2.1 R 1 ok", "41.3 R 2 timeout"),
    ("a waiter beside one that left", "stuck", "1 S 1 l k 0", "1.1 R 1 ok <7> 33",
     "1.2 S 2 l k 40", "2 X 1 close", "41.3 R 2 timeout"),
    ("a waiter beside a lease that ended long ago", "stuck", "1 S 1 l k 0 1",
     "1.1 R 1 ok <7> 1", "1.2 S 2 l k 60", "61.3 R 2 timeout"),
    ("a waiter beside a free slot of a semaphore", "stuck", "1 S 1 sl k 0 2",
     "1.1 R 1 ok <7> 99", "1.2 S 1 sl k 0 2", "1.3 R 1 ok <8> 99", "1.4 S 2 se k 2",
     "1.5 R 2 queued", "1.6 S 2 sw k 40", "2 S 1 sr k <7>", "2.1 R 1 ok", "41.7 R 2 timeout"),
    ("a waiter that waits for who holds", None, "1 S 1 l k 0 60", "1.1 R 1 ok <7> 60",
     "1.2 S 2 l k 40", "41.3 R 2 timeout", "42 S 1 r k <7>", "42.1 R 1 ok"),
    ("a try refused beside a free slot", "refused", "1 S 1 l k 0", "1.1 R 1 ok <7> 33",
     "2 S 1 r k <7>", "2.1 R 1 ok", "2.2 S 2 l k 0", "2.3 R 2 timeout"),
    ("a slot of a semaphore that is gone", "refused", "1 S 1 sl k 0 2", "1.1 R 1 ok <7> 33",
     "1.2 S 2 sl k 0 2", "1.3 R 2 timeout"),
    ("queued without need", "refused", "1 S 1 e k ", "1.1 R 1 queued", "1.2 S 1 w k 5",
     "1.3 R 1 ok <7> 33"),
    ("a try refused while somebody who left may be there", None, "1 S 1 l k 0",
     "1.1 R 1 ok <7> 33", "2 X 1 close", "2.2 S 2 l k 0", "2.3 R 2 timeout"),
    ("a renewal refused before the lease's end", "lease-early", "1 S 1 l k 0 2",
     "1.1 R 1 ok <7> 2", "2 S 1 n k <7> 2", "2.1 R 1 error"),
    ("a renewal refused after it", None, "1 S 1 l k 0 1", "1.1 R 1 ok <7> 1", "2 S 1 n k <7> 2",
     "2.1 R 1 error"),
    ("a release refused before the lease's end", "lease-early", "1 S 1 l k 0 2",
     "1.1 R 1 ok <7> 2", "2 S 1 r k <7>", "2.1 R 1 error"),
    ("the lease of a two-phase grant ended early", "lease-early", "1 S 1 e k 2",
     "1.1 R 1 acquired <7> 2", "2 S 1 w k 0", "2.1 R 1 error_lease_expired"),
    ("a timeout too early", "timeout-early", "1 S 1 l k 0", "1.1 R 1 ok <7> 33", "1.2 S 2 l k 2",
     "3.1 R 2 timeout"),
    ("a timeout of two-phase too early", "timeout-early", "1 S 1 l k 0", "1.1 R 1 ok <7> 33",
     "1.2 S 2 e k ", "1.3 R 2 queued", "1.4 S 2 w k 2", "3.3 R 2 timeout"),
    ("a timeout far too late", "late", "1 S 1 l k 0 99", "1.1 R 1 ok <7> 99", "1.2 S 2 l k 2",
     "31 R 2 timeout"),
    ("as late, while the client did not run for not as long", "late", "1 S 1 l k 0 99",
     "1.1 R 1 ok <7> 99", "1.2 S 2 l k 2", "12 P 5000000000", "22 R 2 timeout"),
    ("late, and the client did not run from before the end of the wait on", None, "1 S 1 l k 0 99",
     "1.1 R 1 ok <7> 99", "10 S 2 l k 5", "26 P 15000000000", "30 R 2 timeout"),
    ("as late, while a worker hung and the client did not run", None, "1 S 1 l k 0 99",
     "1.1 R 1 ok <7> 99", "1.2 S 2 l k 2", "3 K 19 4711", "12 P 5000000000", "22 R 2 timeout"),
    ("released twice", "released-twice", "1 S 1 l k 0", "1.1 R 1 ok <7> 33", "2 S 1 r k <7>",
     "2.1 R 1 ok", "2.2 S 1 r k <7>", "2.3 R 1 ok"),
    ("renewed after its release", "released-twice", "1 S 1 l k 0", "1.1 R 1 ok <7> 33",
     "2 S 1 r k <7>", "2.1 R 1 ok", "2.2 S 1 n k <7>", "2.3 R 1 ok 33"),
    ("a reply of another command", "form", "1 S 1 l k 0", "1.1 R 1 queued"),
    ("a word that is none", "form", "1 S 1 ping - ", "1.1 R 1 okk"),
    ("another lease than was asked for", "form", "1 S 1 l k 0 7", "1.1 R 1 ok <7> 33"),
    ("a token that w changes", "form", "1 S 1 e k ", "1.1 R 1 acquired <7> 33", "1.2 S 1 w k 0",
     "1.3 R 1 ok <8> 33"),
]

for case_name, case_rule, *case_lines in CASES:
    def one(rule=case_rule, lines=case_lines):
        # Leases of 99 s are not what these histories are about.
        objects(rule, *[x.replace(" 0 2", " 0 2 99") if "<7> 99" in "".join(lines) and " sl " in x
                        else x for x in lines])
    one.__name__ = "case_" + case_name.replace(" ", "_")
    test(f"{case_name}: {case_rule or 'no objection'}")(one)


@test("a connection that may be lost is excused, one only")
def excuse():
    lines = history("1 S 1 ping - ", "1.1 E 1 reset", "2 E 2 eof")
    check_eq(verdict(lines, "--excuse", "2")[0], set(), "two excused")
    check_eq(verdict(lines, "--excuse", "1")[0], {"connection-lost"}, "one excused")


@test("a connection that was never answered may be lost with a master, others not")
def unborn():
    lines = history("1 S 1 ping - ", "1.1 E 1 reset")
    check_eq(verdict(lines, "--unborn", "1")[0], set(), "one that was never answered")
    check_eq(verdict(lines, "--unborn", "0", "--excuse", "0")[0], {"connection-lost"}, "none may be")
    lines = history("1 S 1 ping - ", "1.1 R 1 ok", "1.2 E 1 reset")
    check_eq(verdict(lines, "--unborn", "9")[0], {"connection-lost"}, "one that was answered")


@test("what is no history is refused, not judged")
def no_history():
    for lines in [[], ["B 0 0\n"], ["B 0 0\n", "R 5 1 ok", "Z 9\n"], ["S 1 1 ping - \n", "Z 2\n"],
                  ["B 5 0\n", "Z 4\n"], ["B 0 0\n", "Y 1 1\n", "Z 2\n"]]:
        path = os.path.join(temp_dir(), "history")
        with open(path, "w", encoding="utf-8") as f:
            f.writelines(lines)
        text, good = check_history(path)
        check(not good and "violations" not in text, f"{lines}: {text}")


# --- a real history, doctored


class Doctor:
    """Changes of a history that no server may have caused. Each returns the rules of which the
    checker must name one; picks at random among the places where its change is one."""

    def __init__(self, lines, chance):
        self.lines, self.chance = lines, chance
        self.rows = [x.split() for x in lines]
        pending, self.asked = {}, {}  # line of a reply: line of its request
        for i, w in enumerate(self.rows):
            if w[0] == "S":
                pending.setdefault(w[2], []).append(i)
            elif w[0] == "R":
                self.asked[i] = pending[w[2]].pop(0)
        self.lasts = self.surely()
        self.left = {w[2] for w in self.rows if w[0] in "XEH"}
        self.grants = [i for i in self.asked if self.rows[i][3] in ("ok", "acquired") and
                       len(self.rows[i]) == 6]

    def surely(self):
        """{line of a reply to a renewal: until when the lease surely lasted}"""
        ends, found = {}, {}
        for i, q in self.asked.items():
            row, request = self.rows[i], self.rows[q]
            if row[3] in ("ok", "acquired") and len(row) == 6:
                ends[row[4]] = int(request[1]) + int(row[5]) * 10 ** 9
            elif request[3] in ("n", "sn") and row[3] == "ok":
                found[i] = ends.get(request[5], 0)
                ends[request[5]] = int(request[1]) + int(row[4]) * 10 ** 9
        return found

    def request(self, i):
        return self.rows[self.asked[i]]

    def pick(self, places):
        return self.chance.choice(list(places))

    def drop_reply(self):
        """The last one of a connection that did not leave; before, it would be another's."""
        last = {self.rows[i][2]: i for i in self.asked if self.rows[i][2] not in self.left}
        i = self.pick(i for c, i in last.items() if self.request(i)[3] != "n")
        return self.lines[:i] + self.lines[i + 1:], {"reply-missing"}

    def double_reply(self):
        last = {self.rows[i][2]: i for i in self.asked if self.rows[i][2] not in self.left}
        i = self.pick(last.values())
        return self.lines[:i] + [self.lines[i]] * 2 + self.lines[i + 1:], {"reply-surplus"}

    def swap_fences(self):
        """Of two grants, the second asked for when the first had been received."""
        while True:
            a, b = sorted(self.chance.sample(self.grants, 2))
            if self.asked[b] > a and self.request(b)[3][0] != "w" and self.request(b)[3] != "sw":
                break
        x, y = self.rows[a][4], self.rows[b][4]
        swap = {x: y, y: x}
        return [" ".join(swap.get(w, w) for w in r.rstrip("\n").split(" ")) + "\n"
                if x in r or y in r else r for r in self.lines], {"fence-order"}

    def repeat_fence(self):
        a, b = sorted(self.chance.sample(self.grants, 2))
        x, y = self.rows[a][4], self.rows[b][4]
        return [r.replace(y, x) for r in self.lines], {
            "fence-unique", "fence-order", "form", "released-twice"}

    def lose_connection(self):
        i = self.pick(i for i, w in enumerate(self.rows) if w[0] == "X")
        w = self.rows[i]
        return self.lines[:i] + [f"E {w[1]} {w[2]} eof\n"] + self.lines[i + 1:], {
            "connection-lost"}

    def refuse_private(self):
        """A try on a key that nobody has asked for before: who has had it may have it still."""
        first, asked = {}, {}  # line of its first request, and how many were sent by a reply to it
        for i, w in enumerate(self.rows):
            if w[0] == "S" and w[3] in ("l", "sl", "e", "se"):
                first.setdefault(w[4], i)
                asked[w[4]] = asked.get(w[4], 0) + 1
            elif i in self.asked and self.asked[i] == first.get(self.request(i)[4]):
                first[self.request(i)[4]] = i if asked[self.request(i)[4]] == 1 else -1
        i = self.pick(i for i in self.grants if first.get(self.request(i)[4]) == i and
                      self.request(i)[3] in ("l", "sl") and self.request(i)[5] == "0")
        token_, t = self.rows[i][4], self.rows[i]
        gone = {j for j, w in enumerate(self.rows) if w[0] == "S" and token_ in w[3:]}
        gone |= {j for j, s in self.asked.items() if s in gone}
        out = [r for j, r in enumerate(self.lines) if j not in gone]
        return [f"R {t[1]} {t[2]} timeout\n" if r == self.lines[i] else r for r in out], {
            "refused"}

    def release_late(self):
        """A release is moved behind the next grant of the key: two held it."""
        held, found = {}, []
        for i, w in enumerate(self.rows):
            if w[0] == "S" and w[3] == "r":
                held[w[4]] = i
            elif i in self.asked and i in self.grants and self.request(i)[3] == "l":
                key = self.request(i)[4]
                if key in held and self.asked[i] < held[key] and key[0] == "h":
                    found.append((held.pop(key), i))
        replies = {q: i for i, q in self.asked.items()}
        released = {self.rows[q][5] for q, i in replies.items()
                    if self.rows[q][3] == "r" and self.rows[i][3] == "ok"}
        s, r, i = self.pick(
            (s, replies[s], i) for s, i in found
            if self.rows[i][4] in released and s in replies and replies[s] < i and
            self.rows[replies[s]][3] == "ok" and
            int(self.rows[i + 1][1]) > int(self.rows[i][1]) and
            self.rows[s][2] not in [w[2] for j, w in enumerate(self.rows[s:i + 1], s)
                                    if j not in (s, replies[s])])
        t = int(self.rows[i][1]) + 1
        between = [x for j, x in enumerate(self.lines[s:i + 1], s) if j not in (s, r)]
        moved = [f"S {t} {' '.join(self.rows[s][2:])}\n", f"R {t} {self.rows[s][2]} ok\n"]
        return self.lines[:s] + between + moved + self.lines[i + 1:], {"holders"}

    def early_timeout(self):
        i = self.pick(i for i in self.asked if self.rows[i][3] == "timeout" and
                      self.request(i)[3] in ("l", "sl", "w", "sw") and self.request(i)[5] != "0")
        w = list(self.request(i))
        w[5] = "40"
        q = self.asked[i]
        return self.lines[:q] + [" ".join(w) + "\n"] + self.lines[q + 1:], {"timeout-early"}

    def refuse_renewal(self):
        """One whose answer came while the lease surely lasted."""
        i = self.pick(i for i in self.lasts if int(self.rows[i][1]) < self.lasts[i] and
                      self.request(i)[2] not in self.left)
        w = self.rows[i]
        return self.lines[:i] + [f"R {w[1]} {w[2]} error\n"] + self.lines[i + 1:], {
            "lease-early", "released-twice"}

    def jump_queue(self):
        """Who came after a certain waiter of the key gets that one's fence, and the other way."""
        queued = [i for i in self.asked if self.rows[i][3] == "queued"]
        self.chance.shuffle(queued)
        for q in queued:
            conn, key, kind = self.request(q)[2], self.request(q)[4], self.request(q)[3]
            lock = kind == "e"
            mine = next((i for i in self.grants if i > q and self.rows[i][2] == conn and
                         self.request(i)[3] == ("w" if lock else "sw") and
                         self.request(i)[4] == key), None)
            other = next((i for i in self.grants if mine and i > mine and self.asked[i] > q and
                          self.asked[i] < mine and self.request(i)[4] == key and
                          self.request(i)[3] == ("l" if lock else "sl")), None)
            if other:
                x, y = self.rows[mine][4], self.rows[other][4]
                swap = {x: y, y: x}
                return [" ".join(swap.get(w, w) for w in r.rstrip("\n").split(" ")) + "\n"
                        if x in r or y in r else r for r in self.lines], {"fifo"}
        raise AssertionError("nobody waits behind another")


@test("a real history passes; doctored, in any of ten ways, it does not", deadline=240)
def doctored():
    seed = random.randrange(1 << 30)
    diag(f"seed {seed}")
    directory = tempfile.mkdtemp(dir=temp_dir())
    with Server(["--max-locks", 1 << 16, "--read-timeout", 600]) as server:
        load = Load(server, directory, 200, 3000, seed)
        try:
            with load.changed:
                check(load.changed.wait_for(lambda: load.replies > 6000 or load.ended, 60) and
                      not load.ended, "6000 requests are answered")
            path = load.end_round(True)
        finally:
            load.close()
    with open(path, encoding="utf-8") as f:
        lines = f.readlines()
    shutil.rmtree(directory)
    rules, text = verdict(lines)
    check_eq(rules, set(), text)
    doctor = Doctor(lines, random.Random(seed))
    for treatment in [doctor.drop_reply, doctor.double_reply, doctor.swap_fences,
                      doctor.repeat_fence, doctor.lose_connection, doctor.refuse_private,
                      doctor.release_late, doctor.early_timeout, doctor.refuse_renewal,
                      doctor.jump_queue]:
        for _ in range(4):
            changed, expected = treatment()
            rules, text = verdict(changed)
            check(rules & expected, f"{treatment.__name__}: {expected} expected, not {rules}")
    diag(f"{len(lines)} lines, 40 doctored histories")


if __name__ == "__main__":
    main()
