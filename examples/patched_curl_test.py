"""patched_curl with nginx, and with a server that answers nobody before all have asked.

Usage: patched_curl_test.py PATCHED_CURL
"""

import socket
import threading

import testing
from testing import PROGRAMS, free_port, run


class PatchedCurlTest(testing.ExampleTest):
    def test_nginx_by_http1_and_http2(self):
        folder = testing.temporary_folder()
        with open(folder + "/file", "wb") as f:
            f.write(b"x" * 1_234_567)
        cert, key = testing.certificate(folder)
        plain, secure = free_port(), free_port()
        with testing.nginx(folder, plain, f"""
                listen 127.0.0.1:{plain}; listen 127.0.0.1:{secure} ssl http2;
                ssl_certificate {cert}; ssl_certificate_key {key};"""):
            urls = [f"http://127.0.0.1:{plain}/file?{i}" for i in range(50)]
            urls += [f"https://localhost:{secure}/file?{i}" for i in range(50)]
            done = run(PROGRAMS[0], f"--ca_file={cert}", "--report", *urls)
            self.assertEqual(
                sorted(done.stdout.splitlines()),
                sorted(f"{u}: 200, 1234567 bytes, "
                       f"{'HTTP/2' if u.startswith('https') else 'HTTP/1.1'}" for u in urls))
            self.assertIn("libcurl", done.stderr)

            done = run(PROGRAMS[0], f"http://127.0.0.1:{plain}/none", status=1)
            self.assertRegex(done.stdout, r": 404, \d+ bytes, HTTP/1.1\n$")
            # Without the file it trusts nobody here.
            done = run(PROGRAMS[0], f"https://localhost:{secure}/file", status=1)
            self.assertIn("certificate", done.stdout)

    def test_all_at_once_on_one_thread(self):
        count = 200
        threads = []

        def serve(listener):
            connections = [listener.accept()[0] for _ in range(count)]
            threads.append(len(connections))
            for c in connections:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += c.recv(4096)
                c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
                c.close()

        with socket.create_server(("127.0.0.1", 0), backlog=count) as listener:
            t = threading.Thread(target=serve, args=(listener,))
            t.start()
            port = listener.getsockname()[1]
            done = run(PROGRAMS[0], f"--at_once={count}",
                       *[f"http://127.0.0.1:{port}/{i}" for i in range(count)])
            t.join()
        self.assertEqual(done.stdout.count(": 200, 5 bytes, HTTP/1.1\n"), count)

    def test_what_fails(self):
        done = run(PROGRAMS[0], f"http://127.0.0.1:{free_port()}/", status=1)
        self.assertIn("Failed to connect", done.stdout)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
            done = run(PROGRAMS[0], "--timeout=100ms", url, status=1)
            self.assertIn("timed out", done.stdout)

    def test_flags(self):
        self.explains("--at_once", "--timeout", "--report")
        self.refuses("--at_once=0", "--timeout=x", but=("http://127.0.0.1/",))
        self.refuses("--report")


testing.main()
