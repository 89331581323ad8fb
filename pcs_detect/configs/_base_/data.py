"""Data and metric. ``pcs-detect train`` and ``test`` put the given paths in place of these."""

train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type="ResumableSampler", shuffle=True),
    dataset=dict(type="CrystalDataset", data="data/pcs/pcs_train.json"),
)
val_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="CrystalDataset", data="data/pcs/pcs_validation.json", test_mode=True),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="CrystalMetric")
test_evaluator = val_evaluator
