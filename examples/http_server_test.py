"""Runs http_server, and asks it by curl and by raw bytes.

Usage: http_server_test.py HTTP_SERVER
"""

import email
import gzip
import os
import re
import signal
import ssl
import subprocess

import testing
from testing import read_to_end

TMP = testing.temporary_folder()


class Server(testing.Server):
    def __init__(self, *flags):
        super().__init__("--port=0", "--hubs=1", *flags)

    def connect(self):
        return testing.connect(self.port)

    def curl(self, *words, path="/", scheme="http", data=None):
        """What curl prints, and what it says of the transfer."""
        done = testing.curl(*words, f"{scheme}://{self.address}{path}", data=data)
        self.error = done.stderr.decode()
        return done.stdout


class HttpServerTest(testing.ExampleTest):
    def test_hello_is_thirteen_bytes(self):
        with Server() as server:
            answer = server.curl("--include").decode()
            head, body = answer.split("\r\n\r\n")
            self.assertEqual(body, "Hello, world!")
            self.assertTrue(head.startswith("HTTP/1.1 200 OK\r\n"), head)
            self.assertIn("\r\nContent-Length: 13", head)
            self.assertRegex(head, r"\r\nDate: \w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT")
            self.assertEqual(server.stop()[0], 0)

    def test_curl_keeps_its_connection(self):
        with Server() as server:
            url = f"http://127.0.0.1:{server.port}/"
            out = server.curl("--write-out", "%{num_connects}\n", url, url)
            self.assertEqual(out.count(b"Hello, world!"), 3)
            self.assertEqual(re.findall(rb"!(\d)", out), [b"1", b"0", b"0"])

    def test_head(self):
        with Server() as server:
            self.assertIn(b"Content-Length: 13\r\n", server.curl("--head"))

    def test_what_is_sent_comes_back(self):
        with Server() as server:
            for size in [0, 1, 4096, 3_000_000]:
                data = os.urandom(size)
                for how in [[], ["--header", "Transfer-Encoding: chunked"]]:
                    with self.subTest(size=size, how=how):
                        got = server.curl("--data-binary", "@-", *how, path="/echo", data=data)
                        self.assertTrue(got == data)

    def test_continue_is_waited_for(self):
        with Server() as server:
            got = server.curl(
                "--verbose", "--header", "Expect: 100-continue", "--expect100-timeout", "20",
                "--data-binary", "@-", path="/echo", data=b"abc",
            )
            self.assertEqual(got, b"abc")
            self.assertIn("< HTTP/1.1 100 Continue", server.error)
            # Nobody reads this body, so nobody asks for it.
            server.curl(
                "--verbose", "--header", "Expect: 100-continue", "--expect100-timeout", "20",
                "--data-binary", "@-", path="/nowhere", data=b"abc",
            )
            self.assertNotIn("100 Continue", server.error)
            self.assertIn("< HTTP/1.1 404 Not Found", server.error)
            self.assertIn("< Connection: close", server.error)

    def test_files(self):
        os.makedirs(TMP + "/www/sub")
        data = os.urandom(1_000_000)
        for name, content in [
            ("www/a b.bin", data),
            ("www/empty.txt", b""),
            ("www/sub/index.html", b"<p>"),
            ("www/.secret", b"s"),
            ("outside", b"o"),
        ]:
            with open(f"{TMP}/{name}", "wb") as f:
                f.write(content)
        os.symlink("../outside", TMP + "/www/out")
        os.symlink("/etc/passwd", TMP + "/www/passwd")
        os.symlink("empty.txt", TMP + "/www/inside")
        os.mkfifo(TMP + "/www/fifo")

        with Server("--root=" + TMP + "/www") as server:
            path = "/files/a%20b.bin"
            self.assertTrue(server.curl(path=path) == data)
            self.assertTrue(server.curl("--range", "0-0", path=path) == data[:1])
            self.assertTrue(server.curl("--range", "500000-", path=path) == data[500000:])
            self.assertTrue(server.curl("--range", "-7", path=path) == data[-7:])
            head = server.curl("--range", "5-9", "--head", "--request", "GET", path=path).decode()
            self.assertIn("HTTP/1.1 206 Partial Content\r\n", head)
            self.assertIn("Content-Range: bytes 5-9/1000000\r\n", head)
            status = ["--include", "--output", "-"]
            self.assertIn(b" 416 ", server.curl(*status, "--range", "1000000-", path=path))
            # What a resumed download does.
            with open(TMP + "/part", "wb") as f:
                f.write(data[:300_000])
            server.curl("--continue-at", "-", "--output", TMP + "/part", path=path)
            with open(TMP + "/part", "rb") as f:
                self.assertTrue(f.read() == data)

            etag = re.search(r"ETag: (\S+)", head)[1]
            modified = re.search(r"Last-Modified: ([^\r]+)", head)[1]
            for field, code in [
                (f"If-None-Match: {etag}", 304),
                (f'If-None-Match: "x", W/{etag}', 304),
                ('If-None-Match: "x"', 200),
                (f"If-Modified-Since: {modified}", 304),
                ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 200),
                ("If-Modified-Since: nonsense", 200),
            ]:
                with self.subTest(field):
                    answer = server.curl("--head", "--header", field, path=path)
                    self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % code), answer)
            answer = server.curl(
                *status, "--header", 'If-Range: "x"', "--range", "0-9", path=path)
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer[:100])

            self.assertEqual(server.curl(path="/files/empty.txt"), b"")
            self.assertEqual(server.curl(path="/files/inside"), b"")
            self.assertEqual(server.curl(path="/files/sub/"), b"<p>")
            self.assertIn(b"Location: /files/sub/\r\n", server.curl("--head", path="/files/sub"))
            for bad in [
                "/files/../outside", "/files/%2e%2e/outside", "/files/..%2foutside",
                "/files/sub/../../outside", "/files/out", "/files/passwd", "/files//etc/passwd",
                "/files/.secret", "/files/fifo", "/files/nothing",
                "/files/%2fetc%2fpasswd", "/files/sub/%00",
            ]:
                with self.subTest(bad):
                    answer = server.curl(*status, "--path-as-is", path=bad)
                    self.assertRegex(answer, rb"^HTTP/1\.1 40[04] ")
            self.assertEqual(server.stop(), (0, "", ""))

    def test_listing(self):
        os.makedirs(TMP + "/listed/sub")
        with open(TMP + "/listed/a b.txt", "wb") as f:
            f.write(b"x")
        with Server("--root=" + TMP + "/listed") as server:
            page = server.curl(path="/files/").decode()
            self.assertIn('<a href="./a%20b.txt">a b.txt</a>', page)
            self.assertIn('<a href="./sub/">sub/</a>', page)
        with Server("--root=" + TMP + "/listed", "--nolisting") as server:
            self.assertIn(b" 404 ", server.curl("--head", path="/files/"))

    def test_several_ranges(self):
        data = os.urandom(500_000)
        os.makedirs(TMP + "/ranges")
        with open(TMP + "/ranges/a.bin", "wb") as f:
            f.write(data)
        with Server("--root=" + TMP + "/ranges") as server:
            got = server.curl(
                "--include", "--range", "0-99,200000-400000,-7", path="/files/a.bin")
            message = email.message_from_bytes(got.split(b"\r\n", 1)[1])
            self.assertEqual([p["Content-Range"] for p in message.get_payload()], [
                "bytes 0-99/500000", "bytes 200000-400000/500000", "bytes 499993-499999/500000"])
            self.assertTrue(got.find(b"\r\n\r\n" + data[200_000:400_001] + b"\r\n--") > 0)

    def test_compression(self):
        text = b"".join(b"line %d\n" % i for i in range(100_000))
        os.makedirs(TMP + "/texts")
        with open(TMP + "/texts/a.txt", "wb") as f:
            f.write(text)
        with Server("--root=" + TMP + "/texts") as server:
            for coding in ["gzip", "deflate", "br"]:
                ask = ["--header", "Accept-Encoding: " + coding]
                with self.subTest(coding):
                    head = server.curl("--head", *ask, path="/files/a.txt").decode()
                    self.assertIn(f"Content-Encoding: {coding}\r\n", head)
                    self.assertIn("Vary: Accept-Encoding\r\n", head)
                    self.assertIn("ETag: W/", head)
                    coded = server.curl(*ask, path="/files/a.txt")
                    self.assertLess(len(coded), len(text) // 2)
                    # curl decodes what it has asked for by itself.
                    got = server.curl("--compressed", *ask, path="/files/a.txt")
                    self.assertTrue(got == text)
            # nothing but what it is to who does not ask, and to who wants a part
            self.assertTrue(server.curl(path="/files/a.txt") == text)
            part = server.curl("--compressed", "--range", "5-20000", path="/files/a.txt")
            self.assertTrue(part == text[5:20001])
            # 13 bytes are too few
            self.assertNotIn(b"Content-Encoding", server.curl("--head", "--compressed"))
        with Server("--root=" + TMP + "/texts", "--nocompress") as server:
            head = server.curl("--head", "--compressed", path="/files/a.txt")
            self.assertNotIn(b"Content-Encoding", head)

    def test_precompressed(self):
        os.makedirs(TMP + "/siblings")
        for name, content in [("a.txt", b"plain"), ("a.txt.gz", gzip.compress(b"sibling"))]:
            with open(TMP + "/siblings/" + name, "wb") as f:
                f.write(content)
        os.utime(TMP + "/siblings/a.txt", (1e9, 1e9))
        with Server("--root=" + TMP + "/siblings", "--precompressed") as server:
            self.assertEqual(server.curl(path="/files/a.txt"), b"plain")
            self.assertEqual(server.curl("--compressed", path="/files/a.txt"), b"sibling")

    def test_events(self):
        with Server() as server:
            answer = server.curl("--no-buffer", path="/events?count=3").decode()
            self.assertEqual(answer, "".join(f"id: {i}\ndata: {i}\n\n" for i in range(3)))
            head = server.curl("--head", path="/events").decode()
            self.assertIn("Content-Type: text/event-stream\r\n", head)
            self.assertIn("Cache-Control: no-store\r\n", head)
            # One that connects again.
            answer = server.curl(
                "--no-buffer", "--compressed", "--header", "Last-Event-ID: 6",
                path="/events?count=2").decode()
            self.assertEqual(answer, "id: 7\ndata: 7\n\nid: 8\ndata: 8\n\n")
            self.assertIn(b" 400 ", server.curl("--include", path="/events?count=x"))

    def start_curl(self, server, path):
        """curl -N that has got the first event, and waits for the second."""
        curl = subprocess.Popen(
            ["curl", "--silent", "--no-buffer", f"http://127.0.0.1:{server.port}{path}"],
            stdout=subprocess.PIPE,
        )
        self.assertEqual([curl.stdout.readline() for _ in range(3)],
                         [b"id: 0\n", b"data: 0\n", b"\n"])
        return curl

    def test_events_end_with_their_client(self):
        with Server("--access_log") as server:
            curl = self.start_curl(server, "/events?count=2&every=10h")
            curl.kill()
            curl.wait()
            curl.stdout.close()
            # The handler, which has nothing to send for hours, is told, and so it is logged.
            self.assertIn('"GET /events?count=2&every=10h HTTP/1.1" 200',
                          server.process.stdout.readline())

    def test_events_end_when_the_server_does(self):
        with Server("--grace=25s") as server:
            curl = self.start_curl(server, "/events?count=2&every=10h")
            self.assertEqual(server.stop(), (0, "", ""))
            # The response was brought to its end: curl is content.
            self.assertEqual(curl.communicate(timeout=30)[0], b"")
            self.assertEqual(curl.returncode, 0)

    def test_requests_at_once(self):
        with Server() as server, server.connect() as s:
            s.sendall(
                b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 500
                + b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
                + b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            )
            got = read_to_end(s)
            self.assertEqual(got.count(b"\r\n\r\nHello, world!HTTP/1.1 200 OK\r\n"), 500)
            self.assertIn(b"\r\n\r\nabcHTTP/1.1 404 Not Found\r\n", got)
            self.assertTrue(got.endswith(b"Connection: close\r\n\r\nNot Found\n"), got[-200:])

    def test_nonsense_ends_only_its_own_connection(self):
        with Server() as server, server.connect() as good:
            for bad in [b"\x16\x03\x01\x00\xa5\x01", b"GET / HTTP/1.1\nHost: a\n\n",
                        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]:
                with server.connect() as s:
                    s.sendall(bad)
                    self.assertTrue(read_to_end(s).startswith(b"HTTP/1.1 400 Bad Request\r\n"))
            good.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            self.assertTrue(read_to_end(good).endswith(b"Hello, world!"))
            self.assertEqual(server.stop()[0], 0)

    def test_methods(self):
        with Server() as server:
            answer = server.curl("--include", "--request", "DELETE", path="/echo").decode()
            self.assertIn("HTTP/1.1 405 Method Not Allowed\r\n", answer)
            self.assertRegex(answer, r"\r\nAllow: (POST, PUT|PUT, POST), OPTIONS\r\n")

    def test_access_log(self):
        with Server("--access_log") as server:
            server.curl("--user-agent", 'me"\\', path="/?a=b")
            out = server.stop()[1]
            self.assertRegex(
                out,
                r'^127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:[\d:]{8} \+0000\] '
                r'"GET /\?a=b HTTP/1\.1" 200 13 "-" "me\\x22\\x5c"\n$',
            )

    def test_tls(self):
        cert, key = testing.certificate(TMP)
        with Server(f"--tls_cert={cert}", f"--tls_key={key}", "--grace=20s") as server:
            trust = ["--cacert", cert]
            self.assertEqual(server.curl(*trust, scheme="https"), b"Hello, world!")
            data = os.urandom(2_000_000)
            got = server.curl(
                *trust, "--data-binary", "@-", path="/echo", scheme="https", data=data)
            self.assertTrue(got == data)
            # One that keeps its connection is told of the end.
            context = ssl.create_default_context(cafile=cert)
            with server.connect() as s, context.wrap_socket(s, server_hostname="127.0.0.1") as t:
                t.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                got = b""
                while not got.endswith(b"Hello, world!"):
                    got += t.recv(1000)
                self.assertEqual(server.stop(), (0, "", ""))
                self.assertEqual(t.recv(1), b"")

    def test_health_says_that_the_end_has_begun(self):
        with Server("--drain_delay=600s") as server, server.connect() as kept:
            self.assertEqual(server.curl(path="/healthz"), b"ok\n")
            server.process.terminate()
            while b"HTTP/1.1 503 " not in server.curl("--include", path="/healthz"):
                pass
            # Everything else goes on, also for who comes new.
            self.assertEqual(server.curl(), b"Hello, world!")
            kept.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertTrue(kept.recv(1000).startswith(b"HTTP/1.1 200 "))
            # Who is in a hurry says so once more.
            server.process.terminate()
            self.assertEqual(server.process.wait(timeout=30), 128 + signal.SIGTERM)

    def test_stopping_ends_idle_connections(self):
        with Server("--grace=20s") as server, server.connect() as idle:
            idle.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            got = b""
            while not got.endswith(b"Hello, world!"):
                got += idle.recv(1000)
            self.assertEqual(server.stop(), (0, "", ""))
            self.assertEqual(idle.recv(1), b"")

    def test_bad_flags(self):
        self.refuses("--hubs=0", "--port=65536", "--host=x", "--tls_cert=/nowhere")


testing.main()
