"""The rules for Prometheus name what /metrics has, and each alert has its section in the runbook."""

from __future__ import annotations

import json
import os
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


FAILURES = 'everystall_failures{{marketplace="{}", window="{}", code="{}"}}'
HEALED = 'everystall_healed_locators{{marketplace="ebay", state="{}"}}'
POOL = 'everystall_database_connections{{state="{}"}}'
DISK = 'everystall_disk_bytes{{path="/", state="{}"}}'


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


PROMTOOL = shutil.which("promtool", path=f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}")
with_promtool = pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool here (`make promtool`)")
#: Rule → after how many minutes, with which series (a value each minute) it fires, with which it is quiet.
CASES = {
    "EverystallDown": (4, {'up{job="everystall"}': "0x9"}, {'up{job="everystall"}': "0 1x9"}),
    "EverystallNoWorker": (4, {"everystall_workers": "0x9"}, {"everystall_workers": "0 0 1x9"}),
    "EverystallTakeDownLate": (
        3, {"everystall_late_take_downs": "1x9"}, {"everystall_late_take_downs": "0x9"},
    ),
    "EverystallQueueLags": (
        12,
        {"everystall_due_oldest_seconds": "601x20", "everystall_workers": "2x20"},
        {"everystall_due_oldest_seconds": "601x20", "everystall_workers": "0x20"},  # that is another's
    ),
    "EverystallBlindAccounts": (
        32, {"everystall_blind_accounts": "1x40"}, {"everystall_blind_accounts": "1x20 0x20"},
    ),
    "EverystallVisitsFail": (
        12,
        {FAILURES.format("ebay", "2h", "unexpected"): "15x20", FAILURES.format("ebay", "2h", "late"): "6x20"},
        {FAILURES.format("ebay", "2h", "unexpected"): "20x20",
         FAILURES.format("mercari", "2h", "late"): "9x20",
         FAILURES.format("ebay", "2h", "not_wanted"): "99x20", FAILURES.format("ebay", "24h", "x"): "99x20"},
    ),
    "EverystallPagesNotAsKnown": (
        2,
        {FAILURES.format("ebay", "2h", "page_changed"): "3x9"},
        {FAILURES.format("ebay", "2h", "page_changed"): "2x9",
         FAILURES.format("mercari", "2h", "page_changed"): "2x9"},
    ),
    "EverystallTargetsHealed": (
        1500,
        {HEALED.format("candidate"): "0x1440 1x200", HEALED.format("demoted"): "0x1700"},
        {HEALED.format("candidate"): "1x1700", HEALED.format("demoted"): "0x1440 5x200"},
    ),
    "EverystallBrowserFails": (
        2,
        {FAILURES.format("ebay", "2h", "browser_ended"): "2x9",
         FAILURES.format("mercari", "2h", "browser_x"): "1x9"},
        {FAILURES.format("ebay", "2h", "browser_ended"): "2x9"},
    ),
    "EverystallDatabasePoolFull": (
        7, {POOL.format("used"): "19x20", POOL.format("at_most"): "20x20"},
        {POOL.format("used"): "18x20", POOL.format("at_most"): "20x20"},
    ),
    "EverystallDiskFillsUp": (
        12, {DISK.format("free"): "9x20", DISK.format("size"): "100x20"},
        {DISK.format("free"): "11x20", DISK.format("size"): "100x20"},
    ),
    "EverystallBackupFailed": (
        17, {"everystall_backup_failed": "1x30"}, {"everystall_backup_failed": "1x10 0x20"},
    ),
    "EverystallBackupOld": (
        50 * 60, {"everystall_backup_timestamp_seconds": "0x3100"},
        {"everystall_backup_timestamp_seconds": "0x2800 160000x300"},
    ),
    "EverystallBudgetSpent": (
        2, {"everystall_sellers_without_budget": "1x9"}, {"everystall_sellers_without_budget": "0x9"},
    ),
}  # fmt: skip


@with_promtool
def test_prometheus_takes_them():
    said = subprocess.run([PROMTOOL, "check", "rules", str(FILE)], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


@with_promtool
def test_each_fires_when_it_should_and_not_before(tmp_path):
    assert set(CASES) == set(RULES)
    tests = []
    for name, (minutes, fires, quiet) in CASES.items():
        for series, samples in ((fires, [{"labels": f'{{alertname="{name}"}}', "value": 1}]), (quiet, [])):
            query = f'count by (alertname) (ALERTS{{alertname="{name}", alertstate="firing"}})'
            tests.append({
                "name": f"{name}, {'fires' if samples else 'quiet'}", "interval": "1m",
                "input_series": [{"series": one, "values": values} for one, values in series.items()],
                "promql_expr_test": [{"expr": query, "eval_time": f"{minutes}m", "exp_samples": samples}],
            })  # fmt: skip
    file = tmp_path / "cases.yaml"
    file.write_text(json.dumps({"rule_files": [str(FILE)], "evaluation_interval": "1m", "tests": tests}))
    said = subprocess.run([PROMTOOL, "test", "rules", str(file)], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr
