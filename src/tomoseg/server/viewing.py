"""The server of `tomoseg view`: one page on local files, at an unguessable address, while it is open."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tomoseg.errors import GridError, InputError, LabelError, unknown_name_message
from tomoseg.options import ViewOptions
from tomoseg.server.guests import Guests, secret_app
from tomoseg.server.scene_answers import described, unpacked_mask, volume_answer
from tomoseg.workflows.correct import Verdict, account_name, read_reviews, save_correction, save_review
from tomoseg.workflows.scenes import Scene
from tomoseg.workflows.view import open_scene
from tomoseg.workflows.view_cases import ViewCase, Views

KEPT_SCENES = 2
"""Number of cases in memory: the present one and the last."""


class Said(BaseModel):
    """A verdict on a case; null removes a former one."""

    verdict: Verdict | None


@dataclass
class Viewing:
    """Cases that are shown.

    Attributes:
        views: The cases.
        options: Options of the view.
        corrections: Folder of corrections and verdicts.
        secret: The unguessable part of the page's address.
        guests: The open pages.
        writing: Lock for writing verdicts.
    """

    views: Views
    options: ViewOptions
    corrections: Path = Path("corrections")
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    guests: Guests = field(default_factory=Guests)
    _scenes: OrderedDict[int, Scene] = field(default_factory=OrderedDict)
    _opening: threading.Lock = field(default_factory=threading.Lock)
    writing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def ends_with_page(self) -> bool:
        """True."""
        return True

    def app(self) -> FastAPI:
        """Create the application that serves it."""
        return secret_app(self, _routes(self))

    def case(self, number: int) -> ViewCase:
        """Return one of the cases.

        Raises:
            InputError: If there is none of that number.
        """
        if not 0 <= number < len(self.views.cases):
            raise InputError(f"expected a case below {len(self.views.cases)}, got {number}; reload the page")
        return self.views.cases[number]

    def scene(self, number: int) -> Scene:
        """Read a case on first request; one at a time.

        Raises:
            TomosegError: If it cannot be shown.
        """
        case = self.case(number)
        with self._opening:
            scene = self._scenes.get(number) or open_scene(case, self.options, self.corrections)
            self._scenes[number] = scene
            self._scenes.move_to_end(number)
            while len(self._scenes) > KEPT_SCENES:
                self._scenes.popitem(last=False)
            return scene

    @property
    def reviewer(self) -> str | None:
        """Name of the reviewer; None if the view is read-only."""
        if self.options.read_only:
            return None
        return self.options.reviewer if self.options.reviewer is not None else account_name()

    def check_writable(self) -> None:
        """Refuse to write in a read-only view.

        Raises:
            InputError: If it is read-only.
        """
        if self.options.read_only:
            raise InputError("expected nothing to write with --read-only, got a change; leave --read-only off")

    def correct(self, number: int, structure: str, packed: bytes, who: str) -> int:
        """Save a corrected mask, and return its version.

        Args:
            number: The number of the case.
            structure: Name of the structure.
            packed: One byte per voxel, x fastest, compressed with gzip.
            who: Name of the person who corrected it.

        Raises:
            GridError: If it has another number of voxels than the scan.
            InputError: If the view is read-only, or it is not a mask.
            LabelError: If the case has no such structure.
            OutputError: If it cannot be written.
        """
        self.check_writable()
        scene = self.scene(number)
        named = {entry.structure.name: entry.structure for entry in scene.entries}
        if structure not in named:
            raise LabelError(unknown_name_message(structure, tuple(named)))
        if scene.step != 1:
            raise GridError("expected a scan shown in full, got one at every other voxel; crop it to correct it")
        mask = unpacked_mask(packed, scene.grid.canonical_shape)
        folder = self.corrections / self.case(number).name
        with self._opening:
            made = save_correction(folder, named[structure], mask, scene.grid, who, self.options.format)
            self._scenes.pop(number, None)
        return made.version


def _routes(viewing: Viewing) -> APIRouter:
    router = APIRouter()

    @router.get("/session")
    def session() -> dict[str, Any]:
        views = viewing.views
        verdicts = read_reviews(viewing.corrections)
        return {
            "kind": "cases",
            "title": views.title,
            "language": viewing.options.lang,
            "measure": views.measure,
            "cases": [
                {"name": case.name, "score": case.score, "verdict": verdicts.get(case.name)} for case in views.cases
            ],
            "reviewer": viewing.reviewer,
        }

    @router.get("/cases/{number}")
    def case(number: int) -> dict[str, Any]:
        one = viewing.case(number)
        return described(viewing.scene(number), one.name, one.scan)

    @router.get("/cases/{number}/hu")
    def hu(number: int) -> Response:
        return volume_answer(viewing.scene(number).hu)

    @router.get("/cases/{number}/cells")
    def cells(number: int) -> Response:
        return volume_answer(viewing.scene(number).cells.values)

    @router.get("/cases/{number}/reference")
    def reference(number: int) -> Response:
        found = viewing.scene(number).reference
        if found is None:
            raise InputError("expected a case with a reference, got one without; reload the page")
        return volume_answer(found.values)

    @router.post("/cases/{number}/verdict")
    def verdict(number: int, said: Said) -> dict[str, Any]:
        viewing.check_writable()
        name = viewing.case(number).name
        with viewing.writing:
            save_review(viewing.corrections, name, said.verdict, viewing.reviewer or "")
        return {"case": name, "verdict": said.verdict}

    @router.post("/cases/{number}/corrections")
    async def correct(number: int, request: Request, structure: str, who: str = "") -> dict[str, Any]:
        packed = await request.body()
        return {"version": await run_in_threadpool(viewing.correct, number, structure, packed, who[:100])}

    return router
