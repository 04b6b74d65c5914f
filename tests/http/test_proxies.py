"""The configurations that the documents give for proxies are what these proxies take."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent.parent / "docs" / "how-to" / "behind-a-proxy.md"


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: its configuration was not checked")
    return found


def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    nginx = program("nginx")
    names = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=intranet.example", "-days", "1"]
    keys = [*names, "-keyout", str(tmp_path / "intranet.key"), "-out", str(tmp_path / "intranet.pem")]
    subprocess.run(keys, check=True, capture_output=True)
    config = block("nginx").replace("/etc/ssl/", f"{tmp_path}/")
    paths = "".join(f"{name}_temp_path {tmp_path};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    http = f"http {{ access_log off; {paths}\n{config}\n}}"
    whole = f"pid {tmp_path}/pid; error_log stderr;\nevents {{}}\n{http}"
    (tmp_path / "nginx.conf").write_text(whole)
    checked = subprocess.run([nginx, "-t", "-c", str(tmp_path / "nginx.conf")], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_caddy_takes_its_configuration(tmp_path: Path) -> None:
    caddy = program("caddy")
    (tmp_path / "Caddyfile").write_text(block("caddy"))
    command = [caddy, "validate", "--config", str(tmp_path / "Caddyfile"), "--adapter", "caddyfile"]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
