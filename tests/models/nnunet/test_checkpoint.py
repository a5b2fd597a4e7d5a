import importlib
import io
import pickle
import pickletools
import zipfile

import numpy as np
import pytest
import torch

from tests.nnunet_files import Made, dataset_of, plans_of, weights_of, with_copies, write_training
from tomoseg.errors import ModelError
from tomoseg.models.nnunet.checkpoint import network_of, read_checkpoint
from tomoseg.models.nnunet.plans import training_of


def path_of(folder):
    return folder / "fold_0" / "checkpoint_final.pth"


def repickled(path, change):
    """The same file with another pickle in it."""
    with zipfile.ZipFile(path) as archive:
        parts = {part.filename: archive.read(part) for part in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            archive.writestr(name, change(content) if name.endswith("data.pkl") else content)


def test_weights_are_read_once_each(tmp_path):
    found = read_checkpoint(path_of(write_training(tmp_path, Made(mirrored=(0, 1)))))
    expected = weights_of(Made())
    assert found.weights.keys() == expected.keys()
    assert all(torch.equal(found.weights[name], tensor) for name, tensor in expected.items())
    assert (found.configuration, found.trainer, found.mirrored) == ("3d_fullres", "nnUNetTrainer", (0, 1))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_other_ways_to_train_are_taken_off(tmp_path, prefix):
    named = {prefix + name: tensor for name, tensor in with_copies(weights_of(Made())).items()}
    found = read_checkpoint(path_of(write_training(tmp_path, Made(checkpoint={"network_weights": named}))))
    assert found.weights.keys() == weights_of(Made()).keys()


def test_scalars_of_numpy_1_and_2_are_read_and_nothing_of_numpy_is_called(tmp_path):
    path = path_of(write_training(tmp_path))
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        used = {op[1] for op in pickletools.genops(archive.read(name)) if op[0].name == "GLOBAL"}
    assert "numpy._core.multiarray scalar" in used
    assert read_checkpoint(path).configuration == "3d_fullres"
    repickled(path, lambda content: content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    assert read_checkpoint(path).configuration == "3d_fullres"


def test_numpy_arrays_beside_the_weights_are_passed_over(tmp_path):
    path = path_of(write_training(tmp_path, Made(checkpoint={"logging": {"dice": np.arange(3.0), "n": np.int64(2)}})))
    assert read_checkpoint(path).trainer == "nnUNetTrainer"


class Asks:
    """A pickle that has a function called."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("name", ["posix.system", "builtins.eval", "torch.load", "numpy.load"])
def test_a_pickle_that_calls_anything_is_refused_by_its_name(tmp_path, name):
    module, _, function = name.rpartition(".")
    called = getattr(importlib.import_module(module), function)
    made = tmp_path / "made"
    with pytest.raises(ModelError, match=r"asks for \S+, which is not executed; do not trust this file") as caught:
        read_checkpoint(path_of(write_training(tmp_path, Made(checkpoint={"logging": Asks(called, f"touch {made}")}))))
    assert name.rpartition(".")[2] in str(caught.value)
    assert not made.exists()


def test_what_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "checkpoint_final.pth"
    with pytest.raises(ModelError, match="expected a checkpoint, got: No such file"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ModelError, match=r"that PyTorch 1\.6 or later wrote"):
        read_checkpoint(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ModelError, match="one without 'network_weights'"):
        read_checkpoint(path)
    torch.save({"network_weights": None}, path)
    with pytest.raises(ModelError, match="got one with other parts: 'NoneType' object has no attribute 'items'; give"):
        read_checkpoint(path)
    torch.save({"network_weights": {}}, path, pickle_protocol=4)
    with pytest.raises(ModelError, match="got: UnpicklingError: Unsupported operand 149; copy the file again"):
        read_checkpoint(path)
    torch.save([1], path)
    with pytest.raises(ModelError, match="expected a checkpoint of nnU-Net v2, got a list; give one"):
        read_checkpoint(path)


def test_a_file_cut_short_is_refused(tmp_path):
    path = path_of(write_training(tmp_path))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ModelError, match=r"that PyTorch 1\.6 or later wrote"):
        read_checkpoint(path)


def test_parts_that_unfold_are_refused(tmp_path):
    path = path_of(write_training(tmp_path))
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        parts = {part.filename: archive.read(part) for part in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(ModelError, match="expected uncompressed parts"):
        read_checkpoint(path)


WEIGHTS = weights_of(Made())
NAME = "encoder.stages.1.0.convs.0.conv.weight"
OTHERS = {
    "missing": ({n: t for n, t in WEIGHTS.items() if n != NAME}, rf"{NAME} of \(8, 6, 3, 3, 3\).* got none"),
    "shape": (WEIGHTS | {NAME: torch.zeros(8, 6, 1, 3, 3)}, rf"{NAME} of \(8, 6, 3, 3, 3\).* one of \(8, 6, 1, 3, 3\)"),
    "type": (WEIGHTS | {NAME: torch.zeros(8, 6, 3, 3, 3, dtype=torch.int64)}, "int64"),
    "heads": (
        WEIGHTS | {"decoder.seg_layers.1.weight": torch.zeros(5, 6, 1, 1, 1)},
        r"decoder\.seg_layers\.1\.weight of \(4, 6, 1, 1, 1\).* one of \(5, 6",
    ),
    "more": (WEIGHTS | {"encoder.stages.7.0.convs.0.conv.weight": torch.zeros(1)}, "others, such as encoder.stages.7"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_checkpoint_of_another_network_is_refused_with_the_tensor(tmp_path, name):
    weights, words = OTHERS[name]
    found = read_checkpoint(path_of(write_training(tmp_path, Made(checkpoint={"network_weights": weights}))))
    training = training_of(plans_of(Made()), dataset_of(Made()), "3d_fullres", "made")
    with pytest.raises(ModelError, match=words):
        network_of(found, training.network, training.heads, exclusive=True)


def test_tensors_that_unfold_are_refused_before_they_do(tmp_path):
    made = Made(features=(64, 128, 128), kernels=((3, 3, 3),) * 3)
    weights = {name: torch.zeros(1).expand(tensor.shape) for name, tensor in weights_of(made).items()}
    path = path_of(write_training(tmp_path, Made(checkpoint={"network_weights": weights})))
    training = training_of(plans_of(made), dataset_of(made), "3d_fullres", "made")
    with pytest.raises(
        ModelError, match=r"tensors that fit in the file, got \d+ bytes of them in a file of \d+; do not"
    ):
        network_of(read_checkpoint(path), training.network, training.heads, exclusive=True)
