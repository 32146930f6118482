"""The embedding cache's folders and files: what names them, and what is refused."""

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_cr.benchmarks import embedding_cache
from lightning_cr.benchmarks.embedding_cache import EmbeddingCache
from lightning_cr.encoders import EncoderConfig, build_encoder
from lightning_cr.errors import ConfigError, DataError


def changed(encoder, what):
    """The folder of an encoder of which one thing is otherwise."""
    if what == "weights":
        with torch.no_grad():
            encoder.log_logit_scale.add_(1e-6)
    elif what == "preprocess":
        encoder.preprocess = replace(encoder.preprocess, resize_mode="squash")
    elif what == "mean":
        encoder.preprocess = replace(encoder.preprocess, mean=(0.5, 0.5, 0.6))
    elif what == "activation":
        encoder.activation = "quick_gelu"
    elif what == "name":
        encoder.config = replace(encoder.config, name="local-dir:a/b")
    elif what == "chunks of the tower":
        encoder.config = replace(encoder.config, micro_batch_size=4)
    return encoder


def folder(root, encoder, precision="32-true", device="cpu"):
    return EmbeddingCache(root, encoder, precision, torch.device(device)).folder


@pytest.mark.parametrize("what", ["weights", "preprocess", "mean", "activation", "name", "chunks of the tower"])
def test_all_that_decides_a_vector_names_the_folder(tmp_path, what):
    encoder = build_encoder(EncoderConfig())
    before = folder(tmp_path, encoder)
    assert folder(tmp_path, build_encoder(EncoderConfig())) == before
    assert folder(tmp_path, build_encoder(replace(EncoderConfig(), freeze_image=True))) == before
    assert folder(tmp_path, changed(encoder, what)) not in (before, tmp_path)
    assert {path.parent for path in tmp_path.glob("*/model.json")} == set(tmp_path.iterdir())


def test_precision_device_and_code_name_the_folder(tmp_path, monkeypatch):
    encoder = build_encoder(EncoderConfig())
    folders = [
        folder(tmp_path, encoder),
        folder(tmp_path, encoder, "bf16-mixed"),
        folder(tmp_path, encoder, device="meta"),
    ]
    monkeypatch.setattr(embedding_cache, "_code", lambda: "of tomorrow")
    folders.append(folder(tmp_path, encoder))
    monkeypatch.setattr(embedding_cache, "_version", lambda name: "9.9")
    folders.append(folder(tmp_path, encoder))
    assert len(set(folders)) == 5


def test_the_code_is_that_of_encoders_and_pictures(tmp_path, monkeypatch):
    package = tmp_path / "package"
    for name in ("encoders/a.py", "scenes/b.py", "images.py", "benchmarks/pictures.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(name)
    monkeypatch.setattr(embedding_cache, "__file__", str(package / "benchmarks/embedding_cache.py"))
    digests = [embedding_cache._code.__wrapped__()]
    for name in ("encoders/a.py", "scenes/b.py", "images.py", "benchmarks/pictures.py"):
        (package / name).write_text(f"{name}, mended")
        digests.append(embedding_cache._code.__wrapped__())
    assert len(set(digests)) == 5


def unit(rows, dim):
    return torch.nn.functional.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(0)), dim=1)


def spoilt(path, how):
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-7])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("vectors")
    elif how == "a zip":
        with path.open("wb") as file:
            np.savez(file, a=np.zeros(3))
    else:
        found = np.load(path)
        if how == "narrow":
            found = found[:, :-1]
        elif how == "few":
            found = found[:-1]
        elif how == "double":
            found = found.astype(np.float64)
        elif how == "nan":
            found[1, 2] = np.nan
        else:
            found[1] *= 1.5
        with path.open("wb") as file:
            np.save(file, found)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", "cannot be read"),
        ("empty", "cannot be read"),
        ("text", "cannot be read"),
        ("a zip", "cannot be read"),
        ("narrow", r"holds float32 of shape \(4, 127\), wanted is float32 of shape \(4, 128\)"),
        ("few", r"holds float32 of shape \(3, 128\)"),
        ("double", "holds float64 of shape"),
        ("nan", r"not of length 1 \(NaN"),
        ("long", "not of length 1"),
    ],
)
def test_a_file_that_is_not_what_was_written_is_refused(tmp_path, how, message):
    cache = EmbeddingCache(tmp_path, build_encoder(EncoderConfig()), "32-true", torch.device("cpu"))
    assert cache.read("key", 4) is None
    cache.write("key", unit(4, 128))
    assert cache.read("key", 4).equal(unit(4, 128))
    path = cache.folder / "key.npy"
    spoilt(path, how)
    with pytest.raises(DataError, match=message) as caught:
        cache.read("key", 4)
    assert str(caught.value).endswith(f"remove it, and it is made anew: rm {shlex.quote(str(path))}")
    assert "\n" not in str(caught.value)


def test_vectors_that_would_be_refused_are_not_kept(tmp_path):
    cache = EmbeddingCache(tmp_path, build_encoder(EncoderConfig()), "32-true", torch.device("cpu"))
    broken = unit(4, 128)
    broken[2] = torch.nan
    cache.write("key", broken)
    assert [path.name for path in cache.folder.iterdir()] == ["model.json"]


def test_a_folder_that_cannot_be_is_said(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(
        ConfigError, match=r"data\.embedding_cache is '.*taken', where no folder can be made \(.+\); name"
    ):
        EmbeddingCache(tmp_path / "taken", build_encoder(EncoderConfig()), "32-true", torch.device("cpu"))


def test_every_module_that_makes_pixels_is_in_the_digest():
    package = Path(embedding_cache.__file__).parents[1]
    makers = {path for path in package.rglob("*.py") if "def pixels(self, preprocess" in path.read_text()}
    known = {path for name in embedding_cache._CODE for path in (package / name, *(package / name).rglob("*.py"))}
    assert makers - known == {package / "benchmarks/base.py"}, "but for the protocol"
