"""Slices of synthetic bodies on one sheet, in grey, with slices of real scans below them if some are given.

.venv/bin/python docs/body_sheet.py OUT.png --anatomy LABEL_MAP ... [--scans CT ...] [--config ranges.yaml]
    [--seed 0] [--count 16] [--plane axial] [--window -160 240]

`procedural` stands for another of the phantom's anatomies for each body. Patients are seen from their feet, from the
front or from their left.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import matplotlib.image
import numpy as np
from scipy import ndimage

from tomoseg import Volume, read_scan
from tomoseg.bodies import BodyConfig, make_body, procedural_anatomy, read_anatomies
from tomoseg.bodies.read import PROCEDURAL
from tomoseg.settings import load_config

TILE = 224
"""Pixels of a tile's edge."""
ACROSS = 8
"""Tiles beside one another."""
SPACINGS_MM = ((1.5, 1.5, 3.0), (2.0, 2.0, 5.0), (1.2, 1.2, 2.0))
"""Voxels of the scans, in turn."""
PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}


def main() -> None:
    """Make, cut, lay out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--anatomy", nargs="+", required=True)
    parser.add_argument("--scans", nargs="*", default=(), type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--plane", choices=PLANES, default="axial")
    parser.add_argument("--window", type=float, nargs=2, default=(-160, 240))
    given = parser.parse_args()
    axis = PLANES[given.plane]
    config = load_config(BodyConfig(), given.config)
    tiles = [
        tile(cut(body, axis, 0.5), given.window) for body in bodies(given.anatomy, given.seed, given.count, config)
    ]
    each = -(-given.count // max(1, len(given.scans)))
    for path in given.scans:
        scan = read_scan(path)
        tiles += [tile(cut(scan, axis, (n + 0.5) / each), given.window) for n in range(each)]
    matplotlib.image.imsave(given.picture, laid_out(tiles), cmap="gray", vmin=0, vmax=255)


def bodies(paths: list[str], seed: int, count: int, config: BodyConfig) -> Iterator[Volume]:
    """Synthetic bodies of the anatomies in turn."""
    read = [one for path in paths for one in ([None] if path == PROCEDURAL else read_anatomies(Path(path)))]
    for n in range(seed, seed + count):
        anatomy = read[n % len(read)] or procedural_anatomy(n)
        yield make_body(anatomy, n, config, SPACINGS_MM[n % len(SPACINGS_MM)]).volume


def cut(volume: Volume, axis: int, share: float) -> np.ndarray:
    """A slice with square pixels, rows from top or front down, at a share of the extent along an axis."""
    plane = volume.hu.take(min(int(share * volume.shape[axis]), volume.shape[axis] - 1), axis).astype(np.float32)
    edges = np.delete(volume.spacing_mm, axis)
    scale = (TILE - 4) / max(np.multiply(plane.shape, edges))
    turned = ndimage.zoom(plane, scale * edges, order=1, mode="nearest").T[::-1]
    return turned[:, ::-1] if axis != 0 else turned


def tile(plane: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Grey values in the middle of a square."""
    low, high = window
    grey = np.clip((plane - low) / (high - low), 0, 1) * 255
    out = np.zeros((TILE, TILE), np.uint8)
    top, left = ((TILE - n) // 2 for n in grey.shape)
    out[top : top + grey.shape[0], left : left + grey.shape[1]] = grey
    return out


def laid_out(tiles: list[np.ndarray]) -> np.ndarray:
    """Rows of tiles."""
    tiles = tiles + [np.zeros((TILE, TILE), np.uint8)] * (-len(tiles) % ACROSS)
    rows = [np.concatenate(tiles[n : n + ACROSS], axis=1) for n in range(0, len(tiles), ACROSS)]
    return np.concatenate(rows)


if __name__ == "__main__":
    main()
