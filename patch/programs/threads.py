"""What Python's library does with threads, sockets, select and children."""

import http.server
import queue
import select
import socket
import subprocess
import threading
import time
import urllib.request


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ("you asked for " + self.path).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.request_queue_size = 128
server.socket.listen(128)
threading.Thread(target=server.serve_forever, daemon=True).start()

bodies = []


def fetch(i):
    url = "http://127.0.0.1:%d/%d" % (server.server_address[1], i)
    with urllib.request.urlopen(url) as answer:
        bodies.append(answer.read().decode())


threads = [threading.Thread(target=fetch, args=(i,)) for i in range(100)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(len(bodies), sorted(bodies)[0], sorted(bodies)[-1])
server.shutdown()

print(subprocess.run(["sh", "-c", "cat; exit 3"], input=b"to a child\n",
                     stdout=subprocess.PIPE))

a, b = socket.socketpair()
threading.Timer(0.05, lambda: b.send(b"x")).start()
print(select.select([a], [], [])[0] == [a], select.select([a], [], [], 0)[0] == [a])
poll = select.epoll()
poll.register(a, select.EPOLLIN)
print(poll.poll() == [(a.fileno(), select.EPOLLIN)])

q = queue.Queue(maxsize=2)
threading.Thread(target=lambda: [q.put(i) for i in range(10)]).start()
print([q.get() for _ in range(10)])

lock = threading.RLock()
total = 0


def add():
    global total
    for _ in range(100):
        with lock, lock:
            before = total
            time.sleep(0)
            total = before + 1


threads = [threading.Thread(target=add) for _ in range(10)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(total)

local = threading.local()
local.value = "main"
barrier = threading.Barrier(5)
seen = []


def use(i):
    local.value = i
    barrier.wait()
    seen.append(local.value)


threads = [threading.Thread(target=use, args=(i,)) for i in range(5)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(sorted(seen), local.value)
raise SystemExit(5)
