from tomoseg.files.no_scan import looked_for


def test_a_name_beside_which_no_record_has_room(tmp_path):
    """A record's name would be longer than names can be, so that there is none."""
    scan = tmp_path / f"{'l' * 248}.nii.gz"
    scan.touch()
    assert looked_for(scan) == ()
