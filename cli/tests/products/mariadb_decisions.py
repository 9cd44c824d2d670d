"""Who may become a primary, and who not: the pure part of the product's script. And how data takes the place of other data at
a server, wherever that is interrupted."""

import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap
import unittest

loader = importlib.machinery.SourceFileLoader("orchestrator", os.environ["SCRIPT"])
script = importlib.util.module_from_spec(importlib.util.spec_from_loader("orchestrator", loader))
sys.modules["orchestrator"] = script
loader.exec_module(script)

DOWN, UNKNOWN, ABSENT = (script.Seen(state) for state in ("down", "unknown", "absent"))


def replica(received, applied=None, applies="Yes"):
    positions = {"gtid_slave_pos": f"0-1-{applied or received}", "Gtid_IO_Pos": f"0-1-{received}"}
    return script.Seen("up", {"read_only": "1", "Slave_SQL_Running": applies, **positions})


FRESH = script.Seen("up", {"read_only": "1", "gtid_binlog_pos": "0-1-90"})
BOTH = script.Topology("a", waits=True, acking=("b", "c"), initialised=True)
ALONE = script.Topology("a", initialised=True)


class Decisions(unittest.TestCase):
    def decide(self, topology, a, b, c, asynchronous=False, fenced=False, accept_loss=False):
        seen = {"a": a, "b": b, "c": c}
        verdict, names = script.decide(topology, seen, asynchronous, fenced, accept_loss)
        return (verdict, script.most_advanced(names, seen)) if verdict == "promote" else (verdict, None)

    def check(self, *cases):
        for expected, topology, a, b, c, words in cases:
            with self.subTest(topology=topology, a=a, b=b, c=c, words=words):
                self.assertEqual(self.decide(topology, a, b, c, **words), expected)

    def test_replicas_that_confirmed_every_write(self):
        self.check(
            (("keep", None), BOTH, FRESH, replica(7), replica(7), {}),
            # The most advanced by what it received, not by what it applied; the end of the primary need not be certain.
            (("promote", "c"), BOTH, DOWN, replica(7), replica(9, applied=3), {"fenced": True}),
            (("promote", "b"), BOTH, UNKNOWN, replica(10), replica(9), {}),
            # One that cannot be looked at, or lost its relay log by a restart, may have confirmed what no other has.
            (("wait", None), BOTH, UNKNOWN, replica(7), UNKNOWN, {}),
            (("wait", None), BOTH, ABSENT, replica(7), DOWN, {"fenced": True}),
            (("wait", None), BOTH, UNKNOWN, replica(7), replica(9, applies="No"), {}),
            (("return", None), BOTH, DOWN, replica(7), UNKNOWN, {"fenced": True}),
            (("promote", "b"), BOTH, UNKNOWN, replica(7), UNKNOWN, {"accept_loss": True}),
        )

    def test_a_primary_that_was_alone(self):
        self.check(
            (("return", None), ALONE, DOWN, replica(7), replica(7), {"fenced": True}),
            (("wait", None), ALONE, ABSENT, replica(7), replica(7), {"fenced": True}),
            (("promote", "c"), ALONE, ABSENT, replica(7), replica(8), {"accept_loss": True}),
        )

    def test_asynchronous(self):
        asynchronous = {"asynchronous": True}
        self.check(
            (("promote", "c"), ALONE, DOWN, replica(7), replica(9), {**asynchronous, "fenced": True}),
            (("wait", None), ALONE, UNKNOWN, replica(7), replica(9), asynchronous),
            (("promote", "c"), ALONE, UNKNOWN, replica(7), replica(9), {**asynchronous, "accept_loss": True}),
        )

    def test_data_of_before_a_restore(self):
        restored = script.Topology("a", initialised=True, since=100)
        asynchronous = {"asynchronous": True, "fenced": True}
        self.check(
            (("keep", None), restored, FRESH, replica(7), replica(8), {}),
            # However certain the end of the primary is: nobody brings the old data back but by a word.
            (("return", None), restored, DOWN, replica(7), replica(8), {"fenced": True}),
            (("return", None), restored, DOWN, replica(7), replica(8), asynchronous),
            (("wait", None), restored, ABSENT, replica(7), replica(8), asynchronous),
            (("promote", "c"), restored, ABSENT, replica(7), replica(8), {"accept_loss": True}),
            # One that has the restored data goes before all that have more of the old.
            (("promote", "b"), restored, ABSENT, replica(100), replica(99), {"accept_loss": True}),
            (("promote", "b"), restored, DOWN, replica(101), replica(99), asynchronous),
        )
        words = script.decide(restored, {"a": ABSENT, "b": replica(7)}, False, True, False)[1]
        self.assertIn("the restored data may be on a alone", words)

    def test_texts(self):
        self.assertEqual(script.number("0-1-17"), 17)
        self.assertEqual(script.number(""), 0)
        self.assertEqual(script.quoted("it's a \\"), "'it''s a \\\\'")
        # As MariaDB's documentation of PASSWORD() has it.
        self.assertEqual(script.hash_of("notagoodpwd"), "*3A70EE9FC6594F88CE9E959CD51C5A1C002DC937")

    def test_what_is_stored(self):
        written = '{"primary": "a", "waits": true, "acking": ["b", "c"], "initialised": true}'
        self.assertEqual(script.Topology.read(written), BOTH)
        self.assertEqual(script.Topology.read(""), script.Topology())
        # A former revision takes these four alone.
        self.assertEqual(json.loads(BOTH.text()), json.loads(written))
        self.assertEqual(set(json.loads(script.Topology().text())), set(json.loads(written)))
        restored = script.Topology("a", since=7, restoring="x", aside="a b", run="r")
        self.assertEqual(script.Topology.read(restored.text()), restored)
        later = json.dumps({**json.loads(restored.text()), "later": 1})
        self.assertEqual(script.Topology.read(later), restored)


def member_script():
    """member.sh as the template has it, with some number for every option."""
    template = (pathlib.Path(os.environ["SCRIPT"]).parent / "template.yaml").read_text(encoding="utf-8")
    text = template.split("      member.sh: |\n")[1].split("{%- endfor %}")[0]
    return re.sub(r"\{\{.*?\}\}", "64", textwrap.dedent(text))


class Places(unittest.TestCase):
    """A server's disk: what is killed before any of its programs is begun again."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.disk = self.folder / "disk"
        self.programs = self.folder / "programs"
        self.programs.mkdir()
        (self.folder / "member.sh").write_text(member_script(), encoding="utf-8")
        for name in ("rm", "mv", "sync"):
            counted = f"""#!/bin/bash
                echo >>"{self.folder}/begun"
                if test "$(wc -l <"{self.folder}/begun")" = "$KILLED"; then kill -9 $PPID; exit 1; fi
                exec /bin/{name} "$@"
            """
            (self.programs / name).write_text(textwrap.dedent(counted), encoding="utf-8")
            (self.programs / name).chmod(0o755)

    def run_member(self, *words, killed=0):
        (self.folder / "begun").write_text("")
        path = f"{self.programs}:{os.environ['PATH']}"
        environment = {"PATH": path, "HOME": str(self.folder), "BIGDATA_DISK_DATA": str(self.disk), "KILLED": str(killed)}
        command = ["/bin/bash", str(self.folder / "member.sh"), *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        return done.returncode, done.stderr

    def fill(self, **folders):
        subprocess.run(["rm", "-rf", self.disk], check=True)
        for folder, history in folders.items():
            (self.disk / folder).mkdir(parents=True)
            (self.disk / folder / "history").write_text(history + "\n")

    def has(self):
        return {it.name: (it / "history").read_text().strip() for it in self.disk.iterdir() if it.is_dir()}

    def test_a_restore_that_is_interrupted_anywhere(self):
        interrupted = []
        for killed in range(1, 20):
            self.fill(data="1", incoming="2", former="0")
            if self.run_member("enter", "2", killed=killed)[0] == 0:
                break
            has = self.has()
            interrupted.append(has)
            self.assertTrue("data" in has or (has.get("former") == "1" and has.get("incoming") == "2"), has)
            self.assertEqual(self.run_member("enter", "2")[0], 0)
            self.assertEqual(self.has(), {"data": "2", "former": "1"})
        self.assertIn({"former": "1", "incoming": "2"}, interrupted, "between the two steps")
        self.assertEqual(self.has(), {"data": "2", "former": "1"})
        # Asked for once more: it is in its place already.
        self.assertEqual(self.run_member("enter", "2")[0], 0)
        self.assertEqual(self.has(), {"data": "2", "former": "1"})

    def test_data_that_is_not_there(self):
        self.fill(data="1", incoming="3")
        code, error = self.run_member("enter", "2")
        self.assertEqual((code, self.has()), (1, {"data": "1", "incoming": "3"}))
        self.assertIn("is not on this disk", error)

    def test_what_is_left_goes(self):
        self.fill(data="1", incoming="2", former="0")
        self.assertEqual(self.run_member("drop-incoming")[0], 0)
        self.assertEqual(self.has(), {"data": "1", "former": "0"})
        self.fill(data="1", incoming="2", former="0")
        self.assertEqual(self.run_member("tidy")[0], 0)
        self.assertEqual(self.has(), {"data": "1"})
        self.fill(incoming="2", former="0")
        self.assertEqual(self.run_member("adopt")[0], 0)
        self.assertEqual(self.has(), {"data": "2"})


if __name__ == "__main__":
    unittest.main()
