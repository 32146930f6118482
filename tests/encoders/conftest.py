"""Small models under names that open_clip knows, so that tests take the same road as a user's ``ViT-B-32``."""

import json

import open_clip
import pytest
import torch
from open_clip import factory, pretrained

from lightning_cr.encoders import EncoderConfig, build_encoder

VISION = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
NON_CAUSAL = {**TEXT, "no_causal_mask": True, "pool_type": "last", "proj_bias": True}
MODELS = {
    "tiny": {},
    "tiny-quickgelu": {"quick_gelu": True},
    "tiny-custom": {"custom_text": True},
    "tiny-eos": {"custom_text": True, "text_cfg": {**TEXT, "pool_type": "eos", "eos_id": 49407}},
    "tiny-proj": {"text_cfg": {**TEXT, "proj_bias": True}},
    "tiny-noncausal": {"custom_text": True, "init_logit_bias": -10, "text_cfg": NON_CAUSAL},
    "tiny-last": {"custom_text": True, "text_cfg": {**TEXT, "pool_type": "last"}},
    "tiny-bidirectional": {"custom_text": True, "text_cfg": {**TEXT, "no_causal_mask": True}},
    "tiny-resnet": {"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}},
}
TEXTS = [
    "a dog on the grass",
    "two small birds, near a red boat!",
    "",
    "a man rides a horse past an old green house " * 9,
]


@pytest.fixture(autouse=True)
def small_models(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("models")
    known = dict(factory._MODEL_CONFIGS)
    for name, extra in MODELS.items():
        known[name] = json.loads(json.dumps({"embed_dim": 48, "vision_cfg": VISION, "text_cfg": TEXT} | extra))
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", known)
    return folder


@pytest.fixture(autouse=True)
def one_thread():
    """These models are so small that a busy machine loses more by waiting for its second core than that one gains."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tags(monkeypatch):
    """Registers a tag of open_clip whose weights lie in a local file."""

    def register(name, tag, file, **settings):
        entry = {"file": str(file), "mean": (0.5,) * 3, "std": (0.25,) * 3, **settings}
        monkeypatch.setitem(pretrained._PRETRAINED, name, {**pretrained._PRETRAINED.get(name, {}), tag: entry})
        assert open_clip.get_pretrained_cfg(name, tag)

    return register


@pytest.fixture
def build():
    """``build("tiny", freeze_text=True)``: random weights, the same at each call."""

    def make(name="tiny", pretrained="", seed=0, **settings):
        torch.manual_seed(seed)
        return build_encoder(EncoderConfig(name=name, pretrained=pretrained, **settings)).eval()

    return make


@pytest.fixture
def images():
    return torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def cut(tokens, pad_id=0):
    """Without the columns after the longest row's end, as the loader cuts them."""
    return tokens[:, : int((tokens != pad_id).any(0).nonzero().max()) + 1]
