"""Speaks WebSocket to http_server by Python's websockets, and by raw bytes.

Usage: websocket_test.py HTTP_SERVER
"""

import asyncio
import os
import signal
import ssl

import websockets

import testing


class Server(testing.Server):
    def __init__(self, *flags):
        super().__init__("--port=0", "--hubs=2", *flags)

    def connect(self, scheme="ws", **options):
        options.setdefault("open_timeout", 60)
        options.setdefault("close_timeout", 60)
        options.setdefault("max_size", 32 << 20)
        return websockets.connect(f"{scheme}://127.0.0.1:{self.port}/ws", **options)


class WebSocketTest(testing.ExampleTest):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.__exit__)

    def test_messages_come_back(self):
        async def run(compression):
            async with self.server.connect(compression=compression) as ws:
                self.assertEqual(bool(ws.extensions), compression is not None)
                for size in [0, 1, 125, 126, 65535, 65536, 3_000_000]:
                    for message in [os.urandom(size), "\u00e4" * size]:
                        await ws.send(message)
                        self.assertTrue(await ws.recv() == message, size)
                # In fragments.
                await ws.send(["a", "", "bc"])
                self.assertEqual(await ws.recv(), "abc")
                await (await ws.ping(b"payload"))

        asyncio.run(run(None))
        asyncio.run(run("deflate"))

    def test_over_tls(self):
        cert, key = testing.certificate(testing.temporary_folder())
        server = Server("--tls_cert=" + cert, "--tls_key=" + key)
        self.addCleanup(server.__exit__)
        trust = ssl.create_default_context(cafile=cert)

        async def run():
            origin = f"https://127.0.0.1:{server.port}"
            async with server.connect("wss", ssl=trust, origin=origin) as ws:
                # Many in one record, and one in many.
                await asyncio.gather(*(ws.send(str(i)) for i in range(2000)))
                for i in range(2000):
                    self.assertEqual(await ws.recv(), str(i))
                data = os.urandom(5_000_000)
                await ws.send(data)
                self.assertTrue(await ws.recv() == data)
                await ws.close(4000)
                self.assertEqual(ws.close_code, 4000)
                server.process.send_signal(signal.SIGTERM)

        asyncio.run(run())
        self.assertEqual(server.process.wait(timeout=60), 0)

    def test_many_at_once(self):
        async def one(i):
            async with self.server.connect() as ws:
                for k in range(20):
                    await ws.send(f"{i} {k}" * 50)
                for k in range(20):
                    self.assertEqual(await ws.recv(), f"{i} {k}" * 50)

        async def run():
            await asyncio.gather(*(one(i) for i in range(50)))

        asyncio.run(run())

    def test_close_codes(self):
        async def run():
            ws = await self.server.connect()
            await ws.close(4321, "why")
            self.assertEqual((ws.close_code, ws.close_reason), (4321, ""))
            ws = await self.server.connect(compression=None)
            try:
                await ws.send(b"x" * ((16 << 20) + 1))
                await ws.recv()
                self.fail("it was taken")
            except websockets.ConnectionClosedError as e:
                self.assertEqual(e.rcvd.code, 1009)

        asyncio.run(run())

    def test_sigterm_closes_with_1001(self):
        async def run():
            async with self.server.connect() as ws:
                await ws.send("a")
                self.assertEqual(await ws.recv(), "a")
                self.server.process.send_signal(signal.SIGTERM)
                with self.assertRaises(websockets.ConnectionClosed) as caught:
                    await ws.recv()
                self.assertEqual(caught.exception.rcvd.code, 1001)

        asyncio.run(run())
        self.assertEqual(self.server.process.wait(timeout=60), 0)

    def test_a_page_of_another_origin_is_refused(self):
        async def run(origin):
            async with self.server.connect(origin=origin):
                pass

        asyncio.run(run(f"http://127.0.0.1:{self.server.port}"))
        with self.assertRaises(websockets.InvalidStatusCode) as caught:
            asyncio.run(run("http://evil.example"))
        self.assertEqual(caught.exception.status_code, 403)

    def test_a_bomb_is_cut_off(self):
        """16 MiB and a byte of zeros, in 16 KiB."""
        import zlib

        z = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = z.compress(bytes((16 << 20) + 1)) + z.flush(zlib.Z_SYNC_FLUSH)
        bomb = bomb[:-4]
        with testing.connect(self.server.port) as s:
            s.sendall(
                b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                b"Sec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
            )
            frame = b"\xc2\xfe" + len(bomb).to_bytes(2, "big") + bytes(4) + bomb
            s.sendall(frame)
            head, frames = testing.read_to_end(s).split(b"\r\n\r\n", 1)
            self.assertIn(b"Sec-WebSocket-Extensions: permessage-deflate", head)
            self.assertEqual(frames, b"\x88\x02" + (1009).to_bytes(2, "big"))


testing.main()
