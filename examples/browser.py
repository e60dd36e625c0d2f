"""A headless Chromium, for tests: opens a page that reports what it has seen."""

import http.server
import json
import os
import subprocess
import tempfile
import threading

_PAGE = """<!doctype html><meta charset="utf-8"><script>
async function run() { %(script)s }
run().then(r => ["done", r], e => ["failed", String(e)]).then(
  r => fetch("%(reports)s/report",
             {method: "POST", mode: "no-cors", body: JSON.stringify(r)}));
</script>"""


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.server.page.encode() if self.path == "/" else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        size = int(self.headers["Content-Length"])
        self.server.report = json.loads(self.rfile.read(size))
        self.send_response(204)
        self.end_headers()
        self.server.reported.set()

    def log_message(self, *_):
        pass


class Chromium:
    """A Chromium that shows one URL, until it is left."""

    def __init__(self, url):
        self.profile = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        self.process = subprocess.Popen(
            [
                "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync",
                "--disable-dev-shm-usage", "--remote-debugging-port=0",
                f"--user-data-dir={self.profile.name}", url,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": self.profile.name},
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        try:
            self.profile.cleanup()
        except OSError:
            pass  # its children may still be writing; it is in the test's own folder


def run_page(script, file=None, url=None, timeout=240):
    """What the body `script` of an asynchronous function returns in a page.

    The page is written to `file`, of which somebody else makes `url`; without them it has an
    origin of its own.
    """
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as reports:
        reports_url = f"http://127.0.0.1:{reports.server_port}"
        reports.page = _PAGE % {"script": script, "reports": reports_url}
        reports.report = None
        reports.reported = threading.Event()
        if file:
            with open(file, "w", encoding="utf-8") as f:
                f.write(reports.page)
        threading.Thread(target=reports.serve_forever, daemon=True).start()
        try:
            with Chromium(url or reports_url) as browser:
                if not reports.reported.wait(timeout):
                    raise AssertionError(
                        f"no report from chromium, whose status is {browser.process.poll()}")
        finally:
            reports.shutdown()
        state, result = reports.report
        assert state == "done", result
        return result
