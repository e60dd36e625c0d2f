"""recursive_crawler on a site of some hundred pages, served by nginx, each fetched once.

Usage: recursive_crawler_test.py RECURSIVE_CRAWLER
"""

import http.server
import os
import socket
import threading
import time

import testing
from testing import PROGRAMS, Process, free_port, run

PAGES = 300


def link(i):
    """By all the forms in which a page of this site may be linked to."""
    return [f"p{i}.html", f"/site/p{i}.html", f"./p{i}.html#top", f"../site/p{i}.html",
            f"//127.0.0.1:{PORT}/site/p{i}.html", f"http://127.0.0.1:{PORT}/site/p{i}.html"][i % 6]


PORT = free_port()


class RecursiveCrawlerTest(testing.ExampleTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = testing.temporary_folder()
        os.mkdir(cls.folder + "/site")
        for i in range(PAGES):
            # A tree, with links back to its root and across, and with a few that lead
            # elsewhere, where nobody may go.
            links = [2 * i + 1, 2 * i + 2, 0, (i * 7) % PAGES, i]
            with open(f"{cls.folder}/site/p{i}.html", "w") as f:
                f.write("<html>" + "".join(
                    f'<a href="{link(n)}">{n}</a>' for n in links if n < PAGES))
                f.write("<a href='http://127.0.0.1:1/elsewhere'><a href=\"mailto:a@b.c\">"
                        "<img src='/logo.png'><a href=unquoted><a href=\"")
        with open(cls.folder + "/logo.png", "wb") as f:
            f.write(b'<a href="/site/none-in-images.html">')
        with open(cls.folder + "/site/broken.html", "w") as f:
            f.write('<a href="none.html"><a href="p299.html"><a href="/old/p298.html">')
        cls.nginx = testing.nginx(
            cls.folder, PORT,
            f"listen 127.0.0.1:{PORT}; rewrite ^/old/(.*)$ /site/$1 redirect;",
            http="types { text/html html; image/png png; }")

    @classmethod
    def tearDownClass(cls):
        cls.nginx.__exit__()

    def crawl(self, path, *flags, status=0):
        log = self.folder + "/access.log"
        before = os.path.getsize(log)
        done = run(PROGRAMS[0], f"http://127.0.0.1:{PORT}{path}", *flags, status=status)
        # nginx writes its line when the response is out: all of them, in the end.
        count = done.stdout.count("\n")

        def asked():
            with open(log) as f:
                f.seek(before)
                return [line.split('"')[1].split()[1] for line in f]

        testing.wait_until(lambda: len(asked()) >= count, "nginx has logged all")
        return done, asked()

    def test_each_page_once(self):
        for at_once in [1, 4, 100]:
            with self.subTest(at_once=at_once):
                done, asked = self.crawl("/site/p0.html", f"--at_once={at_once}")
                wanted = [f"/site/p{i}.html" for i in range(PAGES)] + ["/logo.png"]
                self.assertEqual(sorted(asked), sorted(wanted))
                self.assertEqual(
                    sorted(l.split()[2] for l in done.stdout.splitlines()),
                    sorted(f"http://127.0.0.1:{PORT}{w}" for w in wanted))
                self.assertEqual(done.stderr, f"{PAGES + 1} pages fetched, 0 failed\n")

    def test_broken_links_are_told_with_where_they_stand(self):
        done, asked = self.crawl("/site/broken.html", status=1)
        self.assertRegex(
            done.stdout,
            rf"\n404 +\d+ http://127.0.0.1:{PORT}/site/none.html "
            rf"\(in http://127.0.0.1:{PORT}/site/broken.html\)\n")
        self.assertTrue(done.stderr.endswith(" pages fetched, 1 failed\n"))
        # The redirect was followed.
        self.assertIn("/old/p298.html", asked)

    def test_no_more_pages_than_so_many(self):
        done, asked = self.crawl("/site/p0.html", "--max_pages=17")
        self.assertEqual(len(asked), 17)
        self.assertEqual(len(set(asked)), 17)

    def test_so_many_at_a_time(self):
        now, most = [0], [0]
        lock = threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                with lock:
                    now[0] += 1
                    most[0] = max(most[0], now[0])
                body = b"".join(b'<a href="/%d">' % i for i in range(50))
                time.sleep(0.005)  # so that others may come meanwhile
                with lock:
                    now[0] -= 1
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            t = threading.Thread(target=server.serve_forever)
            t.start()
            done = run(PROGRAMS[0], "--at_once=3", f"http://127.0.0.1:{server.server_port}/")
            server.shutdown()
            t.join()
        self.assertEqual(done.stderr, "51 pages fetched, 0 failed\n")
        self.assertLessEqual(most[0], 3)

    def test_limits(self):
        done, _ = self.crawl("/site/p0.html", "--max_bytes=50", status=1)
        self.assertIn("RESOURCE_EXHAUSTED", done.stdout)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
            done = run(PROGRAMS[0], url, "--timeout=50ms", status=1)
            self.assertIn("DEADLINE_EXCEEDED", done.stdout)
            # And a signal ends it.
            with Process(PROGRAMS[0], url) as p:
                silent.settimeout(testing.PATIENCE)
                # The connection of before, and this one.
                accepted = [silent.accept()[0] for _ in range(2)]
                code, _, err = p.stop()
                for c in accepted:
                    c.close()
                self.assertEqual((code, err), (1, "0 pages fetched, 0 failed\n"))

    def test_flags(self):
        self.explains("--at_once", "--max_pages", "--timeout")
        self.refuses("--at_once=0", "--max_pages=0", "two", but=("http://127.0.0.1/",))
        self.refuses("--at_once=1", "ftp://a/", "nonsense")


testing.main()
