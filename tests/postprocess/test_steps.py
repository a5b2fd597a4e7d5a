"""Lists of steps: how they are written, and what they do to masks and label maps."""

import numpy as np
import pytest

from tomoseg.errors import ConfigError
from tomoseg.labels import LabelSet, Structure
from tomoseg.masks import pack
from tomoseg.postprocess.steps import PostprocessStep, apply, apply_to_map, needs_confidence, steps_of
from tomoseg.segmentation import Confidence, LabelMap, Segmentation
from tomoseg.volume import Volume

NAMES = tuple(f"s{c}" for c in range(10))
LABELS = LabelSet(tuple(Structure(2 * c + 1, name) for c, name in enumerate(NAMES)))
SHAPE = (10, 9, 17)
VOLUME = Volume.from_array(np.zeros(SHAPE, np.int16, order="F"), np.diag([1.0, 1.0, 2.0, 1.0]))


def made(seed=0):
    masks = np.random.default_rng(seed).random((10, *SHAPE)) < 0.1
    return masks, Segmentation.from_packed(pack(masks), LABELS, VOLUME.source)


def test_text_by_hand():
    steps = steps_of(["fill_holes", "s3=remove_small:0.25", "opening", "s0=crf"], ("s0", "s3"))
    assert steps == {
        "s0": (PostprocessStep("fill_holes"), PostprocessStep("opening", 2.0), PostprocessStep("crf", 3.0)),
        "s3": (PostprocessStep("fill_holes"), PostprocessStep("remove_small", 0.25), PostprocessStep("opening", 2.0)),
    }
    assert [str(step) for step in steps["s3"]] == ["fill_holes", "remove_small:0.25", "opening:2"]
    assert needs_confidence(steps)
    assert not needs_confidence({"s3": steps["s3"]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("larges", r"postprocess larges: .*'larges'.*largest"),
        ("s33=largest", r"postprocess s33=largest: .*'s33'.*s3"),
        ("opening:x", r"expected an amount in mm above 0 such as opening:2, got 'x'; correct it"),
        ("remove_small:-1", r"expected an amount in ml above 0 such as remove_small:0.5, got '-1'"),
        ("closing:inf", r"expected an amount in mm above 0"),
        ("closing:", r"expected an amount in mm above 0 such as closing:\S+, got ''"),
        ("largest:", r"expected largest without an amount, got ''; leave it out"),
        ("largest:2", r"expected largest without an amount, got '2'; leave it out"),
    ],
)
def test_what_cannot_be_read_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        steps_of([text], NAMES)


def test_only_the_named_structures_change():
    masks, segmentation = made()
    found = apply(segmentation, steps_of(["s1=largest", "s9=opening:50", "s4=closing:3"], NAMES))
    assert np.array_equal(segmentation.mask("s1"), masks[1])  # what was given stays
    for channel, name in enumerate(NAMES):
        if name not in ("s1", "s4", "s9"):
            assert np.array_equal(found.mask(name), masks[channel])
    assert 0 < found.mask("s1").sum() < masks[1].sum()
    assert not found.mask("s9").any()
    assert found.mask("s4").sum() > masks[4].sum()


def test_steps_come_one_after_the_other():
    masks = np.zeros((10, *SHAPE), bool)
    masks[0, 1:5, 1:5, 1:5] = True
    masks[0, 2, 2, 2] = False
    masks[0, 8, 8, 8] = True
    segmentation = Segmentation.from_packed(pack(masks), LABELS, VOLUME.source)
    found = apply(segmentation, {"s0": (PostprocessStep("largest"), PostprocessStep("fill_holes"))}).mask("s0")
    assert found.sum() == 64
    assert (
        not apply(segmentation, {"s0": (PostprocessStep("remove_small", 1.0),)}).mask("s0").any()
    )  # 63 voxels of 2 mm3
    assert apply(segmentation, {"s0": (PostprocessStep("remove_small", 0.126),)}).mask("s0").sum() == 63


def test_crf_needs_probabilities():
    masks, segmentation = made()
    steps = {"s2": (PostprocessStep("crf", 3.0),)}
    with pytest.raises(
        ConfigError, match=r"expected separate probabilities of each structure for crf, got none; leave --ml off"
    ):
        apply(segmentation, steps)
    confidence = Confidence(NAMES, VOLUME.source)
    for k in range(SHAPE[2]):
        confidence.append(np.where(masks[..., k], 140, 110).astype(np.uint8))
    found = apply(segmentation, steps, VOLUME.hu, confidence)
    assert (found.mask("s2") != masks[2]).any()
    assert np.array_equal(found.mask("s3"), masks[3])


def test_unknown_structures_are_refused():
    _, segmentation = made()
    with pytest.raises(ConfigError, match=r"postprocess: .*'s11'"):
        apply(segmentation, {"s11": (PostprocessStep("largest"),)})


def test_label_maps_lose_to_background_and_gain_from_it():
    values = np.zeros(SHAPE, np.uint8, order="F")
    values[1:4, 1:4, 1] = 1
    values[2, 2, 1] = 0  # a hole of s0 ...
    values[6:9, 1:4, 1] = 3
    values[7, 2, 1] = 1  # ... and one of s1 in which s0 lies
    label_map = LabelMap(values, LABELS, VOLUME.source)
    found = apply_to_map(
        label_map,
        {"s0": (PostprocessStep("closing", 1.0), PostprocessStep("largest")), "s1": (PostprocessStep("closing", 1.0),)},
    )
    assert label_map.values is values
    assert values[2, 2, 1] == 0
    assert found.values[2, 2, 1] == 1  # filled
    assert found.values[7, 2, 1] == 3  # s0's speck went, so s1's hole is background that it may have
    assert (found.values[1:4, 1:4, 1] == 1).all()
    kept = apply_to_map(label_map, {"s1": (PostprocessStep("closing", 1.0),)})
    assert kept.values[7, 2, 1] == 1  # what another structure has stays its own
    with pytest.raises(ConfigError, match=r"expected separate probabilities.* leave --ml off, or crf out"):
        apply_to_map(label_map, {"s0": (PostprocessStep("crf", 3.0),)})
