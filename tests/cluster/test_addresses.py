"""Addresses where no cluster is, tried by a process that belongs to none."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

import drawer
import pytest

from pcs_render import cluster, production
from pcs_render.cluster import driver
from pcs_render.errors import InputError
from pcs_render.profile import PROFILES
from pcs_render.settings import Settings
from pcs_render.shards import verify

pytestmark = pytest.mark.cluster


def test_addresses_where_no_cluster_is_are_refused_soon(monkeypatch):
    monkeypatch.setattr(driver, "CONNECT", 4.0)
    with socket.socket() as free, socket.socket() as silent:
        free.bind(("127.0.0.1", 0))  # a port that nobody listens at
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for address, message in {
            f"127.0.0.1:{free.getsockname()[1]}": "no Ray cluster answers",
            f"127.0.0.1:{silent.getsockname()[1]}": "does not answer as a Ray cluster",
            "nowhere.invalid:6379": "no Ray cluster answers",
            "ray://127.0.0.1:10001": "HOST:PORT",
            "127.0.0.1:99999": "HOST:PORT",
            "here": "HOST:PORT",
            "": "HOST:PORT",
        }.items():
            began = time.monotonic()
            with pytest.raises(InputError, match=message), cluster.connected(address):
                pass
            assert time.monotonic() - began < 15


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"ray, which is not installed.*\.\[cluster\]"), cluster.connected("auto"):
        pass


def test_a_cluster_of_this_machine_alone_is_started_and_ended(tmp_path):
    settings = Settings(width=64, height=48, area=(4, 400), long_side=48, max_crystals=6, shapes="cube")
    job = production.Job.of(settings, PROFILES["preview"])
    before = signal.getsignal(signal.SIGTERM)
    with cluster.connected("local") as ray:
        assert signal.getsignal(signal.SIGTERM) == before
        ray.cloudpickle.register_pickle_by_value(drawer)
        opened = drawer.Opened()
        version = cluster.blender_version(job, "local", threads=1, renderer=opened)
        with production.create_or_resume(tmp_path, job, 3, blender=version) as writer:
            cluster.produce(writer, job, "local", threads=1, workers=1, renderer=opened)
        nodes = ray.nodes()
    assert verify(tmp_path).ok
    assert [n["NodeManagerAddress"] for n in nodes] == ["127.0.0.1"]  # nobody else can reach it
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert not ray.is_initialized()
