"""The way of a batch into the detector."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData
from mmrotate.structures.bbox import RotatedBoxes

import pcs_augment as pa
from pcs_detect.errors import InputError
from pcs_detect.photographs import without_fringes
from pcs_detect.training.models.preprocessor import CrystalPreprocessor

NOISE = [dict(type="GaussianNoise", p=1.0), dict(type="Rotate90"), dict(type="Flip")]


def sample(img_id: int, height: int, width: int, objects: int = 3) -> tuple[torch.Tensor, DetDataSample]:
    g = torch.Generator().manual_seed(img_id)
    image = torch.randint(0, 256, (1, height, width), generator=g, dtype=torch.uint8)
    extent = torch.tensor([width, height, 12.0, 6.0, 1.0])
    boxes = torch.rand(objects, 5, generator=g) * extent + torch.tensor([0, 0, 8.0, 2.0, 0])
    size = (height, width)
    data = DetDataSample(metainfo=dict(img_id=img_id, img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0)))
    data.gt_instances = InstanceData(
        bboxes=RotatedBoxes(boxes),
        labels=torch.zeros(objects, dtype=torch.int64),
        polygons=_squares(boxes),
    )
    return image, data


def _squares(boxes: torch.Tensor) -> list[torch.Tensor]:
    corner = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    return [b[:2] + corner * b[3] / 2 for b in boxes]


def batch(*samples):
    return {"inputs": [s[0] for s in samples], "data_samples": [s[1] for s in samples]}


@pytest.fixture(autouse=True)
def _first_epoch():
    MessageHub.get_current_instance().update_info("epoch", 0)


def test_grey_values_are_normalised_and_padded_with_the_mean():
    image, data = sample(1, 40, 50)
    out = CrystalPreprocessor(mean=100.0, std=50.0, pad_size_divisor=32)(batch((image, data)))
    inputs = out["inputs"]
    assert inputs.shape == (1, 1, 64, 64)
    assert inputs.dtype == torch.float32
    torch.testing.assert_close(inputs[0, 0, :40, :50], (image[0].float() - 100) / 50)
    assert (inputs[0, 0, 40:] == 0).all()
    assert (inputs[0, 0, :, 50:] == 0).all()
    assert out["data_samples"][0].pad_shape == out["data_samples"][0].batch_input_shape == (64, 64)


def test_noise_in_training_only_and_as_pcs_augment_makes_it():
    image, data = sample(7, 32, 64)
    preprocess = CrystalPreprocessor(mean=0.0, std=255.0, augment=NOISE, seed=5)
    clean = preprocess(batch((image, data)), training=False)
    torch.testing.assert_close(clean["inputs"][0, 0], image[0] / 255)
    noisy = preprocess(batch((image, data)), training=True)
    steps = [pa.MinEdge(0.0), pa.GaussianNoise(p=1.0), pa.Rotate90(), pa.Flip(), pa.KeepDetectable(0)]
    target = {
        "boxes": data.gt_instances.bboxes.tensor,
        "labels": data.gt_instances.labels,
        "polygons": data.gt_instances.polygons,
    }
    expected, (moved,) = pa.Pipeline(steps, seed=5)(image[None], [target], index=torch.tensor([7]), epoch=0)
    torch.testing.assert_close(noisy["inputs"], expected, atol=1e-6, rtol=0)
    instances = noisy["data_samples"][0].gt_instances
    torch.testing.assert_close(instances.bboxes.tensor, moved["boxes"])
    assert all(torch.equal(a, b) for a, b in zip(instances.polygons, moved["polygons"]))
    assert (noisy["inputs"] - clean["inputs"]).abs().max() > 0.01
    torch.testing.assert_close(data.gt_instances.bboxes.tensor, target["boxes"])  # what came in is left alone


def test_the_noise_depends_on_seed_epoch_and_image_alone():
    one, two, other = sample(1, 32, 32), sample(2, 32, 32), sample(3, 48, 64)
    preprocess = CrystalPreprocessor(augment=NOISE, seed=0)
    together = preprocess(batch(one, other, two), training=True)["inputs"]
    assert together.shape == (3, 1, 64, 64)
    for k, s in enumerate((one, other, two)):
        alone = preprocess(batch(s), training=True)["inputs"]
        height, width = s[1].img_shape
        assert torch.equal(alone[0, 0, :height, :width], together[k, 0, :height, :width])
    assert torch.equal(preprocess_at(1, one), preprocess_at(1, one))
    assert not torch.equal(preprocess_at(1, one), preprocess_at(0, one))
    assert not torch.equal(preprocess_at(1, one, seed=1), preprocess_at(1, one))


def test_each_image_draws_one_of_several_pipelines():
    """As often as they stand there; the image comes out as the chosen one alone makes it, whatever else is in the batch."""
    dark, light = [dict(type="Brightness", exponent=(-1.0, -1.0))], [dict(type="Brightness", exponent=(0.5, 0.5))]
    both = CrystalPreprocessor(augment=[dark, light, light], seed=3)
    alone = [CrystalPreprocessor(augment=steps, seed=3) for steps in (dark, light)]
    samples = [sample(k, 16, 24) for k in range(300)]
    mixed = both(batch(*samples), training=True)["inputs"]
    each = [p(batch(*samples), training=True)["inputs"] for p in alone]
    as_dark, as_light = ((mixed == e).flatten(1).all(1) for e in each)
    assert (as_dark ^ as_light).all()
    assert 70 <= int(as_dark.sum()) <= 130  # binomial, n = 300, p = 1/3, far beyond 3 deviations
    assert torch.equal(both(batch(samples[17]), training=True)["inputs"][0], mixed[17])
    MessageHub.get_current_instance().update_info("epoch", 1)
    again = both(batch(*samples), training=True)["inputs"]
    assert not torch.equal(again, mixed)


def test_each_data_set_has_its_pipelines():
    """Those of a data set are drawn as they are where they are the only ones; a third data set has those of the last."""
    MessageHub.get_current_instance().update_info("epoch", 0)
    dark, light = [dict(type="Brightness", exponent=(-1.0, -1.0))], [dict(type="Brightness", exponent=(0.5, 0.5))]
    samples = [sample(k, 16, 24) for k in range(60)]
    for k, (_, s) in enumerate(samples):
        s.set_metainfo({"source": k % 3})
    each = CrystalPreprocessor(augment=dict(each=[[dark, light], None]), seed=3)(batch(*samples), training=True)["inputs"]
    both = CrystalPreprocessor(augment=[dark, light], seed=3)(batch(*samples), training=True)["inputs"]
    none = CrystalPreprocessor()(batch(*samples), training=True)["inputs"]
    assert torch.equal(each[::3], both[::3])
    assert torch.equal(each[1::3], none[1::3])
    assert torch.equal(each[2::3], none[2::3])
    assert not torch.equal(each[::3], none[::3])
    alone = CrystalPreprocessor(augment=dict(each=[None, [dark, light]]), seed=3)(batch(*samples), training=True)["inputs"]
    assert torch.equal(alone[2::3], both[2::3])


def preprocess_at(epoch: int, s, seed: int = 0) -> torch.Tensor:
    MessageHub.get_current_instance().update_info("epoch", epoch)
    return CrystalPreprocessor(augment=NOISE, seed=seed)(batch(s), training=True)["inputs"]


def test_fringes_go_after_the_noise_and_in_evaluation_too():
    """As the noise pipeline made them; what has none is untouched, whatever else is in the batch."""
    fringed, plain = sample(1, 256, 288), sample(2, 256, 288)
    for image, _ in (fringed, plain):
        image[:] = (image / 60.0 + 120).to(torch.uint8)
    steps = [dict(type="InterferenceLayer", p=1.0)]
    make = dict(mean=0.0, std=1.0, augment=dict(each=[steps, None]), seed=4)
    plain[1].set_metainfo({"source": 1})
    kept = CrystalPreprocessor(**make)(batch(fringed, plain), training=True)["inputs"]
    removed = CrystalPreprocessor(**make, fringes="remove")(batch(fringed, plain), training=True)["inputs"]
    np.testing.assert_array_equal(removed[0, 0], without_fringes(kept[0, 0].numpy()))
    assert removed[0].std() < 0.95 * kept[0].std()
    assert torch.equal(removed[1], kept[1])
    again = (torch.clamp(kept[0], 0, 255).to(torch.uint8), fringed[1])
    seen = CrystalPreprocessor(mean=0.0, std=1.0, fringes="remove")(batch(again))["inputs"][0, 0]
    np.testing.assert_array_equal(seen, without_fringes(again[0][0].float().numpy()))


def test_grey_values_of_some_are_matched_as_those_of_photographs_are():
    samples = [sample(i, 32, 48) for i in range(200)]
    make = dict(mean=100.0, std=50.0)
    plain = CrystalPreprocessor(**make)(batch(*samples), training=True)["inputs"][:, :, :32, :48]
    out = CrystalPreprocessor(**make, matched=0.3)(batch(*samples), training=True)["inputs"][:, :, :32, :48]
    changed = (out != plain).flatten(1).any(1)
    assert abs(int(changed.sum()) - 60) < 4 * (200 * 0.3 * 0.7) ** 0.5
    deviation, mean = torch.std_mean(out[changed].flatten(1), 1, correction=0)
    assert mean.abs().max() < 1e-5
    assert 0.5 <= deviation.min() < 0.56
    assert 0.94 < deviation.max() <= 1
    correlation = [torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1] for a, b in zip(out, plain)]
    assert min(correlation) > 1 - 1e-5
    single = CrystalPreprocessor(**make, matched=0.3)(batch(samples[7]), training=True)["inputs"][:, :, :32, :48]
    assert torch.equal(single[0], out[7])
    tested = CrystalPreprocessor(**make, matched=1.0)(batch(samples[0]))["inputs"][:, :, :32, :48]
    assert torch.equal(tested[0], plain[0])
    even = (torch.full((1, 32, 32), 77, dtype=torch.uint8), samples[0][1])
    assert CrystalPreprocessor(**make, matched=1.0)(batch(even), training=True)["inputs"].abs().max() < 1e-6


def test_objects_that_cannot_be_seen_are_no_targets():
    image, data = sample(1, 64, 64, objects=4)
    image.fill_(100)
    keep = CrystalPreprocessor(augment=[dict(type="Flip")], threshold=0)
    assert len(keep(batch((image, data)), training=True)["data_samples"][0].gt_instances) == 0
    image, data = sample(1, 64, 64, objects=4)
    small = CrystalPreprocessor(augment=[dict(type="Flip")], min_edge=1000.0)
    assert len(small(batch((image, data)), training=True)["data_samples"][0].gt_instances) == 0


def test_images_without_objects():
    image, data = sample(4, 33, 31, objects=0)
    out = CrystalPreprocessor(augment=NOISE)(batch((image, data)), training=True)
    assert out["inputs"].shape == (1, 1, 64, 32)
    assert len(out["data_samples"][0].gt_instances) == 0


def test_mixed_precision_leaves_the_noise_alone():
    s = sample(2, 32, 32)
    steps = [dict(type="PerlinLayer", p=1.0), dict(type="Blur", p=1.0)]
    plain = CrystalPreprocessor(augment=steps)(batch(s), training=True)["inputs"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = CrystalPreprocessor(augment=steps)(batch(s), training=True)["inputs"]
    assert torch.equal(plain, mixed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(augment=[dict(type="Perlin")]), "Perlin.*PerlinLayer"),
        (dict(augment=[[dict(type="Flip")], [dict(type="Perlin")]]), "Perlin.*PerlinLayer"),
        (dict(augment=[[dict(type="Flip")], dict(type="Flip")]), "mixes"),
        (dict(augment=[dict(type="Blur", kernel=3)]), "Blur.*kernel"),
        (dict(augment=[dict(type="Pipeline")]), "no step 'Pipeline'"),
        (dict(augment=dict(each=[])), "it takes each, a list"),
        (dict(augment=dict(type="Flip")), "augment is a dict with .'type'.; it takes each"),
        (dict(augment=dict(each=[None, [dict(type="Perlin")]])), "Perlin.*PerlinLayer"),
        (dict(std=0.0), "std"),
        (dict(pad_size_divisor=0), "pad_size_divisor"),
        (dict(matched=1.5), r"matched is 1\.5"),
        (dict(fringes="maybe"), "'maybe' is neither"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        CrystalPreprocessor(**arguments)


def test_wrong_values_of_a_step_are_named():
    with pytest.raises(pa.InputError, match=r"1\.5"):
        CrystalPreprocessor(augment=[dict(type="Blur", p=1.5)])


def test_a_crop_changes_size_and_targets():
    samples = [sample(i, 64, 96, objects=9) for i in range(6)]
    augment = [dict(type="RandomCrop", size=48, scale=(1.0, 2.0)), dict(type="MinEdge", min_edge=3.0)]
    out = CrystalPreprocessor(augment=augment)(batch(*samples), training=True)
    assert out["inputs"].shape == (6, 1, 64, 64)
    kept = [len(d.gt_instances) for d in out["data_samples"]]
    assert 0 < sum(kept) < 54
    for data in out["data_samples"]:
        instances = data.gt_instances
        assert data.img_shape == (48, 48)
        assert len(instances.bboxes) == len(instances.labels) == len(instances.polygons)
        assert all((p > -1e-3).all() and (p < 48 + 1e-3).all() for p in instances.polygons)
    assert samples[0][1].img_shape == (64, 96)  # what came in is left alone


def test_a_whole_pipeline_may_stand_for_its_steps():
    augment = [dict(type="microscope_pipeline", size=32, min_edge=2.0)]
    image, data = sample(3, 64, 64, objects=5)
    out = CrystalPreprocessor(augment=augment, mean=0.0, std=255.0, seed=4)(batch((image, data)), training=True)
    steps = [pa.MinEdge(0.0), *pa.microscope_pipeline(size=32, min_edge=2.0).steps, pa.KeepDetectable(0)]
    targets = [{"boxes": data.gt_instances.bboxes.tensor, "labels": data.gt_instances.labels}]
    targets[0]["polygons"] = data.gt_instances.polygons
    expected, moved = pa.Pipeline(steps, seed=4)(image[None], targets, index=[3], epoch=0)
    torch.testing.assert_close(out["inputs"], expected)
    assert torch.equal(out["data_samples"][0].gt_instances.bboxes.tensor, moved[0]["boxes"])
    with pytest.raises(InputError, match=r"microscope_pipeline.*colour"):
        CrystalPreprocessor(augment=[dict(type="microscope_pipeline", colour=1)])
