"""A label map seen from the front and from the back, lit, as the README shows it.

.venv/bin/python docs/render.py SCAN OUT.png [--model body-117] [--without skin ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.image
import numpy as np
from scipy import ndimage

from tomoseg import Request, read_scan, segment

EDGE_MM = 1.0
"""Of a pixel."""


def main() -> None:
    """Segment, then draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--model", default="body-117")
    parser.add_argument("--without", nargs="*", default=(), help="structures that hide others")
    given = parser.parse_args()
    volume = read_scan(given.scan)
    found = segment(volume, given.model, Request(ml=True)).result
    hidden = [one.id for one in found.labels if one.name in given.without]
    fine = smooth(np.where(np.isin(found.values, hidden), 0, found.values), volume.spacing_mm)
    colours = np.zeros((int(fine.max()) + 1, 3))
    for one in found.labels:
        if one.id < len(colours):
            colours[one.id] = np.array(one.colour) / 255
    views = [rendered(fine[:, ::-1], colours), rendered(fine[::-1], colours)]
    matplotlib.image.imsave(given.picture, np.concatenate(views, axis=1))


def smooth(values: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """A label map on voxels of `EDGE_MM`, each structure interpolated for itself."""
    scale = np.divide(spacing_mm, EDGE_MM)
    out = np.zeros([round(n * s) for n, s in zip(values.shape, scale, strict=True)], values.dtype)
    for label, box in enumerate(ndimage.find_objects(values.astype(int)), start=1):
        if box is None:
            continue
        wide = tuple(slice(max(0, b.start - 2), b.stop + 2) for b in box)
        mask = ndimage.gaussian_filter((values[wide] == label).astype(np.float32), 0.6)
        start = [round(b.start * s) for b, s in zip(wide, scale, strict=True)]
        fine = ndimage.zoom(mask, scale, order=1) > 0.5
        there = tuple(slice(a, a + n) for a, n in zip(start, fine.shape, strict=True))
        target = out[there]
        target[fine[tuple(slice(n) for n in target.shape)]] = label
    return out


def rendered(values: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """What is seen along the second axis: `(z, x, rgb)`, feet down, by the light of depth and slope."""
    there = values > 0
    first = there.argmax(axis=1)
    hit = there.any(axis=1)
    labels = np.take_along_axis(values, first[:, None], axis=1)[:, 0]
    depth = ndimage.gaussian_filter(np.where(hit, first, first[hit].max()).astype(float), 1.8)
    slope_x, slope_z = np.gradient(depth)
    light = (1 + 0.45 * slope_x + 0.45 * slope_z) / np.sqrt(1 + slope_x**2 + slope_z**2) / 1.2
    near, far = np.percentile(depth[hit], (2, 98))
    shade = np.clip(light, 0.15, 1.1) * (1 - 0.45 * np.clip((depth - near) / (far - near), 0, 1))
    picture = np.where(hit[..., None], np.clip(colours[labels] * shade[..., None], 0, 1), 0.06)
    return np.ascontiguousarray(picture.transpose(1, 0, 2)[::-1])


if __name__ == "__main__":
    main()
