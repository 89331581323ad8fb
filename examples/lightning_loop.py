"""Augmentation in a LightningModule: ``pip install lightning``, then ``python examples/lightning_loop.py``.

Lightning moves the batch to the device; the hook after that is where it is augmented.
"""

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader

import pcs_augment as pa
from pcs_augment.sample import sample_path


class Counter(lightning.LightningModule):
    """Learns how many crystals an image shows; put your detector in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.pipeline = pa.default_pipeline(seed=0)  # no parameters, no state
        self.network = nn.Sequential(nn.Conv2d(1, 8, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(512, 1))

    def on_after_batch_transfer(self, batch, dataloader_idx):
        images, targets, index = batch
        if self.trainer.training:
            images, targets = self.pipeline.train()(images, targets, index=index, epoch=self.current_epoch)
        return images, targets

    def training_step(self, batch, batch_idx):
        images, targets = batch
        wanted = torch.tensor([[float(len(t["boxes"]))] for t in targets], device=self.device)
        return (self.network(images) - wanted).abs().mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.network.parameters(), 1e-3)


def main(epochs: int = 1) -> Counter:
    """Train for some epochs."""
    loader = DataLoader(pa.PcsDataset(sample_path()), batch_size=4, shuffle=True, collate_fn=pa.collate)
    model = Counter()
    trainer = lightning.Trainer(max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.fit(model, loader)
    return model


if __name__ == "__main__":
    main()
