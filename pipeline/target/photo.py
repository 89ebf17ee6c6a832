"""Reading a photograph: whatever the file's mode and orientation, upright 8-bit sRGB pixels."""

import hashlib
import io
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError, features
from torch import Tensor

from pipeline.errors import ChainRigError

MAX_PIXELS = 100_000_000
MIN_SIDE = 32  # px; no detector finds a face in less

ROUNDING = 2  # of 255: how far two makers' sRGB profiles may be apart

_BRANDS = {  # of ISO media files
    **dict.fromkeys([b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"], "HEIF"),
    **dict.fromkeys([b"avif", b"avis"], "AVIF"),
}
_DIAGONAL_35MM = math.hypot(36, 24)  # mm


@dataclass(frozen=True)
class Photo:
    """A photograph, upright.

    Attributes:
        pixels: `(H, W, 3)` uint8, sRGB-encoded: 48 megapixels take 144 MB, a fifth of what floats would.
        path: the file as the user named it.
        sha256: of the file's bytes, hexadecimal.
        focal_35mm: the lens's 35 mm equivalent focal length in mm from the EXIF, or None.
    """

    pixels: Tensor
    path: Path
    sha256: str
    focal_35mm: float | None = None

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @property
    def srgb(self) -> Tensor:
        """`(H, W, 3)` float32 in [0, 1], converted anew at every access (12 bytes a pixel)."""
        return self.pixels.to(torch.float32).div_(255)

    @property
    def focal_px(self) -> float | None:
        """The EXIF's focal length in pixels: a 35 mm equivalent keeps the angle of view over the diagonal."""
        if self.focal_35mm is None:
            return None
        return self.focal_35mm * math.hypot(self.width, self.height) / _DIAGONAL_35MM


def read_photo(path: str | Path) -> Photo:
    """Reads JPEG, PNG, WebP, TIFF, BMP and what else Pillow knows; of several frames, the first.

    HEIC and AVIF need `pip install 'chainrig[photos]'`. The EXIF orientation is applied. Gray, palette, CMYK
    and 16-bit images become 8-bit RGB, colours of another profile than sRGB (Display P3, Adobe RGB, …) become
    sRGB's; transparent pixels are laid on white.

    Raises:
        ChainRigError: there is no such file, it is no readable image, or it is too small or too large.
    """
    path = Path(path)
    _require_file(path)
    kind = _kind(path)
    if kind == "HEIF":
        _learn_heif()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's on odd EXIF or sizes: what matters is checked here
        try:
            with Image.open(path) as image:
                _require_size(path, *image.size)
                image.load()
                focal_35mm = _focal_35mm(image)
                profile = image.info.get("icc_profile")
                pixels = np.array(_rgb8(path, ImageOps.exif_transpose(image), profile))
        except Image.DecompressionBombError:
            raise _too_large(path) from None
        except UnidentifiedImageError:
            if kind is not None and not _known(kind):
                raise ChainRigError(
                    f"{path} is a HEIC or AVIF photo, which needs another package: "
                    "run pip install 'chainrig[photos]', or save it as JPEG."
                ) from None
            raise ChainRigError(
                f"{path} is not an image that ChainRig can read: give it a JPEG, PNG, WebP, TIFF or BMP file."
            ) from None
        except ChainRigError:
            raise
        except (OSError, SyntaxError, ValueError, EOFError) as broken:  # Pillow's ways to say damaged
            why = " ".join(str(broken).split())
            raise ChainRigError(f"{path} is damaged or incomplete and cannot be decoded ({why}).") from None
    return Photo(torch.from_numpy(pixels), path, _sha256(path), focal_35mm)


def _require_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise ChainRigError(f"{path} is a folder: name one photograph in it.")
        if not path.is_file():
            raise ChainRigError(f"There is no photograph {path}: check the path.")
        with path.open("rb") as file:
            if not file.read(1):
                raise ChainRigError(f"{path} is empty (0 bytes): copy the photograph again.")
    except OSError as refused:
        raise ChainRigError(f"{path} cannot be opened: {refused.strerror}.") from None


def _require_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _too_large(path, f" ({width} × {height})")
    if min(width, height) < MIN_SIDE:
        raise ChainRigError(
            f"{path} is too small ({width} × {height} pixels): at least {MIN_SIDE} × {MIN_SIDE} are needed."
        )


def _too_large(path: Path, size: str = "") -> ChainRigError:
    return ChainRigError(f"{path} has more than {MAX_PIXELS // 10**6} megapixels{size}: scale it down first.")


def _kind(path: Path) -> str | None:
    """HEIF or AVIF, from the brand at the beginning of the file."""
    with path.open("rb") as file:
        start = file.read(12)
    return _BRANDS.get(start[8:12]) if start[4:8] == b"ftyp" else None


def _learn_heif() -> None:
    """Teaches Pillow to open HEIF, if pillow-heif is installed."""
    try:
        import pillow_heif  # pyright: ignore[reportMissingImports]  # of the extra `photos`
    except ImportError:
        return
    pillow_heif.register_heif_opener()


def _known(kind: str) -> bool:
    return bool(features.check("avif")) if kind == "AVIF" else kind in Image.OPEN


def _rgb8(path: Path, image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bit gray; Pillow's own conversion would clip, not scale
        values = np.asarray(image).astype(np.int64)
        image = Image.fromarray((np.clip(values, 0, 65535) // 257).astype(np.uint8))
    if image.mode == "F":
        raise ChainRigError(f"{path} has floating-point pixels of unknown range: save it as 8 or 16 bit.")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        image = Image.new("RGBA", opaque.size, "white")
        image.alpha_composite(opaque)
    if image.mode not in ("L", "CMYK"):
        image = image.convert("RGB")
    return (_as_srgb(image, profile) if profile else image).convert("RGB")


def _as_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """An L, RGB or CMYK image with the colours of its ICC profile; as it is if the profile is of no use."""
    try:
        change = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            image.mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
    except (ImageCms.PyCMSError, OSError):  # damaged, or for images of another mode
        return image
    if image.mode == "RGB":
        steps = np.linspace(0, 255, 6).round().astype(np.uint8)
        cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(6, 36, 3)
        changed = np.asarray(ImageCms.applyTransform(Image.fromarray(cube), change))
        if np.abs(changed.astype(int) - cube).max() <= ROUNDING:
            return image  # sRGB by another name
    return ImageCms.applyTransform(image, change) or image


def _focal_35mm(image: Image.Image) -> float | None:
    value: Any = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm)
    try:
        focal = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return focal if 0 < focal < math.inf else None  # 0 means unknown


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
