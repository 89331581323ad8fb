"""Each configuration builds the detector that it names: strides, anchors, norms and rates are read off what was built."""

from types import SimpleNamespace

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from mmrotate.registry import MODELS
from mmrotate.structures.bbox import RotatedBoxes
from torch import nn

import pcs_augment as pa
from pcs_detect.errors import InputError
from pcs_detect.training import configs

NAMES = [name for name, _ in configs.available()]

# the paper's Table 1: anchors from and to (px), strides from and to (px), scale, max-pool after conv1, ImageNet, epochs
TABLE_1 = {
    "s2anet_r50_anchor16_pool_imagenet_12e": ((16, 256), (4, 64), 4, True, True, 12),
    "s2anet_r50_anchor8_pool_imagenet_12e": ((8, 128), (4, 64), 2, True, True, 12),
    "s2anet_r50_anchor8_nopool_imagenet_12e": ((8, 128), (2, 32), 4, False, True, 12),
    "s2anet_r50_anchor8_nopool_imagenet_110e": ((8, 128), (2, 32), 4, False, True, 110),
    "s2anet_r50_anchor8_nopool_gn_110e": ((8, 128), (2, 32), 4, False, False, 110),
    "s2anet_r50_published_110e": ((8, 128), (2, 32), 4, False, False, 110),  # the authors' code of the last row
}
MILESTONES = {12: (8, 11), 110: (80, 95)}
NORMS = (nn.BatchNorm2d, nn.GroupNorm)
NARROW = ("rtmdet_r_narrow", "rtmdet_r_narrow_c3", "s2anet_narrow")  # the network that ships, and two trained as it was


@pytest.fixture(scope="module", params=NAMES)
def built(request):
    """(name, configuration, model); grouped by name, so that one model is in memory at a time."""
    cfg = configs.load(request.param)
    init_default_scope(cfg.default_scope)
    return request.param, cfg, MODELS.build(cfg.model)


@pytest.fixture(autouse=True, scope="module")
def quiet():
    """mmengine logs the options of every single parameter."""
    MMLogger.get_current_instance().setLevel("WARNING")


def optimizer(model, cfg):
    return build_optim_wrapper(model, cfg.optim_wrapper)


def generator_of(model):
    for name in ("bbox_head_init", "rpn_head", "bbox_head"):
        if hasattr(model, name):
            return getattr(model, name).prior_generator
    raise AssertionError(type(model))


def test_features_have_the_strides_of_the_anchors(built):
    _, _, model = built
    with torch.no_grad():
        features = model.extract_feat(torch.zeros(2, 1, 64, 64))  # two: a batch norm needs more than one value
    strides = [(64 / f.shape[-2], 64 / f.shape[-1]) for f in features]
    assert strides == [tuple(s) for s in generator_of(model).strides]


def test_one_grey_channel_goes_in_normalised_alike_everywhere(built):
    _, _, model = built
    first = next(m for m in model.backbone.modules() if isinstance(m, nn.Conv2d))
    assert first.in_channels == 1
    assert (model.data_preprocessor.mean, model.data_preprocessor.std) == (132.6, 61.2)
    assert tuple(model.backbone.grey) == (132.6, 61.2)  # what folded ImageNet weights count on


def test_detections_are_not_capped(built):
    name, _, model = built
    last = model.test_cfg.get("rcnn", model.test_cfg)
    assert last.score_thr == 0.05
    if name.startswith("mask_rcnn"):  # upright boxes of as many crystals as there are regions
        assert last.max_per_img == 2000 >= model.test_cfg.rpn.max_per_img
        assert dict(last.nms) == {"type": "nms", "iou_threshold": 0.5}
    else:
        assert last.max_per_img == last.nms_pre == 5000
        allowed = 0.5 if name in NARROW else 0.3
        assert dict(last.nms) == {"type": "nms_nearby", "iou_threshold": allowed}


def test_the_noise_is_the_published_pipeline(built):
    """The narrow networks draw it for one of eight drops as microscopes show them, seven of eight of the paper."""
    name, _, model = built
    published = {"published": pa.default_pipeline(seed=0).steps}
    shares = {"published": 1}
    if name in NARROW:
        crop, least = pa.RandomCrop(256, (0.5, 2.0)), pa.MinEdge(2.0)
        published = {
            "published": [pa.MinEdge(0.0), crop, least, *pa.default_pipeline(seed=0).steps, pa.KeepDetectable(0)],
            "zoomed": [pa.MinEdge(0.0), *pa.default_pipeline(seed=0).steps, crop, least, pa.KeepDetectable(0)],
            "microscope": [pa.MinEdge(0.0), *pa.microscope_pipeline(size=256, min_edge=2.0).steps, pa.KeepDetectable(0)],
            "plain": [pa.MinEdge(0.0), crop, least, pa.Rotate90(), pa.Flip(), pa.KeepDetectable(0)],
        }
        shares = {"microscope": 6, "published": 5, "zoomed": 3, "plain": 2}
        assert model.data_preprocessor.counts.tolist() == [8, 8]
        first = [_written(p.steps) for p in model.data_preprocessor.pipelines[:8]]
        assert [first.count(_written(published[kind])) for kind in shares] == [6, 1, 0, 1]
    ours = [_written(p.steps) for p in model.data_preprocessor.pipelines]
    assert {p.seed for p in model.data_preprocessor.pipelines} == {0}
    assert len(ours) == sum(shares.values())
    for kind, share in shares.items():
        assert ours.count(_written(published[kind])) == share, kind


def _written(steps):
    return [(type(s), s.extra_repr()) for s in steps]


def test_norm_layers_do_not_decay(built):
    _, cfg, model = built
    group = {id(g["params"][0]): g for g in optimizer(model, cfg).optimizer.param_groups}
    norms = {id(p) for m in model.modules() if isinstance(m, NORMS) for p in m.parameters()}
    assert norms
    decay = cfg.optim_wrapper.optimizer.weight_decay
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        expected = 0 if id(parameter) in norms else decay
        if name.endswith("bias") and "rtmdet" in built[0]:  # its recipe
            expected = 0
        assert group[id(parameter)]["weight_decay"] == expected, name


def test_rate_grows_with_the_total_batch(built):
    _, cfg, _ = built
    base = cfg.auto_scale_lr.base_batch_size
    for batch, processes in ((2, 4), (2, 1), (16, 8)):
        wrapper = optimizer(nn.Linear(1, 1), cfg)
        # what Runner.scale_lr reads of a runner
        runner = SimpleNamespace(
            _train_dataloader={"batch_size": batch},
            world_size=processes,
            logger=SimpleNamespace(info=lambda *_: None),
            param_schedulers=None,
        )
        Runner.scale_lr(runner, wrapper, cfg.auto_scale_lr)
        assert wrapper.optimizer.param_groups[0]["lr"] == pytest.approx(
            cfg.optim_wrapper.optimizer.lr * batch * processes / base
        )


def test_table_1_anchors_and_backbone(built):
    name, _, model = built
    if name not in TABLE_1:
        return
    anchors, strides, scale, pool, imagenet, _ = TABLE_1[name]
    generator = model.bbox_head_init.prior_generator
    assert generator.num_base_priors == [1] * 5
    expected = [2**k * strides[0] for k in range(5)]
    assert expected[-1] == strides[1]
    assert [s[0] for s in generator.strides] == expected
    assert generator.scales.tolist() == [scale]
    sides = [(b[0, 2:] - b[0, :2]).tolist() for b in generator.base_anchors]
    assert sides == [[anchors[0] * 2**k] * 2 for k in range(5)]
    assert sides[-1] == [anchors[1]] * 2
    for refine in model.bbox_head_refine:
        assert list(refine.feat_refine_module.strides) == expected
        assert [s[0] for s in refine.prior_generator.strides] == expected
    assert isinstance(model.backbone.maxpool, nn.MaxPool2d) == pool

    norms = [m for part in (model.backbone, model.neck) for m in part.modules() if isinstance(m, NORMS)]
    neck = [m for m in model.neck.modules() if isinstance(m, NORMS)]
    if imagenet:
        assert all(isinstance(m, nn.BatchNorm2d) for m in norms)
        assert not neck
    else:
        assert all(isinstance(m, nn.GroupNorm) and m.num_groups == 32 for m in norms)
        assert len(neck) == 9  # four lateral convolutions, five after them
    given = model.backbone.init_cfg
    assert any(c["type"] == "Pretrained" for c in (given if isinstance(given, list) else [given])) == imagenet

    model.train()
    frozen = {n.split(".")[0] for n, p in model.backbone.named_parameters() if not p.requires_grad}
    assert frozen == ({"conv1", "bn1", "layer1"} if imagenet else set())
    stem = [m.kernel_size for m in model.backbone.stem if isinstance(m, nn.Conv2d)] if model.backbone.deep_stem else []
    assert stem == ([(3, 3)] * 3 if name == "s2anet_r50_published_110e" else [])
    angles = {h.bbox_coder.angle_version for h in (model.bbox_head_init, *model.bbox_head_refine)}
    assert angles == {"le135"}


def test_table_1_schedule(built):
    name, cfg, model = built
    if name not in TABLE_1:
        return
    epochs = TABLE_1[name][-1]
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.auto_scale_lr == {"enable": True, "base_batch_size": 8}
    wrapper = optimizer(model, cfg)
    assert type(wrapper.optimizer) is torch.optim.SGD
    assert wrapper.clip_grad_kwargs == {"max_norm": 35, "norm_type": 2}
    group = wrapper.optimizer.param_groups[0]
    assert group["momentum"] == 0.9
    assert wrapper.optimizer.defaults["weight_decay"] == 1e-4

    warm_up, steps = (PARAM_SCHEDULERS.build(dict(s, optimizer=optimizer(nn.Linear(1, 1), cfg))) for s in cfg.param_scheduler)
    assert (warm_up.by_epoch, steps.by_epoch) == (False, True)
    ramp = [warm_up.get_last_value()[0] for _ in range(510) if warm_up.step() is None]
    assert ramp[0] == pytest.approx(0.01 / 3, rel=0.01)
    assert ramp[249] == pytest.approx(0.01 * 2 / 3, rel=0.01)
    assert max(ramp[:490]) < 0.01
    assert ramp[-1] == pytest.approx(0.01)
    rates = []
    for _ in range(epochs):
        rates.append(steps.get_last_value()[0])
        steps.step()
    first, second = MILESTONES[epochs]
    assert rates == pytest.approx([0.01] * first + [0.001] * (second - first) + [0.0001] * (epochs - second))


def test_narrow_networks_differ_in_nothing_but_the_network():
    """Data, noise, crops, steps and rates are one, so that a comparison compares networks."""
    loaded = [configs.load(name) for name in NARROW]
    for part in ("data_preprocessor", "train_dataloader", "train_cfg", "param_scheduler", "custom_hooks", "test_cfg"):
        found = [cfg.get(part) or cfg.model.get(part) for cfg in loaded]
        assert found[0], part
        assert found[1] == found[0], part
        if part != "train_dataloader":  # workers of the loader differ
            assert found[2] == found[0], part
    assert [cfg.optim_wrapper.optimizer.lr for cfg in loaded] == [0.001] * 3
    assert [cfg.train_dataloader.batch_size for cfg in loaded] == [8] * 3


def test_stored_statistics_in_narrow_networks():
    """A crystal's score then does not depend on what else is in its tile."""
    for name in NARROW:
        model = MODELS.build(configs.load(name).model)
        norms = [m for m in model.modules() if isinstance(m, NORMS)]
        assert norms
        assert all(isinstance(m, nn.BatchNorm2d) and m.track_running_stats for m in norms)


def test_every_row_of_table_1_has_its_configuration():
    assert set(TABLE_1) <= set(NAMES)
    assert all(words for _, words in configs.available())


@pytest.mark.parametrize("name", ["s2anet_tiny", "s2anet_tiny_c3", "rtmdet_r_tiny", *NARROW, "oriented_rcnn_r50"])
@pytest.mark.parametrize("count", [3, 0])
def test_a_training_step_reaches_every_learnable_part(name, count):
    cfg = configs.load(name)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.train()
    sample = DetDataSample(metainfo={"img_id": 0, "ori_shape": (64, 64), "img_shape": (64, 64), "scale_factor": (1.0, 1.0)})
    boxes = torch.tensor([[20.0, 20, 24, 8, 0.4], [44, 40, 12, 9, -1.2], [16, 50, 6, 5, 0.0]])[:count]
    sample.gt_instances = InstanceData(bboxes=RotatedBoxes(boxes), labels=torch.zeros(count, dtype=torch.long))
    image = torch.randint(0, 256, (1, 64, 64), dtype=torch.uint8)
    batch = model.data_preprocessor({"inputs": [image] * 2, "data_samples": [sample, sample.clone()]}, training=True)
    loss, _ = model.parse_losses(model.loss(batch["inputs"], batch["data_samples"]))
    loss.backward()
    assert torch.isfinite(loss)
    for part in (model.backbone, model.neck):
        gradients = [p.grad for p in part.parameters() if p.requires_grad]
        assert all(g is not None and torch.isfinite(g).all() for g in gradients)
        assert sum(g.abs().sum() for g in gradients) > 0


def test_options_switch_the_noise_off_and_change_its_ranges():
    place = "model.data_preprocessor.augment"
    clean = configs.load("s2anet_tiny", {place: None})
    assert MODELS.build(clean.model.data_preprocessor).pipelines == []
    noisier = configs.load("s2anet_tiny", {f"{place}.3.sigma": (0.1, 0.2), "model.data_preprocessor.seed": 7})
    pipeline = MODELS.build(noisier.model.data_preprocessor).pipelines[0]
    step = next(s for s in pipeline.steps if isinstance(s, pa.GaussianNoise))
    assert (step.sigma, pipeline.seed) == ((0.1, 0.2), 7)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("s2anet_tinny", {}, "did you mean 's2anet_tiny'"),
        ("no/such/file.py", {}, "no configuration 'no/such/file.py'"),
        ("s2anet_tiny", {"model.bckbone.depth": 18}, "did you mean 'backbone'"),
        ("s2anet_tiny", {"model.data_preprocessor.augment.99.p": 1}, "a number from 0 to 13"),
        ("s2anet_tiny", {"load_from.x": 1}, "has None there"),
        ("s2anet_tiny", {"model.backbone.depth.x": 1}, "has no 'x'"),
    ],
)
def test_mistakes_are_named(name, options, words):
    with pytest.raises(InputError, match=words):
        configs.load(name, options)


@pytest.mark.parametrize(
    "text", ["x = ", "x = y", "_base_ = './absent.py'", "custom_imports = dict(imports=['no_such_module'])"]
)
def test_a_faulty_file_is_named(tmp_path, text):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(InputError, match=r"mine\.py is no valid configuration"):
        configs.load(path)


def test_a_file_of_ones_own_may_build_on_ours(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(f"_base_ = {str(configs.find('s2anet_tiny'))!r}\nmodel = dict(backbone=dict(depth=34))\n")
    cfg = configs.load(path)
    assert (cfg.model.backbone.depth, cfg.model.backbone.base_channels) == (34, 32)
