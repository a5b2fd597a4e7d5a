import os
from datetime import UTC, datetime

import pytest

from tomoseg.errors import ConfigError, InputError
from tomoseg.files.source import SourceFile
from tomoseg.files.stores import mirror as module
from tomoseg.files.stores.addresses import place_of, url_of
from tomoseg.files.stores.mirror import is_placeholder, make_whole, mirror
from tomoseg.files.stores.objects import BrokenError, Entry

PLACE = "s3://bucket/scans"


class InMemory:
    """A store whose answers are counted, and some of which break."""

    def __init__(self, **objects):
        self.objects, self.tags, self.asked, self.breaks = objects, {}, [], 0

    def find(self, place):
        found = []
        for name, content in sorted(self.objects.items()):
            path = place_of(f"{PLACE}/{name}")
            if path.is_relative_to(place):
                time = datetime(2026, 11, 29, tzinfo=UTC)
                found.append(Entry(path, len(content), time, self.tags.get(name, "1")))
        return found

    def block(self, entry, start, length):
        self.asked.append((entry.path.name, start))
        if self.breaks:
            self.breaks -= 1
            raise BrokenError("a connection that broke")
        return self.objects[url_of(entry.path).removeprefix(f"{PLACE}/")][start : start + length]


@pytest.fixture
def small(monkeypatch):
    """Objects of three bytes are large, and blocks are of two."""
    monkeypatch.setattr(module, "SMALL_BYTES", 2)
    monkeypatch.setattr(module, "BLOCK_BYTES", 2)


@pytest.fixture
def store(monkeypatch, small):
    there = InMemory(a=b"12345", b=b"67890", c=b"x")
    monkeypatch.setattr(module, "store_of", lambda place: there)
    return there


def _at(name):
    return place_of(f"{PLACE}/{name}")


def test_large_objects_are_fetched_when_they_are_read(store):
    assert mirror(place_of(PLACE), lazily=True)
    assert store.asked == [("c", 0)]
    assert [is_placeholder(_at(name)) for name in "abc"] == [True, True, False]
    assert _at("a").stat().st_size == 5
    assert _at("a").stat().st_blocks == 0
    make_whole([_at("a")])
    assert _at("a").read_bytes() == b"12345"
    assert is_placeholder(_at("b"))


def test_a_block_is_asked_for_again_and_the_rest_is_not(store):
    store.breaks = 2
    mirror(_at("a"), lazily=False)
    assert _at("a").read_bytes() == b"12345"
    assert store.asked == [("a", 0)] * 3 + [("a", 2), ("a", 4)]


def test_what_never_comes_is_absent(store):
    store.breaks = 100
    with pytest.raises(
        InputError, match=r"s3://bucket/scans/a: expected 5 bytes, got a connection that broke, 5 times"
    ):
        mirror(_at("a"), lazily=False)
    assert not _at("a").exists()
    assert list(place_of(PLACE).iterdir()) == []


def test_what_is_there_is_not_fetched_again_unless_it_changed(store):
    mirror(place_of(PLACE), lazily=False)
    store.asked.clear()
    mirror(place_of(PLACE), lazily=False)
    assert store.asked == []
    store.objects["b"], store.tags["b"] = b"00000", "2"
    del store.objects["c"]
    mirror(place_of(PLACE), lazily=False)
    assert _at("b").read_bytes() == b"00000"
    assert not _at("c").exists()
    assert {name for name, _ in store.asked} == {"b"}


def test_what_others_put_there_meanwhile_stays(store):
    """Two commands write to one place of a store, by way of one cache."""
    mirror(place_of(PLACE), lazily=False)
    asked, find = [], store.find

    def as_another_writes(place):
        asked.append(place)
        found = find(place)
        _at("deep/.new.0123456789ab.part").parent.mkdir()
        for name in ("new", "deep/.new.0123456789ab.part"):
            _at(name).write_bytes(b"1")
        return found

    _at("old").write_bytes(b"1")
    store.find = as_another_writes
    mirror(place_of(PLACE), lazily=False)
    assert asked == [place_of(PLACE)]
    assert sorted(path.name for path in place_of(PLACE).rglob("*") if path.is_file()) == [
        ".new.0123456789ab.part",
        "a",
        "b",
        "c",
        "new",
    ]


def test_an_object_that_changes_after_it_was_listed_is_refused(store):
    mirror(place_of(PLACE), lazily=True)
    store.objects["a"], store.tags["a"] = b"54321", "2"
    with pytest.raises(InputError, match="expected the object that was listed, got a newer one"):
        make_whole([_at("a")])
    del store.objects["b"]
    with pytest.raises(InputError, match="expected the object that was listed, found none"):
        make_whole([_at("b")])


def test_the_least_recently_used_makes_room(store, monkeypatch):
    monkeypatch.setenv(module.LIMIT, "12B")
    mirror(place_of(PLACE), lazily=True)
    make_whole([_at("a"), _at("b")])
    for name, second in (("a", 20), ("b", 10), ("c", 30)):
        os.utime(_at(name), ns=(second * 10**9, _at(name).stat().st_mtime_ns))
    monkeypatch.setenv(module.LIMIT, "8B")
    state = SourceFile.at(_at("b"))
    module.make_room(set())
    assert [is_placeholder(_at(name)) for name in "abc"] == [False, True, False]
    assert SourceFile.at(_at("b")) == state  # nothing that a result depends on
    make_whole([_at("b")])
    assert _at("b").read_bytes() == b"67890"
    assert is_placeholder(_at("a"))  # it is the least recently used now


def test_what_a_process_needs_whole_stays(store, monkeypatch):
    mirror(_at("a"), lazily=False)
    monkeypatch.setenv(module.LIMIT, "1B")
    module.make_room(set())
    assert not is_placeholder(_at("a"))
    (module.stores_folder() / ".using" / str(os.getpid())).rename(module.stores_folder() / ".using" / "999999999")
    module.make_room(set())
    assert is_placeholder(_at("a"))


def test_more_than_the_cache_may_take_is_refused(store, monkeypatch):
    monkeypatch.setenv(module.LIMIT, "8B")
    with pytest.raises(InputError, match=r"expected at most 8e-09 GB, which .*, got 1\.1e-08 GB; raise"):
        mirror(place_of(PLACE), lazily=False)
    assert store.asked == []
    monkeypatch.setenv(module.LIMIT, "much")
    with pytest.raises(ConfigError, match="TOMOSEG_STORE_CACHE: expected a size such as 20GB, got 'much'"):
        mirror(place_of(PLACE), lazily=False)


def test_an_object_of_a_folders_name(store):
    """Empty, it is how some programs mark a folder; with content, no disk can have both."""
    store.objects = {"a": b"", "a/b": b"1", "a/empty": b""}
    assert mirror(place_of(PLACE), lazily=True)
    assert _at("a").is_dir()
    assert sorted(path.name for path in _at("a").iterdir()) == ["b", "empty"]
    store.objects["a"] = b"1"
    with pytest.raises(InputError, match="s3://bucket/scans/a: expected an object, or others below that name, got bot"):
        mirror(place_of(PLACE), lazily=True)
