"""A training run in a browser while it writes."""

import base64
import json

import pytest

from tests.workflows.test_watched_run import make_run
from tomoseg.options import ViewOptions
from tomoseg.server.run_viewing import RunViewing
from tomoseg.workflows.watched_run import find_run, picture_path

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def record(epoch, **more):
    said = {
        "epoch": epoch,
        "train_loss": 1 / epoch,
        "learning_rate": 10.0**-epoch,
        "gradient_norm": 0.25,
        "slices_per_second": 41.5,
        "minutes": 90.0 * epoch,
        "minutes_left": 90.0 * (3 - epoch),
    }
    return said | more


def write(folder, *records, rest=""):
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records) + rest)


@pytest.fixture
def viewing(tmp_path):
    return RunViewing(find_run(make_run(tmp_path / "liver run")), ViewOptions(open=False))


def test_curves_grow_while_it_trains(opened, viewing):
    folder = viewing.run.parts[0].folder
    dice = {"validation_dice": 0.75, "validation_loss": 0.4, "dice": {"liver": 0.9, "spleen": 0.6}}
    with opened(viewing.app(), f"/{viewing.secret}/") as looked:
        page = looked.page

        def fact(name):
            return page.locator(f"[data-fact={name}] dd").inner_text()

        def points(chart, line):
            return page.locator(f"[data-chart={chart}] [data-line={line}]").get_attribute("data-points")

        page.wait_for_selector("text=No epoch is done yet")
        assert fact("epoch") == "–"
        write(folder, record(1), rest='{"epoch": 2, "train')
        page.wait_for_selector("[data-line=train_loss][data-points='1']")
        assert (fact("epoch"), fact("state"), fact("left"), fact("spent")) == (
            "1",
            "running",
            "3 h 00 min",
            "1 h 30 min",
        )
        assert (fact("dice"), fact("norm"), fact("speed")) == ("–", "0.25", "41.5")
        write(folder, record(1), record(2, **dice))
        page.wait_for_selector("[data-line=train_loss][data-points='2']")
        assert points("loss", "validation_loss") == points("dice", "validation_dice") == "1"
        assert page.locator("[data-line=liver]").count() == 0  # on demand
        page.locator("[data-name=liver] input").check()
        assert points("dice", "liver") == "1"
        assert page.locator("[data-of=liver]").inner_text() == "liver 0.9"
        assert page.locator("[data-name=spleen] .measured").inner_text() == "0.600"
        dice["dice"] = {"liver": 0.95, "spleen": 0.65}
        write(folder, record(1), record(2, **dice), record(3, **dice | {"validation_dice": 0.8}))
        page.wait_for_selector("[data-line=liver][data-points='2']")  # stays chosen
        assert (fact("state"), fact("best"), fact("rate")) == ("finished", "0.8000, epoch 3", "0.001")
        page.locator("[data-chart=loss] svg").hover(position={"x": 60, "y": 60})
        assert "Epoch 1" in page.locator("[data-chart=loss] .legend").inner_text()
        page.get_by_role("button", name="Français").click()
        assert (fact("state"), fact("best")) == ("terminé", "0,8000, époque 3")
        assert page.locator("[data-name=spleen] .name").inner_text() == "rate"
        assert looked.elsewhere == []
        assert looked.faults == []


def test_pictures_come_and_earlier_ones_are_kept(opened, viewing):
    folder = viewing.run.parts[0].folder

    def draw(epoch):
        for name in ("liver", "spleen"):
            path = picture_path(folder, name, epoch)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(PIXEL)

    with opened(viewing.app(), f"/{viewing.secret}/") as looked:
        page = looked.page
        assert not page.locator(".pictures").is_visible()
        draw(1)
        write(folder, record(1, dice={"liver": 0.5, "spleen": 0.5}))
        page.wait_for_selector("img[src='run/0/pictures/liver/1']")
        assert page.locator(".pictures img").evaluate("async it => { await it.decode(); return it.naturalWidth; }") == 1
        page.locator("[data-name=spleen] .name").click()
        page.wait_for_selector("img[src='run/0/pictures/spleen/1']")
        draw(4)
        page.wait_for_selector("img[src='run/0/pictures/spleen/4']")  # the newest, of what was chosen
        page.get_by_label("Epoch", exact=True).fill("0")
        page.wait_for_selector("img[src='run/0/pictures/spleen/1']")
        draw(5)
        page.wait_for_selector(".pictures input[max='2']")
        assert page.locator(".pictures output").inner_text() == "Epoch 1"  # stays where it was put
        page.get_by_label("Picture of").select_option("liver")
        page.wait_for_selector("img[src='run/0/pictures/liver/5']")
        assert looked.faults == []


def test_folds_are_shown_one_by_one_and_a_name_is_no_html(opened, tmp_path):
    run = make_run(tmp_path / "<img src=x onerror=alert(1)>", views=("axial", "coronal"))
    make_run(run / "axial")
    write(run / "axial", record(1, dice={"<b>odd": 0.5}, minutes_left=0))
    viewing = RunViewing(find_run(run), ViewOptions(open=False, lang="fr"))
    with opened(viewing.app(), f"/{viewing.secret}/") as looked:
        page = looked.page
        assert page.locator("h1").inner_text() == "<img src=x onerror=alert(1)>"
        assert page.locator("[data-part=axial]").get_attribute("aria-pressed") == "true"
        assert page.locator(".row .name").inner_text() == "<b>odd"
        make_run(run / "coronal")
        write(run / "coronal", record(1))
        page.wait_for_selector("[data-part=coronal][aria-pressed=true]")  # what is trained now
        page.locator("[data-part=axial]").click()
        assert page.locator("[data-fact=state] dd").inner_text() == "terminé"
        assert looked.faults == []


def test_letters_of_a_chart_keep_their_size_on_a_telephone(opened, viewing):
    with opened(viewing.app(), f"/{viewing.secret}/") as looked:
        page = looked.page
        write(viewing.run.parts[0].folder, record(1), record(9))
        page.wait_for_selector("[data-line=train_loss][data-points='2']")
        widths = []
        for width in (1200, 400):
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_timeout(200)
            chart = page.locator("[data-chart=rate] svg")
            scale = chart.evaluate("one => one.getScreenCTM().a")
            assert scale == 1
            box = chart.bounding_box()
            last = chart.locator("circle").last.bounding_box()
            assert 0 < box["x"] + box["width"] - last["x"] < 30  # the curve fills the chart
            widths.append(box["width"])
        assert widths[1] < widths[0]
        assert "10⁻⁹" in page.locator("[data-fact=rate] dd").inner_text()
