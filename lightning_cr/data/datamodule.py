"""The LightningDataModule: a source, the text negatives, and the loaders that make batches of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import lightning as pl
from rich.progress import Progress
from torch.utils.data import DataLoader

from lightning_cr import distributed
from lightning_cr.batch import Batch
from lightning_cr.benchmarks.base import Benchmark, Scoring
from lightning_cr.benchmarks.embedding_cache import EmbeddingCache
from lightning_cr.benchmarks.suite import EncodeChunk, EncodeItems, Suite
from lightning_cr.data.base import ImageNegatives, Source, Split
from lightning_cr.data.collate import Collate, Prepared, TrainingSamples
from lightning_cr.data.loader import EpochSampler, ResumableLoader
from lightning_cr.data.trained_on import count_trained_on
from lightning_cr.encoders.base import Encoder, Preprocess, Tokenizer
from lightning_cr.errors import ConfigError, DataError
from lightning_cr.negatives.text import TextNegatives
from lightning_cr.negatives.text.annotation import AnnotatedCorpus

__all__ = ["CompositionData"]

log = logging.getLogger(__name__)


class CompositionData(pl.LightningDataModule):
    """Streams captions with hard negatives made on the fly, and the items of the benchmarks.

    Args:
        source: Where pairs of image and caption come from.
        root: Folder of the data set; none for the embedded world.
        batch_size: Pairs of one step on one device.
        eval_batch_size: Pictures or captions encoded at once in validation.
        num_workers: Processes that load; 0 loads in the main process. The batches are the same for every number.
        seed: Of order, choice of captions and negatives: with the same seed every run sees the same batches.
        negatives: The text rules, by the name of the slot they fill.
        benchmarks: What validation and test measure, by name.
        positives: Other true captions of the image that each sample brings, 0 or 1: COCO's another annotation, the
            embedded world's another wording. Drawn from (seed, epoch, sample) alone, encoded in the one text pass.
        scoring: What a tie counts in a test, and its intervals.
        trained_on: What the model was trained on, for a test to say how many pictures of each benchmark are among
            these, by COCO's numbers; none is left out. Folders of pictures, ``captions_*.json``, ``instances_*.json``,
            ``dataset_coco.json`` (its training splits) or JSON lists that name pictures; relative to ``root``.
        embedding_cache: Folder where ``test`` and ``validate`` keep vectors of pictures and captions, and find those
            that the same weights gave before; None encodes all anew. A fit, whose weights move, does not use it.
        image_negatives: Where negatives come from that have pictures, beside the source's own; read by a fit alone.

    Attributes:
        skipped: One line for each input that could not be used.
        cache: The embedding cache of the weights at hand, where there is one.

    Raises:
        ConfigError: A number out of range, positives of a source that has none, or a training split smaller than one
            global batch.
        DataError: A folder or file that is missing or unreadable.
    """

    def __init__(
        self,
        source: Source,
        root: str | None = None,
        batch_size: int = 128,
        eval_batch_size: int = 256,
        num_workers: int = 0,
        seed: int = 0,
        negatives: TextNegatives = TextNegatives(),  # noqa: B008 (never changed in place)
        benchmarks: dict[str, Benchmark] = {},  # noqa: B006 (read only; jsonargparse shows it as the default)
        positives: Literal[0, 1] = 0,
        scoring: Scoring = Scoring(),  # noqa: B008 (never changed in place)
        trained_on: list[str] = [],  # noqa: B006 (read only)
        embedding_cache: str | None = None,
        image_negatives: ImageNegatives | None = None,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("num_workers", num_workers, 0),
        ):
            if value < least:
                raise ConfigError(f"data.{name} is {value}; it must be {least} or more")
        self.source = source
        self.root = Path(root).expanduser() if root else None
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.negatives = negatives
        self.benchmarks = benchmarks
        self.positives = positives
        self.scoring = scoring
        self.trained_on = trained_on
        self.embedding_cache = Path(embedding_cache).expanduser() if embedding_cache else None
        self.image_negatives = image_negatives
        self.skipped: dict[str, None] = {}
        self.cache: EmbeddingCache | None = None
        self._opened: tuple[Split, Split] | None = None
        self._corpus: AnnotatedCorpus | None = None
        self._loader: ResumableLoader | None = None
        self._position: dict[str, int] | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the K slots: those of the text rules, then those of the source and of ``image_negatives`` alone."""
        pictured = self.image_negatives.kinds if self.image_negatives else ()
        return tuple(dict.fromkeys((*self.negatives.kinds, *self.source.kinds, *pictured)))

    @property
    def rated(self) -> bool:
        """Whether any negative comes with a concreteness."""
        return self.negatives.rated or self.source.rated or bool(self.image_negatives and self.image_negatives.rated)

    @property
    def pictured(self) -> bool:
        """Whether any negative comes with a picture."""
        makers = (self.source, self.image_negatives)
        return any(maker is not None and maker.pictured and bool(maker.kinds) for maker in makers)

    def setup(self, stage: str) -> None:
        """Opens the source and, where they are wanted, the benchmarks."""
        encoder = self._encoder
        self.tokenizer: Tokenizer = encoder.tokenizer
        self.preprocess: Preprocess = encoder.preprocess
        if self._opened is None:
            if self.negatives.lexicon is None:
                self.negatives = replace(self.negatives, lexicon=self.source.lexicon)
            self._opened = self.source.open(self.root, self.preprocess, self.seed)
            self.skip(self.source.skipped)
            for benchmark in self.benchmarks.values():
                benchmark.open(self.root, self.preprocess, self.held_out)
            self.suite = Suite(self.benchmarks)
        if stage == "test" and self.trained_on:
            count_trained_on(self.benchmarks, self.trained_on, self.root)
        if stage == "fit":
            if self.source.no_training:
                raise DataError(self.source.no_training)
            if self.image_negatives is not None:
                self.image_negatives.open(self.train, self.preprocess)
                self._warn_of_slots(self.image_negatives.kinds)
            if self.negatives.context == "corpus" and self._corpus is None:
                self._learn()
            if self.positives and not self.train.rewords:
                raise ConfigError(
                    f"data.positives is {self.positives}, but no image of the training split has another caption; use"
                    " --data.positives 0"
                )
            needed = self.batch_size * distributed.world_size()
            if len(self.train) < needed:
                raise ConfigError(
                    f"data.batch_size {self.batch_size} on {distributed.world_size()} process(es) needs {needed}"
                    f" samples and the training split has {len(self.train)}; use --data.batch_size"
                    f" {len(self.train) // distributed.world_size()} or less"
                )

    def _warn_of_slots(self, pictured: tuple[str, ...]) -> None:
        method = (*self.negatives.kinds, *self.source.kinds)
        if method and not set(method) & set(pictured):
            log.warning(
                "no slot of the method (%s) gets a picture: data.image_negatives brings slots of its own (%s); make"
                " pictures with the method's rules, or train a method with these slots",
                ", ".join(method),
                ", ".join(pictured),
            )

    def _learn(self) -> None:
        """Annotates the training captions, once for all runs on them, and lets the rules learn from them."""
        texts, trainer = self.train.texts, self.trainer
        if texts is None:
            raise ConfigError(
                "data.negatives.context is 'corpus', but this source writes its captions on the fly; use"
                " --data.negatives.context none"
            )
        if trainer is not None and trainer.local_rank:
            trainer.strategy.barrier("learned")  # the first process of this machine writes, the others find
        with Progress(*Progress.get_default_columns(), transient=True, disable=distributed.rank() > 0) as bar:
            task = bar.add_task("annotating captions", total=len(texts))
            self._corpus = self.negatives.annotate(
                texts, self.num_workers, lambda done, total: bar.update(task, completed=done, total=total)
            )
            if problems := self._corpus.problems:
                counts = ", ".join(f"{count:,} {kind}" for kind, count in problems.items())
                log.warning("unusual among %d captions (see AnnotatedCorpus.problems): %s", len(texts), counts)
            bar.add_task("learning from captions", total=None)
            self.negatives.learn(self._corpus)
            if self.negatives.compiled:
                weighing = bar.add_task("weighing what can be changed", total=None)
                self.negatives.compile(
                    self.num_workers, lambda done, total: bar.update(weighing, completed=done, total=total)
                )
        if trainer is not None and not trainer.local_rank:
            trainer.strategy.barrier("learned")

    @property
    def _encoder(self) -> Encoder:
        if self.trainer is None:
            raise RuntimeError("the data module is set up by a Trainer, which knows the encoder")
        encoder: Encoder = self.trainer.lightning_module.encoder  # type: ignore[assignment]
        return encoder

    @property
    def train(self) -> Split:
        """The training split."""
        return self._splits[0]

    @property
    def held_out(self) -> Split:
        """The held-out split."""
        return self._splits[1]

    @property
    def _splits(self) -> tuple[Split, Split]:
        if self._opened is None:
            raise RuntimeError("setup() comes first")
        return self._opened

    def train_dataloader(self) -> ResumableLoader:
        """Batches of training, resumable in mid-epoch."""
        self._loader = ResumableLoader(
            TrainingSamples(
                self.train,
                self.negatives,
                self.kinds,
                self.seed,
                self._corpus,
                self.positives > 0,
                self.image_negatives,
            ),
            batch_size=self.batch_size,
            sampler=EpochSampler(len(self.train), self.batch_size, self.seed),
            collate_fn=Collate(self.tokenizer, self.kinds, self.pictured),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=self._encoder_on_gpu,
            drop_last=True,
        )
        if self._position:
            self._loader.load_state_dict(self._position)
            self._position = None
        return self._loader

    def state_dict(self) -> dict[str, int]:
        """Where in the training data the run is.

        Lightning saves the loader too, but restores it only where nothing asked for the number of steps before
        (lightning issue 20550), and the learning rate's schedule asks.
        """
        return self._loader.state_dict() if self._loader else {}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Goes on behind the batches that were handed out."""
        self._position = state_dict

    @property
    def _encoder_on_gpu(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    def val_dataloader(self) -> list[DataLoader[EncodeChunk]]:
        """The pictures and captions of all benchmarks, each once, in chunks; none where there is nothing to measure."""
        self.cache = self._open_cache()
        reads_files = any(benchmark.reads_files for benchmark in self.benchmarks.values())
        return [self._encode_loader(self.suite, reads_files)] if self.benchmarks else []

    test_dataloader = val_dataloader

    def predict_dataloader(self) -> DataLoader[EncodeChunk]:
        """The pictures and captions of the held-out split."""
        from lightning_cr.benchmarks.retrieval import HeldOutRetrieval

        self.predicted = HeldOutRetrieval()
        self.predicted.open(self.root, self.preprocess, self.held_out)
        self.cache = None
        return self._encode_loader(Suite({"predicted": self.predicted}), self.predicted.reads_files)

    def _encode_loader(self, suite: Suite, reads_files: bool) -> DataLoader[EncodeChunk]:
        return DataLoader(
            EncodeItems(suite, self.tokenizer, self.preprocess, self.eval_batch_size, self.cache),
            batch_size=None,
            num_workers=self.num_workers if reads_files else 0,
        )

    def _open_cache(self) -> EmbeddingCache | None:
        # When the loaders are made a checkpoint has been loaded, and interpolate has set its weights.
        if self.embedding_cache is None or self.trainer is None or self.trainer.state.fn == "fit":
            return None
        return EmbeddingCache(
            self.embedding_cache, self._encoder, str(self.trainer.precision), self.trainer.strategy.root_device
        )

    def examples(self, count: int) -> tuple[Batch, list[Prepared]]:
        """The first held-out samples with their negatives, as a batch, for a picture of what the model sees."""
        samples = TrainingSamples(
            self.held_out, self.negatives, self.kinds, self.seed, image_negatives=self.image_negatives
        )
        rows = [samples[0, index] for index in range(min(count, len(samples)))]
        return Collate(self.tokenizer, self.kinds, self.pictured)(rows), rows

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Counts what could not be read, in the main process, and stops past the limit."""
        if isinstance(batch, (Batch, EncodeChunk)):
            self.skip(batch.skipped)
        return batch

    def skip(self, lines: Iterable[str]) -> None:
        """Counts inputs that cannot be used, by their lines.

        Raises:
            DataError: They are more than ``data.source.max_skipped``.
        """
        self.skipped |= dict.fromkeys(lines)
        limit = self.source.max_skipped
        if len(self.skipped) > limit:
            shown = "; ".join(list(self.skipped)[:10])
            raise DataError(
                f"{len(self.skipped)} inputs cannot be used, more than data.source.max_skipped {limit}: {shown};"
                " mend or remove them, or raise --data.source.max_skipped"
            )
