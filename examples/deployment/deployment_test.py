"""Three http_servers on hosts of their own behind HAProxy: a rolling restart under load
loses no request.

Usage: deployment_test.py HTTP_SERVER HAPROXY_CFG TESTING_PY

The hosts are network namespaces: one for each node, one for HAProxy, one for the clients,
joined by a bridge in a namespace of its own, in which this test runs. All of it is in a
mount and a network namespace that end with this process, so nothing is left behind.
"""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading

SERVER, CONFIG, HELPERS = sys.argv[1:4]
sys.path.insert(0, os.path.dirname(HELPERS))
INSIDE = "DEPLOYMENT_TEST_INSIDE"

if INSIDE not in os.environ:
    # Who is not root gets a user namespace in which he is.
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *as_root, "--mount", "--net", "--propagation", "private"]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        sys.exit("this test makes network namespaces, which are not permitted here: "
                 f"{tried.stderr.strip()} (needed: root with CAP_SYS_ADMIN, or "
                 "unprivileged user namespaces)")
    os.environ[INSIDE] = "1"
    os.execvp("unshare", [*command, sys.executable, "-B", *sys.argv])

import testing  # noqa: E402
from testing import Process, run, tool  # noqa: E402

NODES = {"node1": "10.77.0.11", "node2": "10.77.0.12", "node3": "10.77.0.13"}
HOSTS = {"haproxy": "10.77.0.1", "client": "10.77.0.2", **NODES}
CLIENTS = 8
# More than HAProxy needs to find out (inter x fall), by a good deal, for busy machines.
DRAIN_DELAY = "3s"


def ip(*words):
    done = subprocess.run([tool("ip"), *words], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def on(host, *command):
    return [tool("ip"), "netns", "exec", host, *command]


def make_hosts():
    run(tool("mount"), "-t", "tmpfs", "tmpfs", "/run")
    ip("link", "add", "bridge0", "type", "bridge")
    ip("link", "set", "bridge0", "up")
    for host, address in HOSTS.items():
        ip("netns", "add", host)
        ip("link", "add", f"to-{host}", "type", "veth", "peer", "name", "eth0", "netns", host)
        ip("link", "set", f"to-{host}", "master", "bridge0", "up")
        ip("-n", host, "address", "add", address + "/24", "dev", "eth0")
        ip("-n", host, "link", "set", "eth0", "up")
        ip("-n", host, "link", "set", "lo", "up")


class Node(Process):
    def __init__(self, name):
        super().__init__(*on(name, SERVER, f"--host={NODES[name]}", "--port=8080", "--hubs=1",
                             f"--drain_delay={DRAIN_DELAY}", "--grace=30s"))
        self.name = name
        line = self.line()
        assert line.startswith("listening on "), (line, self.errors())


class Balancer(Process):
    def __init__(self):
        self.admin = "/run/haproxy.sock"  # in the tmpfs of this test
        if os.path.exists(self.admin):  # of another test
            os.unlink(self.admin)
        super().__init__(*on("haproxy", tool("haproxy"), "-db", "-f", CONFIG),
                         env={**os.environ, "ADMIN_SOCKET": self.admin})
        testing.wait_until(lambda: os.path.exists(self.admin) or self.process.poll() is not None,
                           "HAProxy starts")
        assert self.process.poll() is None, self.errors()

    def statistics(self):
        """Of each server, a dict by the names of HAProxy's columns."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.admin)
            s.sendall(b"show stat\n")
            names, *rows = testing.read_to_end(s).decode().strip().lstrip("# ").split("\n")
        rows = [dict(zip(names.split(","), r.split(","))) for r in rows]
        return {r["svname"]: r for r in rows if r["pxname"] == "nodes"}

    def wait_for(self, node, status):
        testing.wait_until(lambda: self.statistics()[node]["status"] == status,
                           f"HAProxy finds {node} {status}")


# What the clients run, in their namespace: until stdin ends, and then tells how it went.
def client_main():
    stop = threading.Event()
    lock = threading.Lock()
    done, lost = [0], []

    def short(i):
        """By turns on a connection that it keeps, and on new ones."""
        n = 0
        connection = None
        while not stop.is_set():
            data = b"client %d request %d " % (i, n) * 50
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("10.77.0.1", 8080, timeout=60)
                connection.request("POST", "/echo", data)
                answer = connection.getresponse()
                body = answer.read()
                good = answer.status == 200 and body == data
                why = f"{answer.status} {body[:100]}"
            except (OSError, http.client.HTTPException) as e:
                good, why = False, repr(e)
                connection = None
            n += 1
            with lock:
                done[0] += 1
                if not good:
                    lost.append(f"client {i} request {n}: {why}")
            if n % 10 == 0 and connection is not None:
                connection.close()
                connection = None
            stop.wait(0.005)  # a load that leaves room

    def long():
        """Responses that take two seconds, so that each restart has some in its midst."""
        while not stop.is_set():
            try:
                connection = http.client.HTTPConnection("10.77.0.1", 8080, timeout=60)
                connection.request("GET", "/events?count=20")
                answer = connection.getresponse()
                body = answer.read().decode()
                good = body == "".join(f"id: {i}\ndata: {i}\n\n" for i in range(20))
                why = f"{answer.status} {body[-100:]}"
                connection.close()
            except (OSError, http.client.HTTPException) as e:
                good, why = False, repr(e)
            with lock:
                done[0] += 1
                if not good:
                    lost.append(f"events: {why}")

    threads = [threading.Thread(target=short, args=(i,)) for i in range(CLIENTS)]
    threads += [threading.Thread(target=long) for _ in range(4)]
    for t in threads:
        t.start()
    for line in sys.stdin:
        with lock:
            print(done[0], len(lost), flush=True)
    stop.set()
    for t in threads:
        t.join()
    print(done[0], len(lost))
    print("\n".join(lost[:20]))


class Clients(Process):
    def __init__(self):
        super().__init__(*on("client", sys.executable, "-B", *sys.argv, "client"),
                         stdin=subprocess.PIPE)

    def so_far(self):
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return [int(n) for n in self.line().split()]

    def finish(self):
        out, _ = self.process.communicate(timeout=testing.PATIENCE)
        counts, _, lost = out.partition("\n")
        return [int(n) for n in counts.split()], lost.strip() + self.errors()


class DeploymentTest(testing.ExampleTest):
    @classmethod
    def setUpClass(cls):
        make_hosts()

    def node(self, name):
        node = Node(name)
        self.addCleanup(node.__exit__)
        return node

    def test_what_is_lost_is_counted(self):
        """Nodes that die without a word, instead of ending."""
        nodes = [self.node(name) for name in NODES]
        with Balancer() as balancer:
            for name in NODES:
                balancer.wait_for(name, "UP")
            with Clients() as clients:
                testing.wait_until(lambda: clients.so_far()[0] > 50, "requests are answered")
                self.assertEqual(clients.so_far()[1], 0)
                for node in nodes:
                    node.process.kill()
                    node.process.wait()
                testing.wait_until(lambda: clients.so_far()[1] > 0, "the loss is noticed")
                (_, lost), _ = clients.finish()
                self.assertGreater(lost, 0)

    def test_a_rolling_restart_under_load_loses_no_request(self):
        nodes = {name: self.node(name) for name in NODES}
        with Balancer() as balancer:
            for name in NODES:
                balancer.wait_for(name, "UP")
            with Clients() as clients:
                for name in NODES:
                    # All nodes have had requests since the last restart.
                    before = {n: int(s["stot"]) for n, s in balancer.statistics().items()}
                    testing.wait_until(
                        lambda: all(int(balancer.statistics()[n]["stot"]) > before[n] + 10
                                    for n in NODES), "all nodes are busy")
                    nodes[name].process.send_signal(signal.SIGTERM)
                    balancer.wait_for(name, "DOWN")
                    code, _, err = nodes[name].end()
                    self.assertEqual((code, err), (0, ""), "it has answered all it had")
                    # Without it, the others go on.
                    done, lost = clients.so_far()
                    testing.wait_until(lambda: clients.so_far()[0] > done + 50,
                                       "requests are answered meanwhile")
                    nodes[name] = self.node(name)
                    balancer.wait_for(name, "UP")
                (done, lost), why = clients.finish()
                print(f"{done} requests, {lost} lost")
                self.assertEqual((lost, why), (0, ""))
                self.assertGreater(done, 300)


if sys.argv[-1] == "client":
    client_main()
else:
    testing.main()
