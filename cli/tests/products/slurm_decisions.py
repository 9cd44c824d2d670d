"""What users are told of the controller, and when anew: the pure part of the product's script."""

import importlib.machinery
import importlib.util
import os
import unittest

loader = importlib.machinery.SourceFileLoader("orchestrator", os.environ["SCRIPT"])
script = importlib.util.module_from_spec(importlib.util.spec_from_loader("orchestrator", loader))
loader.exec_module(script)

DN = "clusters/local/slurm/22.05/1"


def controller(address, port):
    return {"address": address, "ports": {"slurmctld": port}}


class Endpoint(unittest.TestCase):
    def is_told(self, endpoints, now):
        return script.is_told({"dn": DN, "endpoints": endpoints}, script.endpoint(DN, now))

    def test_a_controller_that_was_placed_anew_is_told_of(self):
        # As the platform hands back what was published.
        first = {"role": "jobs", **script.endpoint(DN, controller("10.0.0.1", 6817))}
        first["connect"]["env"] = {}
        self.assertTrue(self.is_told({"slurm": first}, controller("10.0.0.1", 6817)))
        for moved in (controller("10.0.0.2", 6817), controller("10.0.0.1", 31004)):
            self.assertFalse(self.is_told({"slurm": first}, moved))

    def test_what_was_never_told_or_by_another_template_is_told(self):
        now = controller("10.0.0.1", 6817)
        former = {"url": "10.0.0.1:6817", "connect": {"command": ["ssh", "controller"], "env": {}}}
        for endpoints in ({}, {"slurm": former}, {"slurm": {**former, "connect": None}}):
            self.assertFalse(self.is_told(endpoints, now))

    def test_the_address_is_the_controllers(self):
        told = script.endpoint(DN, controller("10.0.0.1", 6817))
        self.assertEqual(told["url"], "10.0.0.1:6817")
        self.assertEqual(told["connect"]["command"][:5], ["bigdata", "node", "exec", DN, "controller"])


if __name__ == "__main__":
    unittest.main()
