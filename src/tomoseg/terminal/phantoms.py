"""What is to be said of the label maps that bodies are made of."""

from __future__ import annotations

from collections.abc import Sequence

from tomoseg.bodies.write import SourceFacts
from tomoseg.terminal import console


def show_sources(sources: Sequence[SourceFacts]) -> None:
    """Warn of names that say nothing and of masks that overlap."""
    for source in sources:
        if source.generic:
            console.warn_all(
                [
                    f"{source.name}: no HU are known for {', '.join(source.generic)}, which are drawn as generic soft "
                    "tissue; rename these structures to known ones to give them their HU"
                ]
            )
        if source.overlapping:
            console.warn_all(
                [
                    f"{source.name}: {source.overlapping} voxels belong to several structures; the smallest of these "
                    "structures takes them"
                ]
            )
