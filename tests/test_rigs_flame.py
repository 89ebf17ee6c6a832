"""FLAME: made-up models deform as its formulas say; a pickle runs nothing."""

import os
import pickle
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

from pipeline.deform.deform import Deformer
from pipeline.deform.skinning import rotation_matrix
from pipeline.errors import ChainRigError
from pipeline.rigs.assemble import assembled
from pipeline.rigs.flame import JOINTS, POSE, read_flame

V = 40
PARENTS = [-1, 0, 1, 1, 1]


class Ch:
    """Stands for chumpy.ch.Ch, of which a pickle holds a dict with the array `x`."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x


def model(directions: int = 400) -> dict[str, np.ndarray]:
    """A FLAME-shaped model of 40 vertices, of a face's size."""
    g = np.random.default_rng(0)
    weights = g.random((V, 5)) ** 3
    regressor = g.random((5, V)) ** 8
    return {
        "v_template": g.normal(size=(V, 3)) * [0.05, 0.08, 0.05],
        "f": np.array([[k, k + 1, k + 2] for k in range(V - 2)], np.uint32),
        "shapedirs": 0.003 * g.normal(size=(V, 3, directions)),
        "posedirs": 0.01 * g.normal(size=(V, 3, 36)),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "weights": weights / weights.sum(1, keepdims=True),
    }


@pytest.fixture
def as_chumpy(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("chumpy.ch")
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    monkeypatch.setattr(module, "Ch", Ch, raising=False)
    monkeypatch.setattr(Ch, "__module__", "chumpy.ch")


def write_pickle(file: Path, arrays: dict[str, Any], protocol: int = 2) -> Path:
    file.write_bytes(pickle.dumps(arrays, protocol))
    return file


def flame_forward(arrays: dict[str, np.ndarray], betas: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """The paper's equations, with 4 × 4 matrices; pose (5, 3) rotation vectors."""
    shaped = arrays["v_template"] + arrays["shapedirs"] @ betas
    joints = arrays["J_regressor"] @ shaped
    R = rotation_matrix(torch.from_numpy(pose)).numpy()
    features = (R[1:] - np.eye(3)).reshape(-1)
    posed = shaped + arrays["posedirs"] @ features
    world: list[np.ndarray] = []
    for j, parent in enumerate(PARENTS):
        local = np.eye(4)
        local[:3, :3] = R[j]
        local[:3, 3] = joints[j] - (joints[parent] if parent >= 0 else 0)
        world.append(local if parent < 0 else world[parent] @ local)
    moved = np.array([W @ np.block([[np.eye(3), -c[:, None]], [np.zeros((1, 3)), 1]]) for W, c in
                      zip(world, joints, strict=True)])  # fmt: skip
    blended = np.einsum("vj,jab->vab", arrays["weights"], moved)
    return np.einsum("vab,vb->va", blended, np.concatenate([posed, np.ones((V, 1))], 1))[:, :3]


@pytest.mark.parametrize("up_is_z", [False, True])
def test_a_made_up_model_deforms_as_flame_does(tmp_path: Path, as_chumpy: None, up_is_z: bool) -> None:
    arrays = model()
    held = {**arrays, "J_regressor": scipy.sparse.csc_matrix(arrays["J_regressor"])}
    held |= {"shapedirs": Ch(arrays["shapedirs"]), "bs_style": "lbs"}  # type: ignore[dict-item]
    file = write_pickle(tmp_path / "generic_model.pkl", held)
    front = "-y" if up_is_z else "+z"
    rig, _ = assembled(read_flame(file), file, unit="m", up="+z" if up_is_z else "+y", front=front)
    assert rig.joint_names == JOINTS and rig.expression_names[: len(POSE)] == tuple(POSE)
    eyes = rig.joint_rest[[JOINTS.index("eye_left"), JOINTS.index("eye_right")]]
    assert eyes.mean(0).abs().max() < 1e-6  # the origin is between them
    assert len(rig.identity_names) == 100 and len(rig.pose_corrective_joints) == 4
    g = np.random.default_rng(1)
    values = {name: g.uniform(0, 1) for name in POSE}
    values |= {name: g.normal() for name in (*rig.identity_names[:20], *rig.expression_names[len(POSE) :])}
    betas, pose = np.zeros(400), np.zeros((5, 3))
    for name, value in values.items():
        if name in POSE:
            joint, turn = POSE[name]
            pose[JOINTS.index(joint)] += value * np.array(turn)
        else:
            betas[int(re.sub(r"\D", "", name)) + (300 if name.startswith("expression") else 0)] = value
    expected, rest = flame_forward(arrays, betas, pose), arrays["v_template"]
    turn = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]) if up_is_z else np.eye(3)
    found = Deformer(rig)(rig.controls.pack(values)) - rig.rest
    np.testing.assert_allclose(found.numpy(), (expected - rest) @ turn.T, atol=2e-6)


def test_an_npz_with_the_same_names_is_the_same_rig(tmp_path: Path) -> None:
    arrays = model(directions=60)
    np.savez(tmp_path / "flame.npz", **arrays)  # type: ignore[arg-type]
    one = read_flame(tmp_path / "flame.npz")
    other = read_flame(write_pickle(tmp_path / "flame.pkl", arrays, 4))
    assert [shape.name for shape in one.shapes] == [shape.name for shape in other.shapes]
    np.testing.assert_array_equal(one.positions, other.positions)
    assert sum(shape.group == "identity" for shape in one.shapes) == 60


def test_landmarks_of_a_static_embedding_beside_it_are_used(tmp_path: Path) -> None:
    file = write_pickle(tmp_path / "flame.pkl", model())
    embedding = {"lmk_face_idx": np.arange(51) % (V - 2), "lmk_b_coords": np.tile([0.1, 0.8, 0.1], (51, 1))}
    write_pickle(tmp_path / "flame_static_embedding.pkl", embedding)
    found = read_flame(file).landmarks68
    assert found is not None and found[17] == 1 and (found[:17] == -1).all()


class Runs:
    """A pickle of this calls os.system when a plain reader loads it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch '{self.marker}'",)


def test_a_malicious_pickle_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    file = write_pickle(tmp_path / "evil.pkl", {**model(), "f": Runs(marker)})
    with pytest.raises(ChainRigError, match=r"evil.pkl was not read: it asks for \w+.system"):
        read_flame(file)
    assert not marker.exists()
    pickle.loads(file.read_bytes())  # it would have
    assert marker.exists()


class Points:
    """An array of objects, which are addresses, made of bytes: addresses of the file's choice."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return np.ndarray, ((1,), np.dtype("O"), bytearray(b"A" * 8))


def test_addresses_are_not_followed(tmp_path: Path) -> None:
    file = write_pickle(tmp_path / "evil.pkl", {**model(), "J_regressor": Points()}, 5)
    with pytest.raises(ChainRigError, match="J_regressor|damaged"):
        read_flame(file)


@pytest.mark.parametrize(
    "code",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"c__builtin__\ngetattr\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.f2py.crackfortran\nmyeval\n(S'1'\ntR.",
        b"cscipy.sparse\nload_npz\n(S'x'\ntR.",
        b"cposix\nsystem\n(S'true'\ntR.",
    ],
)
def test_no_function_can_be_reached(tmp_path: Path, code: bytes) -> None:
    (tmp_path / "evil.pkl").write_bytes(code)
    with pytest.raises(ChainRigError, match="it asks for"):
        read_flame(tmp_path / "evil.pkl")


@pytest.mark.parametrize(
    "name, value, complaint",
    [
        ("v_template", np.full((V, 3), np.nan), "not finite"),
        ("f", np.array([[0, 1, V]]), "points beyond its 40 vertices"),
        ("weights", np.full((V, 5), 0.3), "do not sum to 1"),
        ("posedirs", np.zeros((V, 3, 9)), "posedirs has shape"),
        ("J_regressor", None, "has no array J_regressor"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(
    tmp_path: Path, name: str, value: np.ndarray | None, complaint: str
) -> None:
    arrays: dict[str, Any] = {**model(), name: value}
    with pytest.raises(ChainRigError, match=complaint):
        read_flame(write_pickle(tmp_path / "odd.pkl", arrays))
    whole = write_pickle(tmp_path / "whole.pkl", model()).read_bytes()
    (tmp_path / "cut.pkl").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ChainRigError, match="cut.pkl is no pickle of arrays"):
        read_flame(tmp_path / "cut.pkl")
