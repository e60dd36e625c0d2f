"""udp_server and udp_client, with each other and with sockets of Python's.

Usage: udp_test.py UDP_SERVER UDP_CLIENT
"""

import socket
import threading

import testing
from testing import PROGRAMS, Server, run

CLIENT = PROGRAMS[1]


def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(testing.PATIENCE)
    s.bind(("127.0.0.1", 0))
    return s


class UdpTest(testing.ExampleTest):
    def test_both(self):
        with Server("--listen=127.0.0.1:0") as server:
            done = run(CLIENT, f"--to={server.address}", "--patience=60s", "hello", "world")
            self.assertEqual(done.stdout, "hello: HELLO\nworld: WORLD\n")
            self.assertEqual(
                server.stop(), (0, "received 2 datagrams, answered 2, dropped 0\n", ""))

    def test_the_server_answers_python(self):
        with Server("--listen=127.0.0.1:0") as server, udp() as a, udp() as b:
            to = ("127.0.0.1", server.port)
            # Lengths of 0 and of all that fits in one.
            for data in [b"", b"x", b"\xff\x00y", b"z" * 65507]:
                for s in [a, b]:
                    s.sendto(data, to)
                for s in [a, b]:
                    self.assertEqual(s.recvfrom(70000), (data.upper(), to))

    def test_the_client_asks_python_again_and_again(self):
        with udp() as server:
            asked = []

            def serve():
                for i in range(3):
                    data, peer = server.recvfrom(100)
                    asked.append(data)
                server.sendto(b"at last", peer)

            t = threading.Thread(target=serve)
            t.start()
            done = run(CLIENT, f"--to=127.0.0.1:{server.getsockname()[1]}", "--tries=1000",
                       "--patience=50ms", "x")
            t.join()
            self.assertEqual(done.stdout, "x: at last\n")
            self.assertEqual(asked, [b"x"] * 3)

    def test_the_client_says_who_does_not_answer(self):
        with udp() as silent:
            done = run(CLIENT, f"--to=127.0.0.1:{silent.getsockname()[1]}", "--tries=2",
                       "--patience=10ms", "x", status=1)
            self.assertRegex(done.stderr, "^udp_client: x: DEADLINE_EXCEEDED: .*\n$")
            self.assertEqual(silent.recv(10), b"x")
            self.assertEqual(silent.recv(10), b"x")
        port = testing.free_port(socket.SOCK_DGRAM)
        done = run(CLIENT, f"--to=127.0.0.1:{port}", "--patience=60s", "x", status=1)
        self.assertIn("Connection refused", done.stderr)

    def test_handlers_wait_side_by_side_and_are_limited(self):
        with Server("--listen=127.0.0.1:0", "--delay=600s", "--max_in_flight=3",
                    "--grace=100ms") as server, udp() as s:
            for _ in range(5):
                s.sendto(b"x", ("127.0.0.1", server.port))
            code, said, _ = server.stop()
            self.assertEqual((code, said), (0, "received 5 datagrams, answered 0, dropped 2\n"))

    def test_what_has_arrived_is_answered_at_the_end(self):
        with Server("--listen=127.0.0.1:0", "--delay=300ms", "--grace=60s") as server:
            with udp() as s:
                for _ in range(10):
                    s.sendto(b"x", ("127.0.0.1", server.port))
                code, said, err = server.stop()
                self.assertEqual(
                    (code, said, err), (0, "received 10 datagrams, answered 10, dropped 0\n", ""))
                for _ in range(10):
                    self.assertEqual(s.recv(10), b"X")

    def test_flags(self):
        self.explains("--listen", "--delay", "--max_in_flight")
        self.refuses("--max_in_flight=0", "--listen=x", "--delay=soon", "word")
        self.explains("--to", "--patience", "--tries", program=CLIENT)
        self.refuses("--to=x", "--tries=0", "--nonsense", program=CLIENT, but=("word",))
        self.refuses("--tries=1", program=CLIENT)


testing.main()
