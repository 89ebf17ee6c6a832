"""The crop that the detector sees: its maps, its pixels, their derivatives."""

import math

import pytest
import torch
from torch.func import jvp, vjp

from pipeline.detect.region import Region


def region(batch: tuple[int, ...] = (), size: int = 16, dtype: torch.dtype = torch.float64) -> Region:
    """Turned squares well inside a 60×80 photo."""
    some = torch.Generator().manual_seed(0)
    centre = torch.rand(*batch, 2, generator=some, dtype=dtype) * 10 + torch.tensor([35.0, 25.0], dtype=dtype)
    side = 20 + 5 * torch.rand(batch, generator=some, dtype=dtype)
    return Region(centre, side, torch.rand(batch, generator=some, dtype=dtype) - 0.5, size)


def photo(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_an_upright_crop_follows_mediapipes_rule():
    # Crop index i shows photo index left + i·side/size; here left = 10, top = 4, side/size = 1/2.
    square = Region(torch.tensor([14.5, 8.5]), torch.tensor(8.0), torch.tensor(0.0), size=16)
    assert square.map_to_photo(torch.tensor([[0.5, 0.5], [2.5, 4.5]])).tolist() == [[10.5, 4.5], [11.5, 6.5]]
    picture = photo(20, 30, 3).float()
    crop = square.crop(picture)
    torch.testing.assert_close(crop[::2, ::2], picture[4:12, 10:18])
    torch.testing.assert_close(crop[0, 1], (picture[4, 10] + picture[4, 11]) / 2)


def test_rotation_is_clockwise_on_the_screen():
    square = Region(torch.tensor([50.0, 50.0]), torch.tensor(16.0), torch.tensor(math.pi / 2), size=16)
    right_of_centre = square.map_to_photo(torch.tensor([[11.5, 8.5]]))
    torch.testing.assert_close(right_of_centre, torch.tensor([[50.0, 53.0]]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("axes", [2, 3])
def test_maps_are_inverse(axes):
    square = region((2, 3))
    points = photo(2, 3, 7, axes) * 16
    torch.testing.assert_close(square.map_to_crop(square.map_to_photo(points)), points)
    if axes == 3:
        scale = (square.side / square.size)[..., None]
        torch.testing.assert_close(square.map_to_photo(points)[..., 2], points[..., 2] * scale)


def test_crop_is_bilinear_interpolation():
    square, picture = region(), photo(60, 80, 3)
    crop = square.crop(picture)
    for i, j in [(0, 0), (3, 12), (15, 15)]:
        x, y = (
            square.map_to_photo(torch.tensor([[j + 0.5, i + 0.5]], dtype=torch.float64))[0] - 0.5
        ).tolist()
        hats = [
            torch.tensor([max(0.0, 1 - abs(k - at)) for k in range(n)], dtype=torch.float64)
            for at, n in ((y, 60), (x, 80))
        ]
        torch.testing.assert_close(crop[i, j], torch.einsum("h,w,hwc->c", *hats, picture))


def test_crop_of_a_batch_is_its_singles():
    squares, pictures = region((3,)), photo(3, 60, 80, 3)
    shared, own = squares.crop(pictures[0]), squares.crop(pictures)
    for k in range(3):
        one = Region(squares.centre[k], squares.side[k], squares.rotation[k], squares.size)
        torch.testing.assert_close(own[k], one.crop(pictures[k]))
        torch.testing.assert_close(shared[k], one.crop(pictures[0]))


def test_beyond_the_edge_the_last_pixels_go_on():
    picture = photo(10, 10, 3)
    square = Region(*(torch.tensor(v, dtype=torch.float64) for v in ([-50.0, 5.0], 8.0, 0.0)), size=16)
    torch.testing.assert_close(square.crop(picture)[1, :, 0], picture[1, 0, 0].expand(16))


def test_a_large_region_is_averaged_and_stays_in_place():
    # A ramp is its own average, and a checkerboard, which four samples would alias, is grey.
    x = torch.arange(400, dtype=torch.float64) + 0.5
    ramp = x.expand(400, 400)
    board = (torch.arange(400)[:, None] + torch.arange(400)) % 2
    picture = torch.stack([ramp, ramp.mT, board.double()], -1)
    square = Region(*(torch.tensor(v, dtype=torch.float64) for v in ([200.0, 190.0], 128.0, 0.2)), size=16)
    crop = square.crop(picture)
    pixel = torch.arange(16, dtype=torch.float64) + 0.5
    grid = torch.stack(torch.meshgrid(pixel, pixel, indexing="xy"), -1).reshape(-1, 2)
    torch.testing.assert_close(crop[..., :2].reshape(-1, 2), square.map_to_photo(grid))
    torch.testing.assert_close(crop[..., 2], torch.full((16, 16), 0.5, dtype=torch.float64))


@pytest.mark.parametrize("side", [20.0, 40.0])
@pytest.mark.parametrize("centre", [(35.0, 25.0), (1.0, 58.0), (500.0, -90.0)])
def test_bytes_are_the_floats_they_stand_for(centre, side):
    square = Region(torch.tensor(centre), torch.tensor(side), torch.tensor(0.3), size=16)
    picture = (photo(60, 80, 3) * 255).byte()
    assert torch.equal(square.crop(picture), square.crop(picture.float() / 255))


def test_only_what_is_seen_is_looked_at():
    picture = photo(60, 80, 3)
    square = region()
    corners = square.map_to_photo(torch.tensor([[0.0, 0], [16, 0], [16, 16], [0, 16]], dtype=torch.float64))
    (left, top), (right, bottom) = corners.amin(0).int() - 2, corners.amax(0).int() + 2
    blind = torch.full_like(picture, torch.nan)
    blind[top:bottom, left:right] = picture[top:bottom, left:right]
    assert torch.equal(square.crop(blind), square.crop(picture))


def test_four_samples_a_pixel_alias_where_they_are_asked_for():
    board = ((torch.arange(64)[:, None] + torch.arange(64)) % 2).double()[..., None]
    square = Region(*(torch.tensor(v, dtype=torch.float64) for v in ([32.5, 32.5], 64.0, 0.0)), size=16)
    assert square.crop(board, averaged=False).unique().numel() == 1  # every fourth square: all of one colour
    torch.testing.assert_close(square.crop(board), torch.full((16, 16, 1), 0.5, dtype=torch.float64))


def test_derivatives_in_the_photo_and_in_the_region():
    square, picture = region(), photo(60, 80, 3)
    inputs = (picture, square.centre, square.side, square.rotation)

    def crop(picture, centre, side, rotation):
        return Region(centre, side, rotation, square.size).crop(picture)

    d = tuple(torch.randn_like(value) for value in inputs)
    y, along = jvp(crop, inputs, d)[:2]
    h = 1e-7
    ahead = crop(*(v + h * t for v, t in zip(inputs, d, strict=True)))
    behind = crop(*(v - h * t for v, t in zip(inputs, d, strict=True)))
    torch.testing.assert_close(along, (ahead - behind) / (2 * h), rtol=1e-5, atol=1e-5)
    g = torch.randn_like(y)
    back = vjp(crop, *inputs)[1](g)
    inner = sum((b * t).sum() for b, t in zip(back, d, strict=True))
    torch.testing.assert_close(inner, (g * along).sum(), rtol=1e-9, atol=0)


def test_the_landmarks_own_region_turns_with_them():
    points = photo(478, 3) * 100
    upright = Region.around(points)
    turn, shift = 0.7, torch.tensor([30.0, -5.0], dtype=torch.float64)
    c, s = math.cos(turn), math.sin(turn)
    rotation = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    turned = Region.around(torch.cat([points[:, :2] @ rotation.mT + shift, points[:, 2:]], -1))
    torch.testing.assert_close(turned.side, upright.side)
    torch.testing.assert_close(turned.centre, rotation @ upright.centre + shift)
    difference = float(turned.rotation - upright.rotation)
    assert math.remainder(difference - turn, 2 * math.pi) == pytest.approx(0, abs=1e-9)
