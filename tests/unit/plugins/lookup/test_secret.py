# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""The lookup ``secret`` against files and a server that answers as Vault's HTTP API does."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleLookupError

from ansible_collections.homelab.backup.plugins.lookup.secret import LookupModule

TOKEN = "made-up-token"
VALUE = "the secret itself"
V1 = {"data": {"path": "old/", "type": "kv", "options": None}}
V2 = {"data": {"path": "secret/", "type": "kv", "options": {"version": "2"}}}
ANSWERS: dict[str, Any] = {
    "/v1/sys/internal/ui/mounts/secret/me": V2,
    "/v1/secret/data/me": {"data": {"data": {"nas_key": VALUE}, "metadata": {"version": 3}}},
    "/v1/sys/internal/ui/mounts/secret/gone": V2,
    "/v1/sys/internal/ui/mounts/old/me": V1,
    "/v1/old/me": {"data": {"nas_key": VALUE}},
    "/v1/sys/internal/ui/mounts/secret/forbidden": 403,
    "/v1/sys/internal/ui/mounts/secret/sealed": 503,
    "/v1/sys/internal/ui/mounts/secret/odd": 418,
    "/v1/sys/internal/ui/mounts/secret/list": [1, 2],
    "/v1/sys/internal/ui/mounts/secret/text": b"<html>",
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers from the table; 403 without the token, 404 for anything else."""

    def do_GET(self) -> None:
        answer = ANSWERS.get(self.path, 404)
        if self.headers["X-Vault-Token"] != TOKEN:
            answer = 403
        status = answer if isinstance(answer, int) else 200
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing: the test's output is not the server's."""


@pytest.fixture(autouse=True)
def _vault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{server.server_address[1]}/")
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("VAULT_NAMESPACE", "VAULT_CACERT", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield
    server.shutdown()
    thread.join()
    server.server_close()


def secret(*references: Any) -> list[str]:
    """What the lookup gives."""
    return LookupModule().run(list(references))


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("line 1\nline 2\n")
    assert secret({"file": str(tmp_path / "key")}) == ["line 1\nline 2\n"]


@pytest.mark.parametrize("path", ["secret/me", "old/me"])
def test_both_versions_of_vaults_kv_are_read(path: str) -> None:
    assert secret({"vault": path, "key": "nas_key"}) == [VALUE]


def test_no_reference_gives_empty_text() -> None:
    assert secret({}, None) == ["", ""]


def test_the_token_of_vault_login_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VAULT_TOKEN")
    (tmp_path / ".vault-token").write_text(f"{TOKEN}\n")
    assert secret({"vault": "secret/me", "key": "nas_key"}) == [VALUE]


@pytest.mark.parametrize(
    ("reference", "found", "remedy"),
    [
        ({"file": "/does/not/exist"}, "No such file", "correct the path"),
        ({"vault": "secret/me", "key": "other"}, "no field 'other', but: nas_key", "'key'"),
        ({"vault": "secret/gone", "key": "x"}, "no such secret", "'vault'"),
        ({"vault": "secret/forbidden", "key": "x"}, "permission denied", "policy"),
        ({"vault": "secret/sealed", "key": "x"}, "sealed", "unseal"),
        ({"vault": "secret/odd", "key": "x"}, "status 418", "log"),
        ({"vault": "secret/list", "key": "x"}, "not one of Vault's", "VAULT_ADDR"),
        ({"vault": "secret/text", "key": "x"}, "not one of Vault's", "VAULT_ADDR"),
        ({"kubernetes_secret": "pg", "key": "x"}, "only pods", "vault"),
        ({"valt": "secret/me", "key": "x"}, "unknown key", "'vault'"),
        ({"vault": "secret/me"}, "key: is missing", "field"),
    ],
)
def test_what_cannot_be_read_says_why(reference: Any, found: str, remedy: str) -> None:
    with pytest.raises(AnsibleLookupError) as caught:
        secret(reference)
    said, arrow, advice = str(caught.value).partition(" -> ")
    assert arrow
    assert found in said
    assert remedy in advice
    assert VALUE not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("VAULT_ADDR", "", "VAULT_ADDR is not set"),
        ("VAULT_TOKEN", "", "there is no token"),
        ("VAULT_TOKEN", "wrong", "permission denied"),
        ("VAULT_ADDR", "http://127.0.0.1:1", "refused"),
    ],
)
def test_a_vault_that_cannot_be_used_says_why(
    name: str, value: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(AnsibleLookupError, match=found):
        secret({"vault": "secret/me", "key": "nas_key"})


def test_binary_files_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AnsibleLookupError, match="not text"):
        secret({"file": str(tmp_path / "key")})
