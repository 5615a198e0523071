# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""A secret in the catalogue is refused by its place and never repeated."""

from __future__ import annotations

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.catalogue import parse
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import (
    CatalogueError,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.secrecy import (
    HIDDEN,
    may_be_secret,
    shown,
)
from tests.unit.plugins.module_utils.catalogue.estate import B64, changed

# Made up, in the forms that the programs use.
SECRETS = [
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END",
    "hvs." + "CAESIJ9xq4mN2fakefakefake",
    "ghp_" + "a1B2" * 9,
    "xoxb-" + "123456789012-fake",
    "1-" + "aB3d" * 16,
    "https://admin:hunter2@nas.example",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJmYWtlIn0.c2lnbmF0dXJl",
    "$ANSIBLE_VAULT;1.1;AES256",
]
PLACES = [
    "services.photos.owner",
    "services.photos.title",
    "services.photos.alert.name",
    "services.photos.offsite",
    "nas.synology.user",
    "nas.synology.key.vault",
    "monitoring.pushgateway",
    "offsite.excludes.0.reason",
    "nonsense",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret[:8])
def test_a_secrets_form_is_refused_anywhere_and_not_repeated(secret: str, place: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        parse(changed((place, secret)))
    assert secret not in str(caught.value)
    assert secret[10:] not in str(caught.value)
    places = [problem.path.replace("[0]", ".0") for problem in caught.value.problems]
    assert place in places
    assert all(problem.remedy for problem in caught.value.problems)


@pytest.mark.parametrize(
    "key", ["password", "db_password", "token", "api_key", "private_key", "passphrase", "secret"]
)
def test_text_under_a_secrets_name_is_refused(key: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        parse(changed((f"services.photos.{key}", "correct horse")))
    (problem,) = caught.value.problems
    assert problem.path == f"services.photos.{key}"
    assert "{vault: <path>, key: <field>}" in problem.remedy
    assert "horse" not in str(caught.value)


@pytest.mark.parametrize("value", ["hunter2", 12345, ["a"], True])
def test_a_value_in_the_place_of_a_reference_is_not_repeated(value: object) -> None:
    with pytest.raises(CatalogueError) as caught:
        parse(changed(("services.postgresql.backup.credentials", value)))
    (problem,) = caught.value.problems
    assert HIDDEN in problem.found
    assert str(value) not in str(caught.value)


def test_a_random_word_is_not_repeated_where_another_value_would_be() -> None:
    with pytest.raises(CatalogueError) as caught:
        parse(changed(("services.photos.storage", "q8Zt3Lx0pW7vB2nM5kR9sD1f")))
    assert "q8Zt3Lx0" not in str(caught.value)
    assert HIDDEN in str(caught.value)


@pytest.mark.parametrize(
    "value", ["main/photos", "/mnt/main/dbaas-backups/postgresql", "Europe/London", "0 */6 * * *"]
)
def test_ordinary_values_are_repeated(value: str) -> None:
    assert not may_be_secret(value)
    assert shown(value) == repr(value)


def test_long_values_are_cut() -> None:
    assert len(shown("word " * 100)) == 80


def test_references_and_public_keys_are_no_secrets() -> None:
    parse(
        changed(
            ("services.postgresql.backup.credentials", {"file": "/run/secrets/pg"}),
            ("services.vault.backup.tls", None),
            ("nas.synology.host_keys", [f"ssh-ed25519 {B64} root@nas"]),
        )
    )
