"""The CPU quota of the cgroup, as version 1 and version 2 write it."""

from __future__ import annotations

import os

import pytest

from intel_quantized_embeddings.process import cores


def _write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


def _quota(tmp_path, lines):
    (tmp_path / "cgroup").write_text(lines)
    return cores.cpu_quota(own_cgroups=tmp_path / "cgroup", mounted_at=tmp_path / "sys")


def test_version_2(tmp_path):
    _write(tmp_path / "sys", cpu__max="250000 100000\n")
    assert _quota(tmp_path, "0::/\n") == 2.5


def test_version_2_without_a_limit(tmp_path):
    _write(tmp_path / "sys/user.slice", cpu__max="max 100000\n")
    assert _quota(tmp_path, "0::/user.slice\n") is None


def test_the_tightest_of_the_groups_above_counts(tmp_path):
    _write(tmp_path / "sys/pod", cpu__max="150000 100000")
    _write(tmp_path / "sys/pod/container", cpu__max="400000 100000")
    assert _quota(tmp_path, "0::/pod/container\n") == 1.5


def test_a_container_that_sees_its_path_on_the_host(tmp_path):
    _write(tmp_path / "sys", cpu__max="300000 100000")
    assert _quota(tmp_path, "0::/kubepods.slice/pod7/abc\n") == 3


def test_version_1(tmp_path):
    _write(tmp_path / "sys/cpu/docker/abc", cpu__cfs_quota_us="50000\n", cpu__cfs_period_us="100000\n")
    _write(tmp_path / "sys/cpu", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    lines = "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n"
    assert _quota(tmp_path, lines) == 0.5


@pytest.mark.parametrize("content", ["", "2", "many 100000", "100000 0", "a b c"])
def test_what_can_not_be_read_limits_nothing(tmp_path, content):
    _write(tmp_path / "sys", cpu__max=content)
    assert _quota(tmp_path, "0::/\n") is None


def test_no_cgroups(tmp_path):
    assert cores.cpu_quota(own_cgroups=tmp_path / "nowhere", mounted_at=tmp_path) is None


def test_version_1_mounted_under_another_name_of_its_group(tmp_path):
    """Listed as "cpuacct,cpu", mounted as "cpu,cpuacct" with a link "cpu" to it."""
    files = {"cpu__cfs_quota_us": "200000\n", "cpu__cfs_period_us": "100000\n"}
    _write(tmp_path / "sys/cpu,cpuacct/docker/abc", **files)
    (tmp_path / "sys/cpu").symlink_to(tmp_path / "sys/cpu,cpuacct")
    assert _quota(tmp_path, "4:cpuacct,cpu:/docker/abc\n") == 2


@pytest.mark.parametrize(("quota", "expected"), [(None, 4), (0.2, 1), (1.5, 1), (3.99, 3), (4.0, 4), (64.0, 4)])
def test_threads_are_what_the_quota_pays_for(monkeypatch, quota, expected):
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    monkeypatch.setattr(cores, "affinity", lambda: [0, 1, 2, 3])
    assert cores.within_quota(4) == cores.granted_cores() == expected


@pytest.mark.parametrize("version", [1, 2])
def test_half_a_core_grants_one(tmp_path, monkeypatch, version):
    _write(tmp_path / "sys", cpu__max="50000 100000")
    _write(tmp_path / "sys/cpu", cpu__cfs_quota_us="50000\n", cpu__cfs_period_us="100000\n")
    quota = _quota(tmp_path, "0::/\n" if version == 2 else "4:cpu:/\n")
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    monkeypatch.setattr(cores, "affinity", lambda: list(range(64)))
    assert cores.granted_cores() == 1


def test_the_affinity_is_this_process_s():
    assert set(cores.affinity()) == os.sched_getaffinity(0)
