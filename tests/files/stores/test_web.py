import ssl

import pytest

from tests.files.stores.servers import Proxy, WebServer, serving
from tomoseg.errors import InputError
from tomoseg.files.stores import mirror as module
from tomoseg.files.stores.addresses import place_of
from tomoseg.files.stores.mirror import is_placeholder, make_whole, mirror

CONTENT = bytes(range(256)) * 800  # 204,800 bytes: 4 blocks of 60,000


@pytest.fixture
def blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 60_000)


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_file_is_fetched_whole(blocks, knows_ranges):
    with serving(WebServer({"/x/ct.nii.gz": CONTENT}, knows_ranges=knows_ranges)) as server:
        place = place_of(f"http://{server.address}/x/ct.nii.gz?signature=s3cret")
        assert mirror(place, lazily=True)
        make_whole([place])
        assert place.read_bytes() == CONTENT
        assert {path for path, _ in server.asked} == {"/x/ct.nii.gz?signature=s3cret"}


def test_dropped_connections_are_made_again(blocks):
    with serving(WebServer({"/ct.nii": CONTENT})) as server:
        proxy = Proxy(server.server_address[1])
        proxy.drops = [100, 1_000_000, 10_000, 50_000, 1]  # the second passes all of a look
        place = place_of(f"http://127.0.0.1:{proxy.port}/ct.nii")
        mirror(place, lazily=False)
        proxy.close()
        assert proxy.dropped == 4
        assert place.read_bytes() == CONTENT


def test_a_connection_that_always_breaks_is_told_without_what_is_secret(blocks):
    with serving(WebServer({"/ct.nii": CONTENT})) as server:
        proxy = Proxy(server.server_address[1])
        proxy.drops = [400, *[3000] * 50]
        place = place_of(f"http://me:pass@127.0.0.1:{proxy.port}/ct.nii?signature=s3cret")
        with pytest.raises(
            InputError, match=r"/ct.nii: expected .*, 5 times; check the address and the connection"
        ) as error:
            mirror(place, lazily=False)
        proxy.close()
        assert not place.exists()
        assert "s3cret" not in str(error.value)
        assert "pass" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "advice"), [(404, "check the address"), (403, "that a signed address has not expired")]
)
def test_a_refusal_is_told_at_once(status, advice):
    with serving(WebServer({"/ct.nii": CONTENT})) as server:
        server.status["/ct.nii"] = status
        with pytest.raises(InputError, match=f"expected the file, got HTTP status {status}; .*{advice}"):
            mirror(place_of(f"http://{server.address}/ct.nii"), lazily=False)
        assert len(server.asked) == 1


@pytest.fixture
def secure_server(certificate):
    server = WebServer({"/ct.nii": CONTENT})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        yield server


def test_a_certificate_that_nobody_vouches_for(secure_server, certificate, monkeypatch):
    place = place_of(f"https://{secure_server.address}/ct.nii")
    with pytest.raises(InputError, match="a certificate that this machine trusts, got another; set SSL_CERT_FILE"):
        mirror(place, lazily=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
    mirror(place, lazily=False)
    assert place.read_bytes() == CONTENT


def test_a_certificate_of_another_name(secure_server, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
    place = place_of(f"https://localhost:{secure_server.server_address[1]}/ct.nii")
    with pytest.raises(InputError, match="got: Hostname mismatch, certificate is not valid for 'localhost'; check"):
        mirror(place, lazily=False)


def test_a_file_that_changes_meanwhile_is_refused(blocks):
    with serving(WebServer({"/ct.nii": CONTENT})) as server:
        place = place_of(f"http://{server.address}/ct.nii")
        mirror(place, lazily=True)
        module._empty(place, place.stat())
        assert is_placeholder(place)
        server.files["/ct.nii"] = CONTENT[::-1]
        with pytest.raises(InputError, match="expected the object that was listed, got a newer one"):
            make_whole([place])
