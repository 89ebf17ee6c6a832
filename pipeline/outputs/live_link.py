"""controls.csv: the layout of the Live Link Face app's recordings, for Unreal, Blender and Maya."""

from pipeline.head_angles import yaw_pitch_roll
from pipeline.result import FitResult

_EYE = ["EyeBlink", "EyeLookDown", "EyeLookIn", "EyeLookOut", "EyeLookUp", "EyeSquint", "EyeWide"]
_MOUTH_PAIRS = ["MouthSmile", "MouthFrown", "MouthDimple", "MouthStretch"]
_LIP_PAIRS = ["MouthPress", "MouthLowerDown", "MouthUpperUp"]


def _pairs(names: list[str]) -> list[str]:
    return [name + side for name in names for side in ("Left", "Right")]


# The app's order, not the alphabet's: importers are known to read by position.
CONTROLS: list[str] = [
    *[name + "Left" for name in _EYE],
    *[name + "Right" for name in _EYE],
    *["JawForward", "JawRight", "JawLeft", "JawOpen"],
    *["MouthClose", "MouthFunnel", "MouthPucker", "MouthRight", "MouthLeft", *_pairs(_MOUTH_PAIRS)],
    *["MouthRollLower", "MouthRollUpper", "MouthShrugLower", "MouthShrugUpper", *_pairs(_LIP_PAIRS)],
    *["BrowDownLeft", "BrowDownRight", "BrowInnerUp", "BrowOuterUpLeft", "BrowOuterUpRight"],
    *["CheekPuff", *_pairs(["CheekSquint", "NoseSneer"])],
    "TongueOut",
]
ROTATIONS = [part + axis for part in ("Head", "LeftEye", "RightEye") for axis in ("Yaw", "Pitch", "Roll")]
COLUMNS = ["Timecode", "BlendShapeCount", *CONTROLS, *ROTATIONS]


def live_link_csv(result: FitResult) -> str:
    """A header and one frame: 52 controls (one that the rig lacks is 0), then nine rotations in radians.

    Yaw is positive to the subject's left, pitch up, roll to the subject's right shoulder (`head_angles`). The
    eyes turn in the head and do not roll.
    """
    controls = [result.controls.get(name[0].lower() + name[1:], 0.0) for name in CONTROLS]
    rotations = [*yaw_pitch_roll(result.rotation_vector), *result.eye_left, 0.0, *result.eye_right, 0.0]
    values = [f"{value:.8f}" for value in [*controls, *rotations]]
    return ",".join(COLUMNS) + "\n" + ",".join(["00:00:00:00.000", str(len(values)), *values]) + "\n"
