"""A run of a second: a linear 'model' whose batches are resumable, with scores of a made-up benchmark."""

from dataclasses import dataclass

import lightning as pl
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, Dataset

from lightning_cr.batch import Batch
from lightning_cr.benchmarks.base import Score
from lightning_cr.callbacks.table import SEVEN

BATCHES, SIZE = 8, 4


class Numbers(Dataset):
    def __len__(self):
        return BATCHES * SIZE

    def __getitem__(self, index):
        return torch.full((2,), float(index))


class Resumable(DataLoader):
    """Goes on in mid-epoch behind the batches that were handed out."""

    start = given = 0

    def __iter__(self):
        self.given, skip, self.start = self.start, self.start, 0
        for number, batch in enumerate(super().__iter__()):
            if number >= skip:
                self.given += 1
                yield batch

    def state_dict(self):
        return {"given": self.given}

    def load_state_dict(self, state):
        self.start = state["given"] % BATCHES


class TinyEncoder(nn.Module):
    """Images by their first pixel, texts by their first token."""

    def encode_image(self, images):
        return nn.functional.normalize(images.float()[:, :2, 0, 0], dim=-1)

    def encode_text(self, tokens):
        return nn.functional.normalize(tokens.float()[:, :2], dim=-1)


@dataclass
class Named:
    name: str = "tiny"


class TinyTask(pl.LightningModule):
    def __init__(self, act=lambda task, batch_idx: None, scores=True):
        super().__init__()
        self.encoder = TinyEncoder()
        self.encoder_config = Named()
        self.losses = nn.ModuleDict({"contrastive": nn.Identity(), "rank": nn.Identity()})
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.act = act
        self.scored = scores
        self.scores = {}
        self.seen = []
        self.sent = False

    def training_step(self, batch, batch_idx):
        self.seen.append(int(batch[0, 0]))
        self.act(self, batch_idx)
        loss = ((batch * self.weight).mean() - 1.0) ** 2
        self.log("loss", loss, prog_bar=True)
        self.log("train/contrastive", loss / 2)
        self.log("train/rank", loss / 4)
        self.log("train/rank/threshold", loss)
        return loss

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        pass

    def on_validation_epoch_end(self):
        if self.scored:
            good = min(1.0, 0.5 + 0.05 * self.trainer.global_step)
            self.scores = {name: Score(good, 200, 1) for name in reversed(SEVEN)}
            self.scores["mean of 7"] = Score(good, 1400)
            self.scores |= {"retrieval/i2t_r@1": Score(0.25, 100), "hard_positive": Score(0.6, 1400)}

    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


class TinyData(pl.LightningDataModule):
    seed = 5

    def __init__(self, workers=0):
        super().__init__()
        self.workers = workers
        self.skipped = {"a.jpg: truncated": None}
        self.held_out = [1, 2]

    def train_dataloader(self):
        return Resumable(Numbers(), batch_size=SIZE, num_workers=self.workers)

    def val_dataloader(self):
        return [DataLoader(Numbers(), batch_size=16), DataLoader(Numbers(), batch_size=32)]

    test_dataloader = val_dataloader

    def examples(self, count):
        texts = ["a red cube left of $a_blue ball", "a ball", "a blue cube", "红色的立方体", "a red ball " * 40]
        tokens = torch.tensor([[1, 1], [1, 0], [1, 2], [0, 1], [9, 1]])
        images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
        images[0, :2], images[1, 0] = 50, 200
        empty = torch.zeros(2, 0, dtype=torch.long)
        index = torch.tensor([[2, 3, -1], [-1, -1, 4]])
        kinds = ("swap_att", "replace_obj", "replace_rel")
        ids = torch.arange(2)
        return Batch(images, tokens, index, kinds, torch.zeros(2, 3), images[:0], empty, ids, ids, texts), []


def trainer(folder, callbacks, epochs=2, **more):
    options = {
        "max_epochs": epochs,
        "num_sanity_val_steps": -1,
        "log_every_n_steps": 4,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "logger": CSVLogger(folder, name="run", version=0),
        "accelerator": "cpu",
    } | more
    return pl.Trainer(default_root_dir=folder, callbacks=callbacks, **options)
