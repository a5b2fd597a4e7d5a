import pytest

from tests.files.stores.servers import certificate_in
from tomoseg.files.stores import objects


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return certificate_in(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A cache of the test's own, no settings of the user's, and no waiting."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in (
        "SSL_CERT_FILE",
        "AWS_PROFILE",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ENDPOINT_URL",
        "TOMOSEG_STORE_CACHE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TOMOSEG_STORE_SECRETS", "{}")
    monkeypatch.setattr(objects, "_FIRST_WAIT_SECONDS", 0.01)
    objects._bucket.cache_clear()
    yield
    objects._bucket.cache_clear()
