"""As s2anet_tiny, without its finest level: strides 8 .. 64, anchors 16 .. 128; twice as fast, for crystals above 144 px^2"""

_base_ = "./s2anet_tiny.py"

strides = [8, 16, 32, 64]

model = dict(
    neck=dict(start_level=1, num_outs=4),
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

optim_wrapper = dict(optimizer=dict(lr=0.001))
param_scheduler = [
    dict(type="LinearLR", start_factor=1 / 3, by_epoch=False, begin=0, end=20),
    dict(type="CosineAnnealingLR", T_max=12, eta_min=1e-5, by_epoch=True, convert_to_iter_based=True),
]
