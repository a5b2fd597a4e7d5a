"""The great vessels, and some branches that a scan shows but that have no mask."""

from __future__ import annotations

from collections.abc import Sequence

from tomoseg.phantom.body import SIDES, Body
from tomoseg.phantom.canvas import Canvas
from tomoseg.phantom.shapes import Shape, union
from tomoseg.phantom.tubes import Path, mirrored, tube

_AORTA: Path = [
    [-2, 6, 408, 14], [6, 12, 432, 15.5], [12, 8, 460, 15], [6, -4, 482, 14.5],
    [-6, -18, 491, 13.5], [-18, -36, 486, 13],
    [-26, -50, 465, 12.5], [-27, -54, 430, 12], [-24, -50, 390, 12], [-18, -38, 345, 11.5], [-11, -19, 295, 11],
    [-9, -10, 260, 10.5], [-8, -4, 225, 10], [-7, 0, 190, 9.5], [-4, 0, 155, 9],
]  # fmt: skip
_CAVA: Path = [
    [12, -7, 133, 9.5], [16, -4, 165, 9.5], [18, -4, 200, 10], [20, -7, 235, 10.5],
    [23, -14, 270, 10.5], [27, -18, 310, 11.5],
    [28, -12, 345, 12], [26, 4, 372, 12],
]  # fmt: skip
_ILIAC_ARTERY: Path = [
    [2, 0, 155, 6.5],
    [15, -5, 132, 6.5],
    [34, -7, 108, 6.3],
    [48, 2, 78, 6],
    [63, 28, 40, 5.8],
    [72, 50, 6, 5.6],
    [74, 54, -8, 5.5],
]
_ILIAC_VEIN: Path = [
    [12, -8, 136, 7.5],
    [20, -18, 112, 7.8],
    [34, -22, 88, 7.8],
    [46, -12, 64, 7.6],
    [56, 18, 34, 7.4],
    [61, 44, 4, 7.2],
    [62, 50, -8, 7],
]


def paint_chest_vessels(canvas: Canvas, body: Body) -> None:
    """Arteries and veins of chest and neck; call it after heart and airways."""
    heart = body.placed("heart", (5, 3, 3), 0.06)
    sway, grow = heart.shift[0] * 0.5, body.placed("vessels", scale=0.07).scale

    def path(rows: Path) -> list[list[float]]:
        return [[p[0] + sway * (380 < p[2] < 480), p[1], p[2], p[3] * grow] for p in rows]

    trunk: Path = [[-16, 36, 418, 13], [-18, 24, 438, 14], [-16, 6, 450, 13]]
    right: Path = [[-16, 6, 450, 12], [6, -9, 447, 10.5], [30, -14, 440, 9.5], [48, -20, 428, 7]]
    left: Path = [[-16, 6, 450, 12], [-28, -14, 452, 10.5], [-44, -28, 446, 8.5]]
    canvas.paint(union(*(tube(path(p)) for p in (trunk, right, left)), smooth=4), "right_heart", None, halo=0.8)
    veins: list[Path] = [
        [[10, -10, 418, 8], [28, -8, 424, 7.5], [50, -6, 434, 6]],
        [[10, -14, 404, 8], [28, -24, 402, 7.5], [48, -36, 392, 6]],
        [[-26, -10, 420, 8], [-40, -12, 426, 7.5], [-58, -6, 438, 6]],
        [[-26, -14, 406, 8], [-40, -24, 404, 7.5], [-56, -38, 396, 6]],
    ]
    canvas.paint(union(*(tube(path(p)) for p in veins)), "left_heart", "pulmonary_vein", halo=1)
    upper: Path = [[20, 2, 494, 9], [21, 6, 460, 9.5], [22, 9, 425, 10], [23, 10, 408, 10]]
    canvas.paint(tube(path(upper)), "upper_vein", "superior_vena_cava", halo=0.8)
    for name, side in SIDES:
        joint = [20, 2, 496, 8] if side > 0 else [17, 6, 492, 7.5]
        inner = [28, 0, 518, 8] if side > 0 else [-12, 14, 508, 7.5]
        outer = [40, -2, 545, 7.5] if side > 0 else [-40, 2, 540, 7.5]
        canvas.paint(tube([joint, inner, outer]), "upper_vein", f"brachiocephalic_vein_{name}", halo=0.8)
        canvas.paint(
            tube([outer, [side * 42, -6, 570, 6.5], [side * 36, -10, 620, 6], [side * 32, -12, 660, 5]]),
            "upper_vein",
            None,
            halo=0.8,
        )
        canvas.paint(tube([outer, [side * 70, 10, 534, 6], [side * 105, 5, 528, 6]]), "upper_vein", None, halo=1)
    canvas.paint(tube(path(_AORTA)), "artery", "aorta", halo=0.8)
    _paint_arch_branches(canvas, grow)


def _paint_arch_branches(canvas: Canvas, grow: float) -> None:
    def paint(rows: Path, label: str | None) -> None:
        canvas.paint(tube([[*p[:3], p[3] * grow] for p in rows]), "artery", label, halo=0.8)

    fork: Sequence[float] = [24, -13, 531, 6]
    paint(
        [fork, [42, -20, 552, 5.6], [72, -18, 553, 5.4], [100, -14, 538, 5.2], [130, -22, 520, 5]],
        "subclavian_artery_right",
    )
    paint(
        [
            [-16, -30, 492, 6],
            [-24, -32, 520, 5.8],
            [-38, -28, 548, 5.6],
            [-70, -20, 553, 5.4],
            [-100, -14, 538, 5.2],
            [-130, -22, 520, 5],
        ],
        "subclavian_artery_left",
    )
    paint([fork, [25, -10, 555, 5], [25, -6, 590, 5], [27, -8, 628, 5]], "common_carotid_artery_right")
    paint(
        [[-8, -19, 494, 5.4], [-15, -16, 525, 5], [-24, -10, 560, 5], [-25, -6, 590, 5], [-27, -8, 628, 5]],
        "common_carotid_artery_left",
    )
    paint([[3, -8, 488, 7.5], [12, -10, 508, 7], fork], "brachiocephalic_trunk")
    for _, side in SIDES:
        paint([[side * 27, -8, 630, 3.5], [side * 30, -14, 690, 3]], None)


def paint_belly_vessels(canvas: Canvas, body: Body) -> None:
    """Inferior vena cava, portal and splenic vein, iliac vessels; call it after the abdominal organs."""
    grow = body.placed("vessels", scale=0.07).scale
    shift = body.placed("pancreas").shift * 0.8

    def paint(rows: Path, tissue: str, label: str | None, flatten: float = 1.0) -> None:
        path = [[*p[:3], p[3] * grow] for p in rows]
        canvas.paint(tube(path, flatten=(flatten, 1, 1)), tissue, label, halo=1.0)

    for _, side in SIDES:
        paint([[side * 16, -4, 232, 4], [side * 34, -28, 236, 4], [side * 50, -40, 240, 4]], "lower_vein", None)
        paint(
            [[side * 72, 52, -6, 5.5], [side * 78, 44, -60, 5], [side * 88, 30, -140, 4.5], [side * 92, 20, -300, 4]],
            "artery",
            None,
        )
        paint(
            [[side * 60, 48, -6, 6.5], [side * 68, 40, -60, 6], [side * 80, 24, -140, 5], [side * 84, 14, -300, 5]],
            "lower_vein",
            None,
        )
    for name, side in SIDES:
        paint([_ILIAC_VEIN[0], *mirrored(_ILIAC_VEIN[1:], side)], "lower_vein", f"iliac_vena_{name}", 1.1)
    paint(_CAVA, "lower_vein", "inferior_vena_cava", 1.2)
    portal: Path = [[6, 16, 250, 7.5], [20, 12, 270, 7.5], [38, 8, 290, 7.5], [56, 2, 306, 6.5]]
    splenic: Path = [[6, 16, 252, 6.5], [-22, 8, 266, 6], [-52, -14, 284, 5.5], [-86, -36, 300, 5]]
    mesenteric: Path = [[8, 18, 248, 6], [9, 26, 220, 5.5], [9, 30, 175, 5]]

    def moved(rows: Path) -> Shape:
        return tube([[p[0] + shift[0], p[1] + shift[1], p[2] + shift[2], p[3] * grow] for p in rows])

    canvas.paint(moved(mesenteric), "portal_vein", None, halo=1.5)
    canvas.paint(union(moved(portal), moved(splenic)), "portal_vein", "portal_vein_and_splenic_vein", halo=1)
    paint([[-7, 6, 248, 4.5], [-6, 18, 232, 4], [-5, 26, 200, 3.5], [-4, 30, 170, 3]], "artery", None)
    for name, side in SIDES:
        paint([[-4, 0, 157, 7], *mirrored(_ILIAC_ARTERY[1:], side)], "artery", f"iliac_artery_{name}")
    canvas.paint(tube([[*p[:3], p[3] * grow] for p in _AORTA[-7:]]), "artery", "aorta", halo=1.5)
