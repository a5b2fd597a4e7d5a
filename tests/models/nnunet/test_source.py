import stat
import zipfile

import pytest

from tests.nnunet_files import NAME, write_training
from tomoseg.errors import InputError, ModelError
from tomoseg.models.nnunet.source import find_training, opened

OTHER = "nnUNetTrainer__nnUNetResEncUNetLPlans__3d_fullres"


def find(folder, training=None, folds=(), checkpoint="final"):
    return find_training(folder, folder, training, folds, checkpoint)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A dataset's folder with two trainings, of which one has three folds."""
    folder = tmp_path_factory.mktemp("results") / "Dataset900_Made"
    write_training(folder, folds=("0", "1", "all"))
    write_training(folder, folds=("all",), name=OTHER)
    (folder / "LICENSE.txt").write_text("CC BY 4.0\n")
    return folder


def test_numbered_folds_are_taken_unless_others_are_named(dataset):
    found = find(dataset, NAME)
    assert list(found.checkpoints) == ["0", "1"]
    assert found.checkpoints["1"] == dataset / NAME / "fold_1" / "checkpoint_final.pth"
    assert list(find(dataset, NAME, ("all",)).checkpoints) == ["all"]
    assert list(find(dataset / NAME, folds=("1",)).checkpoints) == ["1"]
    assert list(find(dataset, OTHER).checkpoints) == ["all"]
    assert find(dataset / OTHER, OTHER).folder == dataset / OTHER
    assert list(find(dataset.parent, f"Dataset900_Made/{OTHER}").checkpoints) == ["all"]
    assert (found.licence, find(dataset / NAME).licence) == (dataset / "LICENSE.txt", None)


def test_two_trainings_are_named(dataset):
    with pytest.raises(ModelError, match=f"expected one training, got 2 of {NAME}, {OTHER}; name one of these with"):
        find(dataset)
    with pytest.raises(ModelError, match=f"one training whose folders end in x, got 0 of {NAME}, {OTHER}; name"):
        find(dataset, "x")


def test_what_is_missing_is_named(dataset, tmp_path):
    with pytest.raises(ModelError, match=r"of fold 3, found those of fold 0, 1, all"):
        find(dataset, NAME, ("0", "3"))
    with pytest.raises(ModelError, match=r"expected checkpoint_best\.pth .* try --checkpoint final"):
        find(dataset, NAME, checkpoint="best")
    with pytest.raises(ModelError, match=r"found no folder with plans\.json and fold_0/checkpoint_final\.pth"):
        find(tmp_path)
    with pytest.raises(InputError, match="found none; check the path"), opened(tmp_path / "no", tmp_path):
        pass
    (tmp_path / "file.txt").write_text("text")
    with pytest.raises(InputError, match="got another file"), opened(tmp_path / "file.txt", tmp_path):
        pass


def zipped(folder, path, **more):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent))
        for name, content in more.items():
            archive.writestr(name, content)
    return path


def test_a_zip_file_is_unpacked_while_it_is_used(dataset, tmp_path):
    shadow = {"__MACOSX/Dataset900_Made/._plans.json": b"x", "Dataset900_Made/postprocessing.pkl": b"x"}
    with opened(zipped(dataset, tmp_path / "a.zip", **shadow), tmp_path / "out" / "model") as root:
        found = find_training(root, tmp_path / "a.zip", OTHER, (), "final")
        assert found.checkpoints["all"].is_file()
        assert found.licence.read_text() == "CC BY 4.0\n"
        assert not list(root.rglob("*.pkl"))
        assert not list(root.rglob("._*"))
    assert not root.exists()
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("turned", [lambda name: name.replace("/", "\\"), lambda name: f"./home/a/b/c/{name}"])
def test_a_zip_file_may_divide_names_as_windows_does_or_lead_down_far(dataset, tmp_path, turned):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in sorted(path for path in dataset.rglob("*") if path.is_file()):
            archive.writestr(turned(file.relative_to(dataset.parent).as_posix()), file.read_bytes())
    with opened(tmp_path / "a.zip", tmp_path / "out") as root:
        found = find_training(root, tmp_path / "a.zip", NAME, (), "final")
        assert list(found.checkpoints) == ["0", "1"]
        assert found.licence.read_text() == "CC BY 4.0\n"


@pytest.mark.parametrize("name", ["../plans.json", "/tmp/plans.json", "a\\..\\plans.json", "a/../../plans.json"])
def test_a_zip_file_whose_files_lead_out_of_it_is_refused(dataset, tmp_path, name):
    path = zipped(dataset, tmp_path / "a.zip", **{name: b"{}"})
    with pytest.raises(ModelError, match="one that leads outside; do not trust"), opened(path, tmp_path / "out"):
        pass
    assert not (tmp_path / "plans.json").exists()


def test_a_link_in_a_zip_file_is_refused(dataset, tmp_path):
    path = zipped(dataset, tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("x/plans.json")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ModelError, match="leads outside"), opened(path, tmp_path / "out"):
        pass


def test_a_bomb_is_refused_before_it_is_unfolded(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t/fold_0/checkpoint_final.pth", bytes(10**8))
    with pytest.raises(ModelError, match=r"unpacks \d+ bytes to 100000000; do not trust"), opened(path, tmp_path):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]


def test_a_damaged_zip_file_is_refused(dataset, tmp_path):
    path = zipped(dataset, tmp_path / "a.zip")
    content = bytearray(path.read_bytes())
    content[2000:2100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(ModelError, match="expected a whole ZIP file"), opened(path, tmp_path / "out"):
        pass
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with (
        pytest.raises(InputError, match="got one that is cut short or damaged; fetch it again"),
        opened(path, tmp_path),
    ):
        pass


def test_more_files_than_trainings_have_are_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(1001):
            archive.writestr(f"{number}/plans.json", b"{}")
    with pytest.raises(ModelError, match=r"at most 1000 files of \d+ bytes to unpack, got 1001 of 2002; give a ZIP"):
        opened(path, tmp_path / "out" / "model").__enter__()
    assert list((tmp_path / "out").iterdir()) == []


def test_encrypted_files_are_refused(dataset, tmp_path):
    path = zipped(dataset, tmp_path / "a.zip")
    content = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(mark)
        while at >= 0:
            content[at + place] |= 1
            at = content.find(mark, at + 1)
    path.write_bytes(content)
    with pytest.raises(ModelError, match="got encrypted ones; unpack it"), opened(path, tmp_path / "out"):
        pass


def test_folds_without_the_checkpoint_are_named_unless_others_were_asked_for(tmp_path):
    folder = write_training(tmp_path, folds=("0", "1", "all"))
    (folder / "fold_1" / "checkpoint_final.pth").unlink()
    assert (list(find(folder).checkpoints), find(folder).left_out) == (["0"], ("1", "all"))
    assert find(folder, folds=("0",)).left_out == ()


def test_folds_of_other_names_are_taken_only_if_they_are_named(tmp_path):
    folder = write_training(tmp_path, folds=("all", "all_old"))
    assert (list(find(folder).checkpoints), find(folder).left_out) == (["all"], ("all_old",))
    assert list(find(folder, folds=("fold_all_old", "all_old")).checkpoints) == ["all_old"]
    (folder / "fold_all").rename(folder / "fold_x")
    with pytest.raises(ModelError, match="expected numbered folds, or all, found all_old, x; name some with --folds"):
        find(folder)


def test_a_training_that_has_not_ended_is_told(tmp_path):
    folder = write_training(tmp_path, file="checkpoint_latest.pth")
    for checkpoint in ("final", "best"):
        with pytest.raises(ModelError, match=r"found checkpoint_latest\.pth; import it once its training has ended"):
            find(folder, checkpoint=checkpoint)
