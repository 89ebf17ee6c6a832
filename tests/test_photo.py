"""What people have on their disks, read as upright 8-bit RGB; or refused in one sentence."""

import hashlib
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin, features

from pipeline.errors import ChainRigError
from pipeline.target import photo as photo_module
from pipeline.target.photo import Photo, read_photo

ORIENTATIONS = {  # EXIF value -> how the camera must have stored an upright picture
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def picture() -> Image.Image:
    """64 × 48: red at the top left, green at the top right, blue at the bottom left, gray elsewhere."""
    pixels = np.full((48, 64, 3), 128, np.uint8)
    pixels[:16, :16] = (255, 0, 0)
    pixels[:16, -16:] = (0, 255, 0)
    pixels[-16:, :16] = (0, 0, 255)
    return Image.fromarray(pixels)


def corners(photo: Photo) -> list[list[int]]:
    p = photo.pixels
    return [p[4, 4].tolist(), p[4, -5].tolist(), p[-5, 4].tolist(), p[-5, -5].tolist()]


UPRIGHT = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128]]


def test_reads_pixels_name_and_digest(tmp_path: Path) -> None:
    file = tmp_path / "a photo.png"
    picture().save(file)
    photo = read_photo(file)
    assert (photo.width, photo.height) == (64, 48)
    assert corners(photo) == UPRIGHT
    assert photo.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert photo.focal_35mm is None and photo.focal_px is None
    assert photo.srgb[4, 4].tolist() == [1, 0, 0] and photo.srgb.shape == (48, 64, 3)


@pytest.mark.parametrize("orientation", sorted(ORIENTATIONS))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    file = tmp_path / "turned.png"
    picture().transpose(ORIENTATIONS[orientation]).save(file, exif=exif)
    photo = read_photo(file)
    assert (photo.width, photo.height) == (64, 48)
    assert corners(photo) == UPRIGHT


def test_focal_length_from_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 50
    file = tmp_path / "lens.jpg"
    Image.new("RGB", (3600, 2400)).save(file, exif=exif)
    photo = read_photo(file)
    assert photo.focal_35mm == 50
    assert photo.focal_px == pytest.approx(5000)  # 100 pixels a millimetre of a 36 × 24 frame


def test_gray(tmp_path: Path) -> None:
    file = tmp_path / "gray.jpg"
    Image.new("L", (40, 40), 77).save(file)
    assert read_photo(file).pixels[20, 20].tolist() == [77, 77, 77]


@pytest.mark.parametrize("value", [0, 257 * 77, 65535])
def test_16_bit_gray_is_scaled_not_clipped(tmp_path: Path, value: int) -> None:
    file = tmp_path / "gray16.png"
    Image.fromarray(np.full((40, 40), value, np.uint16)).save(file)
    assert read_photo(file).pixels[20, 20].tolist() == [value // 257] * 3


def test_16_bit_colour(tmp_path: Path) -> None:
    file = tmp_path / "colour16.png"
    rows = np.broadcast_to(np.array([65535, 257 * 100, 0], ">u2"), (40, 40, 3))
    file.write_bytes(png(40, 40, depth=16, rows=b"".join(b"\0" + row.tobytes() for row in rows)))
    assert read_photo(file).pixels[20, 20].tolist() == [255, 100, 0]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_lie_on_white(tmp_path: Path, mode: str) -> None:
    file = tmp_path / "clear.png"
    image = picture().convert("RGBA")
    alpha = np.full((48, 64), 255, np.uint8)
    alpha[:16, :16] = 0
    image.putalpha(Image.fromarray(alpha))
    image.convert(mode).save(file)
    photo = read_photo(file)
    assert photo.pixels[4, 4].tolist() == [255, 255, 255]
    assert photo.pixels[-5, -5].tolist() == [128, 128, 128]


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    file = tmp_path / "palette.png"
    image = picture().quantize(8)
    image.save(file)
    assert corners(read_photo(file)) == UPRIGHT
    image.save(file, transparency=image.getpixel((4, 4)))
    assert corners(read_photo(file)) == [[255, 255, 255], *UPRIGHT[1:]]


def test_cmyk(tmp_path: Path) -> None:
    file = tmp_path / "print.jpg"
    Image.new("CMYK", (40, 40), (0, 255, 255, 0)).save(file, quality=100)
    red, green, blue = read_photo(file).pixels[20, 20].tolist()
    assert red > 250 and green < 5 and blue < 5


@pytest.mark.parametrize("ending", ["webp", "avif", "heic"])
def test_newer_formats(tmp_path: Path, ending: str) -> None:
    if ending == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    elif not features.check(ending):
        pytest.skip(f"this Pillow was built without {ending}")
    file = tmp_path / f"phone.{ending}"
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 26
    exif[ExifTags.Base.Orientation] = 6
    # In HEIC the container turns the pixels, and the EXIF's orientation only tells that it did.
    stored = picture() if ending == "heic" else picture().transpose(ORIENTATIONS[6])
    stored.save(file, exif=exif, quality=95)
    photo = read_photo(file)
    assert (photo.width, photo.height) == (64, 48)
    assert photo.focal_35mm == 26 or ending == "avif"  # in which Pillow stores no lens
    assert np.abs(np.array(corners(photo)) - UPRIGHT).max() < 20


def test_heic_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    Image.init()  # formats that are loaded while the list is exchanged would be lost with it
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setattr(Image, "ID", [kind for kind in Image.ID if kind != "HEIF"])
    file = tmp_path / "phone.heic"
    file.write_bytes(b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(100))
    assert "pip install 'chainrig[photos]'" in refused(file)


def test_avif_with_a_pillow_that_lacks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_module.features, "check", lambda feature: False)
    file = tmp_path / "phone.avif"
    file.write_bytes(b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf" + bytes(100))
    Image.init()
    monkeypatch.setattr(Image, "ID", [kind for kind in Image.ID if kind != "AVIF"])
    assert "pip install 'chainrig[photos]'" in refused(file)


def swapped_channels() -> bytes:
    """An RGB profile whose red is sRGB's green and the other way round."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")  # in the table of tags
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


def test_colours_of_another_profile_become_srgb(tmp_path: Path) -> None:
    file = tmp_path / "wide.png"
    picture().save(file, icc_profile=swapped_channels())
    red, green, blue, gray = corners(read_photo(file))
    assert red[1] > 250 > 5 > red[0] and green[0] > 250 > 5 > green[1] and blue[2] > 250
    assert gray == [128, 128, 128]


@pytest.mark.parametrize("kind", ["srgb", "damaged", "of another mode"])
def test_a_profile_that_says_nothing_leaves_the_pixels(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "photo.png"
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image.save(file, icc_profile={"srgb": srgb, "damaged": b"not a profile", "of another mode": lab}[kind])
    assert np.array_equal(read_photo(file).pixels.numpy(), np.asarray(image))


def test_48_megapixels_work(tmp_path: Path) -> None:
    file = tmp_path / "phone.png"
    Image.new("RGB", (8000, 6000), (10, 20, 30)).save(file, compress_level=1)
    photo = read_photo(file)
    assert (photo.width, photo.height) == (8000, 6000)
    assert photo.pixels[5999, 7999].tolist() == [10, 20, 30]


def test_odd_metadata_leaks_no_warning(tmp_path: Path) -> None:
    file = tmp_path / "odd.jpg"
    picture().save(file, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff garbage")
    assert read_photo(file).width == 64  # pytest turns warnings into errors


def refused(path: Path) -> str:
    with pytest.raises(ChainRigError) as error:
        read_photo(path)
    sentence = str(error.value)
    assert "\n" not in sentence and str(path) in sentence and sentence.endswith(".")
    return sentence


def png(width: int, height: int, depth: int = 8, rows: bytes = b"") -> bytes:
    """A PNG file by hand, RGB: for sizes and depths that Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_missing_file(tmp_path: Path) -> None:
    assert "no photograph" in refused(tmp_path / "absent.jpg")


def test_folder(tmp_path: Path) -> None:
    assert "folder" in refused(tmp_path)


def test_empty_file(tmp_path: Path) -> None:
    file = tmp_path / "empty.jpg"
    file.touch()
    assert "empty" in refused(file)


def test_text_named_jpg(tmp_path: Path) -> None:
    file = tmp_path / "letter.jpg"
    file.write_text("Dear Sir or Madam, " * 100)
    assert "not an image" in refused(file)


@pytest.mark.parametrize("kind", ["jpg", "png", "heic"])
def test_truncated_file(tmp_path: Path, kind: str) -> None:
    if kind == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    file = tmp_path / f"half.{kind}"
    Image.effect_noise((200, 200), 50).save(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert "damaged or incomplete" in refused(file)


def test_one_pixel(tmp_path: Path) -> None:
    file = tmp_path / "dot.png"
    Image.new("RGB", (1, 1)).save(file)
    assert "too small (1 × 1" in refused(file)


@pytest.mark.parametrize("side", [10_001, 12_000, 60_000])  # beyond Pillow's warning and error limits too
def test_over_100_megapixels_is_refused_before_decoding(tmp_path: Path, side: int) -> None:
    file = tmp_path / "wall.png"
    file.write_bytes(png(side, side))
    assert "more than 100 megapixels" in refused(file)


def test_broken_text_chunk(tmp_path: Path) -> None:
    """A PNG whose compressed comment would fill the memory (Pillow raises a plain ValueError)."""
    file = tmp_path / "comment.png"
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    picture().save(file, pnginfo=info)
    assert "damaged" in refused(file)
