"""redis_fanout with a redis-server that this test starts, ends, and starts again.

Usage: redis_fanout_test.py REDIS_FANOUT
"""

import testing
from testing import Server, connect, free_port, run, tool


class Client:
    def __init__(self, server):
        self.socket = connect(server.port)
        self.file = self.socket.makefile("r")

    def close(self):
        self.file.close()
        self.socket.close()


class RedisFanoutTest(testing.ExampleTest):
    def setUp(self):
        self.port = free_port()

    def redis(self):
        return testing.redis(self.port)

    def fanout(self, *flags):
        return Server("--listen=127.0.0.1:0", f"--redis_port={self.port}", "--max_delay=100ms",
                      *flags)

    def cli(self, *words):
        return run(tool("redis-cli"), "-p", str(self.port), *words).stdout.strip()

    def subscribed(self):
        testing.wait_until(
            lambda: self.cli("pubsub", "numsub", "news").split() == ["news", "1"],
            "it has subscribed")

    def clients(self, server, count):
        """Who get what is published from now on."""
        clients = [Client(server) for _ in range(count)]
        for c in clients:  # until each has got one, it may be too early
            c.socket.setblocking(False)

        def ready():
            self.cli("publish", "news", "ready?")
            return all(self.peeks(c) for c in clients)

        testing.wait_until(ready, "all are fed")
        self.cli("publish", "news", "go")
        for c in clients:
            c.socket.settimeout(testing.PATIENCE)
            while c.file.readline() != "go\n":
                pass
        return clients

    def peeks(self, client):
        try:
            return bool(client.socket.recv(1, testing.socket.MSG_PEEK))
        except BlockingIOError:
            return False

    def test_everybody_gets_everything_in_order(self):
        with self.redis(), self.fanout() as server:
            self.subscribed()
            clients = self.clients(server, 50)
            words = [f"message {i}" for i in range(100)]
            run(tool("redis-cli"), "-p", str(self.port),
                input="".join(f'publish news "{w}"\n' for w in words))
            for c in clients:
                self.assertEqual([c.file.readline() for _ in words], [w + "\n" for w in words])
            # Other channels are none of its business.
            self.cli("publish", "olds", "x")
            self.cli("publish", "news", "last")
            for c in clients:
                self.assertEqual(c.file.readline(), "last\n")
            self.assertEqual(server.stop(), (0, "", "redis_fanout: subscribed\n"))
            for c in clients:
                self.assertEqual(c.file.readline(), "")
                c.close()

    def test_redis_may_come_late_and_go(self):
        with self.fanout() as server:
            testing.wait_until(lambda: "Connection refused" in server.errors(), "it says so")
            with self.redis():
                self.subscribed()
                (client,) = self.clients(server, 1)
            testing.wait_until(lambda: "Server closed the connection" in server.errors(),
                               "it notices")
            with self.redis():
                self.subscribed()
                self.cli("publish", "news", "again")
                self.assertEqual(client.file.readline(), "again\n")
                client.close()
                self.assertEqual(server.stop()[:2], (0, ""))

    def test_it_ends_while_redis_is_away(self):
        with self.fanout() as server:
            testing.wait_until(lambda: "again in 100ms" in server.errors(), "it waits")
            self.assertEqual(server.stop()[:2], (0, ""))

    def test_flags(self):
        self.explains("--redis_port", "--channel", "--backlog")
        self.refuses("--listen=x", "--redis_port=0", "--backlog=0", "word")


testing.main()
