"""A store of pictures: written whole or not at all, checked when it is opened, read at random."""

import errno
import hashlib
import json
import pickle
import tarfile
from dataclasses import asdict, fields

import pyarrow as pa
import pytest

from lightning_cr import files
from lightning_cr.errors import DataError
from lightning_cr.images import UnreadableImage
from lightning_cr.negatives.image import Made, PictureStore, manifest
from lightning_cr.negatives.image import store as store_module
from tests.picture_stores import encoded, made


@pytest.fixture
def store(tmp_path):
    """Two units: three rows of which one has no picture, and one row."""
    made_here = PictureStore(tmp_path / "store", create=True)
    rows = [made("a"), made("b", 2, dropped="blank"), made("c", 3, concreteness=None, text_margin=0.25)]
    made_here.write("one", rows, [encoded((10, 0, 0)), None, encoded((30, 0, 0))])
    made_here.write("two", [made("d", 4)], [encoded((40, 0, 0), form="PNG")], suffix="png")
    return made_here


def everything(store):
    """Key to what its row says and its picture."""
    rows = store.rows.to_pylist()
    pictures = [store.read(at) if row["size"] else None for at, row in enumerate(rows)]
    return {row["key"]: (row, picture) for row, picture in zip(rows, pictures, strict=True)}


def said(folder):
    with pytest.raises(DataError) as caught:
        everything(PictureStore(folder))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_is_written_is_read(store, tmp_path):
    again = PictureStore(tmp_path / "store")
    assert again.units == store.units == {"one", "two"}
    found = everything(again)
    assert found.keys() == set("abcd")
    row, picture = found["c"]
    assert picture == encoded((30, 0, 0))
    names = [field.name for field in fields(Made)]
    assert Made(**{name: row[name] for name in names}) == made("c", 3, concreteness=None, text_margin=0.25)
    assert found["b"][0]["dropped"] == "blank"
    assert found["b"][1] is None
    at = [row["key"] for row in again.rows.to_pylist()].index("d")
    assert again.image(at).getpixel((5, 5)) == (40, 0, 0)
    assert again.image(at).size == (48, 40)


def test_each_field_of_a_row_has_its_column():
    assert [field.name for field in fields(Made)] == manifest.SCHEMA.names[: len(fields(Made))]


def test_a_row_without_a_picture_has_none(store):
    at = store.rows.column("dropped").to_pylist().index("blank")
    with pytest.raises(UnreadableImage, match=r"b in .* has no picture \(it was dropped: blank\)"):
        store.read(at)


def test_another_process_may_make_the_store_at_any_moment(tmp_path, monkeypatch):
    real = store_module._is_empty

    def overtaken(folder):  # between the look for about.json and the look for other files
        monkeypatch.setattr(store_module, "_is_empty", real)
        PictureStore(folder, create=True)
        return real(folder)

    monkeypatch.setattr(store_module, "_is_empty", overtaken)
    (tmp_path / "store").mkdir()
    assert PictureStore(tmp_path / "store", create=True).units == frozenset()


def test_a_shard_is_a_tar_as_webdataset_reads_it(store, tmp_path):
    path = tmp_path / "store/shards/one.tar"
    with tarfile.open(path) as tar:
        assert tar.getnames() == ["a.json", "a.jpg", "c.json", "c.jpg"], "a sample's members stand together"
        assert json.load(tar.extractfile("c.json")) == asdict(made("c", 3, concreteness=None, text_margin=0.25))
        picture = tar.extractfile("c.jpg").read()
        member = tar.getmember("c.jpg")
    row = next(row for row in store.rows.to_pylist() if row["key"] == "c")
    assert (row["offset"], row["size"]) == (member.offset_data, member.size)
    assert row["sha256"] == hashlib.sha256(picture).digest()


def test_the_same_unit_is_the_same_file(store, tmp_path):
    other = PictureStore(tmp_path / "other", create=True)
    other.write("two", [made("d", 4)], [encoded((40, 0, 0), form="PNG")], suffix="png")
    for name in ("shards/two.tar", "manifest/two.parquet"):
        assert (tmp_path / "store" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_a_unit_without_any_picture_has_no_shard(tmp_path):
    store = PictureStore(tmp_path / "store", create=True)
    store.write("none", [made(dropped="blank")], [None])
    assert not (tmp_path / "store/shards").exists()
    again = PictureStore(tmp_path / "store")
    assert (again.units, len(again)) == ({"none"}, 1)


def test_units_are_added_and_never_changed(store, tmp_path):
    with pytest.raises(DataError, match=r"the unit one is in .* already"):
        store.write("one", [made("z")], [encoded()])
    PictureStore(tmp_path / "store", create=True).write("three", [made("a", seed=8)], [encoded((1, 2, 3))])
    assert store.units == {"one", "two"}, "what was opened stays as it was"
    found = PictureStore(tmp_path / "store")
    assert found.units == {"one", "two", "three"}
    assert sorted(found.rows.column("seed").to_pylist()) == [7, 7, 7, 7, 8]


@pytest.mark.parametrize(
    ("unit", "rows", "pictures"),
    [
        ("../one", [made()], [b"x"]),
        ("u", [made("a.b")], [b"x"]),
        ("u", [made("a"), made("a")], [b"x", b"x"]),
        ("u", [made()], [None]),
        ("u", [made(dropped="blank")], [b"x"]),
        ("u", [made()], []),
    ],
)
def test_what_a_caller_must_not_do_writes_nothing(tmp_path, unit, rows, pictures):
    store = PictureStore(tmp_path / "store", create=True)
    with pytest.raises(ValueError, match=r"."):
        store.write(unit, rows, pictures)
    assert [path.name for path in tmp_path.rglob("*")] == ["store", "about.json"]


def test_a_unit_that_was_cut_off_before_its_manifest_is_not_there_and_can_be_written(tmp_path, monkeypatch):
    store = PictureStore(tmp_path / "store", create=True)

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lightning_cr.negatives.image.store.unit_rows", killed)
        with pytest.raises(KeyboardInterrupt):
            store.write("one", [made()], [encoded()])
    assert (tmp_path / "store/shards/one.tar").exists()
    again = PictureStore(tmp_path / "store")
    assert (again.units, len(again)) == (frozenset(), 0)
    again.write("one", [made("b")], [encoded((9, 9, 9))])
    assert everything(PictureStore(tmp_path / "store"))["b"][1] == encoded((9, 9, 9))


# ---- merging ------------------------------------------------------------------------------------------------------


def test_merged_rows_are_the_same_rows(store, tmp_path):
    before = everything(store)
    PictureStore(tmp_path / "store").merge()
    assert everything(PictureStore(tmp_path / "store")) == before
    assert everything(store) == before, "one that was open before"
    store.write("three", [made("e", 5)], [encoded((50, 0, 0))])
    both = everything(PictureStore(tmp_path / "store"))
    assert both.keys() == set("abcde")
    assert len(PictureStore(tmp_path / "store")) == 5, "merged and not merged, no row twice"
    store.merge()
    store.merge()
    assert everything(PictureStore(tmp_path / "store")) == both


def test_merged_rows_are_mapped_and_take_no_memory(tmp_path):
    store = PictureStore(tmp_path / "store", create=True)
    rows = [made(f"k{n}", n, caption="a red ring " * 50, dropped="blank") for n in range(2000)]
    store.write("many", rows, [None] * len(rows))
    store.merge()
    del store
    before = pa.total_allocated_bytes()
    again = PictureStore(tmp_path / "store")
    assert again.rows.nbytes > 1_000_000
    assert again.rows.column("image_id")[1999].as_py() == 1999
    assert pa.total_allocated_bytes() - before < 100_000


def test_merging_takes_in_what_others_wrote(store, tmp_path):
    PictureStore(tmp_path / "store").write("three", [made("e", 5)], [encoded()])
    store.merge()
    assert store.units == {"one", "two", "three"}


def test_a_damaged_merged_file_costs_nothing_but_time(store, tmp_path):
    before = everything(store)
    store.merge()
    (tmp_path / "store/rows.arrow").write_bytes(b"ARROW1 and then nothing")
    assert everything(PictureStore(tmp_path / "store")) == before


def test_a_unit_that_was_deleted_and_made_anew_has_its_own_rows(store, tmp_path):
    store.merge()
    for name in ("shards/one.tar", "manifest/one.parquet", "manifest/two.parquet"):
        (tmp_path / "store" / name).unlink()
    again = PictureStore(tmp_path / "store")
    assert len(again) == 0
    again.write("one", [made("new")], [encoded((5, 5, 5))])
    assert everything(PictureStore(tmp_path / "store")).keys() == {"new"}


def test_a_process_that_is_handed_the_store_gets_its_path_and_the_same_rows(store, tmp_path):
    PictureStore(tmp_path / "store").write("later", [made("e", 5)], [encoded()])
    state = pickle.dumps(store)
    assert len(state) < 500
    other = pickle.loads(state)
    assert everything(other) == everything(store)


# ---- what goes wrong ----------------------------------------------------------------------------------------------


def test_a_shard_of_another_size(store, tmp_path):
    shard = tmp_path / "store/shards/one.tar"
    shard.write_bytes(shard.read_bytes()[:-512])
    for merged in (False, True):
        assert "one.tar has " in said(tmp_path / "store")
        assert said(tmp_path / "store").endswith("synthesize makes its pictures again")
        if not merged:
            store.merge()


def test_a_shard_of_the_right_size_with_other_bytes(store, tmp_path):
    shard = tmp_path / "store/shards/one.tar"
    data = bytearray(shard.read_bytes())
    at = next(n for n, row in enumerate(store.rows.to_pylist()) if row["key"] == "c")
    data[store.rows.column("offset")[at].as_py() + 100] ^= 1
    shard.write_bytes(data)
    again = PictureStore(tmp_path / "store")
    with pytest.raises(UnreadableImage, match=r"one\.tar is damaged at c; bring it back, or delete .*one\.parquet"):
        again.read(at)
    assert again.read(0) == encoded((10, 0, 0)), "the others can be read"
    assert "is damaged at c" in said(tmp_path / "store")


def test_a_manifest_that_names_a_missing_shard(store, tmp_path):
    (tmp_path / "store/shards/two.tar").unlink()
    assert "two.tar cannot be read (No such file or directory); bring it back, or delete" in said(tmp_path / "store")
    (tmp_path / "store/manifest/two.parquet").unlink()
    assert everything(PictureStore(tmp_path / "store")).keys() == set("abc"), "as it says"


@pytest.mark.parametrize("content", [b"", b"no parquet", b"PAR1" * 40])
def test_a_manifest_that_is_none(store, tmp_path, content):
    (tmp_path / "store/manifest/two.parquet").write_bytes(content)
    assert "two.parquet is no manifest of a store (" in said(tmp_path / "store")


def test_the_parquet_of_somebody_else(store, tmp_path):
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"caption": ["a dog"]}), tmp_path / "store/manifest/two.parquet")
    assert "two.parquet is no manifest of a store (" in said(tmp_path / "store")


def test_folders_that_are_no_store(store, tmp_path):
    assert "there is no store of pictures" in said(tmp_path / "nowhere")
    assert "python -m lightning_cr synthesize" in said(tmp_path / "nowhere")
    assert "is no store of pictures, it has no about.json" in said(tmp_path)
    with pytest.raises(DataError, match=r"it has no about\.json"):
        PictureStore(tmp_path, create=True)
    (tmp_path / "file").write_text("")
    assert "is no store of pictures" in said(tmp_path / "file")
    about = tmp_path / "store/about.json"
    about.write_text('{"format": "lightning_cr pictures of wrong captions", "version": 2}')
    assert '"version": 2}, not {' in said(tmp_path / "store")
    about.write_text("{")
    assert "about.json cannot be read (" in said(tmp_path / "store")


def test_two_that_make_the_same_store_at_once(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store/.about.json.xyz.part").write_text("")
    assert PictureStore(tmp_path / "store", create=True).units == frozenset()


@pytest.mark.parametrize("left", [100, 12_000])
def test_a_full_disk_leaves_the_store_as_it_was(store, tmp_path, monkeypatch, left):
    """Of a disk with no room for the shard, and of one with room for it but not for the manifest."""
    before = everything(store)
    real = files.os.fdopen
    space = [left]

    def fdopen(handle, mode):
        file = real(handle, mode, buffering=0)
        write = file.write

        class Full:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                file.close()

            def write(self, data):
                space[0] -= len(data)
                if space[0] < 0:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return write(data)

            def __getattr__(self, name):
                return getattr(file, name)

        return Full()

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fdopen", fdopen)
        for work in (lambda: store.write("three", [made("e", 5)], [encoded()]), store.merge):
            with pytest.raises(DataError, match=r"cannot be written \(No space left on device\); what was in it is un"):
                work()
    assert not list((tmp_path / "store").rglob("*.part"))
    assert everything(store) == before
    again = PictureStore(tmp_path / "store")
    assert everything(again) == before
    again.write("three", [made("e", 5)], [encoded()])
    assert everything(PictureStore(tmp_path / "store")).keys() == set("abcde")


def test_a_unit_that_is_made_again_in_another_way_is_not_mapped_as_it_was(tmp_path):
    store = PictureStore(tmp_path / "store", create=True)
    store.write("one", [made("a", seed=7)], [encoded((10, 0, 0))])
    store.merge()
    manifest_file = tmp_path / "store/manifest/one.parquet"
    before = manifest_file.stat().st_size
    manifest_file.unlink()
    PictureStore(tmp_path / "store").write("one", [made("a", seed=8)], [encoded((10, 0, 0))])
    assert manifest_file.stat().st_size == before, "by its size it would be the same"
    assert PictureStore(tmp_path / "store").rows["seed"].to_pylist() == [8]
