"""S2A-Net of ResNet-18 as rtmdet_r_narrow is trained: width, data, noise and schedule alike, random weights, 60 epochs

Strides 4 .. 64, anchors 8 .. 128. Batch norms, whose statistics are stored when training ends, in backbone and pyramid; none in
the heads, whose convolutions all levels share: one stored mean would fit none of these.
"""

_base_ = ["./s2anet_tiny.py", "./_base_/narrow.py"]

channels = 48
batch_norm = dict(type="BN", requires_grad=True)

model = dict(
    data_preprocessor=_base_.narrow.preprocessor,
    backbone=dict(norm_cfg=dict(_delete_=True, **batch_norm)),
    neck=dict(out_channels=channels, norm_cfg=dict(_delete_=True, **batch_norm)),
    bbox_head_init=dict(in_channels=channels, feat_channels=channels, norm_cfg=None),
    bbox_head_refine=[
        dict(
            refine,
            in_channels=channels,
            feat_channels=channels,
            norm_cfg=None,
            frm_cfg=dict(refine.frm_cfg, feat_channels=channels),
        )
        for refine in _base_.model.bbox_head_refine
    ],
    test_cfg=dict(nms=dict(iou_threshold=0.5)),
)

train_dataloader = dict(batch_size=_base_.narrow.batch)
train_cfg = _base_.narrow.loop
optim_wrapper = dict(optimizer=dict(lr=_base_.narrow.rate))
auto_scale_lr = dict(base_batch_size=_base_.narrow.batch)
param_scheduler = _base_.narrow.rates
custom_hooks = _base_.narrow.averaged
