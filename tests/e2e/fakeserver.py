"""fakeserver.py - a server that is played by the test: it answers what the test says, which no dflockd
would.

    class Greedy(FakeServer):
        def asked(self, conn, command, key, arg):
            return "ok"                       one line; None: nothing now, but conn.say("…") later

    with Greedy() as fake: fake.address       "127.0.0.1:port"

asked() is called in one thread, request by request, in the order in which they come; it may raise Gone
to close that connection. `ping` is answered without it, unless pings is False. .conns: how many there
were; conn.number is 1, 2, …
"""

import contextlib
import selectors
import socket
import threading


class Gone(Exception):
    """The server closes the connection, after saying `last`, as it is."""

    def __init__(self, last=b""):
        super().__init__()
        self.last = last


class Conn:
    def __init__(self, sock, number):
        self.sock, self.number = sock, number
        self.rest = b""

    def say(self, line):
        self.sock.sendall(line.encode() + b"\n")


class FakeServer:
    pings = True

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.conns = 0
        self.over = False
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ, None)
        self.thread = threading.Thread(target=self._run, daemon=True)

    def asked(self, conn, command, key, arg):
        raise NotImplementedError

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *what):
        self.over = True
        self.thread.join(10)
        self.listener.close()

    def _run(self):
        while not self.over:
            for key, _ in self.selector.select(0.05):
                if key.data is None:
                    self._accept()
                else:
                    self._read(key.data)
        for key in list(self.selector.get_map().values()):
            if key.data:
                key.fileobj.close()
        self.selector.close()

    def _accept(self):
        sock, _ = self.listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.conns += 1
        self.selector.register(sock, selectors.EVENT_READ, Conn(sock, self.conns))

    def _drop(self, conn):
        self.selector.unregister(conn.sock)
        conn.sock.close()

    def _read(self, conn):
        try:
            data = conn.sock.recv(65536)
            if not data:
                raise ConnectionResetError
            *lines, conn.rest = (conn.rest + data).split(b"\n")
            whole = len(lines) // 3 * 3
            conn.rest = b"\n".join(lines[whole:] + [conn.rest])
            for i in range(0, whole, 3):
                self._serve(conn, *(x.decode() for x in lines[i:i + 3]))
        except Gone as e:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                conn.sock.sendall(e.last)
            self._drop(conn)
        except (ConnectionResetError, BrokenPipeError):
            self._drop(conn)

    def _serve(self, conn, command, key, arg):
        if command == "ping":
            answer = "ok" if self.pings else None
        else:
            answer = self.asked(conn, command, key, arg)
        if answer is not None:
            conn.say(answer)
