"""110 epochs: 80 at 0.01, 15 at 0.001, 15 at 0.0001."""

_base_ = "./schedule_12.py"

train_cfg = dict(max_epochs=110)
param_scheduler = [
    dict(type="LinearLR", start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=True, milestones=[80, 95], gamma=0.1),
]
