"""Axes keep their names: choosing by name, and Jacobians that multiply only when the axes fit."""

import io

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.derivatives.axes import Axis, FunctionLayer, choose, input_axes, output_axes
from pipeline.derivatives.jacobian import Jacobian
from pipeline.errors import ChainRigError
from pipeline.layer import Pipeline

MOUTH = Axis("control", ("jawOpen", "mouthLeft", "mouthRight", "browDown"))
XYZ = Axis("xyz", ("x", "y", "z"))


def landmarks(count: int) -> Axis:
    return Axis("landmark", tuple(map(str, range(count))))


def some(rows: tuple[Axis, ...], columns: tuple[Axis, ...], *batch: int) -> Jacobian:
    shape = (*batch, *(len(axis) for axis in rows + columns))
    return Jacobian(torch.arange(float(np.prod(shape))).reshape(shape), rows, columns)


@pytest.mark.parametrize(
    "choice, expected",
    [("jawOpen", [0]), ("mouth*", [1, 2]), (-1, [3]), (["browDown", 0, "mouth*", "jaw*"], [3, 0, 1, 2])],
)
def test_coordinates_are_found_by_name_pattern_and_index(choice, expected: list[int]) -> None:
    assert MOUTH.find(choice) == expected


def test_what_is_not_there_is_said_with_the_closest_name() -> None:
    with pytest.raises(ChainRigError, match="jawOpn.*Did you mean jawOpen"):
        MOUTH.find("jawOpn")
    with pytest.raises(ChainRigError, match="4 coordinates: there is no 4"):
        MOUTH.find(4)
    with pytest.raises(ChainRigError, match="no axis vertex here: there are control, xyz"):
        choose((MOUTH, XYZ), {"vertex": 1})


def test_a_part_keeps_its_labels() -> None:
    J = some((landmarks(5), XYZ), (MOUTH,), 2)
    part = J.select({"landmark": [4, 1], "xyz": "y"}, {"control": "mouth*"})
    assert part.values.shape == (2, 2, 1, 2)
    assert part.rows[0].labels == ("4", "1") and part.columns[0].labels == ("mouthLeft", "mouthRight")
    assert torch.equal(part.values, J.values[:, [4, 1]][:, :, [1]][..., [1, 2]])


def test_a_column_is_what_one_control_does() -> None:
    J = some((landmarks(5), XYZ), (MOUTH,))
    assert torch.equal(J.column("browDown"), J.values[..., 3])


def test_products_contract_the_axes_between() -> None:
    outer, inner = some((XYZ,), (landmarks(2), XYZ)), some((landmarks(2), XYZ), (MOUTH,))
    product = outer @ inner
    assert product.rows == (XYZ,) and product.columns == (MOUTH,)
    assert torch.equal(product.matrix, outer.matrix @ inner.matrix)


def test_axes_that_do_not_fit_are_not_multiplied() -> None:
    with pytest.raises(
        ChainRigError, match=r"by \(landmark, xyz\) does not multiply one of \(xyz, landmark\)"
    ):
        _ = some((XYZ,), (landmarks(2), XYZ)) @ some((XYZ, landmarks(2)), (MOUTH,))
    with pytest.raises(ValueError, match="shape"):
        Jacobian(torch.zeros(3, 4), (XYZ,), (XYZ,))


def test_a_file_brings_the_names_back() -> None:
    J = some((landmarks(5), XYZ), (MOUTH,))
    file = io.BytesIO()
    np.savez(file, **J.arrays())  # pyright: ignore[reportArgumentType]
    file.seek(0)
    with np.load(file) as archive:
        back = Jacobian.from_arrays({name: archive[name] for name in archive.files})
    assert torch.equal(back.values, J.values) and back.rows == J.rows and back.columns == J.columns


def test_layers_name_their_axes_and_pipelines_take_the_outer_ones() -> None:
    def same(x: Tensor) -> Tensor:
        return x

    first = FunctionLayer(same, ("slider",), ("xyz",), axis_labels={"slider": ("a", "b", "c")})
    chain = Pipeline([first, FunctionLayer(same, ("xyz",), ("part",))])
    x = torch.zeros(7, 3)
    assert input_axes(chain, x) == (Axis("slider", ("a", "b", "c")),)
    assert output_axes(chain, x) == (Axis("part", ("0", "1", "2")),)
