"""What is to be said of the label maps that bodies are made of."""

from __future__ import annotations

from collections.abc import Sequence

from tomoseg.bodies.write import SourceFacts
from tomoseg.terminal import console


def show_sources(sources: Sequence[SourceFacts]) -> None:
    """Warn of names that say nothing and of masks that overlap."""
    console.warn_all([sentence for source in sources for sentence in _sentences(source)])


def _sentences(source: SourceFacts) -> list[str]:
    found = []
    if source.generic:
        found.append(
            f"{source.name}: no HU are known for {', '.join(source.generic)}: a generic soft tissue. Give these "
            "structures names of known ones to have their HU."
        )
    if source.overlapping:
        found.append(
            f"{source.name}: {source.overlapping} voxels belong to several structures; the smallest of these has them."
        )
    return found
