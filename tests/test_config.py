"""Settings come from files and overrides; a wrong one is named, with what was probably meant."""

from pathlib import Path

import pytest

from pipeline.config import Config, load_config
from pipeline.errors import ChainRigError

CONFIGS = Path(__file__).parent.parent / "configs"


def test_shipped_default_is_what_the_code_does() -> None:
    text = (CONFIGS / "default.yaml").read_text(encoding="utf-8")
    assert text.partition("\n")[2] == Config().to_yaml(), "run python -m pipeline.config"


@pytest.mark.parametrize("name", [file.stem for file in CONFIGS.glob("*.yaml")])
def test_shipped_files_load_by_path_and_by_name(name: str) -> None:
    assert load_config(CONFIGS / f"{name}.yaml") == load_config(name)


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("fit: {iterations: 3, derivatives: chain}\n")
    config = load_config(file, ["fit.iterations=7", "camera.focal_px=1e3", "controls.jawOpen=0.25"])
    assert (config.fit.iterations, config.fit.derivatives) == (7, "chain")
    assert config.camera.focal_px == 1000
    assert config.controls == {"jawOpen": 0.25}


def test_saved_configuration_reads_back_unchanged(tmp_path: Path) -> None:
    config = load_config(None, ["fit.iterations=7", "camera.focal_px=900.5", "controls.jawOpen=0.25"])
    file = tmp_path / "config.yaml"
    file.write_text(config.to_yaml())
    assert load_config(file) == config


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("fit.iteratons=3", ["fit.iteratons", "fit.iterations"]),
        ("fti.iterations=3", ["fit.iterations"]),
        ("fit.iterations=many", ["fit.iterations", "many", "integer"]),
        ("fit.iterations=-1", ["fit.iterations", "-1"]),
        ("fit.derivatives=chian", ["fit.derivatives", "chian", "hybrid"]),
        ("camera.distance_m=.inf", ["camera.distance_m", "finite"]),
        ("controls.jawOpen=wide", ["controls.jawOpen", "wide"]),
        ("fit.iterations.x=3", ["fit.iterations"]),
        ("fit=3", ["--set", "fit=3"]),
        ("nonsense", ["--set", "nonsense"]),
        ("fit.iterations=[", ["fit.iterations"]),
    ],
)
def test_wrong_override_is_named(override: str, words: list[str]) -> None:
    with pytest.raises(ChainRigError) as error:
        load_config(None, [override])
    sentence = str(error.value)
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


@pytest.mark.parametrize("content", ["- 1\n- 2\n", "fit: [\n", "just words", "fit: 3\n", "\xff"])
def test_wrong_file_is_one_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(ChainRigError) as error:
        load_config(file)
    assert "\n" not in str(error.value)


def test_missing_file() -> None:
    with pytest.raises(ChainRigError, match="nowhere.yaml"):
        load_config("nowhere.yaml")
