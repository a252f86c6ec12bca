"""lowlevel.py - the low level of libdflock by remote control (tests/client/lowlevel.c), and servers
that misbehave.

    with LowLevel("127.0.0.1:6388", auth_token="x") as c:      dials; address None: does not
        answer = c.acquire("key", 0, 60)      .result .name ("ok" or an error's) .stored [words] .text
        c.begin("acquire", "key", 60, 0)      in a thread of its own; c.answer() waits for its end
    address(server)                           "127.0.0.1:PORT"

    with Fake(b"ok\\n") as fake:               answers each request with these bytes
    with Fake(serve) as fake:                 serve(connection) is called for each connection
        fake.address  fake.heard              what all clients have sent so far
    Peer (the connection of serve): .request() → three lines or None at the end; .send(bytes)
"""

import os
import re
import socket
import subprocess
import threading

from harness import check, check_eq, eventually, fail

PROGRAM = os.path.join(os.environ["top_builddir"], "tests/client/lowlevel")


def address(server):
    return f"127.0.0.1:{server.port}"


def quoted(value):
    if value is None:
        return "-"
    data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
    return "".join(chr(b) if b < 128 and chr(b).isalnum() or chr(b) in ":/._*" else f"%{b:02X}" for b in data) or "%00"


class Answer:
    def __init__(self, line):
        m = re.fullmatch(r"(?:bg )?(-?\d+) (\w+)([^\t]*)\t(.*)", line)
        check(m, f"an answer expected, not {line!r}")
        self.result, self.name, self.text = int(m[1]), m[2], m[4]
        self.stored = m[3].split()
        self.raw = m[3][1:]

    def __repr__(self):
        return f"{self.result} {self.name} {self.raw[:100]} ({self.text})"


class LowLevel:
    def __init__(self, to=None, **options):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("DFLOCK_", "DFLOCKD_"))}
        env["RES_OPTIONS"] = "timeout:1 attempts:1"  # who asks for names may be far from any answer
        self.proc = subprocess.Popen([PROGRAM], env=env, stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE)
        self.lines, self.ended = [], False
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()
        for name, value in options.items():
            check_eq(self.call("option", name, value).name, "ok", f"the option {name}")
        if to:
            self.must("dial", to)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, tb):
        if kind is None:
            self.proc.stdin.close()
            try:
                check_eq(self.proc.wait(20), 0, "the end of the program")
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
                fail("the program does not end")
        else:
            self.proc.kill()
            self.proc.wait()

    def _read(self):
        for line in self.proc.stdout:
            with self._changed:
                self.lines.append(line.decode("utf-8", "surrogateescape").rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def _take(self, wanted, timeout):
        def find():
            return next((x for x in self.lines if wanted(x)), None) or self.ended
        with self._changed:
            self._changed.wait_for(find, timeout)
            line = next((x for x in self.lines if wanted(x)), None)
            check(line is not None, "the program has crashed" if self.ended else
                  f"no answer within {timeout} s")
            self.lines.remove(line)
            return line

    def call(self, *words, timeout=25):
        self.proc.stdin.write((" ".join(quoted(x) for x in words) + "\n").encode())
        self.proc.stdin.flush()
        line = self._take(lambda x: not x.startswith("bg "), timeout)
        return line if line == "started" else Answer(line)

    def must(self, *words):
        answer = self.call(*words)
        check(answer.result >= 0, f"{words[0]}: {answer}")
        return answer

    def __getattr__(self, name):
        return lambda *args, **more: self.call(name, *args, **more)

    def begin(self, *words):
        check_eq(self.call("bg", *words), "started", "the thread")

    def answer(self, timeout=25):
        return Answer(self._take(lambda x: x.startswith("bg "), timeout))

    def blocks(self):
        """True if the call that was begun has not come back yet."""
        with self._changed:
            return not any(x.startswith("bg ") for x in self.lines)


class Peer:
    def __init__(self, sock, fake):
        self.sock, self.fake, self.buffer = sock, fake, b""

    def request(self):
        while self.buffer.count(b"\n") < 3:
            try:
                data = self.sock.recv(65536)
            except OSError:
                data = b""
            if not data:
                return None
            self.fake.heard += data
            self.buffer += data
        *lines, self.buffer = self.buffer.split(b"\n", 3)
        return lines

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            pass

    def close(self):
        self.sock.close()


class Fake:
    """A server that says what the test wants."""

    def __init__(self, serve, backlog=16):
        self.serve = serve if callable(serve) else self._always(serve)
        self.heard = b""
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.port = self.sock.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.peers = []

    @staticmethod
    def _always(data):
        def serve(peer):
            while peer.request():
                peer.send(data)
        return serve

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *what):
        self.sock.close()
        for peer in self.peers:
            try:
                peer.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            peer.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            peer = Peer(sock, self)
            self.peers.append(peer)
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def hears(self, data, timeout=15):
        eventually(lambda: data in self.heard, timeout, f"the server does not hear {data!r}")
