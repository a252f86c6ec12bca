"""points.py - the numbered places of src/base/points.def: a server that dies, or whose calls fail,
where a test says. The program is tests/crash/dflockd."""

import errno
import mmap
import os
import re
import signal
import struct
import time

from harness import TIMEOUT, Server, check, elapsed, eventually, signal_process, temp_dir

KILL, SEGV, FAIL, HANG, ESCAPE, LOOP = 1, 2, 3, 4, 5, 6
ANY, WORKER, MASTER, WRITER, HTTP = 0, 1, 2, 3, 4
BEFORE, AFTER = 0, 1
DENIED_KILLS, DENIED_FAILS, DENIED_NEVER = 0, 1, 2

POISON_AT, DENIED_AT, ESCAPED_AT = 72, 136, 140
CLOCKS_AT, WRITER_AT, PASSES_AT = 1160, 1176, 1184
ORDER_AT, NEXT_AT = 16, 40


class Row:
    def __init__(self, number, kind, name, who, what):
        self.number, self.name, self.who, self.what = number, name, who, what
        self.sides = [BEFORE, AFTER] if kind == "CALL" else [BEFORE]

    def place(self, side):
        return 2 * self.number + side


def read_rows():
    path = os.path.join(os.environ["top_srcdir"], "src/base/points.def")
    with open(path, encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    found = re.findall(r'^(CALL|STEP)\((\w+), (\w+), "([^"]+)"\)$', text, re.M)
    return [Row(i, *x) for i, x in enumerate(found)]


ROWS = read_rows()
BY_NAME = {row.name: row for row in ROWS}


class Board:
    """The file by which a server is told. See struct point_board in src/base/point.h."""

    def __init__(self):
        self.path = os.path.join(temp_dir(), "points")
        with open(self.path, "wb") as f:
            f.truncate(PASSES_AT + 16 * len(ROWS))
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0)

    def _word(self, at):
        return struct.unpack_from("<I", self.map, at)[0]

    def _order(self, at, name, side, nth, action, error, role, again):
        place = BY_NAME[name].place(side)
        struct.pack_into("<IIiII", self.map, at + 4, nth, action, error, role, again)
        struct.pack_into("<I", self.map, at, place + 1)

    def arm(self, name, side=BEFORE, nth=1, action=KILL, error=0, role=ANY, again=0):
        self._order(ORDER_AT, name, side, nth, action, error, role, again)

    def then(self, name, side=BEFORE, nth=1, action=KILL, error=0, role=ANY, again=0):
        """What follows when the order given by the next arm() has been carried out."""
        self._order(NEXT_AT, name, side, nth, action, error, role, again)

    def disarm(self):
        struct.pack_into("<I", self.map, NEXT_AT, 0)
        struct.pack_into("<I", self.map, ORDER_AT, 0)

    def poison(self, key, action):
        struct.pack_into("<I", self.map, 64, action)
        struct.pack_into("64s", self.map, POISON_AT, key)

    def clocks(self, boottime=0, realtime=0):
        """Seconds that the server's clocks are ahead."""
        struct.pack_into("<qq", self.map, CLOCKS_AT, int(boottime * 1e9), int(realtime * 1e9))

    @property
    def writer(self):
        return self._word(WRITER_AT)

    def denied_calls(self, what):
        """What becomes of a call that the sandbox denies, in processes that start from now on."""
        struct.pack_into("<I", self.map, DENIED_AT, what)

    def escaped(self):
        """{call: errno} once a request for the key of poison(…, ESCAPE) has been served."""
        if self.map[ESCAPED_AT] == 0:
            return None
        text = self.map[ESCAPED_AT:CLOCKS_AT].split(b"\0", 1)[0].decode()
        return {name: int(code) for name, code in (x.split() for x in text.splitlines())}

    @property
    def armed(self):
        return self._word(ORDER_AT) != 0

    @property
    def fired(self):
        return self._word(8)

    @property
    def pid(self):
        return self._word(12)

    @property
    def poisoned(self):
        return self._word(68)

    def passes(self, name, side=BEFORE):
        at = PASSES_AT + 8 * BY_NAME[name].place(side)
        return struct.unpack_from("<Q", self.map, at)[0]


class CrashServer(Server):
    """A server with places, told by .board."""

    def __init__(self, args=(), board=None, denied=DENIED_KILLS, **options):
        self.board = board or Board()
        self.board.denied_calls(denied)
        env = dict(options.pop("env", {}), CRASH_POINTS_FILE=self.board.path)
        options.setdefault("expect_log", ["worker died", "worker hangs"])
        super().__init__(args, env=env, **options, program=os.path.join(
            os.environ["top_builddir"], "tests/crash/dflockd"))

    def start(self, timeout=TIMEOUT):
        super().start(timeout)
        check(self.board._word(0) == 2 * len(ROWS), "the program has other places than points.def")
        return self

    def stop(self, timeout=30.0):
        check(not self.logged("worker died.* signal=SYS "), "a worker needed a call that is denied")
        super().stop(timeout)

    def whole(self, timeout=30.0):
        """Waits until every worker slot has somebody who serves."""
        eventually(lambda: len(self.worker_pids()) == self.workers, timeout, "all workers are back")

    def wait_fired(self, times, patience, poke=None):
        """Whether what was armed has happened so often. poke(turn) makes it happen now and then."""
        waiting, turn = elapsed(), 0
        while self.board.fired < times:
            if poke and waiting() > 0.4 * (turn + 1):
                turn += 1
                poke(turn)
            if waiting() > patience:
                return False
            time.sleep(0.002)
        return True

    def dies_at(self, row, side, nth, role=WORKER, first=None, patience=40, poke=None,
                settled="TAKEOVER_SETTLED"):
        """Arms the place and waits for the death, and for the next process to be at work. What must
        happen first is ordered: keywords for arm(). False: the place was not passed."""
        board = self.board
        first = first and dict(dict(role=role), **first)
        if first:
            for _ in range(nth - 1):
                fired = board.fired
                board.arm(**first)
                check(self.wait_fired(fired + 1, 40), f"{first['name']} is passed")
            fired, before = board.fired + 2, board.passes(settled)
            board.then(row.name, side, role=role)
            board.arm(**first)
        else:
            fired, before = board.fired + 1, board.passes(settled)
            board.arm(row.name, side, nth, role=role)
        if not self.wait_fired(fired, patience, None if first else poke):
            board.disarm()
            return False
        eventually(lambda: board.passes(settled) > before, 30, "an heir is at work")
        return True


def errors(name):
    return getattr(errno, name)


def kill_one_of(pids, turn):
    """What happens only in a worker's first moments, or its last: somebody has to die for it."""
    if pids:
        signal_process(pids[turn % len(pids)], signal.SIGKILL)  # or it has just died at the place
