"""puppet.py - libdflock driven from Python: tests/client/puppet.c, which calls it as it is told.

    with Puppet(server, lease=5) as p:        options for the handles, servers= its address by default
        a = p.lock("key")                     or p.sem("key", 3);  on_loss="…" and other options
        a.start("acquire")                    in a thread of the puppet's
        a.wait("acquire")                     → what it came to: ["held", TOKEN, LEASE]
        a.call("release")                     both
        a.held()                              → (bool, seconds left)
        a.losses                              [[ERROR, text], …];  a.wait_loss()
        a.got("acquire")                      → (token, a clock), after another try if that lasted
        p.pause(), p.go_on()                  it is stopped, when pause() returns

    BusyServer(…): a Server on a machine on which a worker may not run for so long that it is replaced
    Proxy(server): a TCP proxy to it; .address, .cut() ends all its connections, .hold() lets nothing
        through until .go(), .refuse() accepts nobody (closes who comes) until .go()
    FakeServer(script): each connection is script(Peer) in a thread; .address, .cut(), .end()
"""

import glob
import os
import queue
import re
import signal
import socket
import subprocess
import threading

from harness import TIMEOUT, Failure, Server, check_eq, elapsed, eventually

BUILD = os.environ.get("top_builddir", ".")


class BusyServer(Server):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.expect_log += [re.compile(r" worker hangs, "), re.compile(r" worker died .*signal=KILL")]


class Handle:
    def __init__(self, puppet, number):
        self.puppet, self.number = puppet, number
        self.driven = False
        self.losses = []
        self.replies = {}

    def queue(self, call):
        with self.puppet.mutex:
            return self.replies.setdefault(call, queue.Queue())

    def start(self, call, *args):
        self.puppet.write(call, self.number, *args)

    def do(self, call, *args):
        """The same in the handle's event loop."""
        self.puppet.write("do", self.number, call, *args)

    def wait(self, call, timeout=TIMEOUT):
        try:
            return self.queue(call).get(timeout=timeout)
        except queue.Empty:
            raise Failure(f"{call} of handle {self.number} did not return") from None

    def is_waiting(self, call):
        return self.queue(call).empty()

    def call(self, call, *args, timeout=TIMEOUT):
        self.start(call, *args)
        return self.wait(call, timeout)

    def drive(self, call, *args, timeout=TIMEOUT):
        self.do(call, *args)
        return self.wait(call, timeout)

    def acquire(self, timeout=TIMEOUT):
        reply = self.call("acquire", timeout=timeout)
        check_eq(reply[0], "held", "acquire (" + " ".join(reply) + ")")
        return reply[1]

    def got(self, call):
        """Until it is held: a grant that was on its way for long is none any more. The clock began
        with the try that was successful."""
        end = elapsed()
        while True:
            took = elapsed()
            reply = self.drive(call) if self.driven else self.call(call)
            if reply[0] == "held":
                return reply[1], took
            if reply[0] != "lease_expired" or end() > 2 * TIMEOUT:
                raise Failure(f"{call}: {' '.join(reply)}")

    def release(self):
        """What is held, "released"; a server that did not run for 2 s has not been heard: "connect"."""
        took = elapsed()
        reply = self.drive("release") if self.driven else self.call("release")
        if reply[0] != "connect" or took() < 1.9:
            check_eq(reply[0], "released", "release (" + " ".join(reply) + ")")
        return reply[0]

    def held(self):
        is_held, left = self.call("held")
        return is_held == "1", float(left)

    def wait_loss(self, n=1, timeout=TIMEOUT):
        eventually(lambda: len(self.losses) >= n, timeout, "no loss was told of")
        return self.losses[n - 1]


class Puppet:
    def __init__(self, server=None, program="tests/client/puppet", env=None, **options):
        if server is not None:
            options.setdefault("servers", address_of(server))
        self.options = options
        self.mutex = threading.Lock()
        self.handles = {}
        self.common = Handle(self, 0)
        self.proc = subprocess.Popen([os.path.join(BUILD, program)], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True, errors="surrogateescape",
                                     bufsize=1, env=env)
        self.pid = self.proc.pid
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.kill()

    def kill(self):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        self.reader.join(TIMEOUT)

    def pause(self):
        """With kill() alone its threads would go on for a while when the machine is busy."""
        os.kill(self.pid, signal.SIGSTOP)
        eventually(lambda: all(state_of(x) in "Tt" for x in glob.glob(f"/proc/{self.pid}/task/*/stat")),
                   TIMEOUT, "it does not stop")

    def rests(self):
        """Of its threads only those for lines and for renewals are left, and both sleep. A sanitizer's
        allocator has mutexes that fork() does not let go of: a thread that begins may have one."""
        def resting():
            states = [state_of(x) for x in glob.glob(f"/proc/{self.pid}/task/*/stat")]
            return states == ["S"] * 2
        eventually(resting, TIMEOUT, "its threads do not rest")

    def go_on(self):
        os.kill(self.pid, signal.SIGCONT)

    def end(self):
        """Orderly: the exit code (a sanitizer has its say)."""
        self.proc.stdin.close()
        return self.proc.wait(TIMEOUT)

    def write(self, *words):
        with self.mutex:
            self.proc.stdin.write(" ".join(str(x) for x in words) + "\n")
            self.proc.stdin.flush()

    def _read(self):
        for line in self.proc.stdout:
            kind, number, *words = line.rstrip("\n").split(" ")
            handle = self.handles.get(int(number), self.common)
            if kind == "!":
                handle.losses.append([words[0], " ".join(words[1:])])
            elif words[0] in ("option", "text"):
                self.common.queue(words[0]).put(words[1:])
            else:
                handle.queue(words[0]).put(words[1:])

    def set(self, options):
        self.write("fresh")
        for name, value in {**self.options, **options}.items():
            self.write("option", name, value)
            result = self.common.wait("option")
            check_eq(result[0], "0", f"the option {name}={value}: {result}")

    def _make(self, kind, key, rest, options):
        self.set(options)
        handle = Handle(self, len(self.handles))
        self.handles[handle.number] = handle
        self.write(kind, handle.number, key, *rest)
        handle.made = handle.wait("new")
        return handle

    def lock(self, key, **options):
        return self._make("lock", key, [], options)

    def sem(self, key, limit, **options):
        return self._make("sem", key, [limit], options)

    def driven(self, key, limit=None, **options):
        handle = self.sem(key, limit, **options) if limit else self.lock(key, **options)
        handle.call("driver")
        handle.driven = True
        return handle


def state_of(path):
    """"": it has ended meanwhile."""
    try:
        with open(path) as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def address_of(server):
    return server if isinstance(server, str) else \
        server.address if hasattr(server, "address") else f"127.0.0.1:{server.port}"


class Listener:
    """Accepts, and gives each connection to self.serve() in a thread."""

    def __init__(self):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.sock.getsockname()[1]
        self.socks = []
        self.accepted = 0
        self.mutex = threading.Condition()
        self.over = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if not self.over:
            self.end()

    def end(self):
        """Nobody is there from now on."""
        self.over = True
        with self.mutex:
            self.mutex.notify_all()
        # Wakes accept() too.
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.cut()

    def _accept(self):
        while not self.over:
            try:
                sock = self.sock.accept()[0]
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.mutex:
                self.accepted += 1
                self.socks.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            self.serve(sock)
        except (OSError, EOFError):
            pass
        close(sock)

    def cut(self):
        with self.mutex:
            socks, self.socks = self.socks, []
        for sock in socks:
            close(sock)


def close(sock):
    """Also while another thread reads it."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()


class Proxy(Listener):
    def __init__(self, server):
        self.target = ("127.0.0.1", server.port)
        self.held = self.refusing = False
        super().__init__()

    def hold(self):
        self.held = True

    def refuse(self):
        self.refusing = True
        self.cut()

    def go(self):
        with self.mutex:
            self.held = self.refusing = False
            self.mutex.notify_all()

    def serve(self, sock):
        if self.refusing:
            return
        other = socket.create_connection(self.target)
        other.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.mutex:
            self.socks.append(other)
        threading.Thread(target=self._pump, args=(other, sock), daemon=True).start()
        self._pump(sock, other)

    def _pump(self, source, sink):
        try:
            while True:
                data = source.recv(65536)
                with self.mutex:
                    self.mutex.wait_for(lambda: not self.held or self.over)
                if not data:
                    break
                sink.sendall(data)
        except OSError:
            pass
        close(source)
        close(sink)


class Peer:
    """A connection as a fake server sees it."""

    def __init__(self, sock):
        self.sock = sock
        self.file = sock.makefile("rb")

    def request(self):
        lines = [self.file.readline() for _ in range(3)]
        if not lines[2].endswith(b"\n"):
            raise EOFError
        return tuple(x[:-1].decode() for x in lines)

    def say(self, text):
        self.sock.sendall(text.encode())

    def wait_end(self):
        while self.file.read(1):
            pass


class FakeServer(Listener):
    def __init__(self, script):
        self.script = script
        self.errors = []
        super().__init__()

    def serve(self, sock):
        self.script(Peer(sock))
