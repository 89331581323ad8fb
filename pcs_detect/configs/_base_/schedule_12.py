"""12 epochs: 8 at 0.01, 3 at 0.001, 1 at 0.0001, for 8 images per step; other totals scale the rate linearly."""

train_cfg = dict(type="ResumableEpochLoop", max_epochs=12, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(norm_decay_mult=0.0),
    clip_grad=dict(max_norm=35, norm_type=2),
)
auto_scale_lr = dict(enable=True, base_batch_size=8)
param_scheduler = [
    dict(type="LinearLR", start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=True, milestones=[8, 11], gamma=0.1),
]
