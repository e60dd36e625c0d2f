"""Talks in websocket_chat by its own page in a headless Chromium.

Usage: chat_browser_test.py WEBSOCKET_CHAT
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import unittest
import urllib.request

import websockets

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import browser

CHAT = sys.argv[1]

ENTER = """
  document.getElementById("room").value = "r";
  document.getElementById("name").value = "B\\u00f6b";
  document.getElementById("enter").requestSubmit();
  await until(() => !document.getElementById("text").disabled);
"""
SAY = """
  document.getElementById("text").value = "<i>hello</i>";
  document.getElementById("say").requestSubmit();
"""
LINES = """
  await until(() => document.querySelectorAll("#lines div").length >= 3);
  return [...document.querySelectorAll("#lines div")].map(d => d.textContent);
"""


def page_of(chromium, deadline):
    """Where to debug its only page: Chromium says its port in a file."""
    file = os.path.join(chromium.profile.name, "DevToolsActivePort")
    while time.monotonic() < deadline:
        try:
            with open(file, encoding="ascii") as f:
                port = int(f.readline())
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [p for p in json.load(answer) if p["type"] == "page"]
            if pages and pages[0]["url"].startswith("http://127.0.0.1"):
                return pages[0]["webSocketDebuggerUrl"]
        except (OSError, ValueError):
            pass
        time.sleep(0.05)
    raise AssertionError("chromium shows no page")


class Page:
    """Runs JavaScript in a page."""

    def __init__(self, ws):
        self.ws = ws
        self.calls = 0

    async def loaded(self):
        """Chromium may still be at an empty page, in whose place that of the chat comes."""
        while True:
            try:
                return await self.run("""await until(() => document.getElementById("text") &&
                    document.readyState === "complete");""")
            except (AssertionError, KeyError):
                await asyncio.sleep(0.01)

    async def run(self, script):
        self.calls += 1
        until = """const until = async is => {
            while (!is()) await new Promise(resolve => setTimeout(resolve, 10)); };"""
        await self.ws.send(json.dumps({
            "id": self.calls,
            "method": "Runtime.evaluate",
            "params": {
                "expression": "(async () => {" + until + script + "})()",
                "awaitPromise": True,
                "returnByValue": True,
            },
        }))
        while True:
            answer = json.loads(await asyncio.wait_for(self.ws.recv(), 120))
            if answer.get("id") == self.calls:
                assert "exceptionDetails" not in answer["result"], answer
                return answer["result"]["result"].get("value")


class ChatBrowserTest(unittest.TestCase):
    def test_the_page(self):
        chat = subprocess.Popen([CHAT, "--port=0"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(chat.stdout.close)
        self.addCleanup(chat.wait)
        self.addCleanup(chat.terminate)
        line = chat.stdout.readline()
        port = int(re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", line)[1])

        async def run(debug):
            async with websockets.connect(debug, max_size=None, open_timeout=60) as ws, \
                    websockets.connect(f"ws://127.0.0.1:{port}/chat?room=r&name=Ann",
                                       open_timeout=60) as ann:
                page = Page(ws)
                hear = lambda: asyncio.wait_for(ann.recv(), 120)
                self.assertEqual(await hear(), "* Ann has come")
                await page.loaded()
                await page.run(ENTER)
                self.assertEqual(await hear(), "* B\u00f6b has come")
                await page.run(SAY)
                self.assertEqual(await hear(), "B\u00f6b: <i>hello</i>")
                await ann.send("hello yourself")
                self.assertEqual(
                    await page.run(LINES),
                    ["* B\u00f6b has come", "B\u00f6b: <i>hello</i>", "Ann: hello yourself"])
                # Nothing of it became a part of the page.
                self.assertEqual(
                    await page.run('return document.querySelectorAll("#lines i").length;'), 0)

        with browser.Chromium(f"http://127.0.0.1:{port}/") as chromium:
            asyncio.run(run(page_of(chromium, time.monotonic() + 120)))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
