import json
from pathlib import Path

import pytest

from tomoseg.errors import InputError
from tomoseg.files.stores.addresses import in_full, in_urls, is_mirrored, place_of, stores_folder, url_of


@pytest.mark.parametrize(
    ("url", "again"),
    [
        ("s3://bucket/scans/a b.nii.gz", "s3://bucket/scans/a b.nii.gz"),
        ("S3://bucket/scans/", "s3://bucket/scans"),
        ("gs://bucket", "gs://bucket"),
        ("https://host.org:8443/x/ct.nii.gz", "https://host.org:8443/x/ct.nii.gz"),
        ("s3://bucket/50%25/a.nii", "s3://bucket/50%25/a.nii"),
    ],
)
def test_a_url_follows_from_its_place(url, again):
    assert url_of(place_of(url)) == again
    assert is_mirrored(place_of(url))


def test_other_words_are_paths():
    assert place_of("scans/ct.nii.gz") == Path("scans/ct.nii.gz")
    assert place_of("file:///data/my%20ct.nii.gz") == Path("/data/my ct.nii.gz")
    assert not is_mirrored(Path("stores/ct.nii.gz"))


def test_what_is_secret_is_asked_with_and_never_shown():
    url = "https://me:pass@host.org/ct.nii.gz?X-Amz-Signature=abc123"
    place = place_of(url)
    assert url_of(place) == "https://host.org/ct.nii.gz"
    assert in_full(url_of(place)) == url
    assert not any(secret in str(place) for secret in ("abc123", "pass", "me:"))


def test_texts_are_shown_with_urls():
    text = f"{place_of('https://127.0.0.1:80/a/ct.nii')}: wrong, {place_of('s3://b/x y')} too; {stores_folder()}: full"
    assert in_urls(text) == f"https://127.0.0.1:80/a/ct.nii: wrong, s3://b/x y too; {stores_folder()}: full"


def test_json_is_shown_with_urls_whatever_letters_the_cache_has(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "Müller"))
    written = json.dumps({"a": str(place_of("s3://b/x y")), "b": str(place_of("s3://b"))})
    assert "Müller" not in written
    assert json.loads(in_urls(written)) == {"a": "s3://b/x y", "b": "s3://b"}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host/ct.nii", "expected a path, s3://, gs:// or https://, got ftp://"),
        ("s3://", "expected a bucket or a server"),
        ("s3://bucket/../../etc", "expected names between the slashes that files can have, got one that is empty, lea"),
        ("s3://bucket/a//b", "expected names between the slashes that files can have"),
        (f"s3://bucket/{'é' * 128}/b", "or has more than 255 bytes; rename it"),
    ],
)
def test_what_cannot_be_a_files_name_is_refused(url, message):
    with pytest.raises(InputError, match=message):
        place_of(url)
