import json

import pytest
import torch

from tomoseg.config import GridConfig, NetworkConfig
from tomoseg.errors import LabelError, ModelError, OutputError
from tomoseg.labels import LabelSet
from tomoseg.models import folder as folder_module
from tomoseg.models.folder import (
    RECORD,
    WEIGHTS,
    Model,
    ModelRecord,
    load_model,
    restrict_structures,
    save_model,
    sha256,
)

LABELS = LabelSet.total().subset(["spleen", "liver", "aorta", "colon", "sacrum"])


def make_model(seed=0, **network):
    torch.manual_seed(seed)
    record = ModelRecord(
        LABELS,
        NetworkConfig(channels=(8, 16), **network),
        GridConfig(mode="size", size=(16, 24), crop="none"),
        ((-200.0, 300.0), (-1000.0, 400.0)),
        {"version": "0", "seed": seed},
        {"dice": 0.5},
    )
    return Model(record, record.build().eval())


@pytest.fixture
def saved(tmp_path):
    """A model folder, and its model."""
    model = make_model()
    save_model(model, tmp_path / "model")
    return tmp_path / "model", model


def logits(model):
    image = torch.randn(1, 2, 8, 6, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return model.network(image)


def change(folder, **entries):
    path = folder / RECORD
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_what_is_saved_is_loaded(saved):
    folder, model = saved
    loaded = load_model(folder)
    assert torch.equal(logits(loaded), logits(model))
    assert loaded.record == model.record
    assert not loaded.network.training
    assert sorted(path.name for path in folder.iterdir()) == [RECORD, WEIGHTS]


def test_running_statistics_are_saved(tmp_path):
    model = make_model()
    model.network.train()(torch.randn(4, 2, 8, 6))
    model.network.eval()
    save_model(model, tmp_path / "model")
    assert torch.equal(logits(load_model(tmp_path / "model")), logits(model))


def test_a_run_folders_best_is_found(saved, tmp_path):
    folder, model = saved
    (tmp_path / "run").mkdir()
    folder.rename(tmp_path / "run" / "best")
    assert torch.equal(logits(load_model(tmp_path / "run")), logits(model))


def test_the_digest_is_that_of_the_weights(saved):
    folder, _ = saved
    assert json.loads((folder / RECORD).read_text())["sha256"] == {WEIGHTS: sha256(folder / WEIGHTS)}


def test_sha256_by_the_standards_example(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-4
    assert sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")


class TestRefused:
    def test_no_folder(self, tmp_path):
        with pytest.raises(ModelError, match=r"expected a model folder with model\.json, found none; give the folder"):
            load_model(tmp_path / "none")

    def test_no_weights(self, saved):
        folder, _ = saved
        (folder / WEIGHTS).unlink()
        with pytest.raises(ModelError, match=r"expected weights\.safetensors beside model\.json, found none"):
            load_model(folder)

    @pytest.mark.parametrize("place", [0, -1])
    def test_a_flipped_bit(self, saved, place):
        folder, _ = saved
        content = bytearray((folder / WEIGHTS).read_bytes())
        content[place] ^= 1
        (folder / WEIGHTS).write_bytes(content)
        with pytest.raises(ModelError, match=r"expected SHA-256 [0-9a-f]{64} .* got [0-9a-f]{64}; .* altered or cut"):
            load_model(folder)

    def test_no_digest(self, saved):
        folder, _ = saved
        change(folder, sha256={})
        with pytest.raises(ModelError, match=r"expected SHA-256 None"):
            load_model(folder)

    @pytest.mark.parametrize("version", [0, 2, None, "1"])
    def test_another_format(self, saved, version):
        folder, _ = saved
        change(folder, format=version)
        with pytest.raises(ModelError, match=f"expected format 1, got {version!r}; use a matching version"):
            load_model(folder)

    def test_weights_of_another_network(self, saved):
        folder, _ = saved
        change(folder, network=NetworkConfig(channels=(8, 24)).model_dump(mode="json"))
        with pytest.raises(ModelError, match=r"expected weights of the network in model\.json, got: .*size mismatch"):
            load_model(folder).network  # noqa: B018  # it is read when it is asked for

    def test_weights_that_are_none(self, saved):
        folder, _ = saved
        (folder / WEIGHTS).write_bytes(b"no weights")
        change(folder, sha256={WEIGHTS: sha256(folder / WEIGHTS)})
        with pytest.raises(ModelError, match="expected weights of the network"):
            load_model(folder).network  # noqa: B018  # it is read when it is asked for

    @pytest.mark.parametrize("text", ["", "{", "\xff"])
    def test_a_record_that_is_no_json(self, saved, text):
        folder, _ = saved
        (folder / RECORD).write_bytes(text.encode("latin-1"))
        with pytest.raises(ModelError, match=r"expected JSON, got: .*; copy the model folder again"):
            load_model(folder)

    def test_a_list(self, saved):
        folder, _ = saved
        (folder / RECORD).write_text("[]")
        with pytest.raises(ModelError, match="expected a model record, got a list"):
            load_model(folder)

    @pytest.mark.parametrize(
        "entries",
        [
            {"labels": [{"id": 1, "nome": "spleen"}]},
            {"labels": ["spleen"]},
            {"labels": []},
            {"network": {"depth": 5}},
            {"grid": []},
            {"windows_hu": [[1]]},
            {"windows_hu": 5},
            {"sha256": 5},
        ],
        ids=str,
    )
    def test_a_damaged_record(self, saved, entries):
        folder, _ = saved
        change(folder, **entries)
        with pytest.raises(ModelError, match=r"expected a model record, got: .*; copy the model folder again"):
            load_model(folder)


class TestSaving:
    def test_a_new_model_replaces_the_former(self, saved):
        folder, _ = saved
        (folder / "note.txt").write_text("of the former model")
        other = make_model(seed=1)
        save_model(other, folder)
        assert torch.equal(logits(load_model(folder)), logits(other))
        assert not (folder / "note.txt").exists()

    @pytest.mark.parametrize("cause", [KeyboardInterrupt, OSError(28, "No space left on device")])
    def test_a_failed_save_leaves_the_former_model_whole(self, saved, monkeypatch, cause):
        folder, model = saved

        def fail(path):
            raise cause

        monkeypatch.setattr(folder_module, "sha256", fail)
        expected = OutputError if isinstance(cause, OSError) else KeyboardInterrupt
        with pytest.raises(expected, match=r"No space left.*free some space|^$"):
            save_model(make_model(seed=1), folder)
        monkeypatch.undo()
        assert torch.equal(logits(load_model(folder)), logits(model))
        assert [path.name for path in folder.parent.iterdir()] == ["model"]

    def test_others_may_read_it_as_any_file(self, saved):
        folder, _ = saved
        (folder / "any").write_text("")
        assert len({path.stat().st_mode for path in folder.iterdir()}) == 1

    def test_a_file_in_the_way(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="choose a folder, not a file"):
            save_model(make_model(), tmp_path / "file" / "model")


class TestRestrict:
    def test_channels_are_those_of_the_whole_model(self):
        model = make_model()
        small = restrict_structures(model, ("sacrum", "liver"))
        assert small.record.labels == LABELS.subset(["liver", "sacrum"])
        channels = [LABELS.channel("liver"), LABELS.channel("sacrum")]
        torch.testing.assert_close(logits(small), logits(model)[:, channels], rtol=1e-5, atol=1e-6)
        assert len(model.record.labels) == logits(model).shape[1] == 5

    def test_nothing_named_keeps_all(self):
        model = make_model()
        assert restrict_structures(model, ()) is model

    def test_an_unknown_structure(self):
        with pytest.raises(LabelError, match="got 'livr'; did you mean 'liver'"):
            restrict_structures(make_model(), ("livr",))

    def test_it_can_be_saved(self, tmp_path):
        small = restrict_structures(make_model(dims=2, normalisation="group"), ("aorta",))
        save_model(small, tmp_path / "small")
        assert torch.equal(logits(load_model(tmp_path / "small")), logits(small))
