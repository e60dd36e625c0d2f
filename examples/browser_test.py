"""Opens pages of http_server in a headless Chromium, which report what they have seen.

Usage: browser_test.py HTTP_SERVER
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import browser

SERVER = sys.argv[1]

WEBSOCKET = """
  const log = [];
  const ws = new WebSocket("ws://" + location.host + "/ws");
  ws.binaryType = "arraybuffer";
  const next = () => new Promise((resolve, reject) => {
    ws.onmessage = e => resolve(e.data);
    ws.onclose = e => reject("closed " + e.code);
  });
  await new Promise((resolve, reject) => { ws.onopen = resolve; ws.onerror = reject; });
  log.push(ws.extensions.startsWith("permessage-deflate"));
  ws.send("h\\u00e9llo");
  log.push(await next());
  ws.send(new Uint8Array([0, 1, 254, 255]));
  log.push(Array.from(new Uint8Array(await next())));
  const large = new Uint8Array(3000000);
  for (let i = 0; i < large.length; ++i) large[i] = (i * 2654435761) >>> 13;
  ws.send(large);
  const back = new Uint8Array(await next());
  log.push(back.length);
  log.push(back.every((b, i) => b === large[i]));
  ws.send("x".repeat(1000000));
  log.push((await next()).length);
  const closed = new Promise(resolve => { ws.onclose = resolve; });
  ws.close(4321, "done");
  const end = await closed;
  log.push(end.code, end.wasClean);
  return log;
"""

EVENTS = """
  const source = new EventSource("/events?count=4");
  const got = [];
  return await new Promise((resolve, reject) => {
    source.onmessage = e => {
      got.push(e.lastEventId + ":" + e.data);
      if (got.length === 4) { source.close(); resolve(got); }
    };
    source.onerror = () => reject("error after " + got);
  });
"""

OTHER_ORIGIN = """
  const ws = new WebSocket("ws://127.0.0.1:%d/ws");
  return await new Promise(resolve => {
    ws.onopen = () => resolve("opened");
    ws.onclose = e => resolve("closed " + e.code);
  });
"""


class BrowserTest(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))
        self.process = subprocess.Popen(
            [SERVER, "--port=0", "--hubs=1", "--root=" + self.root],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(self.end)
        line = self.process.stdout.readline()
        match = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+) \(1 hubs\)\n", line)
        assert match, line
        self.port = int(match[1])

    def end(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()

    def run_page(self, script):
        """In a page of the server's own origin."""
        return browser.run_page(
            script,
            file=self.root + "/page.html",
            url=f"http://127.0.0.1:{self.port}/files/page.html",
        )

    def test_websocket(self):
        self.assertEqual(
            self.run_page(WEBSOCKET),
            [True, "h\u00e9llo", [0, 1, 254, 255], 3_000_000, True, 1_000_000, 4321, True],
        )

    def test_events(self):
        self.assertEqual(self.run_page(EVENTS), ["0:0", "1:1", "2:2", "3:3"])

    def test_a_page_of_another_origin_gets_no_websocket(self):
        self.assertEqual(browser.run_page(OTHER_ORIGIN % self.port), "closed 1006")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
