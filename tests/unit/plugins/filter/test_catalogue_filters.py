# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""The catalogue's filters: as functions, and in real plays."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.backup.plugins.plugin_utils import _networks
from tests.unit.plugins.module_utils.catalogue.estate import DELETE, HOST_KEY, changed, estate
from tests.unit.plugins.module_utils.catalogue.inventories import ansible

ROOT = Path(__file__).resolve().parents[4]
FILTERS = sorted(path.stem for path in (ROOT / "plugins/filter").glob("*.py"))
PACKAGE = "ansible_collections.homelab.backup.plugins.filter"


def filtered(name: str, data: Any, *arguments: Any, **options: Any) -> Any:
    """What a filter gives."""
    plugin = importlib.import_module(f"{PACKAGE}.{name}").FilterModule()
    return plugin.filters()[name](data, *arguments, **options)


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_has_the_name_of_its_file_and_documents_its_options(name: str) -> None:
    module = importlib.import_module(f"{PACKAGE}.{name}")
    (known,) = module.FilterModule().filters()
    assert known == name
    documented = yaml.safe_load(module.DOCUMENTATION)
    assert documented["name"] == name
    function = module.FilterModule().filters()[name]
    arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
    assert ["_input", *arguments[1:]] == list(documented["options"])


@pytest.mark.parametrize("name", FILTERS)
def test_a_catalogue_with_errors_fails_with_all_of_them(name: str) -> None:
    if name == "catalogue_query":
        assert filtered(name, {"extra": 1}, "extra") == 1
        return
    broken = changed(("extra", 1), ("timezone", "Mars/Base"))
    arguments = [] if name in ("catalogue_check", "protection_matrix") else ["truenas"]
    with pytest.raises(AnsibleFilterError) as caught:
        filtered(name, broken, *arguments)
    assert "extra: unknown key" in str(caught.value)
    assert "timezone: 'Mars/Base'" in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "snapshot_policy",
        "offsite_policy",
        "known_hosts",
        "nfs_networks",
        "nas_clients",
        "nas_copies",
        "nas_key",
    ],
)
def test_an_unknown_name_is_an_error_of_the_filter(name: str) -> None:
    with pytest.raises(AnsibleFilterError, match="-> "):
        filtered(name, estate(), "nobody")


def test_results_are_plain_data() -> None:
    assert filtered("catalogue_check", estate()) is True
    assert filtered("known_hosts", estate(), "truenas") == [f"192.168.1.13 {HOST_KEY}"]
    assert filtered("protection_matrix", estate())[0]["service"] == "PostgreSQL (2 DBs)"
    assert filtered("protection_matrix", estate(), markdown=True).startswith("| Service |")
    assert filtered("managed_datasets", estate(), "truenas")[0]["dataset"].startswith("main/")
    assert filtered("services_by_dataset", estate(), "truenas")["main/photos"] == ["photos"]


class TestAllowLists:
    """netaddr: who may reach what."""

    def test_nodes_become_the_fewest_networks_with_exactly_their_addresses(self) -> None:
        nodes = {f"n{last}": {"address": f"10.0.10.{last}"} for last in (20, 21, 22, 23, 24)}
        document = changed(("cluster.nodes", nodes))
        assert filtered("nfs_networks", document, "truenas") == ["10.0.10.20/30", "10.0.10.24"]

    def test_networks_that_are_given_replace_the_nodes(self) -> None:
        document = changed(("storage.truenas.nfs_networks", ["fd00::/64", "10.1.0.0/16"]))
        assert filtered("nfs_networks", document, "truenas") == ["10.1.0.0/16", "fd00::/64"]

    def test_without_a_cluster_nobody_may_mount(self) -> None:
        document = changed(
            ("services", {"photos": estate()["services"]["photos"]}), ("cluster", DELETE)
        )
        assert filtered("nfs_networks", document, "truenas") == []

    def test_the_copy_comes_from_the_hosts_that_have_one(self) -> None:
        document = changed(
            ("storage.other", {"address": "10.0.10.99", "pools": {"tank": {}}}),
            ("cluster.storage_host", "truenas"),
        )
        assert filtered("nas_clients", document, "synology") == ["10.0.10.15"]

    def test_every_entry_that_cannot_be_allowed_is_named(self) -> None:
        document = changed(
            (
                "cluster.nodes",
                {
                    "a": {"address": "node-a.lan"},
                    "b": {"address": "127.0.0.1"},
                    "c": {"address": "224.0.0.5"},
                    "d": {"address": "0.0.0.0"},
                    "e": {"address": "10.0.0.1"},
                },
            )
        )
        with pytest.raises(AnsibleFilterError) as caught:
            filtered("nfs_networks", document, "truenas")
        named = re.findall(r"cluster\.nodes\.(\w)\.address", str(caught.value))
        assert named == ["a", "b", "c", "d"]

    @pytest.mark.parametrize("everyone", ["0.0.0.0/0", "::/0"])
    def test_the_whole_internet_is_refused(self, everyone: str) -> None:
        document = changed(("storage.truenas.nfs_networks", [everyone]))
        with pytest.raises(AnsibleFilterError, match="whole internet"):
            filtered("nfs_networks", document, "truenas")

    def test_without_netaddr_the_error_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_networks, "MISSING", ImportError("netaddr"))
        with pytest.raises(AnsibleFilterError, match="pip install netaddr"):
            filtered("nfs_networks", estate(), "truenas")


class TestQuery:
    """jmespath."""

    def test_selects(self) -> None:
        services = [{"key": key, **value} for key, value in estate()["services"].items()]
        assert filtered("catalogue_query", services, "[?storage=='nfs'].key") == [
            "prometheus",
            "photos",
        ]
        assert filtered("catalogue_query", services, "[].nothing.at.all") == []

    def test_text_functions_take_ansibles_text(self) -> None:
        class Tagged(str):
            __slots__ = ()

        assert filtered("catalogue_query", [Tagged("ab")], Tagged("[?contains(@, 'a')]")) == ["ab"]

    @pytest.mark.parametrize("expression", ["[?", "unknown_function(@)", "abs('x')"])
    def test_a_wrong_expression_is_named(self, expression: str) -> None:
        with pytest.raises(AnsibleFilterError, match=re.escape(repr(expression))):
            filtered("catalogue_query", {}, expression)

    def test_without_jmespath_the_error_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module = importlib.import_module(f"{PACKAGE}.catalogue_query")
        monkeypatch.setattr(module, "MISSING", ImportError("jmespath"))
        with pytest.raises(AnsibleFilterError, match="pip install jmespath"):
            filtered("catalogue_query", {}, "a")


PLAY = """
- hosts: storage
  gather_facts: false
  connection: local
  tasks:
    - ansible.builtin.assert:
        that:
          - backup_catalogue | homelab.backup.catalogue_check
          - >-
            (backup_catalogue | homelab.backup.offsite_policy(inventory_hostname)).host
            == inventory_hostname
          - backup_catalogue | homelab.backup.snapshot_policy(inventory_hostname) is mapping
          - >-
            backup_catalogue.services | dict2items
            | homelab.backup.catalogue_query("[?value.owner != ''].key") | length
            == backup_catalogue.services | length
"""


@pytest.mark.parametrize("inventory", ["homelab", "minimal"])
def test_a_real_play_uses_the_filters(inventory: str, tmp_path: Path) -> None:
    play = tmp_path / "play.yml"
    play.write_text(PLAY)
    done = ansible("ansible-playbook", "-i", f"inventories/{inventory}", str(play))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed=0" in done.stdout


def test_a_real_play_stops_with_every_error(tmp_path: Path) -> None:
    play = tmp_path / "play.yml"
    play.write_text(PLAY)
    wrong = "{'backup_monitoring': {'chanel': '#x'}, 'backup_drills': {'schedule': 'daily'}}"
    done = ansible("ansible-playbook", "-i", "inventories/homelab", "-e", wrong, str(play))
    assert done.returncode == 2
    assert "monitoring.chanel: unknown key -> did you mean 'channel'?" in done.stdout
    assert "drills.schedule: 'daily' is not a cron line" in done.stdout


def test_ansible_inventory_loads_the_homelab() -> None:
    done = ansible("ansible-inventory", "-i", "inventories/homelab", "--list", "--yaml")
    assert done.returncode == 0, done.stderr
    loaded = yaml.safe_load(done.stdout)["all"]["children"]
    assert next(iter(loaded["k8s_nodes"]["hosts"])) == "k8s-master"
    assert len(loaded["storage"]["hosts"]["truenas"]["backup_services"]) == 13
