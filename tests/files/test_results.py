import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from tests.files.handmade import nifti1
from tomoseg.errors import InputError, LabelError
from tomoseg.files.nifti import read_ct, read_mask
from tomoseg.files.results import nifti_stem, read_labelled, sidecar_path, write_label_map, write_masks
from tomoseg.labels import LabelSet, Structure
from tomoseg.masks import pack
from tomoseg.segmentation import LabelMap, Segmentation

NAMES = LabelSet.total().names[:20]  # three byte planes


@pytest.fixture
def source(tmp_path):
    """The grid of a scan stored as (z, x, y), pointing left and back."""
    path = tmp_path / "ct.nii"
    path.write_bytes(nifti1(np.zeros((11, 5, 6), np.int16), sform=((0, -2, 0, 50), (0, 0, -2, 60), (3, 0, 0, 70))))
    return read_ct(path).source


@pytest.fixture
def masks(rng):
    """Twenty masks, the third one of an absent structure."""
    masks = rng.random((20, 5, 6, 11)) > 0.7
    masks[2] = False
    return masks


@pytest.fixture
def segmentation(source, masks):
    return Segmentation.from_packed(pack(masks), LabelSet.total().subset(NAMES), source)


def test_one_file_a_structure_on_the_grid_of_the_scan(tmp_path, segmentation, masks, source):
    write_masks(segmentation, tmp_path / "out" / "segmentations")
    folder = tmp_path / "out" / "segmentations"
    assert sorted(p.name for p in folder.iterdir()) == sorted(f"{name}.nii.gz" for name in NAMES)
    for name, mask in zip(NAMES, masks, strict=True):
        image = nib.load(folder / f"{name}.nii.gz")
        assert image.affine.tobytes() == nib.load(tmp_path / "ct.nii").affine.tobytes()
        np.testing.assert_array_equal(np.asarray(nib.as_closest_canonical(image).dataobj), mask)
        np.testing.assert_array_equal(read_mask(folder / f"{name}.nii.gz", source), mask)


def test_only_named_structures_and_none_of_a_former_result(tmp_path, segmentation, masks):
    folder = tmp_path / "segmentations"
    write_masks(segmentation, folder)
    (folder / "notes.txt").write_text("mine")
    (folder / "tumour.nii.gz").write_text("drawn by hand")
    write_masks(segmentation, folder, [NAMES[17], NAMES[0]])
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        [f"{NAMES[0]}.nii.gz", f"{NAMES[17]}.nii.gz", "notes.txt", "tumour.nii.gz"]
    )
    np.testing.assert_array_equal(read_mask(folder / f"{NAMES[17]}.nii.gz"), masks[17])


def test_nothing_is_written_when_a_name_is_unknown_or_climbs(tmp_path, segmentation, source):
    with pytest.raises(LabelError, match="got 'livr'; did you mean 'liver'"):
        write_masks(segmentation, tmp_path / "out", ["spleen", "livr"])
    climbing = Segmentation.from_packed(
        np.zeros((1, 5, 6, 11), np.uint8), LabelSet((Structure(1, "../spleen"),)), source
    )
    with pytest.raises(LabelError, match=r"expected names that can be file names, got '\.\./spleen'"):
        write_masks(climbing, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_label_map_comes_back_with_its_names(tmp_path, rng, source, dtype):
    labels = LabelSet.total().subset(["spleen", "liver", "aorta"])
    values = rng.choice(np.array([0, *labels.ids], dtype), (5, 6, 11))
    write_label_map(LabelMap(values, labels, source), tmp_path / "seg.nii.gz")
    assert json.loads((tmp_path / "seg.labels.json").read_text()) == {"1": "spleen", "5": "liver", "52": "aorta"}
    back = read_labelled(tmp_path / "seg.nii.gz")
    np.testing.assert_array_equal(back.values, values)
    assert back.labels == labels
    assert back.grid.affine.tobytes() == source.affine.tobytes()
    np.testing.assert_array_equal(back.mask("liver"), values == 5)


def test_a_label_map_without_names_is_refused(tmp_path, source):
    spleen = LabelSet.total().subset(["spleen"])
    label_map = LabelMap(np.full((5, 6, 11), 5, np.uint8), spleen, source)
    write_label_map(label_map, tmp_path / "seg.nii")
    with pytest.raises(LabelError, match=r"expected a name in seg\.labels\.json for every value, got none for 5"):
        read_labelled(tmp_path / "seg.nii")
    write_label_map(replace(label_map, labels=LabelSet.total()), tmp_path / "seg.nii")
    assert read_labelled(tmp_path / "seg.nii").labels == LabelSet.total()
    sidecar_path(tmp_path / "seg.nii").unlink()
    with pytest.raises(InputError, match=r"expected names in seg\.labels\.json, got no such file"):
        read_labelled(tmp_path / "seg.nii")


def test_stems(tmp_path):
    assert [nifti_stem(tmp_path / n) for n in ("a.b.nii.gz", "a.nii", "ct.mha")] == ["a.b", "a", "ct"]
