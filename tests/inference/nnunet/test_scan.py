import numpy as np
import pytest
from scipy import ndimage
from skimage.transform import resize

from tomoseg.inference.nnunet.frame import lay_grid
from tomoseg.inference.nnunet.scan import normalise, slices_on_grid
from tomoseg.nnunet import Intensity, NnunetPlan
from tomoseg.volume import SourceGrid


def values_of(hu, **scheme):
    made = normalise(hu, Intensity(**scheme))
    return made.slices(0, hu.shape[2])


@pytest.fixture
def hu(rng):
    return rng.integers(-1000, 2000, (9, 8, 21)).astype(np.int16)


def test_ct_is_clipped_and_scaled_in_32_bits(hu):
    expected = np.clip(hu.astype(np.float32), -500.5, 900.25)
    expected -= 31.7
    expected /= 211.3
    found = values_of(hu, scheme="ct", mean=31.7, sd=211.3, low=-500.5, high=900.25)
    np.testing.assert_array_equal(found, expected)


def test_z_scores_are_of_this_scan(hu):
    np.testing.assert_allclose(values_of(hu, scheme="zscore"), (hu - hu.mean()) / hu.std(), atol=1e-5)


def test_z_scores_of_what_is_not_0_leave_the_rest_at_0(hu):
    hu[:3], hu[5, 4, 10] = 0, 0  # the one inside is a hole, which counts
    inside = np.ones(hu.shape, bool)
    inside[:3] = False
    found = values_of(hu, scheme="zscore", masked=True)
    expected = (hu - hu[inside].mean()) / hu[inside].std()
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-5)
    assert not found[~inside].any()


def test_a_scan_of_nothing_but_0_stays_0():
    np.testing.assert_array_equal(values_of(np.zeros((3, 3, 3), np.int16), scheme="zscore", masked=True), 0)


def test_rescaled_and_as_they_are(hu):
    found = values_of(hu, scheme="rescale")
    np.testing.assert_allclose(found, (hu - hu.min()) / float(np.ptp(hu)), atol=1e-6)
    np.testing.assert_array_equal(values_of(hu, scheme="none"), hu)


def test_a_scan_of_one_value_is_not_divided_by_0():
    hu = np.full((4, 4, 4), 7, np.int16)
    for scheme in ("zscore", "rescale"):
        assert not values_of(hu, scheme=scheme).any()


def on_grid(hu, spacing, target, order=3):
    plan = NnunetPlan(
        spacing_mm=target, patch=(8, 8, 8), intensity=Intensity(scheme="none"), decision="exclusive", scan_order=order
    )
    source = SourceGrid(hu.shape, np.diag([*spacing, 1.0]))
    grid = lay_grid(hu, source, plan)
    return np.concatenate(list(slices_on_grid(normalise(hu, plan.intensity), grid, plan)), axis=2)


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("target", [(1.3, 1.5, 1.7), (0.7, 0.8, 0.9), (2.0, 0.8, 1.5)])
def test_splines_are_those_of_scikit_image(hu, target, order):
    found = on_grid(hu, (1.5, 1.0, 1.2), target, order)
    expected = resize(hu.astype(float), found.shape, order, mode="edge", anti_aliasing=False)
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_thick_slices_are_interpolated_alone(hu, axis):
    spacing, target = np.full(3, 1.0), np.full(3, 1.6)
    spacing[axis] = 4.0
    found = on_grid(hu, spacing.tolist(), tuple(target[::-1].tolist()))
    flat = [n for k, n in enumerate(found.shape) if k != axis]
    slices = [resize(one.astype(float), flat, 3, mode="edge", anti_aliasing=False) for one in np.moveaxis(hu, axis, 0)]
    places = (hu.shape[axis] / found.shape[axis]) * (np.arange(found.shape[axis]) + 0.5) - 0.5
    chosen = ndimage.map_coordinates(np.arange(len(slices)), [places], order=0, mode="nearest")
    expected = np.stack([slices[k] for k in chosen], axis)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_a_scan_on_the_networks_voxels_is_left_as_it_is(hu):
    np.testing.assert_array_equal(on_grid(hu, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)), hu)
