"""A picture of a head ends softly, where the mesh is cut."""

from dataclasses import replace

import torch

from pipeline.chain import build_renderer
from pipeline.deform.rig import Rig
from pipeline.render.camera import Camera
from pipeline.render.head_texture import HeadTexture
from pipeline.render.material import Material
from pipeline.render.passes import coverage, cut_out
from pipeline.rigs.bust import opacity

RIG = Rig.load()


def test_the_shoulders_fade_and_the_head_does_not() -> None:
    share = opacity(RIG)
    height = RIG.rest[:, 1]
    assert share.min() == 0 and share[height.argmin()] == 0
    assert RIG.landmark_triangle is not None
    assert bool((share[RIG.triangles[RIG.landmark_triangle]] == 1).all())
    assert bool((share[height > height.min() + 0.1] == 1).all())


def test_a_closed_mesh_and_one_without_a_face_stay_whole() -> None:
    open_below = (RIG.rest[RIG.triangles][..., 1] < -0.19).all(-1)
    no_face = replace(RIG, landmark_triangle=None, landmark_barycentric=None, landmark_spread=None)
    assert bool(open_below.any()) and bool((opacity(no_face) == 1).all())


def test_a_picture_is_cut_out_with_the_opacity_of_its_vertices() -> None:
    camera = Camera(torch.tensor(60.0), torch.tensor([24.0, 20.0]), size=(48, 48))
    renderer, vertices = (
        build_renderer(RIG, camera, Material(HeadTexture.load()()), samples=1),
        RIG.rest - torch.tensor([0, 0, 0.6]),
    )
    rgb = renderer(vertices)
    share = opacity(RIG)
    whole, soft = cut_out(renderer, vertices, rgb), cut_out(renderer, vertices, rgb, share)
    assert torch.equal(whole[..., :3], soft[..., :3])
    bottom = coverage(renderer, vertices).sum(-1).nonzero().max()
    cut = slice(bottom - 1, bottom + 1)
    assert float(soft[cut, :, 3].sum()) < 0.3 * float(whole[cut, :, 3].sum())
    torch.testing.assert_close(soft[:24, :, 3], whole[:24, :, 3])
