"""Steps of pcs_augment beside kornia's own augmentations in one container: ``python examples/kornia_container.py``."""

import kornia.augmentation as K
import torch
from torch import Tensor

import pcs_augment as pa
from pcs_augment.interop.kornia import set_batch, wrap


def main() -> tuple[Tensor, Tensor, Tensor]:
    """Augment two images with their masks and keypoints."""
    augment = K.AugmentationSequential(
        K.RandomAffine(10.0, p=1.0),
        wrap(pa.PerlinLayer(p=1.0, seed=3)),
        wrap(pa.Flip(seed=3)),
        data_keys=["input", "mask", "keypoints"],
    )
    images = torch.rand(2, 1, 96, 96)
    masks = (images > 0.5).float()
    keypoints = torch.tensor([[[10.0, 20.0], [50.0, 60.0]], [[30.0, 40.0], [70.0, 15.0]]])
    set_batch(augment, index=torch.tensor([11, 12]), epoch=4)  # names the samples, so that the noise can be repeated
    images, masks, keypoints = augment(images, masks, keypoints)
    print(f"images {tuple(images.shape)}, masks {tuple(masks.shape)}, keypoints {tuple(keypoints.shape)}")
    return images, masks, keypoints


if __name__ == "__main__":
    main()
