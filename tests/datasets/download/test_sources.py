import pytest

from tomoseg.datasets.download.sources import ARCHIVES, archive_of
from tomoseg.errors import ConfigError


def test_the_public_dataset():
    whole, small = ARCHIVES["totalsegmentator"], ARCHIVES["totalsegmentator-small"]
    assert whole.url == "https://zenodo.org/records/10047292/files/Totalsegmentator_dataset_v201.zip?download=1"
    assert small.url == "https://zenodo.org/records/10047263/files/Totalsegmentator_dataset_small_v201.zip?download=1"
    assert (whole.bytes, whole.md5) == (23581218285, "fe250e5718e0a3b5df4c4ea9d58a62fe")
    assert (small.bytes, small.md5) == (3244617817, "6b5524af4b15e6ba06ef2d700c0c73e0")
    assert whole.licence == small.licence == "CC BY 4.0"


def test_a_mirror_has_the_same_archive():
    mirror = archive_of("totalsegmentator", "https://example.org/copy.zip", None, None)
    assert mirror.url == "https://example.org/copy.zip"
    assert (mirror.md5, mirror.file_name) == (ARCHIVES["totalsegmentator"].md5, "Totalsegmentator_dataset_v201.zip")


@pytest.mark.parametrize(
    ("url", "file_name"),
    [
        ("https://example.org/a/my%20scans.zip", "archive.zip"),
        ("https://example.org/a/scans-1.0.zip?x=../y.zip", "scans-1.0.zip"),
        ("https://example.org/a/content", "archive.zip"),
        ("https://example.org/a/..%2f..%2fx.zip", "x.zip"),
        ("https://example.org/.zip", "archive.zip"),
        ("https://example.org", "archive.zip"),
    ],
)
def test_another_archive(url, file_name):
    archive = archive_of(None, url, "FE250E5718E0A3B5DF4C4EA9D58A62FE", 5)
    assert (archive.url, archive.file_name, archive.bytes) == (url, file_name, 5)
    assert archive.md5 == "fe250e5718e0a3b5df4c4ea9d58a62fe"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((None, None, None, None), r"expected a dataset or --url, got neither; name totalsegmentator or totalsegm"),
        ((None, "https://x/y.zip", "123", None), r"expected an MD5 sum of 32 hexadecimal digits, got '123'"),
        ((None, "https://x/y.zip", None, 0), r"expected the archive's size in bytes, got 0"),
        (("totalsegmentator", None, "0" * 32, None), r"for other archives, got them for totalsegmentator; leave them"),
        (("totalsegmentator", None, None, 10), r"for other archives, got them for totalsegmentator; leave them"),
    ],
)
def test_what_does_not_fit_together(given, message):
    with pytest.raises(ConfigError, match=message):
        archive_of(*given)
