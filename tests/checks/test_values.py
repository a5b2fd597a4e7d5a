from dataclasses import replace

import numpy as np
import pytest

from tests.checks.bodies import body
from tomoseg.checks.values import thin_slices, value_facts
from tomoseg.volume import Volume

ABDOMEN = body("abdomen", levels=6)


def looked_at(hu):
    volume = replace(ABDOMEN, hu=np.clip(np.rint(hu), -32768, 32767).astype(np.int16))
    return value_facts(volume, thin_slices(volume))


def kinds(hu):
    return [notice.kind for notice in looked_at(hu)[1]]


def test_air_and_tissue_are_found():
    facts, notices = looked_at(ABDOMEN.hu)
    assert notices == ()
    assert facts.air_hu == pytest.approx(-1000, abs=5)
    assert facts.tissue_hu == pytest.approx(41, abs=6)  # mostly 40, the rim 50
    inside = ABDOMEN.hu > -300
    assert facts.bone_share == pytest.approx((ABDOMEN.hu > 300).sum() / inside.sum(), abs=1e-4)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda hu: hu + 1024, "shifted HU"),  # stored values, the intercept forgotten
        (lambda hu: hu - 1024, "shifted HU"),  # applied twice
        (lambda hu: hu + 300, "shifted HU"),
        (lambda hu: hu * 2.0, "scaled HU"),
        (lambda hu: hu / 2.0, "scaled HU"),
        (lambda hu: np.clip(hu, -160, 240), "windowed"),
        (lambda hu: np.clip(hu, -1024, 400), "windowed"),
        (lambda hu: np.clip((hu + 160) / 400, 0, 1) * 255, "grey values"),
        (lambda hu: np.abs(np.sin(hu / 60.0)) * 800 + 10, "not HU"),
        (lambda hu: hu / 10, "no air"),
        (lambda hu: np.minimum(hu, 90), "no bone"),
        (lambda hu: np.where(hu > 300, 4000, hu) + np.where((hu > 0) & (hu < 35), 4000, 0), "too dense"),
        (lambda hu: np.full(hu.shape, 7), "one value"),
        (lambda hu: hu > 0, "label map"),
    ],
)
def test_what_is_not_hu(change, kind):
    assert kinds(change(ABDOMEN.hu.astype(float))) == [kind]


def test_a_shift_says_how_far():
    _, (notice,) = looked_at(ABDOMEN.hu.astype(int) + 1024)
    assert "values are shifted by about +10" in notice.message
    assert "Air has about 2" in notice.message


def magnetic(scale, *, noise, emptied, seed=0):
    """Intensities as of an MR: Rician noise around, five tissues, a coil that is nearer to one side."""
    drawn = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (96, 96, 12)), indexing="ij")
    radius = x**2 + (1.2 * y) ** 2
    signal = np.select([radius < 0.45, radius < 0.68, radius < 0.8], [0.6, 0.38, 1.0], 0.0)
    signal[(x - 0.3) ** 2 + y**2 < 0.06] = 1.4
    signal[(x + 0.3) ** 2 + y**2 < 0.08] = 0.8
    signal = scale * signal * np.exp(-0.35 * ((x + 0.4) ** 2 + y**2 + 0.3 * z))
    measured = np.hypot(signal + drawn.normal(0, noise, x.shape), drawn.normal(0, noise, x.shape))
    return Volume.from_array(np.rint(np.where(emptied & (radius >= 0.8), 0, measured)).astype(np.int16), np.eye(4))


@pytest.mark.parametrize("emptied", [False, True], ids=["noise around", "zeros around"])
@pytest.mark.parametrize("scale", [300, 600, 1000, 1200, 1500, 1700, 2500])
@pytest.mark.parametrize("noise", [10, 30])
def test_magnetic_resonance_is_no_shifted_or_windowed_ct(scale, noise, emptied):
    volume = magnetic(scale, noise=noise, emptied=emptied)
    facts, (notice,) = value_facts(volume, thin_slices(volume))
    assert notice.kind == "not HU"
    assert "It may be an MR or another kind of scan" in notice.message
    if scale == 1700 and not emptied:  # as far apart as air and soft tissue are, and yet no CT
        assert any(abs(hu - 1020) < 170 for hu, _ in facts.peaks)


def test_a_scan_cut_off_below_0_is_windowed():
    assert kinds(np.maximum(ABDOMEN.hu, 0)) == ["windowed"]


def test_an_unsigned_label_map_of_many_names():
    labels = np.zeros((64, 64, 8), np.int16)
    labels[8:40, 8:40] = 1
    labels[40:60, 40:60] = 117
    volume = Volume.from_array(labels, np.eye(4))
    _, (notice,) = value_facts(volume, thin_slices(volume))
    assert notice.kind == "label map"
    assert notice.message.startswith("Values run from 0 to 117 in uniform patches;")


@pytest.mark.parametrize("padding", [-2000, -3024])
def test_corners_that_were_filled_up_are_no_air(padding):
    hu = ABDOMEN.hu.copy()
    hu[:20] = padding
    facts, notices = looked_at(hu)
    assert notices == ()
    assert facts.air_hu == pytest.approx(-1000, abs=5)


def test_a_scan_cut_to_air_still_has_its_tissue():
    hu = np.full((128, 128, 40), -1000, np.int16)
    hu[60:70, 60:70, 10:30] = np.random.default_rng(0).normal(40, 10, (10, 10, 20))  # 0.3 % of it
    volume = Volume.from_array(hu, np.eye(4))
    facts, _ = value_facts(volume, thin_slices(volume))
    assert facts.tissue_hu == pytest.approx(40, abs=6)
