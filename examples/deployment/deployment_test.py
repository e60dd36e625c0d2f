"""Three http_servers on hosts of their own behind HAProxy: a rolling restart under load
loses no request.

Usage: deployment_test.py HTTP_SERVER HAPROXY_CFG TESTING_PY
"""

import functools
import http.client
import os
import sys

SERVER, CONFIG, HELPERS = sys.argv[1:4]
sys.path.insert(0, os.path.dirname(HELPERS))
import rolling_restart  # noqa: E402

rolling_restart.on_hosts_of_its_own()


def short(i, load):
    """By turns on a connection that it keeps, and on new ones."""
    n = 0
    connection = None
    while not load.stop.is_set():
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
        load.count(good, f"client {i} request {n}: {why}")
        if n % 10 == 0 and connection is not None:
            connection.close()
            connection = None
        load.stop.wait(0.005)  # a load that leaves room


def long(load):
    """Responses that take two seconds, so that each restart has some in its midst."""
    while not load.stop.is_set():
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
        load.count(good, f"events: {why}")


class DeploymentTest(rolling_restart.RollingRestart):
    config = CONFIG

    def command(self, address):
        return [SERVER, f"--host={address}", "--port=8080", "--hubs=1",
                f"--drain_delay={rolling_restart.DRAIN_DELAY}", "--grace=30s"]


rolling_restart.main([functools.partial(short, i) for i in range(8)] + [long] * 4)
