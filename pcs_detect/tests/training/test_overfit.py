"""A small detector overfits four images: the whole way of a batch, from the file to the metric."""

import pytest

from pcs_augment.demo import sample_path
from pcs_detect.training.engine.train import evaluate, train

# at 192 px, which takes a quarter of the time, crystals above 64 px^2
FOUR = {"first": 4, "reduce": 2, "min_area": 64.0}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("augment", "steps", "rate", "least"), [(False, 300, 0.001, 0.9), (True, 1200, 0.002, 0.5)], ids=["clean", "noisy"]
)
def test_four_images_by_heart(tmp_path, augment, steps, rate, least):
    """From random weights, one step an epoch on all four; trained on clean or on noisy images, evaluated on the clean ones."""
    options = {f"{loader}_dataloader.dataset.{k}": v for loader in ("train", "test") for k, v in FOUR.items()}
    best = train(
        "s2anet_tiny_c3",
        sample_path(),
        epochs=steps,
        batch_size=4,
        out=tmp_path / "training",
        augment=augment,
        device="cpu",
        options=options | {"default_hooks.checkpoint.interval": steps, "optim_wrapper.optimizer.lr": rate},
    )
    metrics = evaluate("s2anet_tiny_c3", best, sample_path(), device="cpu", options=options)
    print(metrics)
    assert metrics["AP50"] >= least, metrics
