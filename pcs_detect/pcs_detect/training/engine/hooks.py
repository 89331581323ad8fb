"""What happens beside the training steps: checkpoints, pictures of predictions, progress."""

from __future__ import annotations

import math
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from ...files import written

from .. import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from mmdet.structures.bbox import get_box_tensor
from mmengine.dist import is_main_process, master_only
from mmengine.hooks import Hook
from mmrotate.registry import HOOKS

from pcs_augment.boxes import le90

from ...crystals import drawing
from ...errors import DataError, InputError
from .checkpoints import POINTER, resumable
from .curves import curves

SHARE = 0.02  # of the time of a training, for drawing its curves


@HOOKS.register_module()
class CrystalCheckpointHook(Hook):
    """Writes checkpoints after epochs, after a validation, and within epochs if wanted.

    interval: epochs between checkpoints; the last epoch always has one. every_iters: training steps between further ones, None
    for none. save_best: metric whose best checkpoint is kept as ``best_*.pth``, None for none; rule: what is best.
    max_keep_ckpts: so many of the newest checkpoints stay, the best besides; -1 keeps all. A file appears under its name
    only when it is complete; ``last_checkpoint`` names the newest.
    """

    priority = "VERY_LOW"

    def __init__(
        self,
        interval: int = 1,
        every_iters: int | None = None,
        save_best: str | None = "crystal/AP",
        rule: Literal["greater", "less"] = "greater",
        max_keep_ckpts: int = 3,
    ) -> None:
        if interval < 1 or (every_iters is not None and every_iters < 1):
            raise InputError(f"checkpoints every {interval} epochs and {every_iters} steps: both must be at least 1")
        if rule not in ("greater", "less"):
            raise InputError(f"rule {rule!r} of the best checkpoint; it is 'greater' or 'less'")
        if max_keep_ckpts == 0 or max_keep_ckpts < -1:
            raise InputError(f"max_keep_ckpts is {max_keep_ckpts}; it must be at least 1, or -1 for all")
        self.interval, self.every_iters, self.keep = interval, every_iters, max_keep_ckpts
        self.save_best, self.sign = save_best, 1 if rule == "greater" else -1

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self.every_iters and (runner.iter + 1) % self.every_iters == 0 and batch_idx + 1 < len(runner.train_dataloader):
            meta = {"epoch": runner.epoch, "iter": runner.iter + 1}
            self._save(runner, f"iter_{runner.iter + 1}.pth", meta)

    def after_train_epoch(self, runner: Any) -> None:
        self._save_epoch(runner, runner.epoch + 1, validated=False)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        if isinstance(runner._train_loop, dict | None):  # a validation alone
            return
        if self.save_best is not None and metrics:
            self._keep_if_best(runner, metrics)
        self._save_epoch(runner, runner.epoch, validated=True)  # with what the validation found, so that it is not repeated

    def _save_epoch(self, runner: Any, epoch: int, validated: bool) -> None:
        if epoch % self.interval == 0 or epoch == runner.max_epochs:
            self._save(runner, f"epoch_{epoch}.pth", {"epoch": epoch, "iter": runner.iter, "validated": validated})

    def _save(self, runner: Any, name: str, meta: dict[str, Any]) -> None:
        folder = Path(runner.work_dir)
        runner.save_checkpoint(str(folder), name, meta=meta)
        if is_main_process():
            with written(folder / POINTER) as temporary:
                temporary.write_text(name + "\n")
            if self.keep > 0:
                for old in resumable(folder)[self.keep :]:
                    with suppress(OSError):
                        old.unlink()

    def _keep_if_best(self, runner: Any, metrics: dict[str, float]) -> None:
        if self.save_best not in metrics:
            raise InputError(f"save_best names the metric {self.save_best!r}; there are {', '.join(sorted(metrics))}")
        score = float(metrics[self.save_best])
        best = runner.message_hub.get_info("best_score", None)
        if best is not None and not (np.isfinite(score) and (not np.isfinite(best) or self.sign * score > self.sign * best)):
            return
        before = runner.message_hub.get_info("best_checkpoint", None)
        name = f"best_{self.save_best.replace('/', '_')}_epoch_{runner.epoch}.pth"
        meta = {"epoch": runner.epoch, "iter": runner.iter, "metrics": dict(metrics)}
        runner.save_checkpoint(runner.work_dir, name, meta=meta, save_optimizer=False)
        runner.message_hub.update_info("best_score", score)
        runner.message_hub.update_info("best_checkpoint", name)
        if before not in (None, name) and is_main_process():
            with suppress(OSError):
                (Path(runner.work_dir) / before).unlink()


@HOOKS.register_module()
class DrawPredictionsHook(Hook):
    """Every validation draws the first images with predictions above thin labels: ``samples/epoch_012.png``, and TensorBoard.

    count: images (the first ones that the first process validates); score: predictions from this on are drawn; columns: of
    the sheet. A test (``pcs-detect test``) draws ``samples/test.png``. ``curves.png``, loss and precision by epoch, is
    renewed after epochs, unless that would take more than ``SHARE`` of the time, and at the end.
    """

    priority = "BELOW_NORMAL"

    def __init__(self, count: int = 8, score: float = 0.3, columns: int = 4) -> None:
        if count < 0 or not 0 <= score <= 1 or columns < 1:
            raise InputError(f"drawing {count} images from score {score} on in {columns} columns: need >= 0, 0..1, >= 1")
        self.count, self.score, self.columns = count, score, columns
        self.pictures: list[drawing.Picture] = []
        self.renew_from = -math.inf  # when drawing the curves once more keeps within its share of the time

    def before_val_epoch(self, runner: Any) -> None:
        self.pictures = []

    before_test_epoch = before_val_epoch

    @master_only
    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        for image, sample in zip(data_batch["inputs"], outputs):
            if len(self.pictures) >= self.count:
                return
            found = sample.pred_instances
            chosen = plain_boxes(found.bboxes)[(found.scores >= self.score).cpu().numpy()]
            labels = plain_boxes(sample.gt_instances.bboxes) if "gt_instances" in sample else np.zeros((0, 5))
            grey = np.asarray(image.cpu())[0]
            scale = 2.0 if max(grey.shape) <= 256 else 1.0
            self.pictures.append(drawing.prediction(grey, chosen, labels, scale))

    after_test_iter = after_val_iter

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        self._save(runner, f"epoch_{runner.epoch:03d}")

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        self._save(runner, "test")

    @master_only
    def after_train_epoch(self, runner: Any) -> None:
        began = time.monotonic()
        if began >= self.renew_from:
            _draw_curves(runner)
            now = time.monotonic()
            self.renew_from = now + (now - began) / SHARE

    @master_only
    def after_train(self, runner: Any) -> None:
        _draw_curves(runner)

    @master_only
    def _save(self, runner: Any, name: str) -> None:
        if not self.pictures:
            return
        sheet = drawing.contact_sheet(self.pictures, self.columns)
        drawing.save_picture(sheet, Path(runner.work_dir) / "samples" / f"{name}.png")
        board = runner.visualizer.get_backend("TensorboardVisBackend")
        if board is not None and name != "test":
            board.add_image("samples", sheet, step=runner.epoch)


def _draw_curves(runner: Any) -> None:
    with suppress(DataError):  # nothing logged yet
        curves(runner.work_dir)


def plain_boxes(boxes: Any) -> np.ndarray:
    """(N, 5) le90 as float64 in NumPy, of RotatedBoxes or a tensor."""
    tensor: Tensor = get_box_tensor(boxes).detach().float().cpu()
    return le90(tensor.reshape(-1, 5)).double().numpy()


@HOOKS.register_module()
class ProgressHook(Hook):
    """A bar per epoch with loss and images per second on a terminal; elsewhere a line every ``seconds``. All on stderr.

    Every epoch ends with one line: its mean loss, its images per second, and what the validation found.
    """

    priority = "VERY_LOW"

    def __init__(self, seconds: float = 30.0) -> None:
        self.seconds = seconds
        self.bar: Any = None
        self.losses: list[float] = []

    @master_only
    def before_train_epoch(self, runner: Any) -> None:
        self.losses, self.started = [], time.monotonic()
        self.reported, self.batch = self.started, runner.total_batch
        done = runner.iter - runner.epoch * len(runner.train_dataloader)
        self._open(
            f"epoch {runner.epoch + 1}/{runner.max_epochs}", len(runner.train_dataloader) * self.batch, done * self.batch
        )

    @master_only
    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.losses.append(float(runner.message_hub.get_scalar("train/loss").current()))
        if not np.isfinite(self.losses[-1]):
            raise InputError(
                f"the loss became {self.losses[-1]} in step {runner.iter + 1}; train anew with a lower learning rate "
                "(--cfg-options optim_wrapper.optimizer.lr=...)"
            )
        now = time.monotonic()
        if self.bar is not None:
            self.bar.set_postfix_str(f"loss {self.losses[-1]:.3f}", refresh=False)
            self.bar.update(self.batch)
        elif now - self.reported > self.seconds:
            self.reported = now
            self._say(
                f"epoch {runner.epoch + 1}/{runner.max_epochs}, step {batch_idx + 1}/{len(runner.train_dataloader)}: "
                f"loss {np.mean(self.losses[-50:]):.4f}, {self._rate(now):.1f} images/s"
            )

    @master_only
    def after_train_epoch(self, runner: Any) -> None:
        self._close()
        if self.losses:
            rate = self._rate(time.monotonic())
            mean = np.mean(self.losses)
            self._say(f"epoch {runner.epoch + 1}/{runner.max_epochs}: loss {mean:.4f}, {rate:.1f} images/s")

    @master_only
    def before_val_epoch(self, runner: Any) -> None:
        self._open("validating", len(runner.val_dataloader.dataset))

    @master_only
    def before_test_epoch(self, runner: Any) -> None:
        self._open("testing", len(runner.test_dataloader.dataset))

    @master_only
    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self.bar is not None:
            self.bar.update(min(len(outputs) * runner.world_size, self.bar.total - self.bar.n))

    after_test_iter = after_val_iter

    @master_only
    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        self._close()
        found = ", ".join(f"{k.removeprefix('crystal/')} {100 * v:.2f}" for k, v in (metrics or {}).items() if v == v)
        self._say(f"epoch {runner.epoch}/{runner.max_epochs}: {f'{found} %' if found else 'no metrics'}")

    @master_only
    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        self._close()

    def _rate(self, now: float) -> float:
        return len(self.losses) * self.batch / max(now - self.started, 1e-9)

    def _open(self, what: str, total: int, done: int = 0) -> None:
        self._close()
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=total, initial=done, desc=what, unit=" images", mininterval=0.5, dynamic_ncols=True, leave=False
            )

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)
