"""Lightning's Trainer with the same parts: network, batches, loss, optimizer, precision, clipping, averaged weights."""

import logging
import time
import warnings
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from sides.training import Settings, finished
from torch import Tensor

from saltern.config import PhaseConfig, RunConfig
from saltern.data.loading.batches import Batch
from saltern.engine.optim import build_optimizer
from saltern.job import Job
from saltern.losses import build_loss
from saltern.models import build_model
from saltern.runtime.hardware import FABRIC_PRECISION


class Epochs:
    """A train loader as Lightning wants it: an iterable with a length."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.loader)


class Module(pl.LightningModule):
    """The network with its loss."""

    def __init__(self, job: Job, settings: Settings) -> None:
        super().__init__()
        self.network = build_model(job.config.model, pretrained=False)
        self.loss = build_loss(PhaseConfig(epochs=1, loss=settings.loss, lr=1e-3).terms())
        self.job = job

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, _: int) -> tuple[Tensor, Tensor]:
        """Images and targets, without waiting for them."""
        return batch.images.to(device, non_blocking=True), batch.targets.to(device, non_blocking=True)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The loss of one batch."""
        images, targets = batch
        total, _ = self.loss(self.network(images).logits.float(), targets)
        return total

    def configure_gradient_clipping(self, optimizer: Any, gradient_clip_val: Any, gradient_clip_algorithm: Any) -> None:
        """As Saltern clips: Lightning refuses fused optimizers in bf16 too, which has no loss scale."""
        if gradient_clip_val is None or not self.job.runtime.fuses(clips=True):
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        else:
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Saltern's own, fused where it may be."""
        fused = self.job.runtime.fuses(clips=self.job.config.trainer.clip_grad_norm is not None)
        return build_optimizer(self.network, self.job.config.optim, 1e-3, fused=fused)


class Watch(Callback):
    """Seconds of the epoch, from its first batch's request to its last step."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.seconds, self._began = settings, 0.0, 0.0

    def on_train_epoch_start(self, *_: Any) -> None:
        """Begin."""
        self._began = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        """One step."""
        self.settings.clock.stepped()

    def on_train_epoch_end(self, *_: Any) -> None:
        """End."""
        self.seconds = finished(self._began)


class Lightning:
    """Epochs of Lightning's Trainer."""

    def __init__(self, config: RunConfig, settings: Settings) -> None:
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", module="lightning")  # it would like loader workers, and a validation
        self.job, self.settings = Job(config), settings
        assert self.job.runtime.precision == settings.precision
        stride = build_model(config.model, pretrained=False).stride
        self.loader = self.job.material.train_batches(settings.rows, self.job.loading, stride, seed=0)

    def __call__(self) -> float:
        """Seconds of one epoch's training."""
        trainer, watch = self.job.config.trainer, Watch(self.settings)
        module = Module(self.job, self.settings).to(memory_format=torch.channels_last)
        callbacks: list[Callback] = [watch]
        if trainer.ema_decay is not None:
            callbacks.append(EMAWeightAveraging(decay=trainer.ema_decay))
        pl.Trainer(
            accelerator="cuda" if self.job.runtime.device.type == "cuda" else "cpu",
            devices=1,
            precision=FABRIC_PRECISION[self.settings.precision],
            max_epochs=1,
            gradient_clip_val=trainer.clip_grad_norm,
            accumulate_grad_batches=trainer.accumulate,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(module, train_dataloaders=Epochs(self.loader))
        return watch.seconds
