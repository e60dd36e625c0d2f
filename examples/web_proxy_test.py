"""web_proxy between curl and nginx, with and without TLS.

Usage: web_proxy_test.py WEB_PROXY
"""

import os
import socket
import ssl
import threading

import testing
from testing import Server, connect, free_port, read_to_end, run, tool


class WebProxyTest(testing.ExampleTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = testing.temporary_folder()
        cls.data = os.urandom(3_000_000)
        with open(cls.folder + "/file", "wb") as f:
            f.write(cls.data)
        cls.cert, key = testing.certificate(cls.folder)
        cls.plain, cls.secure = free_port(), free_port()
        cls.nginx = testing.nginx(
            cls.folder, cls.plain,
            f"""listen 127.0.0.1:{cls.plain}; listen 127.0.0.1:{cls.secure} ssl http2;
                ssl_certificate {cls.cert}; ssl_certificate_key {key};
                client_max_body_size 100m;
                location /echo {{ return 200 "$request_method $request_uri $http_host $http_via
$http_connection $http_x_kept $http_x_named $http_proxy_authorization.\\n"; }}
                location = /gone {{ return 204; }}""")

    @classmethod
    def tearDownClass(cls):
        cls.nginx.__exit__()

    def proxy(self, *flags):
        return Server("--listen=127.0.0.1:0", f"--connect_ports={self.secure}", *flags)

    def curl(self, proxy, *words, status=0):
        # In bytes.
        out = self.folder + "/out"
        open(out, "wb").close()
        self.done = run(tool("curl"), "--silent", "--show-error", "--max-time", "30",
                        "--proxy", f"http://127.0.0.1:{proxy.port}", "--noproxy", "",
                        "--output", out, *words, status=status)
        with open(out, "rb") as f:
            return f.read()

    def test_plain(self):
        with self.proxy() as proxy:
            got = self.curl(proxy, f"http://127.0.0.1:{self.plain}/file")
            self.assertTrue(got == self.data)
            self.assertEqual(proxy.stop(), (0, "", ""))

    def test_tunnel(self):
        with self.proxy() as proxy:
            for version in ["--http1.1", "--http2"]:
                got = self.curl(proxy, version, "--cacert", self.cert,
                                f"https://localhost:{self.secure}/file")
                self.assertTrue(got == self.data)

    def test_openssl_at_the_other_end(self):
        port = free_port()
        with testing.Peer("openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-www",
                          "-cert", self.cert, "-key", self.folder + "/key.pem", port=port):
            with self.proxy(f"--connect_ports={port}") as proxy:
                got = self.curl(proxy, "--cacert", self.cert, f"https://127.0.0.1:{port}/")
                self.assertIn(b"Cipher", got)

    def test_what_the_origin_sees(self):
        with self.proxy() as proxy:
            got = self.curl(proxy, "--request", "PUT", "--header", "X-Kept: kept",
                            "--header", "X-Named: named", "--header", "Connection: x-named",
                            "--proxy-user", "me:secret",
                            f"http://127.0.0.1:{self.plain}/echo?a=b")
            self.assertEqual(got.decode(),
                             f"PUT /echo?a=b 127.0.0.1:{self.plain} 1.1 grove\n"
                             "close kept  .\n")
            # A URL without a path has the path "/".
            got = self.curl(proxy, "--request-target", f"http://127.0.0.1:{self.plain}?q",
                            "--write-out", "%{http_code}", f"http://127.0.0.1:{self.plain}/")
            self.assertEqual(self.done.stdout, "403")

    def test_bodies(self):
        """Of any length, with a length and in chunks, there and back."""
        got = {}

        def origin(listener):
            c, _ = listener.accept()
            with c:
                f = c.makefile("rwb")
                head = []
                while (line := f.readline()) != b"\r\n":
                    head.append(line)
                body = b""
                if b"Transfer-Encoding: chunked\r\n" in head:
                    while (size := int(f.readline(), 16)) > 0:
                        body += f.read(size)
                        f.readline()
                    f.readline()
                else:
                    size = [int(h.split(b":")[1]) for h in head if h.startswith(b"Content-Length")]
                    body = f.read(size[0])
                got["body"] = body
                f.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body[::-1])
                f.flush()

        with self.proxy() as proxy, socket.create_server(("127.0.0.1", 0)) as listener:
            for how in [[], ["--header", "Transfer-Encoding: chunked"]]:
                t = threading.Thread(target=origin, args=(listener,))
                t.start()
                answer = self.curl(proxy, *how, "--data-binary", f"@{self.folder}/file",
                                   "--header", "Expect:",
                                   f"http://127.0.0.1:{listener.getsockname()[1]}/")
                t.join()
                self.assertTrue(got["body"] == self.data)
                self.assertTrue(answer == self.data[::-1])

    def test_a_second_request_goes_to_nobody(self):
        """It may be for another origin; and the first one would like to answer it."""
        for first in [b"GET http://127.0.0.1:%d/a HTTP/1.1\r\nHost: x\r\n\r\n",
                      b"PUT http://127.0.0.1:%d/a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
                      b"\r\nbody",
                      b"PUT http://127.0.0.1:%d/a HTTP/1.1\r\nHost: x\r\n"
                      b"Transfer-Encoding: chunked\r\n\r\n4;x=y\r\nbody\r\n0\r\nA: b\r\n\r\n"]:
            with self.subTest(first[:3]), self.proxy() as proxy, \
                    socket.create_server(("127.0.0.1", 0)) as listener, \
                    connect(proxy.port) as s:
                s.sendall(first % listener.getsockname()[1] +
                          b"GET http://bank/ HTTP/1.1\r\nCookie: secret\r\n\r\n")
                c, _ = listener.accept()
                with c:
                    # Says that it stays, and does not close.
                    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
                              b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\nok")
                    answer = b""
                    while not answer.endswith(b"ok"):
                        answer += s.recv(4096)
                    self.assertIn(b"\r\nConnection: close\r\n", answer)
                    self.assertNotIn(b"eep-", answer)
                    s.shutdown(socket.SHUT_WR)
                    seen = b""
                    c.settimeout(0.3)  # only there for what must not come
                    try:
                        while part := c.recv(4096):
                            seen += part
                    except TimeoutError:
                        pass
                    self.assertNotIn(b"secret", seen)
                    self.assertNotIn(b"bank", seen)

    def test_an_origin_may_ask_for_the_body(self):
        def origin(listener):
            c, _ = listener.accept()
            with c:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += c.recv(1)
                c.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = c.recv(4, socket.MSG_WAITALL)
                c.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\n" + body)

        with self.proxy() as proxy, socket.create_server(("127.0.0.1", 0)) as listener:
            t = threading.Thread(target=origin, args=(listener,))
            t.start()
            answer = self.curl(proxy, "--header", "Expect: 100-continue", "--data", "asks",
                               "--expect100-timeout", "30",
                               f"http://127.0.0.1:{listener.getsockname()[1]}/")
            t.join()
            self.assertEqual(answer, b"asks")

    def test_what_is_no_response(self):
        for said in [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\na : b\r\n\r\n",
                     b"HTTP/1.1 200 OK\r\n" + b"x" * 70_000]:
            with self.subTest(said[:20]), self.proxy() as proxy, \
                    socket.create_server(("127.0.0.1", 0)) as listener, \
                    connect(proxy.port) as s:
                s.sendall(b"GET http://127.0.0.1:%d/ HTTP/1.1\r\n\r\n"
                          % listener.getsockname()[1])
                c, _ = listener.accept()
                with c:
                    c.sendall(said)
                    c.shutdown(socket.SHUT_WR)
                    self.assertTrue(read_to_end(s).startswith(b"HTTP/1.1 502 "))

    def test_refusals(self):
        nobody = free_port()
        with self.proxy() as proxy:
            for request, code in [
                (b"nonsense\r\n\r\n", 400),
                (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
                (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
                (b"GET http://a:x/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
                (b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
                (b"GET http://127.0.0.1:%d/ HTTP/1.1\r\na\nb: c\r\n\r\n" % self.plain, 400),
                (b"GET http://127.0.0.1:%d/ HTTP/1.1\r\na : c\r\n\r\n" % self.plain, 400),
                (b"GET http://127.0.0.1:%d/ HTTP/1.1\r\na: b\r\n c\r\n\r\n" % self.plain, 400),
                (b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % self.plain, 403),
                (b"CONNECT 127.0.0.1 HTTP/1.1\r\n\r\n", 400),
                (b"PUT http://127.0.0.1:%d/ HTTP/1.1\r\nContent-Length: 1\r\n"
                 b"Content-Length: 2\r\n\r\nab" % self.plain, 400),
                (b"PUT http://127.0.0.1:%d/ HTTP/1.1\r\nContent-Length: +1\r\n\r\na"
                 % self.plain, 400),
                (b"PUT http://127.0.0.1:%d/ HTTP/1.1\r\nContent-Length: 1\r\n"
                 b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % self.plain, 400),
                (b"PUT http://127.0.0.1:%d/ HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n"
                 % self.plain, 400),
                (b"GET http://127.0.0.1:%d/ HTTP/1.1\r\n\r\n" % nobody, 502),
                (b"GET http://a..b/ HTTP/1.1\r\n\r\n", 502),
                (b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000, 431),
            ]:
                with self.subTest(request[:60]), connect(proxy.port) as s:
                    s.sendall(request)
                    answer = read_to_end(s)
                    self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % code), answer)
        with self.proxy("--head_timeout=50ms") as proxy, connect(proxy.port) as s:
            s.sendall(b"GET ")
            self.assertTrue(read_to_end(s).startswith(b"HTTP/1.1 408 "))

    def test_a_tunnel_carries_ends_and_resets(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            with self.proxy("--connect_ports=any") as proxy, connect(proxy.port) as s:
                # What is sent behind the head at once is not lost.
                s.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\nearly" % port)
                self.assertEqual(s.recv(39), b"HTTP/1.1 200 Connection established\r\n\r\n")
                origin, _ = listener.accept()
                with origin:
                    self.assertEqual(origin.recv(100), b"early")
                    s.shutdown(socket.SHUT_WR)
                    self.assertEqual(origin.recv(100), b"")
                    origin.sendall(b"late")
                    self.assertEqual(s.recv(4), b"late")
                    origin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                with self.assertRaises(ConnectionResetError):
                    s.recv(1)

    def test_flags(self):
        self.explains("--listen", "--connect_ports", "--head_timeout")
        self.refuses("--listen=x", "--connect_ports=0", "--connect_ports=443,x", "word")


testing.main()
