"""From one face of a photo to the controls of the rig that make the same face."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pipeline import uncertainty
from pipeline.appearance import Appearance, estimate, face_mask, photometric_error
from pipeline.chain import build_chain, build_renderer, build_stand_in
from pipeline.config import Config
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.detect.embedding import IBUG68
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.region import LEFT_EYE, RIGHT_EYE, Region
from pipeline.errors import ChainRigError
from pipeline.focal import estimate_focal
from pipeline.objective import LandmarkObjective, build_prior, relax_identity
from pipeline.outputs.head_angles import yaw_pitch_roll
from pipeline.outputs.overlay import BACKGROUND, PANEL, frame
from pipeline.render import srgb
from pipeline.render.camera import Camera, focal_for_distance
from pipeline.render.head_texture import HeadTexture
from pipeline.render.ids import choose, find
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.render.passes import cut_out
from pipeline.result import FitResult, FoundAppearance, Picture
from pipeline.solve import adjoint_broyden, levenberg_marquardt
from pipeline.solve.adjoint_broyden import Solution
from pipeline.solve.priors import Prior
from pipeline.target.faces import Face, Settled, find_faces, settle
from pipeline.target.photo import Photo, read_photo

MIN_PRESENCE = 0.5
Progress = Callable[[int, int, float], None]


def fit_photo(path: str, config: Config | None = None) -> FitResult:
    """Fits the default rig to the largest face of a photo file: the whole product in one call.

    Raises:
        ChainRigError: the file is no photo, or it shows no face that can be read.
    """
    photo = read_photo(path)
    faces = find_faces(photo.pixels)
    if not faces:
        raise ChainRigError(f"There is no face in {path}: take one that shows a whole face from the front.")
    return FaceFitter(config or Config()).fit(photo, max(faces, key=lambda face: face.area))


class Look(NamedTuple):
    """Light and colours as a renderer takes them, and what a fit tells about them."""

    material: Material
    light: Light
    appearance: Appearance
    focal_spread: float | None


class FaceFitter:
    """Loads the rig, its texture and the detector once, and fits faces with them.

    Raises:
        ChainRigError: the configuration names a control that the rig does not have.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        if config.render.rasterizer != "auto":
            find(config.render.rasterizer, "cpu")  # complains before a minute is spent
        self.rig = Rig.load()
        self.texture = HeadTexture.load()
        self.material = Material(self.texture())
        self.detector = FaceMesh.load(smoothing=config.fit.detector_smoothing)
        self.prior = build_prior(self.rig, config.priors, config.controls)
        self.render: dict[str, Any] = {
            "renderer": config.render.renderer,
            "rasterizer": config.render.rasterizer,
        }

    def fit(self, photo: Photo, face: Face, on_progress: Progress | None = None) -> FitResult:
        """The controls that make the chain's landmarks match those of a face.

        Args:
            on_progress: called with (step, steps at most, residual in % of the outer-eye distance).

        Raises:
            ChainRigError: the detector doubts that there is a face.
        """
        began = time.perf_counter()
        settled = self.settle(photo, face)
        camera = self.camera(photo, settled.region)
        objective = self.objective(settled, camera)
        start = self.warm_start(objective, self.first_guess(settled, camera))
        steps = 0
        most = self.config.fit.iterations
        if self.config.appearance.fit:
            most += self.config.appearance.iterations

        def progress(residual: Tensor) -> None:
            nonlocal steps
            steps += 1
            if on_progress is not None:
                on_progress(steps, most, objective.scale.percent(residual))

        start_residual, start_vjp = objective.residual_and_vjp(start)
        solution, prior = self.solve(objective, start, progress)
        look = None
        if self.config.appearance.fit:
            camera, objective, solution, look = self.fit_appearance(
                photo, settled, camera, objective, solution, prior, progress
            )
        residual, vjp = objective.residual_and_vjp(solution.x)

        def norm(x: Tensor, gradient: Tensor) -> float:
            return float(prior.projected_gradient(x, gradient + prior.gradient(x)).norm())

        gradient_norms = norm(start, start_vjp(start_residual)), norm(solution.x, vjp(residual))
        x = solution.x
        values = self.rig.controls.unpack(x)
        groups = self.rig.controls.groups
        names = self.rig.controls.names
        landmarks = settled.region.map_to_photo(objective.landmarks(x))
        embedded = settled.region.map_to_photo(objective.stand_in_chain(x).to(landmarks))
        rotation, translation = x[groups["pose"]][:3].tolist(), x[groups["pose"]][3:].tolist()
        sd, unseen = self.uncertainty(objective, x, residual)
        return FitResult(
            photo=photo,
            face=face,
            rig="head_rig",
            detector="facemesh",
            rasterizer=self.rasterizer,
            solver=self.config.fit.derivatives,
            controls={name: values[name] for name in names[groups["expression"]]},
            identity={name: values[name] for name in names[groups["identity"]]},
            rotation_vector=(rotation[0], rotation[1], rotation[2]),
            translation=(translation[0], translation[1], translation[2]),
            eye_left=self._gaze(x, "eye_left"),
            eye_right=self._gaze(x, "eye_right"),
            focal_px=float(camera.focal_px),
            principal_point=(float(camera.principal_point_px[0]), float(camera.principal_point_px[1])),
            region=settled.region,
            target=settled.landmarks[:, :2],
            render=landmarks[:, :2],
            projected68=embedded[list(IBUG68), :2],
            residual_start=objective.scale.percent(start_residual),
            residual_final=objective.scale.percent(residual),
            gradient_norm_start=gradient_norms[0],
            gradient_norm_final=gradient_norms[1],
            evaluations=objective.evaluations,
            gradients=objective.gradients,
            seconds=time.perf_counter() - began,
            status=solution.status,
            picture=self.picture(photo, settled, camera, x, look),
            appearance=look and self.found_appearance(photo, settled, camera, x, look),
            uncertainty=self.rig.controls.unpack(sd),
            unobservable=unseen,
        )

    def settle(self, photo: Photo, face: Face) -> Settled:
        """The region and the landmarks of a face.

        Raises:
            ChainRigError: the detector doubts that there is a face.
        """
        settled = settle(photo.pixels, face, self.detector)
        if settled.presence < MIN_PRESENCE:
            raise ChainRigError(
                f"The landmark detector sees no whole face at this place of {photo.path} (presence "
                f"{settled.presence:.2f}): take a photo in which it is larger, sharper or less covered."
            )
        return settled

    def camera(self, photo: Photo, region: Region) -> Camera:
        """The photo's camera, looking at the detector's region.

        The focal length is the configured one, the EXIF's, or that of a camera at the configured distance: a
        portrait is often cropped, so its width tells less of the lens than the face's size does.
        """
        known = self.known_focal(photo)
        focal = (
            region.side.new_tensor(known)
            if known
            else focal_for_distance(region.side, self.config.camera.distance_m)
        )
        middle = torch.tensor([photo.width / 2, photo.height / 2])
        return Camera(focal, middle, region.crop_from_photo(), (region.size, region.size))

    def known_focal(self, photo: Photo) -> float | None:
        """In pixels, if the configuration or the photo's EXIF say."""
        return self.config.camera.focal_px or photo.focal_px

    def objective(self, settled: Settled, camera: Camera) -> LandmarkObjective:
        """The residuals of the full chain and of its stand-in for a face."""
        samples = self.config.render.samples
        chain = build_chain(self.rig, camera, self.detector, self.material, samples=samples, **self.render)
        stand_in = build_stand_in(self.rig, camera).double()
        target = settled.region.map_to_crop(settled.landmarks)
        return LandmarkObjective(chain, stand_in, target, self.config.priors.residual_percent)

    def first_guess(self, settled: Settled, camera: Camera) -> Tensor:
        """The rest face `(K,)` float64, facing the camera, its eyes where the photo's are."""
        eyes = settled.landmarks[[RIGHT_EYE, LEFT_EYE], :2].mean(0).double()
        focal = camera.focal_px.double()
        distance = float(focal / focal_for_distance(settled.region.side.double(), 1.0))
        x, y = ((eyes - camera.principal_point_px) / focal * distance).tolist()
        pose = {"headRotationZ": -float(settled.region.rotation)}
        pose |= {"headTranslationX": x, "headTranslationY": -y, "headTranslationZ": -distance}
        space = self.rig.controls
        return self.prior.project(space.pack(pose, space.rest.clone()))

    def warm_start(self, objective: LandmarkObjective, guess: Tensor) -> Tensor:
        """The controls whose embedded landmarks match the photo's best: first the pose, then all."""
        pose = self.rig.controls.groups["pose"]
        low, high = guess.clone(), guess.clone()
        low[pose], high[pose] = self.prior.low[pose], self.prior.high[pose]
        rigid = Prior(self.prior.mean, self.prior.precision, self.prior.sparsity, low, high)
        x = guess
        for prior in (rigid, self.prior):
            x = levenberg_marquardt.minimize(
                objective.embedded_and_jacobian, objective.embedded, prior, x, steps=15, tolerance=1e-4
            )
        return x

    def solve(
        self, objective: LandmarkObjective, start: Tensor, on_step: Callable[[Tensor], None]
    ) -> tuple[Solution, Prior]:
        """The full chain, in stages; `fit.derivatives` says where backward passes enter.

        1. A quick approach with the stand-in's Jacobian and secants (not in a pure chain-rule run).
        2. A stiff identity, so that expressions explain what they can.
        3. What is left goes to identity, the expressions staying near what was found.
        """
        settings = self.config.fit
        chain_only, gradients = settings.derivatives == "chain", settings.derivatives != "embedding"
        share = settings.iterations / 22

        def stage(
            solution: Solution | None, prior: Prior, first: int, last: int, gradients: bool
        ) -> Solution:
            """Steps `first` to `last` of 22, scaled to as many as there may be."""
            return adjoint_broyden.minimize(
                objective,
                prior,
                start if solution is None else solution.x,
                round(last * share) - round(first * share),
                gradients=gradients,
                refresh=not chain_only,
                correction=solution.correction if solution is not None and chain_only else None,
                on_step=on_step,
            )

        solution = None if chain_only else stage(None, self.prior, 0, 6, gradients=False)
        solution = stage(solution, self.prior, 0 if chain_only else 6, 12, gradients)
        prior = relax_identity(self.prior, self.rig, self.config.priors, solution.x)
        return stage(solution, prior, 12, 22, gradients), prior

    def uncertainty(
        self, objective: LandmarkObjective, x: Tensor, residual: Tensor
    ) -> tuple[Tensor, tuple[str, ...]]:
        """± of every control `(K,)`, and the names of those that the photo cannot see; by the stand-in.

        Args:
            residual: `(M,)` of the chain at x.
        """
        space, weight = self.rig.controls, uncertainty.whitening(self.rig)
        prior = uncertainty.belief(self.prior, self.rig, self.config.priors)
        jacobian = uncertainty.cheap_jacobian(objective, self.rig, x) * weight[:, None]
        known = uncertainty.posterior(jacobian, residual * weight, prior, x)
        moved = uncertainty.full_range_px(objective.stand_in_chain, space, x)
        return known.sd, uncertainty.unobservable(space.controls, moved)

    @property
    def rasterizer(self) -> str:
        """Who finds what pixels see."""
        settings = self.config.render
        if settings.renderer == "raytrace":
            return "mitsuba"
        return choose("cpu") if settings.rasterizer == "auto" else settings.rasterizer

    def fit_appearance(
        self,
        photo: Photo,
        settled: Settled,
        camera: Camera,
        objective: LandmarkObjective,
        solution: Solution,
        prior: Prior,
        on_step: Callable[[Tensor], None],
    ) -> tuple[Camera, LandmarkObjective, Solution, Look]:
        """C2 from the photo, at the controls found; then more steps with a render that looks like it.

        Where those steps do not bring the landmarks closer, camera, controls and chain stay as they were, and
        light and colours only show in the pictures.
        """
        settings, x, spread, found = self.config.appearance, solution.x, None, camera
        if self.known_focal(photo) is None:
            away = self.rig.controls.index("headTranslationZ")
            focal, spread, x = estimate_focal(objective, prior, x, away, camera, settings.distance_spread)
            found = Camera(focal, camera.principal_point_px, camera.view, camera.size)
        crop, mask = self.face(photo, settled)
        renderer = build_renderer(self.rig, found, self.material)
        appearance = estimate(renderer, self.texture, Deformer(self.rig)(x.float()), crop, mask)
        look = Look(appearance.material(self.texture), appearance.light, appearance, spread)
        samples = self.config.render.samples
        again = replace(
            objective,
            chain=build_chain(
                self.rig, found, self.detector, look.material, look.light, samples=samples, **self.render
            ),
            stand_in_chain=build_stand_in(self.rig, found).double(),
        )
        closer = adjoint_broyden.minimize(
            again,
            prior,
            x,
            settings.iterations,
            gradients=self.config.fit.derivatives != "embedding",
            refresh=self.config.fit.derivatives != "chain",
            on_step=on_step,
        )
        percent = objective.scale.percent
        if percent(closer.residual) <= percent(solution.residual):
            return found, again, closer, look
        objective.evaluations, objective.gradients = again.evaluations, again.gradients
        return camera, objective, solution, look._replace(focal_spread=None)

    def face(self, photo: Photo, settled: Settled) -> tuple[Tensor, Tensor]:
        """The detector's view of the photo `(256, 256, 3)` sRGB, and the pixels of it inside the face."""
        crop = settled.region.crop(photo.srgb)
        return crop, face_mask(settled.region.map_to_crop(settled.landmarks), settled.region.size)

    @torch.no_grad()
    def found_appearance(
        self, photo: Photo, settled: Settled, camera: Camera, x: Tensor, look: Look
    ) -> FoundAppearance:
        """What a fit reports of light and colours."""
        vertices = Deformer(self.rig)(x.float())
        crop, mask = self.face(photo, settled)
        errors = [
            photometric_error(
                build_renderer(self.rig, camera, material, light, **self.render)(vertices), crop, mask
            )
            for material, light in ((self.material, Light.default()), (look.material, look.light))
        ]
        light = look.light
        return FoundAppearance(
            ambient=light.ambient.tolist(),
            directional=light.directional.tolist(),
            direction=light.towards().tolist(),
            harmonics=light.harmonics.tolist(),
            colours={name: list(colour) for name, colour in look.appearance.colours.items()},
            error_start=errors[0],
            error_final=errors[1],
            distance_m=-float(x[self.rig.controls.index("headTranslationZ")]),
            distance_spread=look.focal_spread,
        )

    def picture(
        self, photo: Photo, settled: Settled, camera: Camera, x: Tensor, look: Look | None
    ) -> Picture:
        """The rig with controls `(K,)` as it stands in the part of the photo that the overlay shows."""
        left, top, right, bottom = frame(photo, settled.landmarks[:, :2])
        zoom = PANEL / max(right - left, bottom - top)
        view = torch.tensor([[zoom, 0, -left * zoom], [0, zoom, -top * zoom]])
        size = (round((bottom - top) * zoom), round((right - left) * zoom))
        closer = Camera(camera.focal_px, camera.principal_point_px, view, size)
        material, light = (look.material, look.light) if look else (self.material, None)
        renderer = build_renderer(self.rig, closer, material, light, samples=2, **self.render)
        behind = torch.tensor(BACKGROUND) / 255
        renderer.background = srgb.decode(behind)
        with torch.no_grad():
            vertices = Deformer(self.rig)(x.float())
            rgb = renderer(vertices)
            rgba = cut_out(renderer, vertices, rgb).clamp(0, 1)
        photo_from_picture = torch.tensor([[1 / zoom, 0, left], [0, 1 / zoom, top]])
        return Picture((rgba * 255).round().to(torch.uint8), photo_from_picture)

    def _gaze(self, x: Tensor, joint: str) -> tuple[float, float]:
        """(yaw, pitch) of an eye in the head, radians."""
        expression = x[self.rig.controls.groups["expression"]]
        drivers = self.rig.drivers[:, self.rig.joint_names.index(joint)].double()  # [E, 3]
        turn = (expression @ drivers).tolist()
        yaw, pitch, _ = yaw_pitch_roll((turn[0], turn[1], turn[2]))
        return yaw, pitch
