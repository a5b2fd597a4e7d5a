"""A digital phantom of spheres, scanned crookedly: where they come out, and where their masks go back to."""

import numpy as np
import pytest
from scipy import ndimage

from tests.files.dicom.series import enhanced, image, save
from tests.files.itk_oracle import TO_RAS, turned
from tomoseg.files.scan import read_scan

SPHERES = np.array([[0.0, -4, 20], [-16, 8, 34], [15, 10, 46], [4, -14, 62]])
"""Centres in LPS mm."""

RADIUS_MM, EDGE_MM = 9.0, 1.2
"""The edge is soft, so that slices sample it without aliasing."""

SIZE, PIXEL_MM = 96, 0.8

EVEN = np.arange(28) * 3.0
UNEVEN = np.concatenate([np.arange(12) * 2.0, 24 + np.arange(15) * 4.0])
JITTERED = EVEN + np.tile([0, 0.9, -0.7, 0.4], 7)
MISSING = np.delete(EVEN, [9, 17])
SHIFTED = [(1.3 * np.sin(k), 2.2 * np.cos(2 * k)) for k in range(28)]


class Scan:
    """Slices at table positions `z`, from a gantry turned about x and y, each shifted within its plane."""

    def __init__(self, z=EVEN, tilt=(0, 0), shifts=None):
        self.turn = turned(*tilt, 0)
        middle = SIZE * PIXEL_MM / 2
        self.positions = [
            np.array([0, 0, height]) - self.turn[:, :2].sum(axis=1) * middle + self.turn[:, :2] @ shift
            for height, shift in zip(z, shifts or [(0, 0)] * len(z), strict=True)
        ]
        self.stored = [np.rint(1000 * self.sphere(self.points(k)) - 1000).astype(np.int16) for k in range(len(z))]

    def points(self, number):
        """LPS mm of a slice's pixels: `(3, rows, columns)`."""
        rows, columns = np.mgrid[:SIZE, :SIZE] * PIXEL_MM
        across, down = (self.turn[:, axis, None, None] for axis in (0, 1))
        return self.positions[number][:, None, None] + across * columns + down * rows

    def sphere(self, points):
        distance = np.min([np.linalg.norm(points - centre[:, None, None], axis=0) for centre in SPHERES], axis=0)
        return 1 / (1 + np.exp(np.clip((distance - RADIUS_MM) / EDGE_MM, -50, 50)))

    def saved(self, folder, order=1):
        orientation = np.round(self.turn[:, :2].T.ravel(), 12).tolist()
        slices = [
            image(one, position, k, (PIXEL_MM, PIXEL_MM), orientation)
            for k, (one, position) in enumerate(zip(self.stored, self.positions, strict=True))
        ]
        return save(slices[::order], folder)


SCANS = {
    "straight": {},
    "tilt": {"tilt": (18.0, 0)},
    "tilt the other way": {"tilt": (-25.0, 0)},
    "sideways": {"tilt": (0, 12.0)},
    "both": {"tilt": (15.0, -8.0)},
    "uneven": {"z": UNEVEN[:27]},
    "jittered": {"z": JITTERED},
    "missing": {"z": MISSING},
    "tilt and uneven": {"z": UNEVEN[:27], "tilt": (18.0, 0)},
    "shifted": {"shifts": SHIFTED},
    "shifted, tilted": {"shifts": SHIFTED, "tilt": (10.0, 0)},
}


def centroids(volume):
    """Of each sphere, in voxels of the volume, and where it should be."""
    bright = volume.hu + 1000.0
    bright[volume.hu < -999] = 0
    for centre in SPHERES:
        true = (np.linalg.inv(volume.affine) @ [*(centre * TO_RAS), 1])[:3]
        index = np.indices(volume.shape)
        mm = (index - true[:, None, None, None]) * np.array(volume.spacing_mm)[:, None, None, None]
        mass = bright * (np.linalg.norm(mm, axis=0) < RADIUS_MM + 4 * EDGE_MM)
        yield (index * mass).sum(axis=(1, 2, 3)) / mass.sum(), true


@pytest.mark.parametrize("name", SCANS)
def test_spheres_come_back_to_within_a_tenth_of_a_voxel(tmp_path, name):
    volume = read_scan(Scan(**SCANS[name]).saved(tmp_path, -1))
    told = {"straight": 0, "tilt and uneven": 2}.get(name, 1)
    assert len(volume.warnings) == told
    errors = np.abs([found - true for found, true in centroids(volume)])
    assert errors.max() < 0.1


@pytest.mark.parametrize("name", SCANS)
def test_a_sphere_is_round_again(tmp_path, name):
    """Its surface is a radius away from its centre: on the mean to a tenth of a millimetre, anywhere to a pixel."""
    volume = read_scan(Scan(**SCANS[name]).saved(tmp_path))
    inverse = np.linalg.inv(volume.affine)
    directions = np.random.default_rng(3).normal(size=(200, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    radii = np.linspace(RADIUS_MM - 3, RADIUS_MM + 3, 61)
    for centre in SPHERES:
        points = (centre + radii[:, None, None] * directions) * TO_RAS
        index = np.einsum("ij,rdj->ird", inverse[:3, :3], points) + inverse[:3, 3, None, None]
        inside = ndimage.map_coordinates(volume.hu.astype(float), index, order=1) > -500
        surface = radii[np.argmin(inside, axis=0)]
        assert abs(surface.mean() - RADIUS_MM) < 0.1
        assert np.abs(surface - RADIUS_MM).max() < PIXEL_MM


@pytest.mark.parametrize("name", SCANS)
def test_masks_go_back_to_their_places_on_the_slices(tmp_path, name):
    """A mask drawn on the grid is that of every slice, but for pixels nearer to its edge than half a voxel."""
    scan = Scan(**SCANS[name])
    volume = read_scan(scan.saved(tmp_path))
    places = np.einsum("ij,jxyz->ixyz", volume.affine[:3, :3], np.indices(volume.shape))
    places = (places + volume.affine[:3, 3, None, None, None]) * TO_RAS[:, None, None, None]
    back = volume.source.to_slices(_from_surface(places) < 0)
    assert back.shape == (SIZE, SIZE, len(scan.stored))
    half_mm = np.linalg.norm(np.array(volume.spacing_mm) / 2)
    for mask, origin in zip(back.T, volume.source.slices.images, strict=True):
        distance = _from_surface(scan.points(int(origin.path.stem)))
        sure = np.abs(distance) > half_mm
        np.testing.assert_array_equal(mask[sure], distance[sure] < 0)
    assert back.any()


def _from_surface(points):
    """Signed mm from the nearest sphere's surface, below 0 inside."""
    away = [np.linalg.norm(points - centre.reshape(3, *[1] * (points.ndim - 1)), axis=0) for centre in SPHERES]
    return np.min(away, axis=0) - RADIUS_MM


@pytest.mark.parametrize("name", ["straight", "uneven", "shifted"])
def test_one_enhanced_file_is_the_same_scan(tmp_path, name):
    """Frames in any order, each with a scale of its own."""
    scan = Scan(**SCANS[name])
    classic = read_scan(scan.saved(tmp_path / "classic"))
    order = np.random.default_rng(5).permutation(len(scan.stored))
    scales = [(1, int(k) - 7) for k in order]
    frames = np.stack([scan.stored[k] - np.int16(k - 7) for k in order])
    made = enhanced(frames, [scan.positions[k] for k in order], (PIXEL_MM, PIXEL_MM), scales)
    volume = read_scan(save([made], tmp_path / "enhanced") / "000.dcm")
    np.testing.assert_array_equal(volume.hu, classic.hu)
    np.testing.assert_array_equal(volume.affine, classic.affine)
    np.testing.assert_array_equal(volume.source.slices.offsets_voxels, classic.source.slices.offsets_voxels)
    assert [order[one.frame] for one in volume.source.slices.images] == list(range(len(order)))
