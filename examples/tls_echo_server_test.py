"""tls_echo_server with OpenSSL's client, which is Python's.

Usage: tls_echo_server_test.py TLS_ECHO_SERVER
"""

import signal
import socket
import ssl

import testing
from testing import PATIENCE, Server


class TlsEchoServerTest(testing.ExampleTest):
    def setUp(self):
        self.folder = testing.temporary_folder()
        self.cert, self.key = testing.certificate(self.folder)

    def server(self, *flags):
        return Server(f"--chain={self.cert}", f"--key={self.key}", "--port=0", *flags)

    def connect(self, server, roots, identity=None):
        context = ssl.create_default_context(cafile=roots)
        if identity:
            context.load_cert_chain(*identity)
        plain = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
        return context.wrap_socket(plain, server_hostname="localhost")

    def echoes(self, client, data=b"hello"):
        client.sendall(data)
        got = b""
        while len(got) < len(data):
            part = client.recv(65536)
            self.assertTrue(part, "it has ended the connection")
            got += part
        self.assertEqual(got, data)

    def renew(self):
        """Another certificate in the same files; returns a copy of the one before."""
        old = self.folder + "/old.pem"
        with open(self.cert, encoding="ascii") as before, \
                open(old, "w", encoding="ascii") as copy:
            copy.write(before.read())
        testing.certificate(self.folder)
        return old

    def test_echoes_to_many(self):
        with self.server() as server:
            clients = [self.connect(server, self.cert) for _ in range(20)]
            for i, client in enumerate(clients):
                self.echoes(client, bytes([i]) * 100_000)
            for client in clients:
                client.close()
            self.assertEqual(server.stop()[0], 0)

    def test_reads_its_certificates_again(self):
        with self.server() as server, self.connect(server, self.cert) as before:
            old = self.renew()
            server.process.send_signal(signal.SIGHUP)
            self.assertEqual(server.line(), "certificates: OK\n")
            with self.connect(server, self.cert) as client:
                self.echoes(client)
            with self.assertRaises(ssl.SSLCertVerificationError):
                self.connect(server, old)
            self.echoes(before)  # which has what it had

            # What cannot be read changes nothing, and is said, with the file.
            with open(self.cert, "w", encoding="ascii") as file:
                file.write("nothing\n")
            server.process.send_signal(signal.SIGHUP)
            line = server.line()
            self.assertRegex(line, r"^certificates: \w+: ")
            self.assertIn(self.cert, line)
            self.echoes(before)
            self.assertEqual(server.stop(signal.SIGINT)[0], 0)

    def test_asks_clients_for_certificates(self):
        with self.server(f"--client_roots={self.cert}") as server:
            with self.connect(server, self.cert, (self.cert, self.key)) as client:
                self.echoes(client)
            # By TLS 1.3 the client has no answer to its part yet when it is done.
            with self.assertRaises((ssl.SSLError, ConnectionError)), \
                    self.connect(server, self.cert) as client:
                client.sendall(b"x")
                if client.recv(1) == b"":
                    raise ConnectionError

    def test_flags(self):
        self.explains("--chain", "--key", "--client_roots", "--port")
        given = (f"--chain={self.cert}", f"--key={self.key}")
        self.refuses("--port=70000", "--port=-1", "--host=nowhere", "--client_roots=/none",
                     but=given)
        self.refuses("--key=/none", but=(f"--chain={self.cert}", "--port=0"))
        self.refuses("--port=0")


testing.main()
