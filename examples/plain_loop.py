"""A plain torch training loop on augmented images: ``python examples/plain_loop.py``.

The "detector" is a toy that learns how many crystals an image shows; put yours in its place.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader

import pcs_augment as pa
from pcs_augment.sample import sample_path


def main(epochs: int = 4) -> list[float]:
    """Train for some epochs; returns the mean loss of each."""
    data = pa.PcsDataset(sample_path())  # or the path of your own PCS or COCO JSON
    pipeline = pa.default_pipeline(seed=0)
    loader = DataLoader(data, batch_size=4, shuffle=True, collate_fn=pa.DrawingCollate(pipeline))
    batches = pa.AugmentedLoader(loader, pipeline)  # on the GPU where there is one

    torch.manual_seed(0)
    counter = nn.Sequential(nn.Conv2d(1, 8, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(512, 1))
    counter.to(batches.device)
    optimizer = torch.optim.Adam(counter.parameters(), 1e-2)
    losses = []
    for epoch in range(epochs):
        batches.set_epoch(epoch)  # other noise in every epoch
        total = 0.0
        for images, targets in batches:  # (B, 1, H, W) in [0, 1]; a list of dicts
            wanted = torch.tensor([[float(len(t["boxes"]))] for t in targets], device=images.device)
            loss = (counter(images) - wanted).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        losses.append(total / len(batches))
        print(f"epoch {epoch}: off by {losses[-1]:.1f} crystals an image")
    return losses


if __name__ == "__main__":
    main()
