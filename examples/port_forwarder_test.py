"""port_forwarder in front of real servers, with clients that end in all ways.

Usage: port_forwarder_test.py PORT_FORWARDER
"""

import hashlib
import os
import socket
import struct
import threading

import testing
from testing import Server, connect, read_to_end, run, tool


class Backend:
    """A server in this process: `serve(connection)` for each connection, on a thread."""

    def __init__(self, serve):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.seen = []
        self.threads = []
        self.serve = serve
        self.acceptor = threading.Thread(target=self.accept)
        self.acceptor.start()

    def accept(self):
        while True:
            try:
                c, _ = self.listener.accept()
            except OSError:
                return
            c.settimeout(testing.PATIENCE)
            self.threads.append(threading.Thread(target=self.one, args=(c,)))
            self.threads[-1].start()

    def one(self, c):
        with c:
            try:
                self.seen.append(self.serve(c))
            except OSError as e:
                self.seen.append(e)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.acceptor.join()
        for t in self.threads:
            t.join()


def digest_at_the_end(c):
    """Answers when its client has said all: works only if ends are passed on."""
    data = read_to_end(c)
    c.sendall(hashlib.sha256(data).hexdigest().encode())
    return len(data)


def echo(c):
    while data := c.recv(65536):
        c.sendall(data)
    return "ended"


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def forwarder(port, *flags):
    return Server("--listen=127.0.0.1:0", f"--to=127.0.0.1:{port}", *flags)


class PortForwarderTest(testing.ExampleTest):
    def test_a_real_server_behind_it(self):
        folder = testing.temporary_folder()
        data = os.urandom(5_000_000)
        with open(folder + "/file", "wb") as f:
            f.write(data)
        port = testing.free_port()
        with testing.nginx(folder, port, f"listen 127.0.0.1:{port};"), forwarder(port) as f:
            urls = [f"http://127.0.0.1:{f.port}/file"] * 5
            out = folder + "/got"
            run(tool("curl"), "--silent", "--show-error", "--fail",
                *[w for i, u in enumerate(urls) for w in ("-o", f"{out}{i}", u)])
            for i in range(5):
                with open(f"{out}{i}", "rb") as g:
                    self.assertTrue(g.read() == data)
            code, said, err = f.stop()
            self.assertEqual((code, err), (0, ""))
            self.assertIn("forwarded 1 connections; 0 were cut", said)

    def test_a_half_closed_connection_gets_its_answer(self):
        data = os.urandom(3_000_000)
        with Backend(digest_at_the_end) as b, forwarder(b.port) as f, connect(f.port) as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            self.assertEqual(read_to_end(s).decode(), hashlib.sha256(data).hexdigest())

    def test_a_reset_is_passed_on_as_one(self):
        came = threading.Event()

        def serve(c):
            c.recv(1)
            came.set()
            return c.recv(1)

        with Backend(serve) as b, forwarder(b.port) as f:
            s = connect(f.port)
            s.sendall(b"x")
            self.assertTrue(came.wait(testing.PATIENCE))
            reset(s)
            testing.wait_until(lambda: b.seen, "the backend sees its end")
            self.assertIsInstance(b.seen[0], ConnectionResetError)

    def test_a_reset_by_the_server_too(self):
        def serve(c):
            c.sendall(b"half")
            c.recv(1)
            reset(c)

        with Backend(serve) as b, forwarder(b.port) as f, connect(f.port) as s:
            self.assertEqual(s.recv(4), b"half")
            s.sendall(b"x")
            with self.assertRaises(ConnectionResetError):
                s.recv(1)

    def test_nobody_behind_it(self):
        with forwarder(testing.free_port()) as f:
            self.assertTrue(testing.is_reset(f.port))
            code, _, err = f.stop()
            self.assertEqual(code, 0)
            self.assertIn("Connection refused", err)
            self.assertEqual(err.count("\n"), 1)

    def test_sigterm_lets_open_connections_come_to_their_ends(self):
        with Backend(echo) as b, forwarder(b.port, "--grace=600s") as f, connect(f.port) as s:
            s.sendall(b"before")
            self.assertEqual(s.recv(6), b"before")
            f.process.terminate()

            def refused():
                with socket.socket() as new:
                    return new.connect_ex(("127.0.0.1", f.port)) != 0

            testing.wait_until(refused, "it accepts no more")
            s.sendall(b"after")
            self.assertEqual(s.recv(5), b"after")
            self.assertIsNone(f.process.poll())
            s.shutdown(socket.SHUT_WR)
            self.assertEqual(s.recv(1), b"")
            code, said, err = f.end()
            self.assertEqual((code, err), (0, ""))
            self.assertIn("; 0 were cut", said)
            # One that came just then, to see whether it accepts, was served too.
            self.assertEqual(set(b.seen), {"ended"})

    def test_what_goes_on_beyond_the_grace_is_reset(self):
        with Backend(echo) as b, forwarder(b.port, "--grace=100ms") as f, connect(f.port) as s:
            s.sendall(b"x")
            self.assertEqual(s.recv(1), b"x")
            code, said, _ = f.stop()
            self.assertEqual(code, 0)
            self.assertIn("; 1 were cut", said)
            with self.assertRaises(ConnectionResetError):
                s.recv(1)
            testing.wait_until(lambda: b.seen, "the backend sees its end")
            self.assertIsInstance(b.seen[0], ConnectionResetError)

    def test_flags(self):
        self.explains("--to", "--listen", "--grace", "--connect_timeout")
        self.refuses("--to=nowhere", "--to=", "--nonsense", "--max_connections=0",
                     but=("--listen=127.0.0.1:0",))
        self.refuses("--listen=x", "--listen=192.0.2.1:1", but=("--to=127.0.0.1:1",))


testing.main()
