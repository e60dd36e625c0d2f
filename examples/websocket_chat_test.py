"""Talks in websocket_chat by Python's websockets; in two instances by a Redis server.

Usage: websocket_chat_test.py WEBSOCKET_CHAT
"""

import asyncio
import signal

import websockets

import testing


class Chat(testing.Server):
    def __init__(self, *flags):
        super().__init__("--port=0", *flags)

    def enter(self, room, name):
        return websockets.connect(
            f"ws://127.0.0.1:{self.port}/chat?room={room}&name={name}",
            open_timeout=60, close_timeout=60)


async def hear(ws):
    return await asyncio.wait_for(ws.recv(), 60)


class WebSocketChatTest(testing.ExampleTest):
    def start(self, *flags):
        chat = Chat(*flags)
        self.addCleanup(chat.__exit__)
        return chat

    def test_a_room(self):
        chat = self.start()

        async def run():
            async with chat.enter("r", "Ann") as ann:
                self.assertEqual(await hear(ann), "* Ann has come")
                async with chat.enter("other", "Eve") as eve, chat.enter("r", "B%C3%B6b") as bob:
                    self.assertEqual(await hear(eve), "* Eve has come")
                    self.assertEqual(await hear(ann), "* B\u00f6b has come")
                    self.assertEqual(await hear(bob), "* B\u00f6b has come")
                    await bob.send("hi <b>")
                    await eve.send("alone")
                    self.assertEqual(await hear(ann), "B\u00f6b: hi <b>")
                    self.assertEqual(await hear(bob), "B\u00f6b: hi <b>")
                    self.assertEqual(await hear(eve), "Eve: alone")
                self.assertEqual(await hear(ann), "* B\u00f6b has left")
                # Names that are not UTF-8 hold up nobody.
                async with chat.enter("r", "%FF") as odd:
                    await odd.send("x")
                    await ann.send("still here")
                    self.assertEqual(await hear(ann), "Ann: still here")
                    self.assertEqual(await hear(odd), "Ann: still here")

        asyncio.run(run())

    def test_what_is_refused(self):
        chat = self.start()

        async def run():
            for name in ["", "a" * 65, "%0a", "%00", "%zz"]:
                with self.assertRaises(websockets.InvalidStatusCode) as caught:
                    async with chat.enter("r", name):
                        pass
                self.assertEqual(caught.exception.status_code, 400)
            for message, code in [(b"binary", 1003), ("x" * 2001, 1009)]:
                async with chat.enter("r", "Ann") as ann:
                    self.assertEqual(await hear(ann), "* Ann has come")
                    await ann.send(message)
                    with self.assertRaises(websockets.ConnectionClosed) as caught:
                        await hear(ann)
                        await hear(ann)
                    self.assertEqual(caught.exception.rcvd.code, code)

        asyncio.run(run())

    def test_the_end(self):
        chat = self.start()

        async def run():
            async with chat.enter("r", "Ann") as ann:
                await hear(ann)
                chat.process.send_signal(signal.SIGTERM)
                with self.assertRaises(websockets.ConnectionClosed) as caught:
                    await hear(ann)
                    await hear(ann)
                self.assertEqual(caught.exception.rcvd.code, 1001)

        asyncio.run(run())
        self.assertEqual(chat.process.wait(timeout=60), 0)

    def test_two_instances_share_a_room(self):
        port = testing.free_port()
        redis = testing.redis(port)
        self.addCleanup(redis.__exit__)
        flag = f"--redis=127.0.0.1:{port}"
        one, two = self.start(flag), self.start(flag)

        async def run():
            async with one.enter("r", "Ann") as ann:
                self.assertEqual(await hear(ann), "* Ann has come")
                async with two.enter("r", "Bob") as bob:
                    self.assertEqual(await hear(ann), "* Bob has come")
                    # What Redis passes on may arrive after he has come.
                    while (first := await hear(bob)) == "* Ann has come":
                        pass
                    self.assertEqual(first, "* Bob has come")
                    for i in range(15):
                        await ann.send(f"a\r\n{i}")
                        self.assertEqual(await hear(bob), f"Ann: a\r\n{i}")
                        self.assertEqual(await hear(ann), f"Ann: a\r\n{i}")
                    await bob.send("b")
                    self.assertEqual(await hear(ann), "Bob: b")
                    self.assertEqual(await hear(bob), "Bob: b")
                self.assertEqual(await hear(ann), "* Bob has left")
                redis.process.kill()
                redis.process.wait()
                await ann.send("is anybody there?")
                self.assertEqual(
                    await hear(ann), "* the other instances cannot be reached")

        asyncio.run(run())


testing.main()
