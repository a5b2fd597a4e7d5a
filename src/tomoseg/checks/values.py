"""Check that the values of a scan are Hounsfield units, by the peaks of air and soft tissue in its histogram."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int16, Int64

from tomoseg.checks.peaks import find_peaks
from tomoseg.notices import Notice
from tomoseg.volume import Volume

PLAUSIBLE_AIR_HU = -200
"""Highest plausible minimum of a CT in HU, since every CT has air around or in the patient."""

PLAUSIBLE_DENSE_HU = 100
"""Lowest plausible maximum of a CT in HU, since bone, contrast medium and the table lie above."""

AIR_PEAK_HU = (-1150, -650)
"""Range of the peak of air: -1000 around the patient, about -700 in cropped scans of the chest."""

TISSUE_PEAK_HU = (-160, 160)
"""Range of the peak of fat, or of muscle and organs, with contrast medium or without."""

TISSUE_ABOVE_AIR_HU = (850, 1150)

LUNG_ABOVE_AIR_HU = 300
"""HU above air below which most of the lungs lies."""

TISSUE_HALF_HU, TISSUE_SHARE = 160, 0.5
"""Distance from the peak of soft tissue within which at least this share of all non-air voxels lies in every CT; in MR
intensities are spread more widely."""

BONE_HU = 300
NOT_AIR_HU = -300
TOO_DENSE_HU, TOO_DENSE_SHARE = 3071, 0.03
"""HU of metal, and the share of non-air voxels that it never reaches in a patient."""

LEAST_VOXELS = 4096
"""Minimum number of sampled voxels for a meaningful histogram."""

FEW_LEVELS = 3
"""Number of different values that no scan has so few of."""

LEAST_PEAK_SHARE = 0.02
_SMOOTHING_HU = 12
_PEAK_HALF_HU = 60
_PIECES = 128
"""Minimum number of rows and columns of a slice that are sampled, evenly spread."""

_OFFSET = 32768


@dataclass(frozen=True)
class ValueFacts:
    """Statistics of the values of a scan.

    Attributes:
        lowest: Lowest value.
        highest: Highest value.
        levels: Number of different values in a sample.
        air_hu: Peak of air; None if there is no peak in `AIR_PEAK_HU`.
        tissue_hu: Peak of fat, or of muscle and organs; None if there is no peak in `TISSUE_PEAK_HU`.
        bone_share: Share of non-air voxels above `BONE_HU`; None if all is air.
        peaks: All peaks, the highest first: value, and share of voxels near it.
    """

    lowest: int
    highest: int
    levels: int
    air_hu: int | None
    tissue_hu: int | None
    bone_share: float | None
    peaks: tuple[tuple[int, float], ...]


def thin_slices(volume: Volume) -> Int16[np.ndarray, "z n"]:
    """Return a sample of each axial slice, `(z, n)`: at most 255 x 255 of its voxels, evenly spread."""
    x, y, z = volume.shape
    thin = volume.hu[:: max(1, x // _PIECES), :: max(1, y // _PIECES)]
    return np.ascontiguousarray(thin.transpose(2, 1, 0)).reshape(z, -1)


def value_facts(volume: Volume, thin: Int16[np.ndarray, "z n"]) -> tuple[ValueFacts, tuple[Notice, ...]]:
    """Check the values of a scan.

    Args:
        volume: The scan.
        thin: Its `thin_slices`.

    Returns:
        Their statistics, and at most one notice: the most telling one, even if several apply.
    """
    lowest, highest = int(volume.hu.min()), int(volume.hu.max())
    counts = np.bincount(thin.ravel().astype(np.int32) + _OFFSET, minlength=1 << 16)
    peaks = _peaks(counts) if thin.size >= LEAST_VOXELS else ()
    inside = int(counts[_OFFSET + NOT_AIR_HU :].sum())
    facts = ValueFacts(
        lowest,
        highest,
        int(np.count_nonzero(counts)),
        _strongest(peaks, AIR_PEAK_HU),
        _strongest(peaks, TISSUE_PEAK_HU),
        round(float(counts[_OFFSET + BONE_HU :].sum()) / inside, 4) if inside else None,
        peaks,
    )
    no_air = lowest > PLAUSIBLE_AIR_HU or lowest == highest
    notice = _odd_range(facts, volume, counts) if no_air else _odd_peaks(facts)
    notice = notice or _windowed(facts, counts) or _no_air(facts) or _dense(facts, counts, inside)
    return facts, () if notice is None else (notice,)


def _peaks(counts: Int64[np.ndarray, " hu"]) -> tuple[tuple[int, float], ...]:
    """Return the peaks of a histogram, the highest first, as value and share of voxels; padding is ignored."""
    from scipy import ndimage  # takes 0.2 s to import

    kept = _without_padding(counts)
    smooth = ndimage.gaussian_filter1d(kept, _SMOOTHING_HU, mode="constant")
    width = 2 * _PEAK_HALF_HU + 1
    around = width * ndimage.uniform_filter1d(kept, width, mode="constant")
    least = max(LEAST_PEAK_SHARE * (counts.sum() - counts.max()), LEAST_VOXELS / 64)  # a scan may be cut to air
    tops = find_peaks(smooth, distance=2 * _PEAK_HALF_HU)
    tops = tops[around[tops] >= least]
    tops = tops[np.argsort(-smooth[tops], kind="stable")]
    return tuple((int(top) - _OFFSET, round(float(around[top] / counts.sum()), 4)) for top in tops)


def _without_padding(counts: Int64[np.ndarray, " hu"]) -> Float64[np.ndarray, " hu"]:
    """Return the counts without a lowest value far below air, with which scanners fill the corners of images."""
    rest = counts.astype(np.float64)
    lowest = int(np.flatnonzero(counts)[0])
    if lowest - _OFFSET < AIR_PEAK_HU[0] and counts[lowest] > counts[lowest + 1 : lowest + _PEAK_HALF_HU].sum():
        rest[lowest] = 0
    return rest


def _strongest(peaks: tuple[tuple[int, float], ...], within: tuple[int, int]) -> int | None:
    return next((hu for hu, _ in peaks if within[0] <= hu <= within[1]), None)


def _pair(facts: ValueFacts) -> tuple[int, int] | None:
    """Return two peaks as far apart as those of air and soft tissue."""
    low, high = TISSUE_ABOVE_AIR_HU
    for air, _ in facts.peaks:
        for tissue, _ in facts.peaks:
            if low <= tissue - air <= high:
                return air, tissue
    return None


def _is_of_tissue(counts: Int64[np.ndarray, " hu"], tissue: int, above: int) -> bool:
    """Whether most non-air values are near one value, as in CT.

    Args:
        counts: `(hu,)`, number of voxels of each value.
        tissue: Peak of soft tissue.
        above: Value above which voxels are not air.
    """
    inside = counts[above + 1 + _OFFSET :].sum()
    near = counts[max(above + 1, tissue - TISSUE_HALF_HU) + _OFFSET : tissue + TISSUE_HALF_HU + 1 + _OFFSET].sum()
    return bool(near >= TISSUE_SHARE * inside)


def _odd_range(facts: ValueFacts, volume: Volume, counts: Int64[np.ndarray, " hu"]) -> Notice | None:
    """Return a notice about a volume without values near that of air."""
    if made := _not_measured(facts, volume):
        return made
    pair = _pair(facts)
    if pair is not None and _is_of_tissue(counts, pair[1], pair[0] + LUNG_ABOVE_AIR_HU):
        return _shifted(*pair)
    if facts.lowest >= 0 and facts.highest <= 255:
        text = (
            f"Values run from {facts.lowest} to {facts.highest}; expected HU, with air near -1000. It is a "
            "picture with 256 grey levels, or not a CT: export the scan itself."
        )
        return Notice(text, "grey values")
    return None if _is_of_tissue(counts, facts.tissue_hu or 0, max(facts.lowest, 0)) else _not_hu(facts)


def _not_measured(facts: ValueFacts, volume: Volume) -> Notice | None:
    """Return a notice if values were not measured: a constant, a mask or a label map."""
    if facts.lowest == facts.highest:
        text = f"Every voxel is {facts.lowest} HU; expected a scan. Check that the right file was exported."
        return Notice(text, "one value")
    if _are_labels(facts, volume):
        text = (
            f"Values run from {facts.lowest} to {facts.highest} in uniform patches; expected the HU of a scan. It is a "
            "mask or a label map: pass the scan itself."
        )
        return Notice(text, "label map")
    return None


def _not_hu(facts: ValueFacts) -> Notice | None:
    """Return a notice if values look like intensities other than HU."""
    if facts.lowest < -1 or facts.highest <= PLAUSIBLE_DENSE_HU:
        return None
    text = (
        f"Values run from {facts.lowest} to {facts.highest} and do not look like HU; expected air near -1000 "
        "and soft tissue near 40. It may be an MR or another kind of scan: pass a CT."
    )
    return Notice(text, "not HU")


def holds_labels(volume: Volume) -> bool:
    """Whether the values of a volume are those of a mask or a label map, not of a scan.

    Example:
        >>> import numpy as np
        >>> mask = np.zeros((16, 16, 4), np.int16)
        >>> mask[4:8, 4:8] = 1
        >>> holds_labels(Volume.from_array(mask, np.eye(4)))
        True
    """
    facts, _ = value_facts(volume, thin_slices(volume))
    return facts.lowest < facts.highest and _are_labels(facts, volume)


def _are_labels(facts: ValueFacts, volume: Volume) -> bool:
    return facts.lowest >= 0 and facts.levels <= 256 and (facts.levels <= FEW_LEVELS or _is_flat(volume))


def _no_air(facts: ValueFacts) -> Notice | None:
    if facts.lowest <= PLAUSIBLE_AIR_HU:
        return None
    if raw := _not_hu(facts):
        return raw
    text = (
        f"The lowest value is {facts.lowest} HU; expected air near -1000. The scan may be windowed, scaled or not "
        "in HU: export it again with its rescale slope and intercept."
    )
    return Notice(text, "no air")


def _is_flat(volume: Volume) -> bool:
    """Whether neighbouring voxels are mostly equal, as measured values are not."""
    x, y, z = volume.shape
    slices = volume.hu[:, :, :: max(1, z // 16)]
    values, counts = np.unique(slices[:: max(1, x // _PIECES), :: max(1, y // _PIECES)], return_counts=True)
    inside = slices[1:] != values[counts.argmax()]
    equal = slices[1:] == slices[:-1]
    return bool(inside.any()) and float(equal[inside].mean()) >= 0.7


def _odd_peaks(facts: ValueFacts) -> Notice | None:
    """Return a notice about unusual peaks in a volume with values as low as air."""
    pair = _pair(facts)
    if pair is not None and _is_shifted(pair, facts):
        return _shifted(*pair)
    if facts.highest < PLAUSIBLE_DENSE_HU:
        text = (
            f"The highest value is {facts.highest} HU; expected bone or contrast above {PLAUSIBLE_DENSE_HU}. "
            "The scan may be windowed or scaled, or show no patient: look at it before you use a result."
        )
        return Notice(text, "no bone")
    return _scaled(facts)


def _scaled(facts: ValueFacts) -> Notice | None:
    """Return a notice if the lowest peak is not at air, as after a multiplication."""
    low = min((hu for hu, share in facts.peaks if share >= 0.1), default=None)
    if low is None or facts.air_hu is not None or low > NOT_AIR_HU or (facts.tissue_hu is None and low > -1000):
        return None
    text = (
        f"Most dark voxels have {low} HU; expected air near -1000. Values may have been multiplied by "
        f"{((facts.tissue_hu or 0) - low) / 1040:.2g}: export the scan again with its rescale slope."
    )
    return Notice(text, "scaled HU")


def _is_shifted(pair: tuple[int, int], facts: ValueFacts) -> bool:
    """Whether two peaks as far apart as air and tissue lie elsewhere, and no others fit better."""
    places = (AIR_PEAK_HU, TISSUE_PEAK_HU)
    if all(low <= hu <= high for hu, (low, high) in zip(pair, places, strict=True)):
        return False
    shares = dict(facts.peaks)
    usual = 0.0 if facts.tissue_hu is None else shares[facts.tissue_hu]
    return facts.air_hu is None or usual < 0.3 * shares[pair[1]]


def _shifted(air: int, tissue: int) -> Notice:
    text = (
        f"Air has about {air} HU and soft tissue {tissue}; expected -1000 and about 40: values are shifted by "
        f"about {air + 1000:+d}. The rescale intercept was not applied, or was applied twice: export the scan again."
    )
    return Notice(text, "shifted HU")


def _windowed(facts: ValueFacts, counts: Int64[np.ndarray, " hu"]) -> Notice | None:
    """Return a notice if values were clipped within the range that a patient has."""
    if not facts.peaks:
        return None
    low, high = facts.lowest + _OFFSET, facts.highest + _OFFSET
    above, below = counts[low + 1 : low + 51], counts[max(0, high - 50) : high]
    cut = []
    if facts.lowest > -600 and counts[low] > max(0.02 * counts.sum(), 10 * np.median(above)):
        cut.append(f"{counts[low] / counts.sum():.0%} of the voxels have the lowest value, {facts.lowest} HU")
    if facts.highest < 600 and counts[high] > max(0.002 * counts.sum(), 10 * np.median(below)):
        cut.append(f"{counts[high] / counts.sum():.1%} have the highest, {facts.highest} HU")
    if not cut:
        return None
    text = (
        f"{'; '.join(cut)}; expected air near -1000 and bone above 600. Values outside a window were clipped: export "
        "the scan itself."
    )
    return Notice(text, "windowed")


def _dense(facts: ValueFacts, counts: Int64[np.ndarray, " hu"], inside: int) -> Notice | None:
    dense = int(counts[_OFFSET + TOO_DENSE_HU + 1 :].sum())
    if not facts.peaks or dense <= TOO_DENSE_SHARE * inside:
        return None
    text = (
        f"{dense / inside:.0%} of the voxels that are not air lie above {TOO_DENSE_HU} HU; expected less than "
        f"{TOO_DENSE_SHARE:.0%}, even with metal. The scan may be scaled: export it again with its rescale "
        "slope."
    )
    return Notice(text, "too dense")
