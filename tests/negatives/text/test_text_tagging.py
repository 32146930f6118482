import importlib.util
import pickle
import sys
import types

import pytest

from lightning_cr.errors import ConfigError, DataError
from lightning_cr.negatives.text.tagging import Tagger, tokenize


def test_tokens_are_the_text_at_their_places():
    text = "  A man's t-shirt (red, 12.5 in.) isn't  \u00e9t\u00e9 \U0001f436\u4e00\u53ea\u732b!"
    tokens = tokenize(text)
    assert [word for word, _, _ in tokens][:4] == ["A", "man", "'s", "t-shirt"]
    assert all(text[start:end] == word for word, start, end in tokens)
    rest = list(text)
    for _, start, end in tokens:
        rest[start:end] = " " * (end - start)
    assert not "".join(rest).strip()


@pytest.mark.parametrize(
    ("caption", "word", "tag"),
    [
        ("A white sink in a bathroom.", "sink", "NN"),
        ("Two teddy bears on a bed", "bears", "NNS"),
        ("A man rides a horse", "rides", "VBZ"),
        ("A man surfing on a wave", "surfing", "VBG"),
        ("Young boy with a dog", "Young", "JJ"),
        ("A MAN WITH A RED HAT", "RED", "JJ"),
        *((f"A group of {digit} dogs on a bed", digit, "CD") for digit in "0123456789"),
        ("2 men on a bench", "2", "CD"),
        ("1/2 of a pizza", "2", "CD"),
    ],
)
def test_mends_the_pattern_tagger(caption, word, tag):
    tags = {token.text: token.tag for token in Tagger()(caption).tokens}
    assert tags[word] == tag


def test_unknown_tagger_is_named_with_a_suggestion():
    with pytest.raises(ConfigError, match=r"'patern'.*'nltk'.*Did you mean 'pattern'\?"):
        Tagger("patern")


def test_nltk_without_data_names_the_download(monkeypatch):
    import nltk

    def missing(words):
        raise LookupError("averaged_perceptron_tagger_eng")

    monkeypatch.setattr(nltk, "pos_tag", missing)
    with pytest.raises(DataError, match=r"python -m nltk\.downloader averaged_perceptron_tagger_eng"):
        Tagger("nltk")("a dog")


@pytest.mark.parametrize(
    ("name", "install"),
    [
        ("spacy", "pip install 'lightning_cr[spacy]' && python -m spacy download en_core_web_sm, or set"),
        (
            "spacy:en_core_web_trf",
            "pip install 'lightning_cr[spacy]' && python -m spacy download en_core_web_trf, or set",
        ),
        ("spacy:/my/model", "pip install 'lightning_cr[spacy]', or set"),
    ],
)
def test_without_spacy_the_install_line_is_named(monkeypatch, name, install):
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(DataError) as caught:
        Tagger(name)("a dog")
    assert f"but the module 'spacy' is not installed; run: {install} it to 'pattern'" in str(caught.value)
    assert "\n" not in str(caught.value)


def fake_spacy(monkeypatch, load):
    module = types.ModuleType("spacy")
    module.load = load
    monkeypatch.setitem(sys.modules, "spacy", module)


def test_without_the_spacy_model_the_download_is_named(monkeypatch):
    def missing(name, exclude):
        raise OSError(f"[E050] Can't find model '{name}'")

    fake_spacy(monkeypatch, missing)
    with pytest.raises(
        DataError, match=r"whose model is not installed; run: python -m spacy download en_core_web_md, or"
    ):
        Tagger("spacy:en_core_web_md")("a dog")
    with pytest.raises(
        DataError, match="'spacy:/no/such', whose model is not installed; name the folder of a spaCy model"
    ):
        Tagger("spacy:/no/such")("a dog")
    fake_spacy(monkeypatch, lambda name, exclude: types.SimpleNamespace(pipe_names=["tok2vec"]))
    with pytest.raises(DataError, match=r"a model without a tagger \(it has tok2vec\); use one with"):
        Tagger("spacy:vectors_only")("a dog")


@pytest.mark.parametrize("name", ["spacy:", "pattern:x", "nltk:", ":", "spaci"])
def test_only_spacy_takes_a_model(name):
    with pytest.raises(
        ConfigError, match=r"negatives\.tagger is '.*'; known are 'pattern', 'nltk', 'spacy' and 'spacy:MOD"
    ):
        Tagger(name)


@pytest.mark.filterwarnings("ignore")  # of spaCy and what it imports
@pytest.mark.skipif(importlib.util.find_spec("spacy") is None, reason="spaCy is not installed")
@pytest.mark.skipif(importlib.util.find_spec("en_core_web_sm") is None, reason="its en_core_web_sm is not installed")
def test_spacy_tags_our_tokens():
    text = "A man's t-shirt, parked  near 2 red cars \U0001f436"
    annotated = Tagger("spacy")(text)
    assert [(token.text, token.start, token.end) for token in annotated.tokens] == tokenize(text)
    tags = {token.text: token.tag for token in annotated.tokens}
    assert (tags["man"], tags["'s"], tags["2"], tags["red"], tags["cars"]) == ("NN", "POS", "CD", "JJ", "NNS")
    assert "en_core_web_sm" in Tagger("spacy").version
    assert pickle.loads(pickle.dumps(Tagger("spacy:en_core_web_sm")))(text) == annotated


def test_remembers_captions_but_does_not_carry_them_along():
    tagger = Tagger()
    assert tagger("a dog on a mat") is tagger("a dog on a mat")
    copy = pickle.loads(pickle.dumps(tagger))
    assert copy._remembered.cache_info().currsize == 0
    assert copy("a dog on a mat") == tagger("a dog on a mat")
