"""What is kept between processes: whole entries only, no more than there is room for, and nothing where nothing can."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tomoseg.cache import LARGEST_BYTES, Cache


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The user's cache folder."""
    monkeypatch.setattr("tomoseg.cache.platformdirs.user_cache_path", lambda name: tmp_path / "home" / name)
    return tmp_path / "home" / "tomoseg" / "things"


def test_what_is_kept_is_found(place):
    cache = Cache("things")
    assert cache.folder == place
    assert cache.get("a") is None
    assert not place.exists()
    cache.put("a", b"first")
    cache.put("b", b"")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (b"first", b"", None)
    cache.put("a", b"second")
    assert cache.get("a") == b"second"
    assert sorted(path.name for path in place.iterdir()) == ["a", "b"]
    cache.remove("a")
    cache.remove("never there")
    assert cache.get("a") is None


def test_an_entry_is_its_sha_256_and_its_content(place):
    Cache("things").put("a", b"content")
    assert (place / "a").read_bytes() == hashlib.sha256(b"content").digest() + b"content"


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 32, b"\0" * 50])
def test_a_damaged_entry_is_none(place, damage):
    cache = Cache("things")
    cache.put("a", b"content")
    (place / "a").write_bytes(damage)
    assert cache.get("a") is None
    cache.put("a", b"content")
    assert cache.get("a") == b"content"


@pytest.mark.parametrize("keep", [1, 31, 32, 38])
def test_an_entry_that_was_cut_short_is_none(place, keep):
    cache = Cache("things")
    cache.put("a", b"content")
    (place / "a").write_bytes((place / "a").read_bytes()[:keep])
    assert cache.get("a") is None


def test_where_nothing_can_be_written_nothing_is_kept(place):
    (place.parent.parent).write_text("a file in the way")
    cache = Cache("things")
    cache.put("a", b"content")
    assert cache.get("a") is None
    cache.remove("a")
    assert place.parent.parent.read_text() == "a file in the way"


def test_a_full_disk_leaves_nothing_behind(place, monkeypatch):
    Cache("things").put("a", b"content")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    Cache("things").put("b", b"content")
    assert [path.name for path in place.iterdir()] == ["a"]


def test_the_least_recently_used_go_first(place):
    cache = Cache("things", largest_bytes=3 * 132)  # three entries of 100 bytes and their digests
    for age, name in enumerate("abc"):
        cache.put(name, bytes(100))
        os.utime(place / name, (1000 + age, 1000 + age))
    assert cache.get("a") == bytes(100)  # now the youngest
    cache.put("d", bytes(100))
    assert sorted(path.name for path in place.iterdir()) == ["a", "c", "d"]
    cache.put("e", bytes(101))  # a byte too many for three
    assert sorted(path.name for path in place.iterdir()) == ["d", "e"]
    assert sum(path.stat().st_size for path in place.iterdir()) <= 3 * 132


def test_an_entry_larger_than_the_room_is_not_kept_and_nothing_fails(place):
    cache = Cache("things", largest_bytes=100)
    cache.put("a", bytes(200))
    assert cache.get("a") is None


def test_kinds_do_not_meet(place):
    Cache("things").put("a", b"1")
    assert Cache("others").get("a") is None
    assert Cache("others").folder.parent == place.parent
    assert LARGEST_BYTES == 536_870_912  # half a gibibyte


def test_two_processes_put_one_key_and_read_it_meanwhile(place, tmp_path):
    code = f"""if True:
        import sys
        from pathlib import Path
        from tomoseg import cache
        cache.platformdirs.user_cache_path = lambda name: Path({str(tmp_path / "home")!r}) / name
        things = cache.Cache("things")
        whole = [bytes([n]) * 200_000 for n in (1, 2)]
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(100):
            things.put("a", whole[int(sys.argv[1])])
            found = things.get("a")
            assert found in whole, "an entry that is not whole"
    """
    both = [
        subprocess.Popen([sys.executable, "-c", code, n], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for n in "01"
    ]
    for one in both:
        assert one.stdout.readline() == "ready\n"
    for one in both:
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in both:
        one.communicate(timeout=60)
        assert one.returncode == 0
    assert [path.name for path in place.iterdir()] == ["a"]
