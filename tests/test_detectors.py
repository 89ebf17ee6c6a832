"""`--detector`: what can be chosen, and what is refused in one sentence."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipeline import assets
from pipeline.detect.detectors import load_detector
from pipeline.detect.region import Region
from pipeline.errors import ChainRigError
from pipeline.target.schemes import scheme

TRAINED = assets.path("landmarks68_synthetic.safetensors")


@pytest.mark.parametrize(("choice", "title"), [("facemesh", "facemesh"), (str(TRAINED), TRAINED.name)])
def test_what_can_be_chosen(choice: str, title: str) -> None:
    detector = load_detector(choice, smoothing=0.3)
    assert detector.title == title
    landmarks = detector(torch.rand(2, 256, 256, 3))
    assert landmarks.shape[:2] == (2, len(scheme(detector.scheme)))
    mesh = Region(torch.tensor([5.0, 6.0]), torch.tensor(90.0), torch.tensor(0.2))
    assert detector.region(torch.tensor([0.0, 0.0, 9.0, 9.0]), mesh) is mesh


def test_fan_wants_its_own_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.detect import fan

    monkeypatch.setattr(fan.fan_weights, "fetch", lambda variant: Path(variant))
    monkeypatch.setattr(fan.fan_weights, "read", lambda path: {})
    monkeypatch.setattr(fan.fan_weights, "install", lambda weights, network, path: None)
    detector = load_detector("fan-3d")
    assert (detector.title, detector.scheme) == ("fan-3d", "ibug68")
    mesh = Region(torch.tensor([50.0, 60.0]), torch.tensor(90.0), torch.tensor(0.2))
    asked = detector.region(torch.tensor([10.0, 20.0, 90.0, 100.0]), mesh)
    assert float(asked.rotation) == 0 and 160 < float(asked.side) < 166


class Trap:
    def __reduce__(self):
        return (Path("trapped").touch, ())


def test_bad_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def refused(name: str) -> str:
        with pytest.raises(ChainRigError) as caught:
            load_detector(name)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
        return str(caught.value)

    assert "facemesh, fan, fan-3d" in refused("facemash")
    Path("half").write_bytes(TRAINED.read_bytes()[:5000])
    assert "half is damaged" in refused("half")
    Path("trap.pth").write_bytes(pickle.dumps(Trap()))
    assert "trap.pth is damaged, or not written by" in refused("trap.pth")
    assert not Path("trapped").exists()
    save_file({"weight": torch.zeros(3)}, "other.safetensors", {"about": '{"kind": "cats"}'})
    assert "another architecture: cats" in refused("other.safetensors")
    kind = '"kind": "heatmaps of 68 points"'
    for about in ("[1]", f"{{{kind}}}", f'{{{kind}, "widths": ["a", 2]}}', f'{{{kind}, "widths": 3}}'):
        save_file({"weight": torch.zeros(3)}, "other.safetensors", {"about": about})
        assert "other.safetensors is damaged" in refused("other.safetensors")
    save_file(
        {"weight": torch.full((3,), torch.nan)},
        "nan.safetensors",
        {"about": f'{{{kind}, "widths": [64, 128]}}'},
    )
    assert "nan.safetensors is damaged" in refused("nan.safetensors")
    assert "not written by" in refused(str(assets.path("face_landmarks.safetensors")))
