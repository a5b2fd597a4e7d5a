import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tomoseg.errors import OutputError
from tomoseg.files.outputs import check_file, check_folder, check_place, check_space

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs rights and links of POSIX")
CHECKS = [check_file, check_folder, check_place]


@pytest.fixture
def place(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner").mkdir()
    return tmp_path


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", ["new", "new/deep/er", "folder/new", "a" * 255, os.fsdecode(b"caf\xe9")])
def test_what_can_be_made_is_left_unmade(place, check, name):
    before = sorted(place.rglob("*"))
    check(place / name)
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", ["file/new", "file/new/deeper"])
def test_what_it_lies_in_is_a_file(place, check, name):
    with pytest.raises(OutputError, match=r"new.*: expected a folder to write into, got the file .*file; "):
        check(place / name)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", ["new/" + "a" * 256, "\u00e9" * 128 + "/new"])
def test_a_name_longer_than_the_disk_takes(place, check, name):
    with pytest.raises(OutputError, match="expected names of up to 255 bytes, got one of 256; choose a shorter"):
        check(place / name)


def test_one_in_the_place_of_the_other(place):
    check_file(place / "file")
    check_folder(place / "folder")
    with pytest.raises(OutputError, match="folder: expected a file to write, got a folder; choose another name"):
        check_file(place / "folder")
    with pytest.raises(OutputError, match="file: expected a folder to write into, got a file; choose another output"):
        check_folder(place / "file")


@needs_posix
@pytest.mark.parametrize("leads_to", ["nowhere", "link"])
def test_a_link_that_leads_nowhere(place, leads_to):
    (place / "link").symlink_to(place / leads_to)
    for check, name in ((check_folder, "link"), (check_folder, "link/new"), (check_file, "link/new")):
        with pytest.raises(OutputError, match=r"expected a folder to write into, got .*broken link"):
            check(place / name)
    check_file(place / "link")  # the file takes its place


def test_files_of_a_folder(place):
    check_folder(place / "folder", ["new.json"])
    with pytest.raises(OutputError, match="inner: expected a file to write, got a folder"):
        check_folder(place / "folder", ["new.json", "inner"])
    with pytest.raises(OutputError, match="got one of 300"):
        check_folder(place / "unmade", ["a" * 300])


def test_less_space_than_is_needed(place):
    check_space(place / "new" / "deep", 0)
    with pytest.raises(OutputError, match=r"new: expected 1000000000000.00 GB of free space, got "):
        check_space(place / "new", 10**21)


AS_NOBODY = """
import os, sys
from pathlib import Path
from tomoseg.errors import OutputError
from tomoseg.files.outputs import check_file, check_folder, check_place
if os.geteuid() == 0:
    os.setuid(65534)
for check in (check_file, check_folder, check_place):
    for place in sys.argv[1:]:
        try:
            check(Path(place))
        except OutputError as error:
            print(error)
"""


@needs_posix
@pytest.mark.parametrize("rights", [0o555, 0o000])
def test_a_folder_that_may_not_be_written_to(rights):
    """Asked by another user where the tests run as root, whom nothing stops."""
    place = Path(tempfile.mkdtemp())
    place.chmod(rights)
    new = [str(place / "new"), str(place / "new" / "deep")]
    try:
        command = [sys.executable, "-c", AS_NOBODY, *new]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    finally:
        place.chmod(0o755)
        place.rmdir()
    told = f": expected a writable folder {place}, got: Permission denied; choose a folder that you may write to"
    assert done.stdout.splitlines() == [one + told for one in new] * 3
