"""chat_server, with several who talk, one who does not listen, and netcat's kind.

Usage: chat_server_test.py CHAT_SERVER
"""

import socket

import testing
from testing import Server, connect, read_to_end, run, tool


class Client:
    def __init__(self, server, name):
        self.name = name
        self.socket = connect(server.port)
        self.file = self.socket.makefile("rw", newline="\n", encoding="latin-1")
        assert self.read() == "Your name?"
        self.say(name)

    def say(self, text):
        self.file.write(text + "\n")
        self.file.flush()

    def read(self):
        return self.file.readline().rstrip("\n")

    def close(self):
        self.file.close()
        self.socket.close()


class ChatServerTest(testing.ExampleTest):
    def room(self, server, *names):
        """Clients who all know of each other."""
        clients = []
        for name in names:
            clients.append(Client(server, name))
            for other in clients[:-1]:
                self.assertEqual(other.read(), f"* {name} is here")
        return clients

    def test_everybody_reads_what_others_write_in_order(self):
        with Server("--listen=127.0.0.1:0") as server:
            clients = self.room(server, "ann", "bob", "cyd")
            for i in range(100):
                clients[i % 3].say(f"line {i}")
                for c in clients:
                    if c is not clients[i % 3]:
                        self.assertEqual(c.read(), f"{clients[i % 3].name}: line {i}")
            clients[2].close()
            for c in clients[:2]:
                self.assertEqual(c.read(), "* cyd has left")
            # Her name is free again.
            clients[2] = Client(server, "cyd")
            self.assertEqual(clients[0].read(), "* cyd is here")
            for c in clients:
                c.close()
            self.assertEqual(server.stop(), (0, "", ""))

    def test_names(self):
        with Server("--listen=127.0.0.1:0") as server:
            ann, bob = self.room(server, "ann", "bob")
            for name in ["ann", "", "a b", "x\ty"]:
                c = Client(server, name)
                self.assertEqual(c.read(), "* that is no name, or somebody has it")
                self.assertEqual(c.read(), "")
                c.close()
            # As telnet ends lines, and with what a terminal would obey.
            bob.say("hello\r")
            self.assertEqual(ann.read(), "bob: hello")
            bob.say("\x1b[2Jhello")
            self.assertEqual(ann.read(), "bob:  [2Jhello")
            ann.close(), bob.close()

    def test_socat(self):
        with Server("--listen=127.0.0.1:0") as server:
            (ann,) = self.room(server, "ann")
            run(tool("socat"), "-", f"TCP:127.0.0.1:{server.port}", input="bob\nhi\n")
            self.assertEqual([ann.read() for _ in range(3)],
                             ["* bob is here", "bob: hi", "* bob has left"])
            ann.close()

    def test_a_line_that_is_too_long_ends_its_own_connection(self):
        with Server("--listen=127.0.0.1:0") as server:
            ann, bob = self.room(server, "ann", "bob")
            bob.say("x" * 1000)
            self.assertEqual(ann.read(), "bob: " + "x" * 1000)
            bob.say("x" * 1001)
            self.assertEqual(ann.read(), "* bob has left")
            ann.close(), bob.close()

    def test_who_does_not_listen_holds_up_nobody_and_is_told(self):
        with Server("--listen=127.0.0.1:0", "--backlog=10", "--stall=600s") as server:
            ann, bob, deaf = self.room(server, "ann", "bob", "deaf")
            count = 20_000
            for i in range(count):
                ann.say(f"{i} " + "x" * 900)
                self.assertTrue(bob.read().startswith(f"ann: {i} "))
            ann.say("the last")
            self.assertEqual(bob.read(), "ann: the last")
            got, missed = 0, 0
            while (line := deaf.read()) != "ann: the last":
                if line.startswith("* you have missed"):
                    missed += int(line.split()[4])
                else:
                    got += 1
            self.assertGreater(missed, 0)
            self.assertEqual(got + missed, count)
            for c in [ann, bob, deaf]:
                c.close()

    def test_at_the_end_everybody_is_told(self):
        with Server("--listen=127.0.0.1:0", "--grace=600s") as server:
            ann, bob = self.room(server, "ann", "bob")
            silent = connect(server.port)  # has not said a name
            self.assertEqual(silent.recv(100), b"Your name?\n")
            bob.say("bye")
            self.assertEqual(ann.read(), "bob: bye")
            silent.shutdown(socket.SHUT_WR)
            self.assertEqual(server.stop(), (0, "", ""))
            for c in [ann, bob]:
                self.assertEqual(c.read(), "* the server ends")
                self.assertEqual(c.read(), "")
                c.close()
            self.assertEqual(read_to_end(silent), b"")
            silent.close()

    def test_flags(self):
        self.explains("--listen", "--backlog", "--stall")
        self.refuses("--listen=x", "--backlog=0", "--max_clients=0", "word")


testing.main()
