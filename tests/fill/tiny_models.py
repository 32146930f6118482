"""Language models of random weights, made in a second; the masked ones have a liking for words that a test names."""

import torch

WORDS = [
    word
    for line in (
        "a an the on in near under of two three man men woman dog dogs cat cats horse horses bike wave apple apples",
        "table couch sofa red blue green small riding walking holding eating standing sitting with beach street is are",
        "and puppy zorp zorps blick person people oranges umbrella umbrellas",
    )
    for word in line.split()
]
PIECES = ["##s", "##ing", ".", ",", "'", "-", "!"]
ENDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SIZE = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 50,
}


def bert(folder, likes=()):
    """BERT with whole words and a few pieces; it finds the words that are liked likeliest everywhere, in that order."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate([*ENDS, *WORDS, *PIECES])}
    inner = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    inner.normalizer, inner.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        **{f"{name.strip('[]').lower()}_token": name for name in ENDS},
        model_max_length=48,
    )
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(vocabulary), **SIZE)
    return _saved(folder, BertForMaskedLM(config), tokenizer, [vocabulary[word] for word in likes])


def roberta(folder, texts, likes=()):
    """RoBERTa with byte pairs learned from some texts, in which a word that follows a space has a mark of its own."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForMaskedLM

    ends = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.train_from_iterator(texts, trainers.BpeTrainer(special_tokens=ends, min_frequency=1, show_progress=False))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token=AddedToken("<mask>", lstrip=True),
        bos_token="<s>",
        eos_token="</s>",
    )
    torch.manual_seed(0)
    config = RobertaConfig(vocab_size=len(tokenizer), pad_token_id=1, **SIZE)
    ids = [tokenizer.convert_tokens_to_ids(f"\u0120{word}") for word in likes]
    return _saved(folder, RobertaForMaskedLM(config), tokenizer, ids)


def gpt2(folder, texts, seed=0):
    """GPT-2 with byte pairs learned from some texts, which reads from left to right."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    end = "<|endoftext|>"
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(special_tokens=[end], initial_alphabet=alphabet, show_progress=False)
    inner.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token=end, eos_token=end)
    torch.manual_seed(seed)
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 24, "initializer_range": 0.5}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=0, **sizes))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _saved(folder, model, tokenizer, likes):
    bias = model.get_output_embeddings().bias
    with torch.no_grad():
        for rank, index in enumerate(likes):
            bias[index] += 100 - rank
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
