"""What stands in deploy/ speaks of figures that a running dts tells, with labels that they have."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

import aiohttp
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from support.inbox import receiving
from support.polling import eventually
from support.postgres import TestServer, open_directory
from support.system import System, dev

DEPLOY = Path(__file__).parents[2] / "deploy"
NAME = re.compile(r"\bdts_[a-z_]+")
MATCHED = re.compile(r'(dts_[a-z_]+)\{([a-z]+)!?="')
GROUPED = re.compile(r"by \((?P<labels>[a-z, ]+)\)[^d]*(?P<name>dts_[a-z_]+)")


def rules() -> list[dict]:
    return [rule for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict]:
    return json.loads((DEPLOY / "grafana.json").read_text())["panels"]


def expressions() -> list[str]:
    return [rule["expr"] for rule in rules()] + [each["expr"] for panel in panels() for each in panel["targets"]]


async def figures(system: System) -> dict[str, set[str]]:
    """Names of samples with the names of their labels."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{system.http}/metrics") as response:
        text = await response.text()
    found: dict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] |= set(sample.labels)
    return found


async def test_every_figure_of_the_board_and_the_alerts_is_told_by_a_running_dts(postgres: TestServer):
    wanted = {name for expression in expressions() for name in NAME.findall(expression)}
    labels = {(name, label) for expression in expressions() for name, label in MATCHED.findall(expression)}
    labels |= {
        (found["name"], label.strip())
        for expression in expressions()
        for found in GROUPED.finditer(expression)
        for label in found["labels"].split(",")
    }
    assert len(wanted) > 15
    assert ("dts_loop_age_seconds", "loop") in labels
    dsn = await postgres.create()
    with open_directory() as data:
        (data / "policy.yaml").write_text("private_addresses: [127.0.0.0/8]\n")
        environment = {"DTS_DSN": dsn, "DTS_POLICY_FILE": str(data / "policy.yaml")}
        async with dev(data, environment=environment) as system, receiving() as inbox:
            # Some figures are told once there is something to tell.
            channel = ("channel", "create", "ops", "--target-file", "-")
            assert (await system.dts(*channel, given=inbox.address)).code == 0
            create = ("task", "create", "fails", "--every", "1s", "--process", "--", "false")
            assert (await system.dts(*create)).code == 0
            await eventually(lambda: inbox.arrivals, within=30)

            async def told() -> dict[str, set[str]]:
                found = await figures(system)
                assert wanted - set(found) == set()
                return found

            found = await eventually(told, within=40)
    await postgres.drop(dsn)
    assert {(name, label) for name, label in labels if label not in found[name] | {"le", "instance"}} == set()


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_alert_says_what_is_wrong_and_how_bad_it_is(rule):
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description"}


def test_no_two_panels_of_the_board_lie_on_each_other():
    taken: dict[tuple[int, int], str] = {}
    for panel in panels():
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
        assert at["x"] + at["w"] <= 24
