"""ResNet-50 for grey images, from ImageNet, stem and first stage frozen."""

_base_ = "./augment.py"

model = dict(
    backbone=dict(
        type="CrystalResNet",
        depth=50,
        in_channels=1,
        grey=_base_.grey,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_eval=True,
        style="pytorch",
        init_cfg=dict(type="Pretrained", checkpoint="https://download.pytorch.org/models/resnet50-0676ba61.pth"),
    )
)
