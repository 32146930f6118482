import pickle

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


def test_remembers_captions_but_does_not_carry_them_along():
    tagger = Tagger()
    assert tagger("a dog on a mat") is tagger("a dog on a mat")
    copy = pickle.loads(pickle.dumps(tagger))
    assert copy._remembered.cache_info().currsize == 0
    assert copy("a dog on a mat") == tagger("a dog on a mat")
