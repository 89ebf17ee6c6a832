"""`chainrig check-gradients`: layers of one's own, exit codes, JSON."""

import json
from pathlib import Path

import pytest
import typer

from pipeline.commands.check_gradients import check_gradients
from pipeline.errors import ChainRigError

MINE = '''
import torch
from pipeline.layer import Layer
from pipeline.derivatives.axes import FunctionLayer


class Fog(Layer):
    name, input_axes, output_axes = "fog", ("vertex", "xyz"), ("vertex",)

    def __init__(self, thickness=2.0):
        super().__init__()
        self.register_buffer("thickness", torch.tensor(thickness))

    def forward(self, x):
        return 1 - (-self.thickness * x.norm(dim=-1)).exp()

    def example_input(self):
        return torch.linspace(-1, 1, 30).reshape(10, 3)


class Lost(Fog):
    name = "lost"

    def forward(self, x):
        return super().forward(x.detach()) + 0.1 * x[..., 0]


class NeedsMore(Fog):
    def __init__(self, thickness):
        super().__init__(thickness)


class Voxels(Fog):
    input_axes = ("voxel",)
    example_input = None


class Unbuffered(Fog):
    def forward(self, x):
        return x @ torch.ones(3)


class Scalar(Fog):
    def forward(self, x):
        return super().forward(x).sum()


class Silent(Fog):
    def forward(self, x):
        pass


class NoExample(Fog):
    def example_input(self):
        raise RuntimeError("the example is lost")


def energy():
    """Of landmarks: examined at the chain's own."""
    return FunctionLayer(lambda y: y.square().sum((-1, -2)), ("landmark", "xyz"), (), name="energy")


not_a_layer = 7
'''


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_for_checks.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def run(*layers: str, as_json: bool = False, **options: str) -> int:
    chosen = {"rig": "head_rig", "renderer": "scanline", "rasterizer": "auto", **options}
    try:
        check_gradients([f"mine_for_checks:{name}" for name in layers], **chosen, json_=as_json)  # type: ignore[arg-type]
    except typer.Exit as stop:
        return stop.exit_code
    return 0


def test_a_right_layer_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("Fog") == 0
    printed = capsys.readouterr().out
    assert "adjoint identity" in printed and "All 7 checks passed." in printed


def test_a_wrong_one_is_named_in_one_sentence_and_the_exit_code_is_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("Fog", "Lost") == 1
    told = capsys.readouterr().err.strip()
    assert told.startswith("chainrig: lost: xyz ") and told.count("\n") == 0
    assert "against differences: the error is 1.1e+00, where 1e-06 is allowed" in told


def test_json_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("Fog", "Lost", as_json=True) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "chainrig.check-gradients/1" and document["passed"] is False
    assert document["worst"]["layer"] == "lost"
    assert {check["layer"] for check in document["checks"] if not check["passed"]} == {"lost"}


def test_what_takes_what_the_chain_has_needs_no_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("energy") == 0
    assert "energy" in capsys.readouterr().out


@pytest.mark.parametrize(
    "layer, sentence",
    [
        ("Nothing", "has no Nothing"),
        ("not_a_layer", "is no pipeline.layer.Layer"),
        ("NeedsMore", "cannot be made without arguments"),
        ("Voxels", r"takes \('voxel',\).*example_input"),
        ("Unbuffered", "cannot be evaluated in float64.*buffers"),
        ("Scalar", "which is not .* followed by the axes"),
        ("Silent", "gives NoneType, not a tensor"),
        ("NoExample", "makes no example_input.*the example is lost"),
    ],
)
def test_what_cannot_be_examined_is_refused_in_a_sentence(layer: str, sentence: str) -> None:
    with pytest.raises(ChainRigError, match=sentence):
        run(layer)


def test_other_bad_input_is_refused() -> None:
    with pytest.raises(ChainRigError, match="no Python module nowhere_at_all"):
        check_gradients(["nowhere_at_all:Layer"])
    with pytest.raises(ChainRigError, match="--layer takes deform, .* or module:Class, not 'deforn'"):
        check_gradients(["deforn"])
    with pytest.raises(ChainRigError, match="is named as my_module:MyLayer, not 'fog:'"):
        check_gradients(["fog:"])
    with pytest.raises(ChainRigError, match="no rig file"):
        check_gradients(["deform"], rig="another.npz")
    with pytest.raises(ChainRigError, match="--renderer takes scanline or raytrace, not 'wax'"):
        check_gradients(["render"], renderer="wax")
