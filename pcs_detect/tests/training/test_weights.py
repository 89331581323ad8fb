"""Pretrained weights come from a local file where there is one, from the network else, and are never executed."""

import hashlib
import os
import urllib.error
import urllib.request

import pytest
import torch

from pcs_detect.errors import DataError, InputError
from pcs_detect.training import configs
from pcs_detect.training.engine import weights
from pcs_detect.training.models.backbone import CrystalResNet

URL = "https://example.org/models/resnet18-abc.pth"
NAME = "resnet18-abc.pth"


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """An empty cache, no folder, no network."""
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv(weights.FOLDER_VARIABLE, raising=False)
    reach = urllib.request.urlopen

    def urlopen(url, *args, **options):
        if url.startswith("http"):
            raise urllib.error.URLError("Name or service not known")
        return reach(url, *args, **options)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)


def write(folder, name=NAME, state=None):
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"conv1.weight": torch.ones(1)} if state is None else state, folder / name)
    return folder / name


def test_places_are_looked_into_in_order(tmp_path, monkeypatch):
    cache = write(tmp_path / "hub" / "checkpoints")
    assert weights.find(URL) == cache
    variable = write(tmp_path / "variable")
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(variable.parent))
    assert weights.find(URL) == variable
    given = write(tmp_path / "given")
    assert weights.find(URL, given.parent) == given
    given.unlink()
    assert weights.find(URL, given.parent) == variable
    assert weights.find(str(cache), given.parent) == cache


def test_download_goes_to_the_cache_once(tmp_path):
    source = write(tmp_path / "server", "net.pth")
    first = weights.find(source.as_uri())
    assert first.parent == tmp_path / "hub" / "checkpoints"
    assert first.read_bytes() == source.read_bytes()
    source.unlink()
    assert weights.find(source.as_uri()) == first
    assert sorted(p.name for p in first.parent.iterdir() if not p.name.endswith(".lock")) == ["net.pth"]


@pytest.mark.parametrize("intact", [True, False])
def test_download_is_checked_against_the_hash_in_its_name(tmp_path, intact):
    source = write(tmp_path / "server", "net.pth")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:8] if intact else "0" * 8
    named = source.rename(source.with_name(f"net-{digest}.pth"))
    cached = tmp_path / "hub" / "checkpoints" / named.name
    if intact:
        assert weights.find(named.as_uri()) == cached
    else:
        with pytest.raises(InputError, match="arrived damaged"):
            weights.find(named.as_uri())
        assert [p for p in cached.parent.iterdir() if not p.name.endswith(".lock")] == []


def test_without_file_and_network_the_message_says_what_to_do(tmp_path):
    with pytest.raises(InputError) as caught:
        weights.find(URL, tmp_path)
    message = str(caught.value)
    for words in (
        NAME,
        URL,
        str(tmp_path),
        "--weights",
        weights.FOLDER_VARIABLE,
        "--random-init",
        "with a network",
        "not known",
    ):
        assert words in message


@pytest.mark.parametrize("source", ["/no/such/file.pth", "torchvision://resnet50", ""])
def test_what_is_neither_file_nor_url_is_named(source):
    with pytest.raises(InputError, match="neither a file nor a URL"):
        weights.find(source)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        weights.find(URL, tmp_path / "absent")


@pytest.mark.parametrize("name", ["s2anet_r50_anchor16_pool_imagenet_12e", "oriented_rcnn_r50", "rtmdet_r_small"])
def test_resolve_puts_files_in_the_place_of_urls(name, tmp_path):
    cfg = configs.load(name, {"load_from": "https://example.org/all.pth"})
    url = cfg.model.backbone.init_cfg.checkpoint
    assert url.startswith("https://")
    mine, all_of_it = write(tmp_path / "w", url.rsplit("/", 1)[1]), write(tmp_path / "w", "all.pth")
    weights.resolve(cfg, tmp_path / "w")
    assert cfg.model.backbone.init_cfg.checkpoint == str(mine)
    assert cfg.load_from == str(all_of_it)
    mine.unlink()
    with pytest.raises(InputError, match=mine.name):
        weights.resolve(configs.load(name), tmp_path / "w")


@pytest.mark.parametrize("name", [n for n, _ in configs.available()])
def test_random_initialisation_leaves_nothing_pretrained_and_nothing_frozen(name):
    cfg = configs.load(name, {"load_from": URL})
    weights.random_initialisation(cfg)
    assert cfg.load_from is None
    assert "Pretrained" not in cfg.pretty_text
    weights.resolve(cfg)  # asks for nothing
    assert cfg.model.backbone.get("frozen_stages", -1) == -1
    assert not cfg.model.backbone.get("norm_eval", False)


class Attack:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_programs_hidden_in_weights_are_not_run(tmp_path, monkeypatch):
    marker = tmp_path / "owned"
    path = write(tmp_path / "w", state={"conv1.weight": torch.ones(1), "more": Attack(marker)})
    cfg = configs.load("s2anet_tiny", {"load_from": URL})
    with pytest.raises(DataError, match=NAME):
        weights.resolve(cfg, path.parent)
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(path.parent))
    network = CrystalResNet(18, base_channels=8, init_cfg={"type": "Pretrained", "checkpoint": URL})
    with pytest.raises(DataError, match=NAME):
        network.init_weights()
    assert not marker.exists()


def test_openmmlab_finds_urls_in_the_folder_too(tmp_path, monkeypatch):
    donor = CrystalResNet(18, base_channels=8, in_channels=3)
    write(tmp_path / "w", state=donor.state_dict())
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path / "w"))
    network = CrystalResNet(18, base_channels=8, init_cfg={"type": "Pretrained", "checkpoint": URL})
    network.init_weights()
    assert torch.equal(network.layer4[1].conv2.weight, donor.layer4[1].conv2.weight)
