"""The chain of the README's diagram: layers X_{j+1} = f_j(X_j; C_j), and their composition.

Nothing else in the package composes layers: deform, render and detect know nothing of each other.
"""

from collections.abc import Iterable, Iterator

from torch import Tensor, nn


class Layer(nn.Module):
    """One function f_j(X_j; C_j) of the chain.

    Subclasses set the class attributes and implement `forward`. The parameters C_j (shape library, lights,
    network weights, …) live in buffers or in frozen `nn.Parameter`s: they move with `.to(device, dtype)` and
    stay fixed while fitting. `forward` takes any leading batch dimensions: `(*B, *input) -> (*B, *output)`.

    Attributes:
        name: what reports call the layer.
        input_axes: names of the axes of one X_j, e.g. `("control",)`.
        output_axes: names of the axes of one X_{j+1}, e.g. `("vertex", "xyz")`.
    """

    name: str = "layer"
    input_axes: tuple[str, ...] = ()
    output_axes: tuple[str, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Pipeline(Layer):
    """f_n ∘ … ∘ f_1: the layers in the order in which data flows through them.

    Raises:
        ValueError: there is no layer, or the output axes of a layer are not the input axes of the next.
    """

    name = "pipeline"

    def __init__(self, layers: Iterable[Layer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        stations = list(self)
        if not stations:
            raise ValueError("A pipeline needs at least one layer.")
        for before, after in zip(stations, stations[1:], strict=False):
            if before.output_axes != after.input_axes:
                raise ValueError(
                    f"{before.name} gives {before.output_axes}, but {after.name} takes {after.input_axes}."
                )
        self.input_axes = stations[0].input_axes
        self.output_axes = stations[-1].output_axes

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)  # type: ignore[arg-type]  # ModuleList is typed as Modules

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = layer(x)
        return x

    def stations(self, x: Tensor) -> list[Tensor]:
        """[X1, X2, …, Xn+1]: the input and the output of every layer."""
        values = [x]
        for layer in self:
            values.append(layer(values[-1]))
        return values
