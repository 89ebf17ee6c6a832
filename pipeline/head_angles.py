"""A head's rotation as the three angles that animators read."""

import roma
import torch


def yaw_pitch_roll(rotation_vector: tuple[float, float, float]) -> tuple[float, float, float]:
    """Radians → radians: R = R_y(yaw) · R_x(−pitch) · R_z(roll); y up, face toward +z, subject's left = +x.

    Yaw is positive when the face turns to the subject's left, pitch when it looks up, roll when it tilts
    to the subject's right shoulder. At rest, facing a camera that stands level in front, all three are 0.
    """
    rotation = roma.rotvec_to_rotmat(torch.tensor(rotation_vector, dtype=torch.float64))
    forward = rotation[:, 2]  # where the face looks
    yaw = torch.atan2(forward[0], forward[2])
    pitch = torch.asin(forward[1].clamp(-1, 1))
    roll = torch.atan2(rotation[1, 0], rotation[1, 1])
    return float(yaw), float(pitch), float(roll)
