import warnings

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from lightning_cr.encoders import EncoderConfig, build_encoder, describe, save_weights
from lightning_cr.encoders.checkpoint import read_weights
from lightning_cr.errors import CheckpointError, ConfigError


def same(one, other):
    first, second = one.model.state_dict(), other.model.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def load(name, file, **settings):
    torch.manual_seed(99)
    return build_encoder(EncoderConfig(name=name, pretrained=str(file), **settings))


@pytest.mark.parametrize(
    "name", ["tiny", "tiny-quickgelu", "tiny-custom", "tiny-noncausal", "scenes-tiny", "photos-tiny"]
)
def test_our_file_comes_back_whole_and_says_what_it_is(build, tmp_path, name):
    encoder = build(name)
    save_weights(encoder, tmp_path / "weights.pt")
    assert not same(encoder, build(name, seed=1))
    assert same(encoder, load(name, tmp_path / "weights.pt"))
    content = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert (content["format"], content["name"]) == ("lightning_cr/1", name)
    assert content["activation"] == ("quick_gelu" if "quick" in name else "gelu")
    assert not list(tmp_path.glob("*.part"))


def test_open_clip_loads_our_file(build, tmp_path):
    encoder = build("tiny-quickgelu")
    save_weights(encoder, tmp_path / "weights.pt")
    model = open_clip.create_model("tiny-quickgelu", pretrained=str(tmp_path / "weights.pt"))
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in encoder.model.state_dict().items())


def test_half_precision_files_load_in_full(build, tmp_path):
    encoder = build("scenes-tiny")
    save_weights(encoder, tmp_path / "whole.pt")
    save_weights(encoder, tmp_path / "half.pt", dtype=torch.float16)
    assert (tmp_path / "half.pt").stat().st_size < 0.6 * (tmp_path / "whole.pt").stat().st_size
    loaded = load("scenes-tiny", tmp_path / "half.pt")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert torch.allclose(loaded.model.ln_final.weight, encoder.model.ln_final.weight, atol=1e-3)


def write_training(encoder, path):
    state = {f"module.{key}": value for key, value in encoder.model.state_dict().items()}
    torch.save({"epoch": 3, "name": "2026_model_tiny-quickgelu-lr_1e-5", "state_dict": state, "optimizer": {}}, path)


def write_task(encoder, path):
    state = {f"encoder.{key}": value for key, value in encoder.state_dict().items()}
    state["losses.rank.threshold"] = torch.zeros(3)
    torch.save({"state_dict": state, "epoch": 1, "encoder": describe(encoder), "optimizer_states": []}, path)


def write_safetensors(encoder, path):
    state = {key: value.contiguous() for key, value in encoder.model.state_dict().items()}
    save_file(state, path, metadata={"name": "tiny-quickgelu", "activation": "quick_gelu"})


def write_archive(encoder, path):
    images, tokens = torch.ones(2, 3, 32, 32), torch.zeros(2, 77, dtype=torch.long)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, but OpenAI's files are made with it
        inputs = {"encode_text": (tokens,), "encode_image": (images,)}
        traced = torch.jit.trace_module(encoder.model, inputs, check_trace=False)
        torch.jit.save(traced, str(path))


KINDS = {
    "train.pt": write_training,
    "task.ckpt": write_task,
    "a.safetensors": write_safetensors,
    "jit.pt": write_archive,
}


@pytest.mark.parametrize("file", KINDS)
def test_every_kind_of_file_loads_and_knows_its_activation(build, tmp_path, file):
    encoder = build("tiny-quickgelu")
    KINDS[file](encoder, tmp_path / file)
    assert read_weights(tmp_path / file).activation == "quick_gelu"
    assert same(encoder, load("tiny-quickgelu", tmp_path / file))
    with pytest.raises(CheckpointError, match=r"use --model\.encoder\.name tiny-quickgelu"):
        load("tiny", tmp_path / file)


def test_an_archive_with_gelu_is_refused_by_a_quickgelu_model(build, tmp_path):
    encoder = build("tiny")
    write_archive(encoder, tmp_path / "jit.pt")
    assert same(encoder, load("tiny", tmp_path / "jit.pt"))
    with pytest.raises(CheckpointError, match=r"trained with gelu.* use --model\.encoder\.name tiny$"):
        load("tiny-quickgelu", tmp_path / "jit.pt")


@pytest.mark.parametrize("content", ["bare", "run"])
def test_a_file_that_does_not_say_it_warns_and_can_be_told(build, tmp_path, content):
    encoder, file = build("tiny"), tmp_path / "bare.pt"
    state = encoder.model.state_dict()
    # this is how NegCLIP's file looks: the run's name says ViT-B-32, the weights are QuickGELU's
    torch.save(state if content == "bare" else {"state_dict": state, "name": "2022-model_ViT-B-32-lr_1e-5"}, file)
    with pytest.warns(UserWarning, match=r"does not say .* taken for gelu.*--model\.encoder\.activation"):
        assert same(encoder, load("tiny", file))
    assert same(encoder, load("tiny", file, activation="gelu"))
    with pytest.raises(CheckpointError, match=r"use --model\.encoder\.name tiny-quickgelu"):
        load("tiny", file, activation="quick_gelu")


def test_the_user_and_the_file_must_agree(build, tmp_path):
    save_weights(build("tiny"), tmp_path / "weights.pt")
    with pytest.raises(ConfigError, match=r"activation is 'quick_gelu', but .* trained with gelu"):
        load("tiny", tmp_path / "weights.pt", activation="quick_gelu")
    with pytest.raises(ConfigError, match="activation is 'relu'; allowed are gelu and quick_gelu"):
        load("tiny", tmp_path / "weights.pt", activation="relu")
    with pytest.raises(ConfigError, match="activation is 'relu'"):
        build("tiny", activation="relu")


def test_a_tag_loads_with_its_own_pixels(build, tags, tmp_path):
    encoder = build("tiny-quickgelu")
    torch.save(encoder.model.state_dict(), tmp_path / "tag.pt")
    tags("tiny-quickgelu", "openai", tmp_path / "tag.pt", quick_gelu=True)
    tags("tiny-quickgelu", "other", tmp_path / "tag.pt", quick_gelu=True, std=(0.75,) * 3)
    loaded = load("tiny-quickgelu", "openai")
    assert same(encoder, loaded)
    assert (loaded.preprocess.mean, loaded.preprocess.std) == ((0.5,) * 3, (0.25,) * 3)
    by_file = load("tiny-quickgelu", tmp_path / "tag.pt", activation="quick_gelu").preprocess
    assert by_file.mean == (0.5,) * 3  # what every tag of the model agrees on
    assert by_file.std == open_clip.OPENAI_DATASET_STD  # they do not agree: open_clip's default


def test_a_tag_of_the_other_activation_is_refused_before_it_is_fetched(tags, tmp_path):
    nowhere = tmp_path / "nowhere.pt"
    tags("tiny", "openai", nowhere, quick_gelu=True)  # as open_clip lists `ViT-B-32` `openai`
    with pytest.raises(CheckpointError, match=r"use --model\.encoder\.name tiny-quickgelu"):
        load("tiny", "openai")
    tags("tiny", "laion", nowhere)
    with pytest.raises(CheckpointError, match=r"use --model\.encoder\.name tiny$"):
        load("tiny-quickgelu", "laion")


def test_every_tag_of_open_clip_is_judged_as_open_clip_marks_it(monkeypatch):
    from lightning_cr.encoders import pretrained

    class FetchedError(Exception):
        pass

    def fetch(cfg):
        raise FetchedError

    monkeypatch.setattr("open_clip.pretrained.download_pretrained", fetch)
    for name, tag in open_clip.list_pretrained():
        model = open_clip.get_model_config(name)
        computes = "quick_gelu" if model.get("quick_gelu") else "gelu"
        wants = "quick_gelu" if open_clip.get_pretrained_cfg(name, tag).get("quick_gelu") else "gelu"
        right = computes == wants or name == "roberta-ViT-B-32"  # QuickGELU without a mark and without a sibling
        expected = "cannot be downloaded" if right else r"use --model\.encoder\.name .*-quickgelu"
        with pytest.raises(CheckpointError, match=expected):
            pretrained.find_weights(EncoderConfig(name=name, pretrained=tag), computes)


def test_another_model_is_named(build, tmp_path):
    save_weights(build("photos-tiny"), tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match=r"does not fit the model 'tiny'.*belongs to 'photos-tiny'"):
        load("tiny", tmp_path / "weights.pt")


def test_a_missing_tensor_is_named(build, tmp_path):
    state = build("tiny").model.state_dict()
    state.pop("ln_final.bias")
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match=r"lacks 1 of \d+ tensors, first 'ln_final.bias'"):
        load("tiny", tmp_path / "weights.pt", activation="gelu")


def test_another_resolution_resizes_the_image_positions(build, tmp_path, small_models):
    from open_clip import factory

    state = build("tiny").model.state_dict()
    torch.save(state, tmp_path / "weights.pt")
    factory._MODEL_CONFIGS["tiny"]["vision_cfg"]["image_size"] = 64
    encoder = load("tiny", tmp_path / "weights.pt", activation="gelu")
    assert encoder.preprocess.size == 64
    assert encoder.model.visual.positional_embedding.shape[0] == 17


def test_another_list_of_words_is_refused(build, tmp_path):
    encoder = build("scenes-tiny")
    save_weights(encoder, tmp_path / "weights.pt")
    content = torch.load(tmp_path / "weights.pt", weights_only=True)
    torch.save({**content, "vocabulary": "0123456789abcdef"}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="another list of words"):
        load("scenes-tiny", tmp_path / "other.pt")


@pytest.mark.parametrize("kind", ["absent", "garbage", "code", "list", "empty"])
def test_what_is_no_weights_file_is_refused_in_one_line(tmp_path, kind):
    file = tmp_path / "weights.pt"
    if kind == "garbage":
        file.write_bytes(b"not a model" * 40)
    elif kind == "code":
        torch.save({"state_dict": print}, file)
    elif kind == "list":
        torch.save([1, 2], file)
    elif kind == "empty":
        torch.save({"state_dict": {}}, file)
    with pytest.raises(CheckpointError, match=r"weights\.pt") as caught:
        load("tiny", file)
    assert "\n" not in str(caught.value)
