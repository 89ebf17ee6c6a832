"""Every setting of a fit: its name, type, default and meaning, stated once.

A configuration comes from the defaults below, a YAML file laid over them (`load_config`), and `a.b=c`
overrides. To add a setting, add its line to a section here and run `python -m pipeline.config`, which writes
configs/default.yaml anew.
"""

import difflib
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import ChainRigError

_FOLDERS = (Path(__file__).parent / "_configs", Path(__file__).parent.parent / "configs")  # wheel, checkout

Derivatives = Literal["hybrid", "chain", "embedding"]
DeformerKind = Literal["blendshape", "skinning", "quasistatic"]


class Section(BaseModel):
    """Settings that belong together; unknown names and values out of range are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Fit(Section):
    derivatives: Derivatives = Field(
        default="chain",
        description="chain: backpropagation through all layers; embedding: its stand-in; hybrid: both",
    )
    iterations: int = Field(default=16, ge=0, description="steps with the full chain, at most")
    deformer: DeformerKind = Field(
        default="skinning",
        description="shapes alone, shapes and joints as the rig has them, or flesh that they pull at: slow",
    )
    rig: str | None = Field(
        default=None, description="a rig file that chainrig rig made; null: the shipped head"
    )
    subject: str | None = Field(
        default=None, description="what chainrig calibrate found of the person: only expression is left"
    )
    loss: Literal["squares", "huber", "geman_mcclure"] = Field(
        default="squares", description="how much points count that are far off, see docs/solvers.md"
    )
    loss_percent: float = Field(
        default=1.5, gt=0, description="of huber and geman_mcclure: what is far, % of the outer-eye distance"
    )
    detector_smoothing: float = Field(
        default=0.1,
        ge=0,
        description="width of the smooth rectifier in the detector's backward pass; 0: exact",
    )
    device: Literal["cpu", "cuda"] = Field(
        default="cpu", description="what the chain runs on; cuda with --together of chainrig batch"
    )
    threads: int = Field(
        default=1,
        ge=1,
        description="of torch: more than one gains little, stalls on busy machines, and rounds differently",
    )


class Camera(Section):
    focal_px: float | None = Field(
        default=None,
        gt=0,
        description="focal length in pixels of the photo; null: from the EXIF, or from distance_m",
    )
    distance_m: float = Field(
        default=1.2, gt=0, description="from camera to face where no focal length is known"
    )
    estimate: bool = Field(
        default=False, description="look for the focal length where nothing gives it, around distance_m"
    )
    distance_spread: float = Field(
        default=0.5,
        gt=0,
        description="how far the distance may be from distance_m: deviation of its logarithm",
    )


class Render(Section):
    renderer: Literal["scanline", "raytrace"] = Field(
        default="scanline", description="raytrace: shadows and reflections, by Mitsuba (an extra); slow"
    )
    rasterizer: Literal["auto", "cpu", "triton", "pytorch3d", "nvdiffrast"] = Field(
        default="auto", description="who finds the triangles that pixels see, see docs/rasterizers.md"
    )
    samples: int = Field(default=2, ge=1, le=8, description="samples a pixel, on each axis")


class Landmarks(Section):
    detector: str = Field(
        default="facemesh", description="facemesh, fan, fan-3d, or a file that train-detector wrote"
    )
    whiten: bool = Field(
        default=True, description="landmarks count by how well the detector finds the same spot on renders"
    )
    bias_file: str | None = Field(
        default=None, description="what chainrig detector bias wrote of the detector; null: facemesh's own"
    )
    correct: bool = Field(
        default=False, description="take the mean error of the detector on renders off its landmarks"
    )
    scores: float = Field(
        default=0, ge=0, description="weight of facemesh's 52 blendshape scores, beside its points"
    )
    depth: float = Field(default=0, ge=0, description="weight of facemesh's z: 1 counts it like x and y")
    near: float = Field(
        default=0.5, ge=0, le=1, description="weight of labels that the detector has only nearly"
    )
    label_percent: float = Field(
        default=0.25, gt=0, description="how well labels should agree, % of the outer-eye distance"
    )
    force: bool = Field(default=False, description="fit also where the detector doubts that there is a face")


class Appearance(Section):
    fit: bool = Field(default=True, description="render in the light and the colours of the photo")


class Priors(Section):
    residual_percent: float = Field(
        default=0.1, gt=0, description="how well landmarks should agree, % of the outer-eye distance"
    )
    approach: float = Field(default=4.0, ge=1, description="the first stage takes all pulls so many times")
    expression: float = Field(default=0.2, ge=1e-6, description="Gaussian pull of expressions towards 0")
    sparsity: float = Field(default=4.0, ge=0, description="Laplace pull of expressions to 0 (smiles: none)")
    symmetry: float = Field(
        default=16.0, ge=0, description="pull of left and right towards each other (smiles and gaze: none)"
    )
    gaze: float = Field(default=64.0, ge=0, description="pull of both eyes towards looking the same way")
    identity: float = Field(
        default=64.0, ge=1e-6, description="pull towards the mean head while expressions are found"
    )
    identity_detail: float = Field(
        default=12.0, ge=1e-6, description="the same in the last stage, which takes up what is left"
    )
    expression_found: float = Field(
        default=100.0, ge=1e-6, description="how firmly the last stage keeps the expressions"
    )


class Config(Section):
    fit: Fit = Field(default=Fit(), description="the solver")
    landmarks: Landmarks = Field(default=Landmarks(), description="layer 3, and the photo's landmarks")
    camera: Camera = Field(default=Camera(), description="the pinhole camera that took the photo")
    render: Render = Field(default=Render(), description="layer 2")
    appearance: Appearance = Field(default=Appearance(), description="of the render: fixed, or fitted")
    priors: Priors = Field(
        default=Priors(), description="weights of the terms that keep the controls plausible"
    )
    controls: dict[str, float] = Field(
        default={}, description="controls held at a value, e.g. {jawOpen: 0.5}"
    )

    def to_yaml(self) -> str:
        """The configuration as a commented YAML file that `load_config` reads back unchanged."""
        return _yaml(self, indent="")


def load_config(path: str | Path | None = None, overrides: list[str] | None = None) -> Config:
    """The defaults, then the settings of a YAML file, then the `section.name=value` overrides.

    `path` is a file, or the name of a shipped one ("quality", "speed"). The value of an override is YAML:
    `null`, `0.5`, `[1, 2]`. `controls.NAME=value` holds the control NAME at that value.

    Raises:
        ChainRigError: the file cannot be read, or a setting has an unknown name or an impossible value.
    """
    settings = {} if path is None else _read(_find(path))
    for override in overrides or []:
        _lay_over(settings, override)
    try:
        return Config.model_validate(settings)
    except ValidationError as invalid:
        raise ChainRigError(_sentence(invalid)) from None


def _find(path: str | Path) -> Path:
    shipped = [file for folder in _FOLDERS if (file := folder / f"{path}.yaml").is_file()]
    return shipped[0] if shipped and not Path(path).exists() else Path(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as refused:
        raise ChainRigError(f"The configuration {path} cannot be read: {refused.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as broken:
        raise ChainRigError(
            f"The configuration {path} is not YAML: {' '.join(str(broken).split())}."
        ) from None
    if not isinstance(settings, dict | None):
        raise ChainRigError(
            f"The configuration {path} must hold sections such as 'fit:', not a single value."
        )
    return settings or {}


def _lay_over(settings: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    *sections, name = key.strip().split(".")
    if not equals or not sections or not name:
        raise ChainRigError(f"--set takes SECTION.NAME=VALUE, such as fit.iterations=10, not '{override}'.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ChainRigError(f"The value of {key} in --set is not YAML: '{text}'.") from None
    for section in sections:
        inner = settings.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ChainRigError(unknown("setting", key, _keys(Config())))
        settings = inner
    settings[name] = value


def unknown(kind: str, name: str, valid: list[str]) -> str:
    """A sentence for a name that does not exist, with the names nearest to it."""
    lower = {choice.lower(): choice for choice in valid}
    near = [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=2, cutoff=0.7)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(valid[:12])}."
    return f"There is no {kind} '{name}': {hint}"


def _sentence(invalid: ValidationError) -> str:
    error = invalid.errors()[0]
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return unknown("setting", key, _keys(Config()))
    reason = error["msg"][0].lower() + error["msg"][1:]
    return f"The setting {key} cannot be {error['input']!r}: {reason}."


def _keys(section: Section, prefix: str = "") -> list[str]:
    keys = []
    for name, value in section:
        keys += _keys(value, f"{prefix}{name}.") if isinstance(value, Section) else [prefix + name]
    return keys


def _yaml(section: Section, indent: str) -> str:
    lines = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            lines.append(f"{indent}# {field.description}\n{indent}{name}:\n{_yaml(value, indent + '  ')}")
        else:
            text = yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()
            lines.append(f"{indent}{name}: {text}  # {field.description}\n")
    return "".join(lines)


if __name__ == "__main__":
    (_FOLDERS[1] / "default.yaml").write_text(
        "# The defaults. A file for --config needs only the settings that it changes.\n" + Config().to_yaml(),
        encoding="utf-8",
    )
