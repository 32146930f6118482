"""The image tower of scenes-tiny: what its configuration says is what is built, and nothing else is taken silently."""

import pytest
import timm
import torch

from lightning_cr.encoders import build_encoder
from lightning_cr.encoders.architecture import HERE, construct, read_architecture
from lightning_cr.encoders.base import EncoderConfig
from lightning_cr.errors import ConfigError


def built(**vision):
    """The model of scenes-tiny with other settings of its image tower."""
    found = read_architecture("scenes-tiny")
    cfg = {key: found[key] for key in ("embed_dim", "vision_cfg", "text_cfg")}
    cfg["vision_cfg"] |= vision
    return construct(cfg, "scenes-tiny")


def test_the_configuration_says_what_the_tower_does():
    trunk = built().visual.trunk
    assert trunk.global_pool == read_architecture("scenes-tiny")["vision_cfg"]["timm_pool"] == ""
    assert trunk.head.in_features == 16 * 128, "a readout for every place, no mean over places"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("image_size", 96),
        ("timm_pool", "avg"),
        ("timm_pool", "token"),
        ("timm_proj", "linear"),
        ("timm_proj", "none"),
        ("timm_drop_path", 0.1),
        ("patch_dropout", 0.5),
    ],
)
def test_what_the_tower_cannot_honour_is_refused(setting, value):
    with pytest.raises(ConfigError, match="scenes_vit") as caught:
        built(**{setting: value})
    assert "\n" not in str(caught.value)


def test_timm_cannot_ask_for_more_either():
    built()  # tells timm of the tower
    with pytest.raises(ConfigError, match="'pretrained': True"):
        timm.create_model("scenes_vit", num_classes=8, pretrained=True)
    with pytest.raises(ConfigError, match="'depth': 4"):
        timm.create_model("scenes_vit", num_classes=8, depth=4)


def test_the_shipped_weights_fit():
    state = torch.load(HERE / "weights" / "scenes-tiny.pt", weights_only=True)["state_dict"]
    encoder = build_encoder(EncoderConfig("scenes-tiny", "base"))
    own = encoder.model.state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[key], value.to(own[key].dtype)) for key, value in state.items())
