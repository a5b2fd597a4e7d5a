"""Tables of names and colours of a label map's values for ITK-SNAP and 3D Slicer."""

from __future__ import annotations

from tomoseg.labels import LabelSet

_ITKSNAP_TITLE = """\
# ITK-SnAP Label Description File
# value, red, green, blue, opacity, visible, shown as a surface, name
"""
_SLICER_TITLE = """\
# Color table file
# value, name, red, green, blue, opacity
"""


def itksnap_labels(labels: LabelSet) -> str:
    """Return a label description file (`.label`) for ITK-SNAP (Segmentation, Import Label Descriptions).

    Example:
        >>> print(itksnap_labels(LabelSet.total().subset(["spleen"])).splitlines()[-1])
            1    50   170    60        1  1  1    "spleen"
    """
    rows = ['    0     0     0     0        0  0  0    "Clear Label"']
    for structure in sorted(labels, key=lambda structure: structure.id):
        red, green, blue = structure.colour
        rows.append(f'{structure.id:5} {red:5} {green:5} {blue:5}        1  1  1    "{_plain(structure.name)}"')
    return _ITKSNAP_TITLE + "\n".join(rows) + "\n"


def slicer_colours(labels: LabelSet) -> str:
    """Return a colour table (`.ctbl`) for 3D Slicer; spaces in names become underscores, as the format requires.

    Example:
        >>> slicer_colours(LabelSet.total().subset(["spleen"])).splitlines()[-1]
        '1 spleen 50 170 60 255'
    """
    rows = ["0 background 0 0 0 0"]
    for structure in sorted(labels, key=lambda structure: structure.id):
        red, green, blue = structure.colour
        rows.append(f"{structure.id} {'_'.join(_plain(structure.name).split())} {red} {green} {blue} 255")
    return _SLICER_TITLE + "\n".join(rows) + "\n"


def _plain(name: str) -> str:
    """Replace the quotation marks in a name, which would end it."""
    return name.replace('"', "'")
