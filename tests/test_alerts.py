"""The rules for Prometheus name what /metrics has, and each alert has its section in the runbook."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FILE = ROOT / "deploy/alerts.yaml"
(GROUP,) = yaml.safe_load(FILE.read_text())["groups"]
RULES = {rule["alert"]: rule for rule in GROUP["rules"]}
PAGE = (ROOT / "docs/runbook.md").read_text()


def test_each_alert_has_its_section_in_the_runbook_and_each_section_its_alert():
    sections = re.findall(r"^## (\w+)$", PAGE, re.M)
    assert sections == list(RULES)
    for name, rule in RULES.items():
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
        said = PAGE.split(f"## {name}\n")[1].split("\n## ")[0]
        for part in ("Means", "Look first", "Do", "Over when"):
            assert f"- **{part}:**" in said, (name, part)


def test_each_rule_is_whole():
    assert len(RULES) == len(GROUP["rules"])
    for name, rule in RULES.items():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, name
        assert set(rule["labels"]) == {"severity"}, name
        assert rule["labels"]["severity"] in ("page", "ticket"), name
        assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m")), name
        # what goes on evenly would be none
        assert not re.search(r"\b(delta|rate|increase|deriv)\(", rule["expr"]), name
        assert rule["expr"].count("(") == rule["expr"].count(")"), name


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus is not here")
def test_prometheus_takes_them():
    said = subprocess.run(["promtool", "check", "rules", str(FILE)], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr
