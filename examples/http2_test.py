"""Runs http_server, and speaks HTTP/2 with it by curl, nghttp and h2load.

Usage: http2_test.py HTTP_SERVER
"""

import asyncio
import os
import re
import signal
import subprocess
import threading

import testing
from testing import tool

TMP = testing.temporary_folder()


class Server(testing.Server):
    def __init__(self, *flags):
        super().__init__("--port=0", "--hubs=1", *flags)


def curl(*words, data=None):
    return testing.curl(*words, data=data).stdout


class Wire:
    """Passes connections on to a server, and counts the requests that go by.

    Each is one HEADERS frame of the client's; frames are as in RFC 9113, 4.1."""

    def __init__(self, address):
        self.server = address.rsplit(":", 1)
        self.requests = 0

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.listener = self.loop.run_until_complete(
            asyncio.start_server(self.pass_on, "127.0.0.1", 0))
        self.address = "%s:%d" % self.listener.sockets[0].getsockname()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        return self

    def __exit__(self, *_):
        """Ends what is still open, on both sides."""
        async def end():
            self.listener.close()
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
        asyncio.run_coroutine_threadsafe(end(), self.loop).result(testing.PATIENCE)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def pass_on(self, from_client, to_client):
        try:
            from_server, to_server = await asyncio.open_connection(*self.server)
        except ConnectionError:
            return to_client.close()
        count = self.count_requests()
        next(count)
        try:
            await asyncio.gather(self.copy(from_client, to_server, count.send),
                                 self.copy(from_server, to_client, lambda part: None))
        finally:
            to_server.close()
            to_client.close()

    async def copy(self, reader, writer, look):
        """To the end of what comes, also when nobody takes it any more."""
        takes = True
        while part := await self.read(reader):
            look(part)
            try:
                if takes:
                    writer.write(part)
                    await writer.drain()
            except OSError:
                takes = False
        try:
            writer.write_eof()
        except OSError:
            pass

    async def read(self, reader):
        try:
            return await reader.read(65536)
        except OSError:
            return b""

    def count_requests(self):
        """Is sent what comes of one connection, in pieces."""
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        buffer = b""
        while len(buffer) < len(preface):
            buffer += yield
        buffer = buffer.removeprefix(preface)
        while True:
            while len(buffer) >= 9:
                size = 9 + int.from_bytes(buffer[:3], "big")
                if len(buffer) < size:
                    break
                self.requests += buffer[3] == 1
                buffer = buffer[size:]
            buffer += yield


class Http2Test(testing.ExampleTest):
    def test_curl_by_prior_knowledge(self):
        data = os.urandom(3_000_000)
        with Server() as server:
            url = f"http://{server.address}"
            prior = "--http2-prior-knowledge"
            head, body = curl(prior, "--include", url + "/").decode().split("\r\n\r\n")
            self.assertEqual(body, "Hello, world!")
            self.assertTrue(head.startswith("HTTP/2 200 \r\n"), head)
            self.assertIn("\r\ncontent-length: 13", head)
            self.assertTrue(curl(prior, "--data-binary", "@-", url + "/echo", data=data) == data)
            self.assertIn(b"HTTP/2 404 ", curl(prior, "--head", url + "/nowhere"))
            events = curl(prior, "--no-buffer", url + "/events?count=3")
            self.assertEqual(events.count(b"\ndata: "), 3)
            # The same port speaks HTTP/1.1.
            self.assertTrue(curl("--include", url + "/").startswith(b"HTTP/1.1 200 OK"))
            self.assertEqual(server.stop(), (0, "", ""))

    def test_files(self):
        data = os.urandom(1_000_000)
        with open(TMP + "/a.bin", "wb") as f:
            f.write(data)
        with Server("--root=" + TMP) as server:
            url = f"http://{server.address}/files/a.bin"
            prior = "--http2-prior-knowledge"
            self.assertTrue(curl(prior, url) == data)
            self.assertTrue(curl(prior, "--range", "5-700000", url) == data[5:700001])

    def test_tls_agrees_upon_it(self):
        chain, key = testing.certificate(TMP)
        with Server(f"--tls-cert={chain}", f"--tls-key={key}") as server:
            url = f"https://{server.address}/"
            trust = ["--cacert", chain, "--include"]
            self.assertTrue(curl(*trust, url).startswith(b"HTTP/2 200"))
            self.assertTrue(curl(*trust, "--http1.1", url).startswith(b"HTTP/1.1 200"))
            seen = testing.run(tool("openssl"), "s_client", "-connect", server.address,
                               "-alpn", "h2,http/1.1", input="").stdout
            self.assertIn("ALPN protocol: h2", seen)

    def test_nghttp(self):
        with Server() as server:
            # Ten at once, on one connection.
            out = testing.run(tool("nghttp"), "--stat", "--null-out", "--multiply=10",
                              f"http://{server.address}/").stdout
            self.assertEqual(len(re.findall(r" 200 +\S+ /\n", out)), 10, out)

    def test_h2load(self):
        with Server() as server:
            out = testing.run(tool("h2load"), "--requests=5000", "--clients=10",
                              "--max-concurrent-streams=50",
                              f"http://{server.address}/").stdout
            self.assertIn("5000 succeeded, 0 failed, 0 errored", out)

    def test_a_drain_under_load_loses_nothing(self):
        with Server("--grace=50s", "--access_log") as server, Wire(server.address) as wire:
            log = testing.temporary_folder() + "/log"
            load = subprocess.Popen(
                ["h2load", "--duration=100", "--clients=5", "--max-concurrent-streams=20",
                 f"--log-file={log}", f"http://{wire.address}/"], stdout=subprocess.DEVNULL)
            self.addCleanup(lambda: (load.kill(), load.wait()))
            for _ in range(1000):
                server.process.stdout.readline()
            status, _, errors = server.stop()
            self.assertEqual((status, errors), (0, ""))
            # It would go on trying.
            load.send_signal(signal.SIGINT)
            load.wait(timeout=testing.PATIENCE)
        # A line for each request has its status. That is -1 of those that it had not sent yet
        # when it was told to go, so what counts is what went by.
        with open(log) as lines:
            statuses = [line.split("\t")[1] for line in lines]
        self.assertGreaterEqual(statuses.count("200"), 1000)
        self.assertEqual(statuses.count("200"), wire.requests)
        self.assertLessEqual(set(statuses), {"200", "-1"})


testing.main()
