"""Logits as decisions take them: padding, constant slices, mirror images, thresholds."""

import numpy as np
import pytest

from tests.inference.test_predictor import GRIDS, make_model
from tests.training.tiny import make_scan
from tomoseg.grid import AIR_HU, apply_windows
from tomoseg.inference.choose import choose_engine
from tomoseg.inference.logits import LogitSource, Mirror
from tomoseg.labels import LabelSet

ALL = Mirror("axial", tuple(range(11)), tuple(range(11)))
"""Of the 11 structures of the model, each its own counterpart."""


@pytest.fixture(scope="module")
def model():
    return make_model(GRIDS["native"])


@pytest.fixture(params=["torch", "openvino"])
def engine(request, model):
    return choose_engine(model, request.param, "cpu", "fp32")


def images(engine, hu):
    """Each slice's network input, made slice by slice."""
    for k in range(hu.shape[2]):
        padded = np.full(engine.input_spec.padded(hu.shape[:2]), AIR_HU, np.int16)
        padded[: hu.shape[0], : hu.shape[1]] = hu[:, :, k]
        yield apply_windows(padded, engine.input_spec.windows_hu)[None]


def sizes_of_runs(engine, monkeypatch):
    """How many slices each call of the network has had, from now on."""
    sizes, run = [], engine.run
    monkeypatch.setattr(engine, "run", lambda images: sizes.append(len(images)) or run(images))
    return sizes


def test_slices_are_padded_with_air_and_cut_again(engine):
    hu = make_scan(1)[0][:13, :10, :2]
    padded = np.full((16, 12, 2), AIR_HU, np.int16)
    padded[:13, :10] = hu
    found, whole = LogitSource(engine).slices(hu), LogitSource(engine).slices(padded)
    assert [f.shape for f in found] == [(11, 13, 10)] * 2
    for mine, all_of_it in zip(found, whole, strict=True):
        assert mine.dtype == np.float32
        np.testing.assert_allclose(mine, all_of_it[:, :13, :10], atol=1e-5)


def test_a_constant_slice_is_computed_once_and_is_the_same_to_the_bit(engine, monkeypatch):
    hu = make_scan(1)[0][:16, :12, :5].copy()
    hu[:, :, [0, 3]] = AIR_HU
    hu[:, :, 4] = 2000  # above both windows, as constant as air
    hu[0, :, 0] = -1500  # below both windows, the same air
    whole = [engine.run(image) for image in images(engine, hu)]
    sizes = sizes_of_runs(engine, monkeypatch)
    found = LogitSource(engine).slices(hu)
    assert sizes == [2, 1, 1]
    for k in (0, 3, 4):
        assert np.array_equal(found[k], whole[k][0][:, : hu.shape[0], : hu.shape[1]])


def test_a_stack_of_constant_slices_alone_is_one_run_for_all_that_follow(engine, monkeypatch):
    source, sizes = LogitSource(engine), sizes_of_runs(engine, monkeypatch)
    air = np.full((9, 7, 3), AIR_HU, np.int16)
    first, second = source.slices(air), source.slices(air)
    assert sizes == [1]
    assert all(np.array_equal(first[0], other) for other in (*first, *second))


def test_mirror_images_are_averaged(engine):
    hu = make_scan(2)[0][:24, :20, :3]  # edges that need no padding, which would not lie the other way round
    found = np.stack(LogitSource(engine, mirror=ALL).slices(hu))
    plain = np.stack(LogitSource(engine).slices(hu))
    mirrored = np.stack(LogitSource(engine).slices(np.ascontiguousarray(hu[::-1])))[:, :, ::-1]
    expected = (plain + mirrored) / 2
    assert np.abs(expected - mirrored).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal"])
def test_structures_of_a_mirror_image_are_those_of_the_other_side(engine, view):
    labels = LabelSet.from_names([f"{name}_{side}" for side in ("left", "right") for name in "abcde"] + ["f"])
    wanted = labels.subset(["a_left", "b_right", "f"])
    hu = make_scan(2)[0][:24, :20, :3]
    found = np.stack(LogitSource(engine, mirror=Mirror.of(wanted, labels, view)).slices(hu))
    plain = np.stack(LogitSource(engine).slices(hu))
    if view == "sagittal":  # the axes of a slice are y and z; its neighbours come from the other side
        mirrored = np.stack(LogitSource(engine).slices(hu[:, :, ::-1]))[::-1]
    else:
        mirrored = np.stack(LogitSource(engine).slices(np.ascontiguousarray(hu[::-1])))[:, :, ::-1]
    expected = np.stack([plain[:, 0] + mirrored[:, 5], plain[:, 6] + mirrored[:, 1], plain[:, 10] + mirrored[:, 10]], 1)
    np.testing.assert_allclose(found, expected / 2, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mirror", [None, ALL])
def test_offsets_are_subtracted_once_from_each_structure(engine, mirror):
    hu = make_scan(2)[0][:, :, :3].copy()
    hu[:, :, 1] = AIR_HU
    offsets = np.linspace(-1, 1, 11).astype(np.float32)
    plain = np.stack(LogitSource(engine, mirror=mirror).slices(hu))
    found = np.stack(LogitSource(engine, offsets, mirror=mirror).slices(hu))
    assert np.array_equal(found, plain - offsets[:, None, None])


def test_zero_offsets_are_left_out(engine):
    hu = make_scan(2)[0][:, :, :3]
    plain = LogitSource(engine).slices(hu)
    zero = LogitSource(engine, np.zeros(11, np.float32)).slices(hu)
    assert all(np.array_equal(a, b) for a, b in zip(plain, zero, strict=True))
