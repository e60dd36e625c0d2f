"""sendfile_server with curl, cmp, and clients that do not read.

Usage: sendfile_server_test.py SENDFILE_SERVER
"""

import os
import socket

import testing
from testing import Server, connect, read_to_end, run, tool


class SendfileServerTest(testing.ExampleTest):
    def setUp(self):
        self.folder = testing.temporary_folder()
        self.file = self.folder + "/file"

    def write(self, data):
        with open(self.file, "wb") as f:
            f.write(data)

    def server(self, *flags):
        return Server("--listen=127.0.0.1:0", f"--file={self.file}", *flags)

    def test_curl_gets_every_byte(self):
        for size in [0, 1, 12_345_678]:
            self.write(os.urandom(size))
            with self.server() as server, self.subTest(size):
                copy = self.folder + "/copy"
                open(copy, "w").close()
                run(tool("curl"), "--silent", "--show-error", "--http0.9", "-o", copy,
                    f"http://127.0.0.1:{server.port}/", status=0 if size else None)
                run(tool("cmp"), copy, self.file)
                code, said, err = server.stop()
                self.assertEqual((code, err), (0, ""))
                self.assertIn("served 1 clients; 0 were cut", said)

    def test_who_does_not_read_holds_up_nobody(self):
        data = os.urandom(12_000_000)
        self.write(data)
        with self.server("--grace=100ms") as server:
            deaf = [connect(server.port) for _ in range(8)]
            for _ in range(3):
                with connect(server.port) as s:
                    self.assertTrue(read_to_end(s) == data)
            # Now they do, but for one, who gets no end but a reset.
            for s in deaf[1:]:
                self.assertTrue(read_to_end(s) == data)
                s.close()
            code, said, _ = server.stop()
            self.assertEqual(code, 0)
            self.assertIn("; 1 were cut", said)
            with self.assertRaises(ConnectionResetError):
                read_to_end(deaf[0])
            deaf[0].close()

    def test_who_takes_nothing_is_cut(self):
        self.write(os.urandom(12_000_000))
        with self.server("--stall=100ms") as server, connect(server.port) as s:
            testing.wait_until(lambda: b"CANCELLED" in server.errors().encode(), "it is cut")
            with self.assertRaises(ConnectionResetError):
                read_to_end(s)
            self.assertIn(" 1 took nothing for too long", server.stop()[1])

    def test_a_new_file_is_served_without_a_restart(self):
        self.write(b"old")
        with self.server() as server:
            with connect(server.port) as s:
                self.assertEqual(read_to_end(s), b"old")
            os.rename(self.file, self.file + ".old")
            self.assertTrue(testing.is_reset(server.port))
            self.write(b"new")
            with connect(server.port) as s:
                self.assertEqual(read_to_end(s), b"new")
            self.assertIn("No such file or directory", server.stop()[2])

    def test_a_transfer_may_finish_at_the_end(self):
        data = os.urandom(12_000_000)
        self.write(data)
        with self.server("--grace=600s") as server, connect(server.port) as s:
            first = s.recv(1000)
            server.process.terminate()

            def refused():
                with socket.socket() as new:
                    return new.connect_ex(("127.0.0.1", server.port)) != 0

            testing.wait_until(refused, "it accepts no more")
            self.assertTrue(first + read_to_end(s) == data)
            s.close()
            code, said, _ = server.end()
            self.assertEqual(code, 0)
            self.assertIn("; 0 were cut", said)

    def test_flags(self):
        self.write(b"")
        self.explains("--file", "--listen", "--stall", "--grace")
        self.refuses("--file=", "--file=/no/such", "--file=/", "--listen=x")


testing.main()
