"""What every landmark network of layer 3 is: pictures in, points of a scheme out."""

from torch import Tensor

from pipeline.detect.region import Region
from pipeline.layer import Layer


class LandmarkDetector(Layer):
    """A crop of a face to L landmarks of a scheme: `(*B, 256, 256, 3) -> (*B, L, 2 or 3)`.

    Input: sRGB-encoded colours in [0, 1]. Output: x, y in pixels of the crop (corner origin, centres at
    +0.5), and z in the same scale where the network tells it.

    Attributes:
        title: what `--detector` calls it.
        scheme: name of its landmarks' scheme, see `pipeline/target/schemes.py`.
    """

    name = "detect"
    input_axes = ("row", "column", "rgb")
    output_axes: tuple[str, ...] = ("landmark", "xy")

    title: str
    scheme: str = "ibug68"

    def region(self, box: Tensor, mesh: Region) -> Region:
        """The square that it wants to see of a face.

        Args:
            box: `(4,)` left, top, right, bottom of the face as BlazeFace draws it, in pixels of the photo.
            mesh: the square that FaceMesh asks for: 1.5 × the long side of its landmarks' box, upright along
                the eyes (`Region.around`).
        """
        return mesh
