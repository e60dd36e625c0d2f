"""patched_openssl with openssl s_server, with who says nothing, and with nobody.

Usage: patched_openssl_test.py PATCHED_OPENSSL
"""

import socket
import threading

import testing
from testing import PROGRAMS, Peer, free_port, run


class PatchedOpensslTest(testing.ExampleTest):
    def test_days_left(self):
        folder = testing.temporary_folder()
        cert, key = testing.certificate(folder)
        port = free_port()
        with Peer("openssl", "s_server", "-quiet", "-cert", cert, "-key", key,
                  "-accept", f"127.0.0.1:{port}", port=port):
            done = run(PROGRAMS[0], "--days=1", *[f"localhost:{port}"] * 50)
            self.assertEqual(len(done.stdout.splitlines()), 50)
            for line in done.stdout.splitlines():
                self.assertRegex(line, rf"^localhost:{port}: \d+ days left, /CN=localhost$")
            done = run(PROGRAMS[0], "--days=10000", f"localhost:{port}", status=1)
            self.assertIn("days left", done.stdout)

    def test_all_at_once_on_one_thread(self):
        """Nobody is answered before all have asked, and then by what is no TLS."""
        count = 200

        def serve(listener):
            connections = [listener.accept()[0] for _ in range(count)]
            for c in connections:
                c.recv(1)
                c.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                c.close()

        with socket.create_server(("127.0.0.1", 0), backlog=count) as listener:
            t = threading.Thread(target=serve, args=(listener,))
            t.start()
            server = f"127.0.0.1:{listener.getsockname()[1]}"
            done = run(PROGRAMS[0], f"--at_once={count}", *[server] * count, status=1)
            t.join()
        self.assertEqual(done.stdout.count(f"{server}: handshake: "), count)

    def test_who_goes_away(self):
        """After its part of the handshake, and before: nobody else minds."""
        folder = testing.temporary_folder()
        cert, key = testing.certificate(folder)
        port = free_port()
        with socket.create_server(("127.0.0.1", 0)) as closes, \
                Peer("openssl", "s_server", "-quiet", "-naccept", "1000", "-cert", cert,
                     "-key", key, "-accept", f"127.0.0.1:{port}", port=port):
            gone = f"127.0.0.1:{closes.getsockname()[1]}"

            def close_all():
                for _ in range(20):
                    closes.accept()[0].close()

            t = threading.Thread(target=close_all)
            t.start()
            done = run(PROGRAMS[0], *[gone] * 20, *[f"localhost:{port}"] * 20, status=1)
            t.join()
            self.assertEqual(done.stdout.count(f"{gone}: handshake: "), 20)
            self.assertEqual(done.stdout.count(" days left, /CN=localhost"), 20)
            self.assertNotIn("error:00000000", done.stdout)

    def test_what_fails(self):
        nobody = f"127.0.0.1:{free_port()}"
        done = run(PROGRAMS[0], nobody, status=1)
        self.assertEqual(done.stdout, f"{nobody}: connect: Connection refused\n")
        with socket.create_server(("127.0.0.1", 0)) as silent:
            server = f"127.0.0.1:{silent.getsockname()[1]}"
            done = run(PROGRAMS[0], "--timeout=100ms", server, status=1)
            self.assertIn("timed out", done.stdout)

    def test_flags(self):
        self.explains("--at_once", "--timeout", "--days")
        self.refuses("--at_once=0", "--timeout=x", but=("127.0.0.1",))
        self.refuses("--days=3")


testing.main()
