"""What is drawn on a page, pixel by pixel."""

import io
from collections import Counter

import numpy as np


def pixels(page):
    """`(rows, columns, 3)`, what the views show."""
    from matplotlib.image import imread  # Pillow's reader, which Matplotlib brings along

    read = imread(io.BytesIO(page.locator(".views").screenshot()), format="png")
    return (read[:, :, :3] * 255).round().astype(np.uint8)


def counts(page):
    """How many pixels have each colour."""
    return Counter(map(tuple, pixels(page).reshape(-1, 3).tolist()))


def make_opaque(page, layout="Axial"):
    """Masks alone, in one plane."""
    page.get_by_role("button", name=layout, exact=True).click()
    slider = page.locator("input[type=range]")
    slider.evaluate("it => { it.value = 1; it.dispatchEvent(new Event('input')); }")
    page.wait_for_timeout(300)


def show_alone(page, structure):
    """One structure's mask, chosen, in a plane through its middle."""
    make_opaque(page)
    page.locator(f"[data-name={structure}] .name").click()
    page.locator("[data-do=alone]").click()
    page.wait_for_timeout(300)


def middle_of(page, colour):
    """Where on the page the pixels of a colour have their middle."""
    rows, columns = np.nonzero((pixels(page) == colour).all(axis=2))
    box = page.locator(".views").bounding_box()
    return box["x"] + columns.mean() + 0.5, box["y"] + rows.mean() + 0.5
