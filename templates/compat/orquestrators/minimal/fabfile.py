#!/usr/bin/env python3
"""The smallest script of a product: `start` tells every node its peers and publishes where the nodes listen."""

import json
import os
import subprocess
import sys


def cluster():
    """The document that the platform writes for each run: nodes, services, options."""
    with open(os.environ["BIGDATA_CLUSTER"], encoding="utf-8") as document:
        return json.load(document)


def addresses():
    """Each node's address, in the order of the template."""
    for name, node in cluster()["nodes"].items():
        yield name, "{}:{}".format(node["address"], node["ports"]["http"])


def bigdata(*words, text=None):
    """Runs a `bigdata` command; a failure ends the script."""
    subprocess.run(["bigdata", *words], input=text, text=True, check=True)


def start():
    """Configures the cluster. It may be run again."""
    known = dict(addresses())
    for name in known:
        bigdata("node", "put", name, "peers.json", "--mode", "644", text=json.dumps(known))
    bigdata("progress", "50", "every node knows its peers")
    check()
    bigdata("output", "--endpoint=web", *("{}=http://{}/".format(*node) for node in known.items()))
    bigdata("progress", "100", "every node is configured")


def check():
    """Asks every node whether it reaches its peers."""
    for name, address in addresses():
        bigdata("node", "exec", name, "--", "bigdata", "reference-node", "check", address)


def status():
    """Prints the nodes."""
    for name, address in addresses():
        print(name, address)


ACTIONS = {"start": start, "check": check, "status": status}

if __name__ == "__main__":
    action = ACTIONS.get(sys.argv[1] if len(sys.argv) > 1 else "")
    if action is None:
        # The exit code that says: there is no such action.
        sys.exit(64)
    action()
