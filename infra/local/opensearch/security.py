"""What a secured cluster needs: a certificate authority of its own, one certificate for all nodes, and the user admin."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ..errors import LocalError, Unavailable

USER = "admin"
NODE = "/O=ragkeep/CN=node"
DAYS = 3650
EXTENSIONS = """[req]
distinguished_name = subject
[subject]
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[node]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


def make_security(folder: Path, home: Path, java: Path) -> None:
    """Fill a folder with ca.pem, node.pem, node.key, the password file and the plugin's settings; nothing if it exists.

    The password is RAGKEEP_OPENSEARCH_PASSWORD, or a random one. Raises Unavailable without openssl.
    """
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="security-") as made:
        new = Path(made) / "security"
        new.mkdir(mode=0o700)
        _make_certificates(new)
        password = os.environ.get("RAGKEEP_OPENSEARCH_PASSWORD") or secrets.token_urlsafe(18)
        _write_private(new / "password", password)
        _make_settings(new / "settings", home, _hashed(password, home, java))
        new.rename(folder)


def security_settings() -> dict[str, Any]:
    """The part of opensearch.yml that turns TLS and users on; the paths are relative to the node's config folder."""
    tls = {}
    for layer in ("http", "transport"):
        prefix = f"plugins.security.ssl.{layer}"
        tls[f"{prefix}.pemcert_filepath"] = "certificates/node.pem"
        tls[f"{prefix}.pemkey_filepath"] = "certificates/node.key"
        tls[f"{prefix}.pemtrustedcas_filepath"] = "certificates/ca.pem"
    return tls | {
        "plugins.security.ssl.http.enabled": True,
        "plugins.security.ssl.transport.enforce_hostname_verification": False,
        "plugins.security.nodes_dn": [",".join(reversed(NODE.strip("/").split("/")))],
        "plugins.security.allow_default_init_securityindex": True,
        "plugins.security.restapi.roles_enabled": ["all_access"],
        "plugins.security.audit.type": "noop",
    }


def install_security(folder: Path, config: Path) -> None:
    """Copy the made files into a node's config folder."""
    certificates = config / "certificates"
    certificates.mkdir(exist_ok=True)
    for name in ("ca.pem", "node.pem", "node.key"):
        shutil.copy(folder / name, certificates)
    shutil.copytree(folder / "settings", config / "opensearch-security", dirs_exist_ok=True)


def _make_certificates(folder: Path) -> None:
    (folder / "openssl.cnf").write_text(EXTENSIONS, encoding="utf-8")
    self_signed = ["-extensions", "authority", "-subj", "/O=ragkeep/CN=local authority"]
    _openssl(folder, "ca", self_signed)
    _openssl(folder, "node", ["-extensions", "node", "-subj", NODE, "-CA", "ca.pem", "-CAkey", "ca.key"])
    (folder / "ca.key").unlink()  # signs nothing more


def _openssl(folder: Path, name: str, options: list[str]) -> None:
    key = ["-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
    command = ["openssl", "req", "-x509", "-config", "openssl.cnf", "-days", str(DAYS), *key, *options]
    try:
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Unavailable("openssl is not on the PATH: install it, or start without --secure") from None
    if ran.returncode:
        raise LocalError(f"openssl cannot make certificates: {ran.stderr.strip()[-300:]}: needs OpenSSL 3 or newer")


def _hashed(password: str, home: Path, java: Path) -> str:
    """The bcrypt hash of a password, made by the plugin's own tool."""
    classes = f"{home}/plugins/opensearch-security/*:{home}/lib/*"
    command = [f"{java}/bin/java", "-XX:TieredStopAtLevel=1", "-cp", classes, "org.opensearch.security.tools.Hasher"]
    # through the environment: a command line is for all to read
    env = {**os.environ, "RAGKEEP_WORD": password}
    ran = subprocess.run([*command, "-env", "RAGKEEP_WORD"], env=env, capture_output=True, text=True, check=False)
    lines = [line.strip() for line in ran.stdout.splitlines() if line.startswith("$2")]
    if not lines:
        raise LocalError(f"the password cannot be hashed: {(ran.stderr + ran.stdout).strip()[-300:]}")
    return lines[-1]


def _make_settings(folder: Path, home: Path, hashed: str) -> None:
    """The plugin's own settings with its demo users replaced by ours; YAML reads JSON."""
    shutil.copytree(home / "plugins" / "opensearch-security" / "config", folder)
    user = {"hash": hashed, "reserved": True, "backend_roles": [USER]}
    mapping = {"reserved": True, "backend_roles": [USER]}
    users = {"_meta": {"type": "internalusers", "config_version": 2}, USER: user}
    roles = {"_meta": {"type": "rolesmapping", "config_version": 2}, "all_access": mapping}
    _write_private(folder / "internal_users.yml", json.dumps(users, indent=1))
    (folder / "roles_mapping.yml").write_text(json.dumps(roles, indent=1), encoding="utf-8")


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(f"{text}\n", encoding="utf-8")
    path.chmod(0o600)
