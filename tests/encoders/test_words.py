import time

import pytest
import torch

from lightning_cr.encoders import WordTokenizer
from lightning_cr.errors import ConfigError


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("a\nred\ncircle\nabove\n", encoding="utf-8")
    return path


def test_ids_follow_the_file_and_the_end_is_the_largest(words):
    tokenizer = WordTokenizer(words, context_length=8)
    assert tokenizer(["A red, CIRCLE."]).tolist() == [[2, 3, 4, 5, 7, 0, 0, 0]]
    assert tokenizer.vocab_size == 8
    assert tokenizer.pad_id == 0
    assert tokenizer.shortens


def test_an_unknown_word_is_one_id_and_is_named(words):
    tokenizer = WordTokenizer(words, context_length=8)
    assert tokenizer(["a purple circle"]).tolist() == [[2, 3, 1, 5, 7, 0, 0, 0]]
    assert tokenizer.unknown("a purple circle") == ["purple"]


def test_truncation_keeps_the_end(words):
    tokens = WordTokenizer(words, context_length=5)(["a red circle above a red circle", "a"])
    assert tokens.tolist() == [[2, 3, 4, 5, 7], [2, 3, 7, 0, 0]]
    assert tokens.argmax(dim=-1).tolist() == [4, 2]  # where open_clip pools


def test_no_caption_is_no_row(words):
    tokens = WordTokenizer(words, context_length=5)([])
    assert tokens.shape == (0, 5)
    assert tokens.dtype == torch.int64


def test_another_order_is_another_digest(words, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("a\ncircle\nred\nabove\n", encoding="utf-8")
    assert WordTokenizer(words).digest != WordTokenizer(other).digest


@pytest.mark.parametrize("line", ["Red", "light-blue", "two words", "a"])
def test_a_bad_line_is_named(words, line):
    words.write_text(words.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=f"'{line}'"):
        WordTokenizer(words)


def test_too_short_a_context_is_refused(words):
    with pytest.raises(ConfigError, match="context_length is 2"):
        WordTokenizer(words, context_length=2)


def test_it_keeps_up_with_a_loader(words):
    texts = ["a small red circle above the large blue square, with a nice background."] * 5000
    tokenizer = WordTokenizer(words)
    start = time.process_time()  # of this process alone: the machine may be busy
    tokenizer(texts)
    assert time.process_time() - start < 0.5
