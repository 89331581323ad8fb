import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData
from PIL import Image

from pcs_detect.crystals import drawing
from pcs_detect.errors import InputError
from pcs_detect.training.engine import hooks


class Runner:
    """As much of a runner as hooks look at; checkpoints are empty files."""

    def __init__(self, folder, epochs=6, steps=4):
        self.work_dir, self.max_epochs, self.epoch, self.iter = str(folder), epochs, 0, 0
        self.rank, self.world_size, self.total_batch = 0, 1, 2
        self.train_dataloader = range(steps)
        self.val_dataloader = SimpleNamespace(dataset=range(8))
        self.message_hub = MessageHub(f"hub {folder}")
        self._train_loop = self
        self.folder, self.metas = folder, {}

    def save_checkpoint(self, out_dir, filename, meta, save_optimizer=True):
        (self.folder / filename).touch()
        self.metas[filename] = meta


def run(hook, runner, scores=None):
    """The epochs of a training, with a validation after each that finds the scores given."""
    for epoch in range(runner.max_epochs):
        for step in range(len(runner.train_dataloader)):
            hook.after_train_iter(runner, step)
            runner.iter += 1
        hook.after_train_epoch(runner)
        runner.epoch += 1
        if scores is not None:
            hook.after_val_epoch(runner, {"crystal/AP": scores[epoch], "crystal/AP50": 1.0})


def names(folder, pattern):
    return sorted(p.name for p in folder.glob(pattern))


@pytest.mark.parametrize("interval", [1, 2, 4, 7])
def test_epochs_that_the_interval_divides_are_kept_and_always_the_last(tmp_path, interval):
    run(hooks.CrystalCheckpointHook(interval, save_best=None, max_keep_ckpts=-1), Runner(tmp_path))
    assert names(tmp_path, "epoch_*") == [f"epoch_{e}.pth" for e in range(1, 7) if e % interval == 0 or e == 6]


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_only_the_newest_stay_and_the_pointer_names_the_last(tmp_path, keep):
    runner = Runner(tmp_path)
    run(hooks.CrystalCheckpointHook(every_iters=3, max_keep_ckpts=keep), runner, [0.1] * 6)
    written = ["iter_21.pth", "epoch_5.pth", "iter_22.pth", "epoch_6.pth"]  # newest last; steps 24 and 12 are ends of epochs
    assert names(tmp_path, "*_[0-9]*.pth") != []
    left = {*names(tmp_path, "epoch_*"), *names(tmp_path, "iter_*")}
    assert len(left) == keep
    assert "epoch_6.pth" in left
    assert left <= {*written, "epoch_5.pth", "iter_21.pth", "iter_18.pth"}
    assert (tmp_path / "last_checkpoint").read_text().strip() == "epoch_6.pth"
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_steps_within_epochs_say_where_they_are(tmp_path):
    runner = Runner(tmp_path, epochs=2, steps=4)
    run(hooks.CrystalCheckpointHook(every_iters=2, max_keep_ckpts=-1), runner, [0.1, 0.2])
    assert {n: (m["epoch"], m["iter"]) for n, m in runner.metas.items() if n.startswith("iter")} == {
        "iter_2.pth": (0, 2),
        "iter_6.pth": (1, 6),
    }  # 4 and 8 are ends of epochs
    assert runner.metas["epoch_2.pth"] == {"epoch": 2, "iter": 8, "validated": True}


@pytest.mark.parametrize(
    ("rule", "scores", "best"),
    [
        ("greater", [0.1, 0.3, 0.2, 0.3, float("nan"), 0.0], 2),
        ("less", [0.5, 0.3, 0.4, 0.1, float("nan"), 0.2], 4),
        ("greater", [float("nan")] * 5 + [0.0], 6),
    ],
)
def test_the_best_is_kept_beside(tmp_path, rule, scores, best):
    runner = Runner(tmp_path)
    run(hooks.CrystalCheckpointHook(rule=rule, max_keep_ckpts=1), runner, scores)
    assert names(tmp_path, "best*") == [f"best_crystal_AP_epoch_{best}.pth"]
    assert runner.metas[f"best_crystal_AP_epoch_{best}.pth"]["metrics"]["crystal/AP"] == scores[best - 1]
    assert runner.message_hub.get_info("best_score") == scores[best - 1]


def test_a_best_metric_that_does_not_exist_is_named_with_those_that_do(tmp_path):
    with pytest.raises(InputError, match=r"'mAP'; there are crystal/AP, crystal/AP50"):
        run(hooks.CrystalCheckpointHook(save_best="mAP"), Runner(tmp_path), [0.1])


@pytest.mark.parametrize(
    "wrong",
    [dict(interval=0), dict(every_iters=0), dict(rule="best"), dict(max_keep_ckpts=0), dict(max_keep_ckpts=-2)],
)
def test_wrong_options_of_checkpoints_are_refused(wrong):
    with pytest.raises(InputError):
        hooks.CrystalCheckpointHook(**wrong)


def sample(score, labels=True):
    found = InstanceData(bboxes=torch.tensor([[30.0, 32, 20, 10, 0]]), scores=torch.tensor([score]))
    out = SimpleNamespace(pred_instances=found)
    if labels:
        out.gt_instances = InstanceData(bboxes=torch.tensor([[40.0, 20, 12, 8, 0.3]]))
        out = type("Sample", (SimpleNamespace,), {"__contains__": lambda s, k: k in vars(s)})(**vars(out))
    return out


class Board:
    def __init__(self):
        self.images = {}

    def add_image(self, name, image, step):
        self.images[step] = image


@pytest.mark.parametrize(("score", "green"), [(0.29, False), (0.31, True)])
def test_the_first_images_of_a_validation_are_drawn_with_certain_predictions(tmp_path, score, green):
    runner, board = Runner(tmp_path), Board()
    runner.visualizer = SimpleNamespace(get_backend=lambda name: board if name == "TensorboardVisBackend" else None)
    runner.epoch = 12
    hook = hooks.DrawPredictionsHook(count=3, score=0.3, columns=2)
    hook.before_val_epoch(runner)
    for batch in range(4):
        images = [torch.full((1, 64, 64), 90, dtype=torch.uint8)] * 2
        hook.after_val_iter(runner, batch, {"inputs": images}, [sample(score), sample(score)])
    hook.after_val_epoch(runner, {})
    with Image.open(tmp_path / "samples" / "epoch_012.png") as image:
        pixels = np.asarray(image)
    assert pixels.shape == (264, 264, 3)  # 2 x 2 tiles of twice 64 px, 8 px apart
    assert ((pixels == 255).all(-1)[136:, 136:]).all()  # the fourth place is empty
    assert (pixels == drawing.PREDICTED).all(-1).any() == green
    assert (pixels == drawing.LABELLED).all(-1).any()
    assert np.array_equal(board.images[12], pixels)


@pytest.mark.parametrize(("cost", "epoch"), [(0.25, 0.1), (0.25, 2.0), (0.25, 60.0), (4.0, 1.0)])
def test_curves_take_a_small_share_of_a_training_and_are_whole_at_its_end(tmp_path, monkeypatch, cost, epoch):
    now, drawn = [0.0], []
    monkeypatch.setattr(hooks.time, "monotonic", lambda: now[0])

    def draw(folder):
        now[0] += cost
        drawn.append(now[0])

    monkeypatch.setattr(hooks, "curves", draw)
    hook, runner = hooks.DrawPredictionsHook(), Runner(tmp_path)
    for _ in range(400):
        now[0] += epoch
        hook.after_train_epoch(runner)
    hook.after_train(runner)
    assert drawn[-1] == now[0]
    assert len(drawn) * cost <= hooks.SHARE * now[0] + 2 * cost  # the first and the last always are
    assert max(np.diff(drawn)) <= cost / hooks.SHARE + 2 * (cost + epoch)
    if epoch >= 60:
        assert len(drawn) == 401  # long epochs: after each


def test_progress_without_a_terminal_is_a_line_per_epoch_and_per_validation(tmp_path, capsys):
    runner = Runner(tmp_path, epochs=2)
    hook = hooks.ProgressHook(seconds=1000)
    for _ in range(2):
        hook.before_train_epoch(runner)
        for step in range(4):
            runner.message_hub.update_scalar("train/loss", float(step))
            hook.after_train_iter(runner, step)
            runner.iter += 1
        hook.after_train_epoch(runner)
        runner.epoch += 1
        hook.before_val_epoch(runner)
        hook.after_val_iter(runner, 0, None, [None] * 2)
        hook.after_val_epoch(runner, {"crystal/AP": 0.125, "crystal/APs": float("nan")})
    lines = capsys.readouterr().err.splitlines()
    assert [re.sub(r"[\d.]+ images/s", "R images/s", line) for line in lines] == [
        "epoch 1/2: loss 1.5000, R images/s",
        "epoch 1/2: AP 12.50 %",
        "epoch 2/2: loss 1.5000, R images/s",
        "epoch 2/2: AP 12.50 %",
    ]


def test_progress_on_a_terminal_is_a_bar(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    runner = Runner(tmp_path, epochs=1)
    hook = hooks.ProgressHook()
    runner.iter = 2  # resumed within the epoch
    hook.before_train_epoch(runner)
    assert hook.bar.total == 8
    assert hook.bar.n == 4
    for step in (2, 3):
        runner.message_hub.update_scalar("train/loss", 0.25)
        hook.after_train_iter(runner, step)
        runner.iter += 1
    assert hook.bar.n == 8
    assert "0.250" in hook.bar.postfix
    hook.after_train_epoch(runner)
    assert hook.bar is None
