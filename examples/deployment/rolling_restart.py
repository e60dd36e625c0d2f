"""What the tests of deployments share: hosts, HAProxy, load, and the restart of node after
node under it.

The hosts are network namespaces: one for each node, one for HAProxy, one for the clients,
joined by a bridge in a namespace of its own, in which the test runs. All of it is in a
mount and a network namespace that end with the process, so nothing is left behind.

A test begins with on_hosts_of_its_own(), has a class derived from RollingRestart, and ends
with main().
"""

import os
import signal
import socket
import subprocess
import sys
import threading

import testing
from testing import Process, run, tool

NODES = {"node1": "10.77.0.11", "node2": "10.77.0.12", "node3": "10.77.0.13"}
HOSTS = {"haproxy": "10.77.0.1", "client": "10.77.0.2", **NODES}
# More than HAProxy needs to find out, by a good deal, for busy machines.
DRAIN_DELAY = "6s"


def on_hosts_of_its_own():
    """Begins the program anew, in namespaces."""
    inside = "DEPLOYMENT_TEST_INSIDE"
    if inside in os.environ:
        return
    # Who is not root gets a user namespace in which he is.
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *as_root, "--mount", "--net", "--propagation", "private"]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        sys.exit("this test makes network namespaces, which are not permitted here: "
                 f"{tried.stderr.strip()} (needed: root with CAP_SYS_ADMIN, or "
                 "unprivileged user namespaces)")
    os.environ[inside] = "1"
    os.execvp("unshare", [*command, sys.executable, "-B", *sys.argv])


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


class Balancer(Process):
    def __init__(self, config):
        self.admin = "/run/haproxy.sock"  # in the tmpfs of this test
        if os.path.exists(self.admin):  # of another test
            os.unlink(self.admin)
        super().__init__(*on("haproxy", tool("haproxy"), "-db", "-f", config),
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


class Load:
    """Requests without end on some threads, on the clients' host: until stdin ends."""

    def __init__(self):
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.done = 0
        self.lost = []

    def count(self, good, why):
        with self.lock:
            self.done += 1
            if not good:
                self.lost.append(why)

    def run(self, loops):
        """For each line of stdin says how it went so far, and at the end why."""
        threads = [threading.Thread(target=loop, args=(self,)) for loop in loops]
        for t in threads:
            t.start()
        for _ in sys.stdin:
            with self.lock:
                print(self.done, len(self.lost), flush=True)
        self.stop.set()
        for t in threads:
            t.join()
        print(self.done, len(self.lost))
        print("\n".join(self.lost[:20]))


class Clients(Process):
    """This program once more, on the clients' host."""

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


class RollingRestart(testing.ExampleTest):
    """Derived classes have `config`, HAProxy's, and `command(address)`, a node's."""

    @classmethod
    def setUpClass(cls):
        make_hosts()

    def node(self, name):
        node = Process(*on(name, *self.command(NODES[name])))
        self.addCleanup(node.__exit__)
        line = node.line()
        self.assertTrue(line.startswith("listening on "), (line, node.errors()))
        return node

    def test_what_is_lost_is_counted(self):
        """Nodes that die without a word, instead of ending."""
        nodes = [self.node(name) for name in NODES]
        with Balancer(self.config) as balancer:
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
        with Balancer(self.config) as balancer:
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


def main(loops):
    """The tests, or, as `client`, the load: each of `loops` on a thread of its own."""
    if sys.argv[-1] == "client":
        Load().run(loops)
    else:
        testing.main()
