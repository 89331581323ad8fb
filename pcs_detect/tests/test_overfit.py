"""A small detector learns four images by heart: the whole way of a batch, from the file to the metric."""

import json

import pytest
import torch
from PIL import Image

from pcs_augment.demo import sample_path
from pcs_detect.train import evaluate, train

FOUR = {"first": 4, "min_area": 64.0}  # crystals above 64 px^2


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    """The bundled sample at 192 px, which takes a quarter of the time."""
    target = tmp_path_factory.mktemp("sample") / "half.json"
    document = json.loads(sample_path().read_text())
    target.with_suffix("").mkdir()
    for image in document["images"]:
        with Image.open(sample_path().with_suffix("") / image["file_name"]) as picture:
            picture.reduce(2).save(target.with_suffix("") / image["file_name"])
        image["width"], image["height"] = image["width"] // 2, image["height"] // 2
    for crystal in document["annotations"]:
        crystal["bbox"] = [v / 2 for v in crystal["bbox"][:4]] + crystal["bbox"][4:]
        crystal["segmentation"] = [[v / 2 for v in outline] for outline in crystal["segmentation"]]
    target.write_text(json.dumps(document))
    return target


@pytest.fixture(autouse=True)
def one_thread():
    """Sums then come out the same everywhere; two threads are no faster with so few pixels."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("augment", "steps", "least"), [(False, 220, 0.9), (True, 1200, 0.5)], ids=["clean", "noisy"])
def test_four_images_by_heart(halved, tmp_path, augment, steps, least):
    """From random weights, one step an epoch on all four; trained on clean or on noisy images, evaluated on the clean ones."""
    options = {f"{loader}_dataloader.dataset.{k}": v for loader in ("train", "test") for k, v in FOUR.items()}
    best = train(
        "s2anet_tiny",
        halved,
        epochs=steps,
        batch_size=4,
        out=tmp_path / "training",
        augment=augment,
        device="cpu",
        options=options | {"default_hooks.checkpoint.interval": steps},
    )
    metrics = evaluate("s2anet_tiny", best, halved, device="cpu", options=options)
    print(metrics)
    assert metrics["AP50"] >= least, metrics
