"""Address and credentials of a store, from the environment or the files of AWS's command line."""

from __future__ import annotations

import configparser
import os
from pathlib import Path
from typing import Any

ADVICE = {
    "s3": (
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for a public bucket AWS_SKIP_SIGNATURE=true"
    ),
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to a key file; for a public bucket GOOGLE_SKIP_SIGNATURE=true",
}

_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "region": "region",
    "endpoint_url": "endpoint",
}
"""Keys in AWS's files, and their names in obstore."""


def settings_of(scheme: str) -> dict[str, Any]:
    """Return the settings of a store, in addition to the environment variables that obstore reads itself.

    Args:
        scheme: `s3` or `gs`.
    """
    if scheme != "s3":
        return {}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return _of_profile() | ({"endpoint": endpoint} if endpoint else {})


def _of_profile() -> dict[str, str]:
    """Return the settings of the current profile in AWS's files, without those that the environment overrides."""
    named = os.environ.get("AWS_PROFILE")
    if "AWS_ACCESS_KEY_ID" in os.environ and named is None:
        return {}
    name = named or "default"
    found: dict[str, str] = {}
    places = (("AWS_CONFIG_FILE", "config", f"profile {name}"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name))
    for variable, file, section in places:
        path = Path(os.environ.get(variable) or Path.home() / ".aws" / file)
        for one in (section, name):
            found |= _section(path, one)
    return {ours: found[theirs] for theirs, ours in _KEYS.items() if theirs in found and not _is_set(theirs, named)}


def _is_set(key: str, profile: str | None) -> bool:
    """Whether the environment overrides a key; the credentials of a named profile override the environment."""
    variables = {"region": ("AWS_REGION", "AWS_DEFAULT_REGION"), "endpoint_url": ("AWS_ENDPOINT_URL",)}
    return any(one in os.environ for one in variables.get(key, () if profile else (key.upper(),)))


def _section(path: Path, name: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
        return dict(parser[name])
    except (OSError, KeyError, configparser.Error, UnicodeDecodeError):
        return {}
