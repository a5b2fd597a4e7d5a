"""The table of steps: that help and docs follow from it, and what each step does to one small mask."""

import re
from pathlib import Path

import numpy as np
import pytest

from tomoseg.masks import BoxedMask
from tomoseg.options import Request
from tomoseg.postprocess.step_kinds import STEP_KINDS, Evidence, MaskStep, ScanStep

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "how-to" / "postprocessing.md"
SPACING = (1.0, 1.0, 1.0)


def test_the_docs_have_a_line_for_each_step():
    rows = re.findall(r"^\| `([a-z_]+(?::[\d.]+)?)` \| (.+?) \| .+ \|$", DOCS.read_text(encoding="utf-8"), re.M)
    assert rows == [
        (name if kind.amount is None else f"{name}:{kind.amount:g}", kind.does) for name, kind in STEP_KINDS.items()
    ]


def test_the_help_names_each_step():
    help_text = " ".join((Request.model_fields["postprocess"].description or "").split())
    usages = [f"{name}:{kind.unit.upper()}" if kind.unit else name for name, kind in STEP_KINDS.items()]
    assert help_text.startswith(f"Post-processing steps in order: {', '.join(usages)}; ")


def test_a_unit_stands_where_there_is_an_amount():
    assert [bool(kind.unit) for kind in STEP_KINDS.values()] == [
        kind.amount is not None for kind in STEP_KINDS.values()
    ]


WHOLE = np.zeros((9, 9, 9), bool)
WHOLE[1:6, 1:6, 1:6] = True  # a cube of 125 voxels
WHOLE[3, 3, 3] = False  # with a hole
WHOLE[8, 8, 8] = True  # and a speck beside it


@pytest.mark.parametrize(
    ("name", "amount", "voxels"),
    [
        ("largest", 0.0, 124),
        ("fill_holes", 0.0, 126),
        ("remove_small", 0.002, 124),  # the speck is 0.001 ml
        # Crosses fit around the 20 voxels of the inner 27 that touch neither the outside nor the hole. They cover the
        # 26 around the hole, and of each face the 8 voxels around its middle.
        ("opening", 1.0, 26 + 6 * 8),
        ("closing", 1.0, 126),
    ],
)
def test_a_cube_with_a_hole_and_a_speck_by_hand(name, amount, voxels):
    kind = STEP_KINDS[name]
    assert isinstance(kind, MaskStep)
    assert kind.run(BoxedMask.of(WHOLE), SPACING, amount).voxels == voxels


def test_a_scan_step_without_weight_keeps_the_mask():
    kind = STEP_KINDS["crf"]
    assert isinstance(kind, ScanStep)
    seen = Evidence(np.zeros(WHOLE.shape, np.int16), np.where(WHOLE, 140, 110).astype(np.uint8))
    assert np.array_equal(kind.run(BoxedMask.of(WHOLE), SPACING, 0.0, seen).whole(), WHOLE)
