"""Against a real S3 server, with connections that break at given bytes."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.example_files import GRID, body
from tests.files.stores.servers import Proxy, moto
from tests.workflows.predicting import make_model
from tomoseg.cli import main
from tomoseg.errors import InputError, OutputError
from tomoseg.files.atomic import remove_file, whole_file, whole_folder
from tomoseg.files.nifti import write_nifti
from tomoseg.files.stores import objects
from tomoseg.files.stores.addresses import place_of, stores_folder
from tomoseg.files.stores.mirror import is_placeholder, make_whole, mirror
from tomoseg.files.stores.upload import check_store

CONTENT = np.random.default_rng(1).bytes(3_000_000)


@pytest.fixture(scope="module")
def server():
    with moto() as port:
        yield port


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(make_model(tmp_path_factory.mktemp("models") / "model"))


@pytest.fixture
def proxy(server, monkeypatch):
    """The server behind a proxy, and credentials that it takes."""
    one = Proxy(server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "who")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{one.port}")
    yield one
    one.close()


@pytest.fixture
def bucket(proxy, server, request):
    """An empty bucket, and what is in it."""
    import httpx
    from obstore.store import S3Store

    name = f"b{abs(hash(request.node.name))}"
    httpx.put(f"http://127.0.0.1:{server}/{name}").raise_for_status()
    direct = {"endpoint": f"http://127.0.0.1:{server}"}
    return _Bucket(name, S3Store(name, config=direct, client_options={"allow_http": True}))


class _Bucket:
    def __init__(self, name, store):
        self.url, self.store = f"s3://{name}", store

    def put(self, key, content):
        import obstore

        obstore.put(self.store, key, content)

    def listed(self):
        import obstore

        return sorted(one["path"] for some in obstore.list(self.store) for one in some)

    def get(self, key):
        import obstore

        return bytes(obstore.get(self.store, key).bytes())


@pytest.mark.parametrize("drops", [[], [200], [1_000_000, 2_500_000], [0, 0, 2_999_000]])
def test_an_object_comes_whole_however_connections_break(bucket, proxy, drops):
    bucket.put("scans/ct.nii.gz", CONTENT)
    place = place_of(f"{bucket.url}/scans/ct.nii.gz")
    mirror(place.parent, lazily=True)
    assert is_placeholder(place)
    proxy.drops = list(drops)
    make_whole([place])
    assert place.read_bytes() == CONTENT
    assert bool(proxy.dropped) == bool(drops)


@pytest.mark.parametrize("size", [100, 3_000_000, 20_000_000])  # the last one is written in parts
@pytest.mark.parametrize("drop", [50, 70_000])
def test_an_object_is_written_whole_however_connections_break(bucket, proxy, size, drop):
    content = (CONTENT * 7)[:size]
    proxy.drops, proxy.upwards = [drop], True
    with whole_file(place_of(f"{bucket.url}/out/result.bin")) as aside:
        aside.write_bytes(content)
    assert bucket.get("out/result.bin") == content


def test_a_store_that_is_gone_loses_nothing(bucket, proxy):
    target = place_of(f"{bucket.url}/out/result.json")
    with whole_file(target) as aside:
        aside.write_text("former")
    proxy.drops, proxy.upwards = [60] * 100, True
    objects._bucket.cache_clear()
    with (
        pytest.raises(OutputError, match=r"s3://b\d+/out/result.json: expected to write it, got .*, 5 times"),
        whole_file(target) as aside,
    ):
        aside.write_text("new")
    proxy.drops = []
    assert bucket.get("out/result.json") == b"former"


def test_a_folder_loses_what_it_no_longer_has_and_its_record_comes_last(bucket):
    folder = place_of(f"{bucket.url}/out/case")
    with whole_folder(folder) as aside:
        (aside / "a.bin").write_bytes(b"1")
        (aside / "case.json").write_text("{}")
    with whole_folder(folder, replace=True) as aside:
        (aside / "b.bin").write_bytes(b"2")
        (aside / "case.json").write_text("{}")
    assert bucket.listed() == ["out/case/b.bin", "out/case/case.json"]
    remove_file(folder / "case.json")
    assert bucket.listed() == ["out/case/b.bin"]


def test_a_bucket_that_is_not_there(bucket):
    with pytest.raises(InputError, match=r"s3://absent: expected the bucket.*, found none"):
        mirror(place_of("s3://absent"), lazily=True)


def test_an_object_that_is_not_there(bucket, capfd):
    assert main(["inspect", f"{bucket.url}/absent.nii.gz"]) == 2
    assert f"{bucket.url}/absent.nii.gz: expected an object, or some below it, found none" in capfd.readouterr().err


def test_a_refusal(tmp_path, monkeypatch):
    """Of a user who may do nothing; one with a key that nobody has is told of credentials."""
    import httpx

    with moto() as port:
        url = f"http://127.0.0.1:{port}"
        httpx.put(f"{url}/locked").raise_for_status()
        signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=who/20261129/us-east-1/iam/aws4_request, Signature=0"}
        for action in ("CreateUser", "CreateAccessKey"):
            asked = {"Action": action, "UserName": "somebody", "Version": "2010-05-08"}
            answer = httpx.post(url, data=asked, headers=signed).raise_for_status().text
        key, secret = (re.search(f"<{name}>(.*)</{name}>", answer)[1] for name in ("AccessKeyId", "SecretAccessKey"))
        httpx.post(f"{url}/moto-api/reset-auth", content=b"0").raise_for_status()
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        with pytest.raises(
            InputError, match="s3://locked: expected to be allowed to use it, got a refusal; ask the bucket's owner"
        ):
            mirror(place_of("s3://locked"), lazily=True)
        with pytest.raises(OutputError, match="s3://locked/out: expected to be allowed to use it, got a refusal"):
            check_store(place_of("s3://locked/out"))
        with pytest.raises(InputError, match="s3://locked/a credential: expected to be allowed to use it"):
            mirror(place_of("s3://locked/a credential"), lazily=True)
        objects._bucket.cache_clear()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        with pytest.raises(InputError, match="s3://locked: expected credentials, found none that the store accepts"):
            mirror(place_of("s3://locked"), lazily=True)


def test_a_certificate_that_nobody_vouches_for(proxy, certificate, monkeypatch):
    with moto(certificate) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{port}")
        with pytest.raises(InputError, match="a certificate that this machine trusts, got another; set SSL_CERT_FILE"):
            mirror(place_of("s3://any"), lazily=True)
        objects._bucket.cache_clear()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
        with pytest.raises(InputError, match="s3://any: expected the bucket, found none of that name"):
            mirror(place_of("s3://any"), lazily=True)


def test_no_credentials(bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")  # none of a machine of theirs
    objects._bucket.cache_clear()
    with pytest.raises(
        InputError, match="expected credentials, found none that the store accepts; set AWS_ACCESS_KEY_ID"
    ):
        mirror(place_of(bucket.url), lazily=True)


def test_credentials_of_a_profile(bucket, tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    file = tmp_path / "home" / ".aws" / "credentials"
    file.parent.mkdir(parents=True)
    file.write_text("[default]\naws_access_key_id = who\naws_secret_access_key = s3cret\n")
    bucket.put("a", b"1")
    objects._bucket.cache_clear()
    assert mirror(place_of(bucket.url), lazily=True)


def _scan(bucket, tmp_path, key, seed):
    write_nifti(tmp_path / "ct.nii.gz", body(seed)[0], GRID)
    bucket.put(key, (tmp_path / "ct.nii.gz").read_bytes())


def test_predict_from_a_bucket_to_a_bucket_and_on(bucket, proxy, model, tmp_path, capfd):
    for seed in range(2):
        _scan(bucket, tmp_path, f"scans/case{seed}.nii.gz", seed)
    words = ["predict", "-i", f"{bucket.url}/scans", "-o", f"{bucket.url}/masks", "-m", model, "--ml"]
    proxy.drops = [3000, 500]
    assert main(words) == 0
    record = json.loads(bucket.get("masks/case0.prediction.json"))
    assert record["input"]["path"] == f"{bucket.url}/scans/case0.nii.gz"
    assert all("masks/" + name in bucket.listed() for name in record["files"])
    manifest = json.loads(bucket.get("masks/predictions.json"))
    assert [one["output"] for one in manifest["scans"]] == [f"{bucket.url}/masks/case{k}.nii.gz" for k in range(2)]
    first = bucket.get("masks/case1.nii.gz")

    # the same command, on a machine with an empty cache
    shutil.rmtree(stores_folder())
    import obstore

    obstore.delete(bucket.store, "masks/case1.prediction.json")
    capfd.readouterr()
    assert main(words) == 0
    assert bucket.get("masks/case1.nii.gz") == first
    told = capfd.readouterr()
    states = [one["state"] for one in json.loads(bucket.get("masks/predictions.json"))["scans"]]
    assert states == ["done before", "done"]
    assert str(stores_folder()) not in told.out + told.err
    assert "s3cret" not in told.out + told.err + json.dumps(manifest) + json.dumps(record)


def test_a_local_result_is_the_same_as_of_a_local_scan(bucket, model, tmp_path):
    _scan(bucket, tmp_path, "one/ct.nii.gz", 1)
    rest = ["-m", model, "--ml"]
    assert main(["predict", "-i", f"{bucket.url}/one/ct.nii.gz", "-o", str(tmp_path / "a.nii.gz"), *rest]) == 0
    assert main(["predict", "-i", str(tmp_path / "ct.nii.gz"), "-o", str(tmp_path / "b.nii.gz"), *rest]) == 0
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_a_list_of_urls(bucket, model, tmp_path):
    _scan(bucket, tmp_path, "one/a b.nii.gz", 1)
    (tmp_path / "list.txt").write_text(f"{bucket.url}/one/a b.nii.gz\n")
    words = ["predict", "-i", str(tmp_path / "list.txt"), "-o", str(tmp_path / "out"), "-m", model, "--ml"]
    assert main(words) == 0
    assert (tmp_path / "out" / "a b.nii.gz").is_file()
    (tmp_path / "list.txt").write_text(f"{bucket.url}/absent.nii.gz\n")
    assert main(words) == 2


def test_inspect_a_scan_of_a_bucket(bucket, tmp_path, capfd):
    _scan(bucket, tmp_path, "one/ct.nii.gz", 1)
    assert main(["inspect", f"{bucket.url}/one/ct.nii.gz", "-o", f"{bucket.url}/seen.json"]) in {0, 1}
    assert json.loads(bucket.get("seen.json"))["scan"] == f"{bucket.url}/one/ct.nii.gz"
    assert f"{bucket.url}/one/ct.nii.gz" in capfd.readouterr().out


def test_what_is_written_has_no_path_of_the_cache(bucket, tmp_path, capfd):
    _dataset(bucket, tmp_path)
    for words in (
        ["evaluate", f"{bucket.url}/data", f"{bucket.url}/data", "-o", f"{bucket.url}/scores"],
        ["check", f"{bucket.url}/data", "-o", str(tmp_path / "checked")],
        ["inspect", f"{bucket.url}/data", "-o", str(tmp_path / "seen.json")],
    ):
        assert main(words) in {0, 1}
    summary = json.loads(bucket.get("scores/summary.json"))
    assert [summary["how"][name] for name in ("predicted", "reference")] == [f"{bucket.url}/data"] * 2
    told = capfd.readouterr()
    here = [
        path.read_bytes() for path in (*(tmp_path / "checked").rglob("*"), tmp_path / "seen.json") if path.is_file()
    ]
    there = [bucket.get(key) for key in bucket.listed() if key.startswith("scores/")]
    for content in (*here, *there, told.out.encode(), told.err.encode()):
        assert str(stores_folder()).encode() not in content


def test_predict_between_buckets_of_google(bucket, proxy, model, tmp_path, monkeypatch):
    """Google's interface in XML is S3's, as far as it is used here: the same server has both."""
    monkeypatch.setenv("GOOGLE_BASE_URL", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("GOOGLE_BEARER_TOKEN", "t0ken")
    url = bucket.url.replace("s3://", "gs://")
    _scan(bucket, tmp_path, "scans/case1.nii.gz", 1)
    proxy.drops = [3000, 500]
    assert main(["predict", "-i", f"{url}/scans", "-o", f"{url}/masks", "-m", model, "--ml"]) == 0
    record = json.loads(bucket.get("masks/case1.prediction.json"))
    assert record["input"]["path"] == f"{url}/scans/case1.nii.gz"
    assert "masks/case1.nii.gz" in bucket.listed()


def test_names_of_all_kinds(bucket):
    names = ["ü ö.bin", "50%25.bin", "a#b?c*.bin", "é/+&=.bin", "'\".bin"]
    for name in names:
        with whole_file(place_of(bucket.url) / "out" / name) as aside:
            aside.write_text(name)
    assert bucket.listed() == sorted(f"out/{name}" for name in names)
    shutil.rmtree(stores_folder())
    assert mirror(place_of(f"{bucket.url}/out"), lazily=False)
    assert [(place_of(bucket.url) / "out" / name).read_text() for name in names] == names


def test_an_empty_object_that_marks_a_folder(bucket):
    place = place_of(f"{bucket.url}/marked")
    bucket.put("marked", b"")
    assert mirror(place, lazily=False)
    assert place.read_bytes() == b""
    bucket.put("marked/a.bin", b"1")
    assert mirror(place, lazily=False)
    assert (place / "a.bin").read_bytes() == b"1"


def test_parts_by_several_commands_at_once(bucket, model, tmp_path):
    """They share the cache; neither takes away what the other is writing."""
    for seed in range(4):
        _scan(bucket, tmp_path, f"scans/case{seed}.nii.gz", seed)
    command = [sys.executable, "-m", "tomoseg", "predict", "-i", f"{bucket.url}/scans", "-o", f"{bucket.url}/masks"]
    rest = ["-m", model, "--ml", "--part"]
    both = [subprocess.Popen([*command, *rest, part], stderr=subprocess.PIPE, text=True) for part in ("1/2", "2/2")]
    assert [(one.communicate()[1], one.returncode)[1] for one in both] == [0, 0]
    assert {f"masks/case{seed}.nii.gz" for seed in range(4)} <= set(bucket.listed())
    assert not any(".part" in key or "may-write" in key for key in bucket.listed())


def _dataset(bucket, tmp_path):
    for seed in range(2):
        hu, masks = body(seed)
        for name, values in {"ct": hu, **masks}.items():
            write_nifti(tmp_path / "one.nii.gz", values, GRID)
            key = f"case{seed}/ct.nii.gz" if name == "ct" else f"case{seed}/segmentations/{name}.nii.gz"
            bucket.put(f"data/{key}", (tmp_path / "one.nii.gz").read_bytes())


def test_check_and_preprocess_a_dataset_of_a_bucket(bucket, tmp_path):
    _dataset(bucket, tmp_path)
    assert main(["check", f"{bucket.url}/data", "-o", f"{bucket.url}/checked"]) in {0, 1}
    assert {"checked/check.html", "checked/check.json"} <= set(bucket.listed())
    words = ["preprocess", f"{bucket.url}/data", "-o", f"{bucket.url}/pre", "--grid.spacing-mm", "16", "--workers", "1"]
    assert main(words) == 0
    assert "pre/cases/case0/case.json" in bucket.listed()
    before = {key: bucket.get(key) for key in bucket.listed() if key.startswith("pre/")}
    assert main(words) == 0
    assert {key: bucket.get(key) for key in before} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "s3://b/pre", "-o", "run"], "expected a path of this machine for --preprocessed of tomoseg train"),
        (["predict", "-i", "ct.nii.gz", "-o", "https://host/out"], "expected s3:// or gs:// or a folder to write to"),
        (
            ["inspect", "https://host/ct.nii.gz", "-o", "https://host/out"],
            "expected s3:// or gs:// or a folder to write",
        ),
        (["predict", "-i", "ct.nii.gz", "-o", "s3://b/out", "--join"], "expected a folder that all workers share"),
        (["check", "data", "-o", "s3://b/out", "--on", "slurm:2"], "expected a folder that all workers share for --on"),
        (["predict", "-i", "ct.nii.gz", "-o", "s3://absent/x/y"], "s3://absent/x/y: expected the bucket"),
        (["predict", "-i", "ftp://b/ct.nii.gz", "-o", "out"], "expected a path, s3://, gs:// or https://"),
    ],
)
def test_what_cannot_be_done_is_refused(words, message, proxy, capsys):
    assert _status(words) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def _status(words):
    try:
        return main(words)
    except SystemExit as end:
        return end.code
