import open_clip
import pytest
import torch
from torch.nn import functional

from lightning_cr.errors import ConfigError

from .conftest import TEXTS, cut

CAUSAL = ["tiny", "tiny-quickgelu", "tiny-custom", "tiny-eos", "tiny-proj", "scenes-tiny", "photos-tiny"]
SHORT = TEXTS[:3]


def gradients(encoder, images, tokens):
    encoder.zero_grad()
    weights = torch.linspace(-1, 1, encoder.dim)
    (encoder.encode_image(images) @ weights).sum().add(
        (encoder.encode_text(tokens) @ weights).square().sum()
    ).backward()
    return {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", CAUSAL)
def test_shortened_text_equals_open_clips_full_pass(build, name):
    encoder = build(name, length_groups=1)
    tokens = encoder.tokenizer(SHORT)
    assert encoder.tokenizer.shortens
    short = cut(tokens)
    assert short.shape[1] < tokens.shape[1] / 2
    theirs = functional.normalize(encoder.model.encode_text(tokens), dim=-1)
    assert (encoder.encode_text(short) - theirs).abs().max() < 1e-6
    assert torch.equal(encoder.encode_text(tokens), theirs)


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-32-quickgelu"])
def test_shortened_text_equals_open_clip_at_full_size(build, name):
    encoder = build(name)
    tokens = encoder.tokenizer(SHORT)
    with torch.no_grad():
        theirs = encoder.model.encode_text(tokens, normalize=True)
        assert (encoder.encode_text(cut(tokens)) - theirs).abs().max() < 1e-6


def test_cutting_tells_a_truncated_caption(build):
    encoder = build("tiny")
    tokens = encoder.tokenizer(TEXTS)
    assert cut(tokens).shape[1] == 77
    assert tokens[3, -1] == tokens.max()


@pytest.mark.parametrize("name", ["tiny-noncausal", "tiny-last", "tiny-bidirectional"])
def test_a_tower_that_sees_its_padding_is_never_cut(build, name):
    encoder = build(name)
    tokens = encoder.tokenizer(SHORT)
    assert not encoder.tokenizer.shortens
    theirs = functional.normalize(encoder.model.encode_text(tokens), dim=-1)
    assert torch.equal(encoder.encode_text(cut(tokens)), theirs)


def test_shorten_false_encodes_the_full_context(build, monkeypatch):
    encoder = build("tiny", shorten=False)
    assert not encoder.tokenizer.shortens
    seen = []
    forward = encoder.model.transformer.forward
    monkeypatch.setattr(
        encoder.model.transformer, "forward", lambda x, **kw: (seen.append(x.shape[1]), forward(x, **kw))[1]
    )
    encoder.encode_text(cut(encoder.tokenizer(SHORT)))
    assert seen == [77]


@pytest.mark.parametrize("name", ["tiny", "tiny-custom", "tiny-resnet"])
def test_images_equal_open_clips(build, images, name):
    encoder = build(name)
    mean, std = (torch.tensor(getattr(encoder.preprocess, key)).view(3, 1, 1) for key in ("mean", "std"))
    theirs = encoder.model.encode_image((images.float() / 255 - mean) / std, normalize=True)
    assert torch.equal(encoder.encode_image(images), theirs)
    assert encoder.preprocess.mean == open_clip.OPENAI_DATASET_MEAN


def test_nothing_in_nothing_out(build):
    encoder = build("tiny")
    image = encoder.encode_image(torch.zeros(0, 3, 32, 32, dtype=torch.uint8))
    text = encoder.encode_text(torch.zeros(0, 9, dtype=torch.long))
    assert image.shape == text.shape == (0, 48)
    assert image.dtype == text.dtype == torch.float32


@pytest.mark.parametrize("name", ["tiny", "tiny-custom"])
def test_under_autocast_features_are_unit_vectors_in_fp32(build, images, name):
    encoder = build(name)
    tokens = cut(encoder.tokenizer(SHORT))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = [encoder.encode_image(images), encoder.encode_text(tokens)]
        assert encoder.model.visual(images.float()).dtype == torch.bfloat16  # autocast was on
        assert encoder.logit_scale.dtype == torch.float32
    for rows, exact in zip(features, [encoder.encode_image(images), encoder.encode_text(tokens)], strict=True):
        assert rows.dtype == torch.float32
        assert torch.allclose(rows.norm(dim=-1), torch.ones(len(rows)), atol=1e-6)
        assert (rows * exact).sum(-1).min() > 0.99


@pytest.mark.parametrize("name", ["tiny", "tiny-custom"])
@pytest.mark.parametrize("setting", [{"micro_batch_size": 2}, {"gradient_checkpointing": True}])
def test_saving_memory_changes_nothing(build, images, name, setting):
    plain, saving = build(name).train(), build(name, **setting).train()
    tokens = cut(plain.tokenizer([*SHORT, "a cat", "a boat"]))
    assert (plain.encode_image(images) - saving.encode_image(images)).abs().max() < 1e-6
    assert (plain.encode_text(tokens) - saving.encode_text(tokens)).abs().max() < 1e-6
    expected, found = gradients(plain, images, tokens), gradients(saving, images, tokens)
    assert expected.keys() == found.keys()
    for key in expected:
        assert torch.allclose(expected[key], found[key], atol=1e-5, rtol=1e-4), key


@pytest.mark.parametrize("name", ["tiny", "tiny-eos", "tiny-noncausal"])
@pytest.mark.parametrize("groups", [2, 3, 40])
def test_groups_of_like_length_change_nothing(build, images, name, groups):
    plain, grouped = build(name, length_groups=1).train(), build(name, length_groups=groups).train()
    tokens = cut(plain.tokenizer([*SHORT, "a cat", "a boat", *TEXTS]))
    assert (plain.encode_text(tokens) - grouped.encode_text(tokens)).abs().max() < 1e-6
    expected, found = gradients(plain, images, tokens), gradients(grouped, images, tokens)
    for key in expected:
        assert torch.allclose(expected[key], found[key], atol=1e-5, rtol=1e-4), key


def test_groups_of_like_length_leave_padding_out(build, monkeypatch):
    encoder, widths = build("tiny", length_groups=2), []
    encode = encoder._text_features
    monkeypatch.setattr(encoder, "_text_features", lambda tokens: widths.append(tokens.shape[1]) or encode(tokens))
    encoder.encode_text(cut(encoder.tokenizer(["a cat", "a man rides a horse past a house", "a dog", ""])))
    assert widths == [4, 10]


@pytest.mark.parametrize("tower", ["image", "text"])
@pytest.mark.parametrize("setting", [{"micro_batch_size": 2}, {"gradient_checkpointing": True}])
def test_saving_memory_keeps_fewer_activations(build, images, setting, tower):
    def stored(encoder):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
            if tower == "image":
                encoder.encode_image(images)
            else:
                encoder.encode_text(encoder.tokenizer(TEXTS))
        return sum(kept)

    assert stored(build("tiny", **setting).train()) < 0.8 * stored(build("tiny").train())


@pytest.mark.parametrize("setting", [{"micro_batch_size": 2}, {"gradient_checkpointing": True}])
def test_batch_statistics_are_not_faked(build, setting):
    with pytest.raises(ConfigError, match="freeze_image"):
        build("tiny-resnet", **setting)
    build("tiny-resnet", freeze_image=True, **setting)


def test_a_negative_chunk_is_refused(build):
    with pytest.raises(ConfigError, match="micro_batch_size is -1"):
        build("tiny", micro_batch_size=-1)


@pytest.mark.parametrize("name", ["tiny-resnet", "tiny-custom"])
def test_a_frozen_image_tower_keeps_statistics_and_mode(build, images, name):
    encoder = build(name, freeze_image=True).train()
    before = {key: value.clone() for key, value in encoder.model.visual.state_dict().items()}
    assert not any(module.training for module in encoder.model.visual.modules())
    assert encoder.training
    image = encoder.encode_image(images)
    assert not image.requires_grad
    grads = gradients_of_text(encoder)
    assert all(torch.equal(value, encoder.model.visual.state_dict()[key]) for key, value in before.items())
    assert grads
    assert not any(key.startswith("model.visual") for key in grads)


def test_an_open_batch_norm_does_move(build, images):  # else the test above could not fail
    encoder = build("tiny-resnet").train()
    before = encoder.model.visual.bn1.running_mean.clone()
    encoder.encode_image(images)
    assert not torch.equal(before, encoder.model.visual.bn1.running_mean)


@pytest.mark.parametrize("name", ["tiny", "tiny-custom"])
def test_a_frozen_text_tower_stores_no_graph(build, images, name):
    encoder = build(name, freeze_text=True).train()
    text = encoder.encode_text(encoder.tokenizer(SHORT))
    assert not text.requires_grad
    assert encoder.encode_image(images).requires_grad
    trains = {key for key, parameter in encoder.named_parameters() if parameter.requires_grad}
    assert trains == {k for k, _ in encoder.named_parameters() if k.startswith("model.visual.")} | {"model.logit_scale"}
    assert encoder.model.visual.training
    towers = [module for name, module in encoder.model.named_children() if name != "visual"]
    assert not any(module.training for tower in towers for module in tower.modules())


def gradients_of_text(encoder):
    encoder.encode_text(encoder.tokenizer(SHORT)).sum().backward()
    return {name for name, parameter in encoder.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("name", ["tiny", "tiny-custom", "tiny-noncausal", "tiny-resnet", "scenes-tiny", "photos-tiny"])
def test_every_trainable_parameter_is_used(build, name):  # DDP stops at an unused one
    encoder = build(name).train()
    size = encoder.preprocess.size
    image = encoder.encode_image(torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8))
    text = encoder.encode_text(encoder.tokenizer(SHORT))
    (encoder.logit_scale * image @ text.T).logsumexp(-1).sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.requires_grad and p.grad is None] == []


def test_the_logit_scale_is_the_models_own(build):
    encoder = build("tiny")
    assert encoder.log_logit_scale is encoder.model.logit_scale
    assert encoder.logit_scale.item() == pytest.approx(1 / 0.07)
    with torch.no_grad():
        encoder.model.logit_scale.fill_(9.0)
    encoder.clamp_logit_scale()
    assert encoder.logit_scale.item() == pytest.approx(100, abs=0.01)
    assert sum(key.endswith("logit_scale") for key in encoder.state_dict()) == 1


def test_the_same_seed_gives_the_same_model(build):
    first, again, other = (build("scenes-tiny", seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["model.positional_embedding"], other["model.positional_embedding"])
