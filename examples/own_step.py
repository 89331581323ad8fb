"""Two steps of one's own: one changes grey values, one moves pixels. ``python examples/own_step.py``."""

import numpy as np
import torch

import pcs_augment as pa


class Gradient(pa.Step):
    """Darken the image towards the right, by a share that is uniform on [0, strength]."""

    words = 2  # random numbers per sample: word 0 decides whether it is touched, word 1 how much

    def __init__(self, p=1.0, strength=0.5, seed=0):
        super().__init__(p, seed)
        self.strength = strength

    def draw_tables(self, stream, shape, instances):
        sample = self.chosen(stream)
        share = stream.uniform(1, 0.0, self.strength)[sample]
        return {"images": {"sample": sample, "share": share}}

    def change(self, images, tables):
        table = tables["images"]
        across = torch.linspace(0, 1, images.shape[3], device=images.device)
        share = torch.from_numpy(table["share"]).float().to(images.device, non_blocking=True)
        sample = torch.from_numpy(table["sample"]).to(images.device, non_blocking=True)
        images[sample] *= 1 - share[:, None, None, None] * across
        return images


class HalfTurn(pa.Step):
    """Turn the image, and all that lies in it, by 180 degrees."""

    words = 1

    def draw_tables(self, stream, shape, instances):
        return {"images": {"sample": self.chosen(stream)}}

    def change(self, images, tables):
        sample = torch.from_numpy(tables["images"]["sample"]).to(images.device, non_blocking=True)
        images[sample] = images[sample].flip(2, 3)
        return images

    def symmetry(self, tables, shape):
        batch, _, height, width = shape
        matrix = np.tile([[1.0, 0, 0], [0, 1, 0]], (batch, 1, 1))
        matrix[tables["images"]["sample"]] = [[-1, 0, width], [0, -1, height]]
        return matrix


def main():
    """Use both in a pipeline; boxes and outlines follow by themselves."""
    pipeline = pa.Pipeline([Gradient(p=0.8), HalfTurn(p=0.5), pa.GaussianNoise()], seed=0)
    images = torch.rand(4, 1, 48, 64)
    targets = [{"boxes": torch.tensor([[10.0, 12.0, 8.0, 4.0, 0.3]]), "labels": torch.tensor([0])} for _ in images]
    return pipeline(images, targets, index=torch.arange(4), epoch=0)


if __name__ == "__main__":
    for target in main()[1]:
        print(target["boxes"].tolist())
