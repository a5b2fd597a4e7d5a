"""Slices of one stack that were made in different ways are told: which have what."""

import numpy as np
import pytest

from tests.files.dicom.series import enhanced, image, save
from tomoseg.files.scan import read_scan


def told(folder, rng, count=12, **tags):
    """What is said of slices, tags of which may be functions of the slice, of joined parts."""
    made = [
        image(
            rng.integers(-1000, 1000, (5, 6), np.int16),
            (0, 0, 5 * k),
            k + 1,
            **{keyword: value(k) if callable(value) else value for keyword, value in tags.items()},
        )
        for k in range(count)
    ]
    volume = read_scan(save(made, folder))
    assert volume.shape[2] == count
    return [word.message.split("acquired alike: ")[1] for word in volume.warnings if word.kind == "joined parts"]


JOINED = {
    "kernel": (
        {"ConvolutionKernel": lambda k: "B30f" if k < 5 else "B70f"},
        "slices 1-5 have kernel B30f; slices 6-12 have kernel B70f, in order of position",
    ),
    "kernel and kV": (
        {"ConvolutionKernel": lambda k: ("H30s", "B30f")[k // 6], "KVP": lambda k: (120, 100)[k // 6]},
        "slices 1-6 have kernel H30s, 120 kV; slices 7-12 have kernel B30f, 100 kV,",
    ),
    "field": (
        {"ReconstructionDiameter": lambda k: (350, 500)[k // 8]},
        "slices 1-8 have a field of 350 mm; slices 9-12 have a field of 500 mm,",
    ),
    "thickness": (
        {"SliceThickness": lambda k: (5, 1.25)[k // 6]},
        "slices 1-6 have a thickness of 5 mm; slices 7-12 have a thickness of 1.25",
    ),
    "one slice": (
        {"ConvolutionKernel": lambda k: "B70f" if k == 3 else "B30f"},
        "slices 1-3 have kernel B30f; slice 4 has kernel B70f; slices 5-12 have kernel B30f,",
    ),
    "agent": (
        {"ContrastBolusAgent": lambda k: None if k < 6 else "Ultravist Miller"},
        "slices 1-6 have no contrast agent; slices 7-12 have one contrast agent,",
    ),
    "space": (
        {"FrameOfReferenceUID": lambda k: ("1.2.3", "1.2.4")[k // 6]},
        "slices 1-6 have one frame of reference; slices 7-12 have another frame of reference,",
    ),
    "mixed at random": (
        {"ConvolutionKernel": lambda k: "B70f" if k in {1, 2, 5, 7, 10} else "B30f"},
        "7 slices have kernel B30f, 5 slices have kernel B70f,",
    ),
    "current": (
        {"XRayTubeCurrent": lambda k: (100, 104, 98, 102, 99, 101)[k % 6] * (1 if k < 6 else 3)},
        "slices 1-6 have about 100 mA; slices 7-12 have about 302 mA,",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", JOINED)
def test_parts_that_were_joined(rng, tmp_path, what):
    tags, words = JOINED[what]
    tags = {keyword: value for keyword, value in tags.items() if keyword != "ContrastBolusAgent"}
    agents = JOINED[what][0].get("ContrastBolusAgent")
    if agents is not None:
        tags["ContrastBolusAgent"] = lambda k: agents(k) or ""
    (sentence,) = told(tmp_path, rng, **tags)
    assert sentence.startswith(words)
    assert "Miller" not in sentence


ALIKE = {
    "a number written in two ways": {"KVP": lambda k: ("120", "120.0", "1.2E2")[k % 3]},
    "a number that is rounded": {"SliceThickness": lambda k: 5 if k < 6 else 4.99},
    "a value that some lack": {"ConvolutionKernel": lambda k: "" if k in {0, 5, 6} else "B30f"},
    "a modulated current": {"XRayTubeCurrent": lambda k: int(200 + 60 * np.sin(0.7 * k))},
    "a current that grows": {"XRayTubeCurrent": lambda k: 60 + 40 * k},
    "a few slices of another current": {"XRayTubeCurrent": lambda k: 100 if k < 10 else 300},
}  # fmt: skip


@pytest.mark.parametrize("what", ALIKE)
def test_slices_that_were_made_alike(rng, tmp_path, what):
    assert told(tmp_path, rng, **ALIKE[what]) == []


def test_frames_of_one_file(rng, tmp_path):
    from pydicom.dataset import Dataset

    made = enhanced(rng.integers(-1000, 1000, (8, 5, 6), np.int16), [(0, 0, 4 * k) for k in range(8)])
    for number, frame in enumerate(made.PerFrameFunctionalGroupsSequence):
        frame.CTReconstructionSequence = [Dataset()]
        frame.CTReconstructionSequence[0].ConvolutionKernel = "B30f" if number < 3 else "B70f"
    (warning,) = read_scan(save([made], tmp_path)).warnings
    assert "slices 1-3 have kernel B30f; slices 4-8 have kernel B70f" in warning.message
