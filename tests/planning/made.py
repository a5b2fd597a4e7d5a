"""Fingerprints of made datasets."""

from tomoseg.planning.fingerprint import Fingerprint, StructurePrint


def structure(name="organ", thickness_mm=(12.0, 12.0, 20.0), hu=(0.0, 50.0, 100.0), annotated=10, present=10):
    """One structure, in each of ten cases where nothing else is said."""
    return StructurePrint(name, annotated, 10, present, 20.0, thickness_mm, 0.001, hu)


def fingerprint(
    structures=None,
    spacing_mm=(4.0, 4.0, 2.5),
    extent_mm=(400.0, 240.0, 300.0),
    cases=10,
    validation=2,
    slices_mm=None,
):
    """Ten training cases and two for validation, of scans of 4 mm with equally spaced slices if no range is given."""
    found = (structure(),) if structures is None else tuple(structures)
    x, y, z = spacing_mm
    ends = ((x, x), (y, 1.2 * y), slices_mm or (z, z))
    return Fingerprint(cases, validation, cases, spacing_mm, ends, extent_mm, (-950.0, 20.0, 900.0), found)
