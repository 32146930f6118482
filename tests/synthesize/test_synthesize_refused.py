"""What the command ``synthesize`` refuses, in one line, and what is still there afterwards."""

import errno
import json
import shutil
import sys
from contextlib import contextmanager

import pytest
import torch

from lightning_cr.negatives.image import store as store_module
from lightning_cr.negatives.image.store import PictureStore
from lightning_cr.synthesize.data import SynthesisData

pytestmark = pytest.mark.filterwarnings("ignore:.*SwigPy.*:DeprecationWarning")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--model.mode", "paint"), "expected one of auto, text_to_image, image_to_image, instruct, inpaint"),
        (("--model.mode", "instruct"), "StableDiffusionPipeline, which does text_to_image"),
        (("--model.prompt", "{negativ}"), "the field {negativ}; allowed are"),
        (("--model.prompt", "{negative"), "--model.prompt is"),
        (("--model.prompt", "{negative:d}"), "the fields are words"),
        (("--trainer.limit_predict_batches", "0"), "--trainer.limit_predict_batches is 0"),
        (("--model.size", "33"), "--model.size is 33; this pipeline needs a multiple of 2"),
        (("--model.steps", "0"), "--model.steps is 0"),
        (("--model.strength", "0.5"), "no such option: --model.strength"),
        (("--model.image_guidance", "2"), "no such option: --model.image_guidance"),
        (("--model.dtype", "fp16"), "--model.dtype is fp16"),
        (("--data.store", ""), "--data.store is missing"),
        (("--model.pipeline", ""), "--model.pipeline is missing"),
        (("--data.rounds", "0"), "--data.rounds is 0"),
        (("--data.negatives.rules", "{}"), "no negatives of the 24 captions"),
        (("--data.source", "Scenes", "--data.root=null"), "data.source is Scenes"),
        (("--model.pipeline", "nobody/nothing"), "with a network, run once: python -c"),
    ],
)
def test_what_cannot_be_used(refused, arguments, flags, said):
    assert said in refused(*arguments(), "--data.store", "store", *flags)


def test_a_folder_that_is_no_pipeline(refused, arguments, tmp_path):
    (tmp_path / "empty").mkdir()
    said = refused(*arguments(), "--data.store", "store", "--model.pipeline", tmp_path / "empty")
    assert "it has no model_index.json" in said


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_pipeline_without_weights(refused, arguments, pipelines, tmp_path, part):
    shutil.copytree(pipelines["text_to_image"], tmp_path / "copy")
    (weights,) = (tmp_path / "copy" / part).glob("*.safetensors")
    weights.unlink()
    said = refused(*arguments(), "--data.store", "store", "--model.pipeline", tmp_path / "copy")
    assert "is no pipeline that can be read" in said
    assert "with its weights" in said
    assert not (tmp_path / "store").exists()


def test_without_diffusers(refused, arguments, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    said = refused(*arguments(), "--data.store", "store")
    assert "pip install 'lightning_cr[image]'" in said


def test_a_pipeline_that_takes_no_prompt(refused, arguments, tmp_path):
    from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8,),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
    )
    DDIMPipeline(unet, DDIMScheduler()).save_pretrained(tmp_path / "free")
    said = refused(*arguments(), "--data.store", "store", "--model.pipeline", tmp_path / "free")
    assert "DDIMPipeline, which takes no prompt" in said


def test_inpainting_needs_to_know_where(refused, arguments, tree, monkeypatch):
    assert "--data.boxes" in refused(*arguments("inpaint"), "--data.store", "store")
    (tree / "bad.json").write_text(json.dumps({"annotations": []}))
    (tree / "bad.jsonl").write_text('{"image_id": 1}\n')
    for name, said in (
        ("bad.json", "is not COCO's instances"),
        ("bad.jsonl", "line 1"),
        ("none.json", "cannot be read"),
    ):
        corpus = ("--data.negatives.context", "corpus")  # is told before the captions are annotated
        monkeypatch.setattr(SynthesisData, "_learn", None)
        assert said in refused(*arguments("inpaint"), "--data.store", "store", "--data.boxes", name, *corpus)


def test_the_held_out_split_without_captions_to_learn_from(refused, arguments, tree):
    (tree / "annotations/captions_train2017.json").unlink()
    flags = ("--data.split", "val", "--data.negatives.context", "corpus", "--data.source.val_annotations")
    said = refused(*arguments(), "--data.store", "store", *flags, "annotations/captions_val2017.json")
    assert "use --data.negatives.context none" in said


def test_no_memory_on_the_gpu(refused, arguments, monkeypatch):
    from diffusers import StableDiffusionPipeline

    def full(self, prompt=None, height=None, width=None, num_inference_steps=None, generator=None):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(StableDiffusionPipeline, "__call__", full)
    said = refused(*arguments(), "--data.store", "store")
    assert "no memory for 4 pictures of 32 pixels at once; use --data.batch_size 2" in said


def test_a_full_disk_leaves_what_was_there(refused, synthesize, arguments, monkeypatch):
    real, written = store_module.whole_file, []

    @contextmanager
    def filling(path):
        written.append(path)
        if len(written) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        with real(path) as file:
            yield file

    with monkeypatch.context() as patched:
        patched.setattr(store_module, "whole_file", filling)
        said = refused(*arguments(), "--data.store", "store")
    assert "cannot be written (No space left on device)" in said
    assert len(PictureStore("store")) == 16  # about.json, then two files a shard
    whole = synthesize()
    assert len(whole) > 40
    assert "16 of them in store already" in synthesize.said
    assert all(whole.read(at) for at in range(len(whole)))


def test_a_corrupted_shard_is_made_again_once_it_is_deleted(refused, synthesize, arguments, tmp_path):
    store = synthesize()
    shard = min((tmp_path / "store/shards").glob("*.tar"))
    before = shard.read_bytes()
    shard.write_bytes(before[:-100])
    assert str(shard.name) in refused(*arguments(), "--data.store", "store")
    (tmp_path / "store/manifest" / f"{shard.stem}.parquet").unlink()
    again = synthesize()
    assert sorted(again.rows["key"].to_pylist()) == sorted(store.rows["key"].to_pylist())
    assert shard.read_bytes() == before


def test_a_missing_original_stops_an_editing_run(refused, arguments, tree):
    (tree / "train2017" / f"{5:012d}.jpg").write_bytes(b"no picture")
    said = refused(*arguments("instruct"), "--data.store", "store", "--data.source.max_skipped", "0")
    assert "000000000005.jpg" in said
