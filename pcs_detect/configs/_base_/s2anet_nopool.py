"""S2A-Net without max-pooling after the first convolution: strides 2 .. 32, anchors of 4 strides: 8 .. 128 px."""

_base_ = "./s2anet.py"

strides = [2, 4, 8, 16, 32]

model = dict(
    backbone=dict(max_pool=False),
    bbox_head_init=dict(anchor_generator=dict(strides=strides)),
    bbox_head_refine=[
        dict(
            refine,
            frm_cfg=dict(refine.frm_cfg, strides=strides),
            anchor_generator=dict(refine.anchor_generator, strides=strides),
        )
        for refine in _base_.model.bbox_head_refine
    ],
)
