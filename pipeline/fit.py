"""From one face of a photo to the controls of the rig that make the same face."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from pipeline import uncertainty
from pipeline.chain import build_stand_in
from pipeline.config import Config
from pipeline.detect.detectors import load_detector
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.region import LEFT_EYE, RIGHT_EYE
from pipeline.detection_terms import detection_terms
from pipeline.detector_bias.known import bias_in_view, known_errors, spread_of
from pipeline.errors import ChainRigError
from pipeline.face_prior import build_prior, last_prior
from pipeline.finished_fit import FinishedFit, fit_result
from pipeline.focal import estimate_focal
from pipeline.objective import LandmarkObjective, robust_loss
from pipeline.portrait import Look, Studio
from pipeline.render.camera import Camera, focal_for_distance
from pipeline.result import FitResult
from pipeline.rigs.fittable import fittable_rig
from pipeline.solve.adjoint_broyden import AdjointBroyden
from pipeline.solve.levenberg_marquardt import LevenbergMarquardt
from pipeline.solve.priors import Prior
from pipeline.solve.solver import Solution
from pipeline.subject import Subject, read_subject
from pipeline.target.faces import MIN_PRESENCE, Face, find_faces
from pipeline.target.labels.labels import Labels
from pipeline.target.photo import Photo, read_photo
from pipeline.target.reading import trusting
from pipeline.target.target import Target, detected, labelled

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


class FaceFitter:
    """Loads the rig, its texture and the detector once, and fits faces with them.

    Raises:
        ChainRigError: the configuration names a control that the rig does not have, or a detector or a
            rasterizer that cannot be used.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.rig = fittable_rig(config.fit.rig, config.fit.deformer)
        self.studio = Studio(self.rig, config)
        self.detector = load_detector(config.landmarks.detector, smoothing=config.fit.detector_smoothing)
        self.mesh = self.detector if isinstance(self.detector, FaceMesh) else FaceMesh.load()
        self.errors = known_errors(self.detector, self.rig, config.landmarks.bias_file)
        self.spread = spread_of(self.errors)
        self.subject = read_subject(config.fit.subject, self.rig) if config.fit.subject else None
        if self.subject is not None and not isinstance(self.detector, FaceMesh):
            raise ChainRigError("A subject was calibrated with facemesh: leave --detector out.")
        known = self.subject.identity if self.subject else {}
        self.prior = build_prior(self.rig, config.priors, known | config.controls)

    def fit(
        self,
        photo: Photo,
        face: Face,
        on_progress: Progress | None = None,
        labels: Labels | None = None,
        start: Tensor | None = None,
    ) -> FitResult:
        """The controls that make the chain's landmarks match those of a face.

        Args:
            on_progress: called with (step, steps at most, residual in % of the outer-eye distance).
            labels: points that a person placed, in place of what the detector says of the photo.
            start: `(K,)` controls to begin from, such as those of the frame before, in place of a warm start.

        Raises:
            ChainRigError: the detector doubts that there is a face, or the labels are not on it.
        """
        began = time.perf_counter()
        target = self.target(photo, face, labels)
        camera = self.camera(photo, target)
        objective = self.objective(target, camera)
        cold = start is None
        if start is None:
            start = self.warm_start(objective, self.first_guess(target, camera))
        if self.subject is not None:
            self.become(self.subject, objective, start)
            start = self.warm_start(objective, start) if cold else start
        seen_as = self.dress(photo, target, camera, objective, start)
        steps = 0

        def progress(residual: Tensor) -> None:
            nonlocal steps
            steps += 1
            if on_progress is not None:
                on_progress(steps, self.config.fit.iterations, objective.percent(residual))

        def look_again(x: Tensor) -> Tensor:
            """Camera, light and colours once more, now that the expression is known."""
            nonlocal camera, seen_as
            camera, spread, x = self.better_camera(photo, camera, objective, x)
            if self.subject is not None:
                self.become(self.subject, objective, x)
            seen_as = replace(self.dress(photo, target, camera, objective, x), focal_spread=spread)
            return x

        start_residual, vjp = objective.residual_and_vjp(start)
        start_gradient = vjp(start_residual)
        del vjp  # it keeps the whole pass in memory
        solution, prior = self.solve(objective, start, progress, look_again)
        landmarks, residual, vjp = objective.read(solution.x)

        def norm(x: Tensor, gradient: Tensor) -> float:
            return float(prior.projected_gradient(x, gradient + prior.gradient(x)).norm())

        gradient_norms = norm(start, start_gradient), norm(solution.x, vjp(residual))
        spread_known = None if target.reading is not None else self.spread
        finished = FinishedFit(
            photo=photo,
            face=face,
            target=target,
            camera=camera,
            objective=objective,
            seen_as=seen_as,
            solution=solution,
            landmarks=landmarks,
            residuals=(start_residual, residual),
            gradient_norms=gradient_norms,
            uncertainty=self.uncertainty(objective, solution.x, residual, spread_known),
            seconds=time.perf_counter() - began,
        )
        return fit_result(finished, self.config, self.rig, self.studio, self.detector.scheme, self.subject)

    def target(self, photo: Photo, face: Face, labels: Labels | None = None) -> Target:
        """The points of a face that the fit aims at.

        Raises:
            ChainRigError: the detector doubts that there is a face, or the labels are not on it.
        """
        target = detected(photo, face, self.mesh, self.detector)
        if target.mesh.presence < MIN_PRESENCE and not self.config.landmarks.force:
            raise ChainRigError(
                f"The landmark detector sees no whole face at this place of {photo.path} (presence "
                f"{target.mesh.presence:.2f}): take a photo in which it is larger, sharper or less covered, "
                "or insist with --force (--set landmarks.force=true)."
            )
        if labels is None:
            return target
        return labelled(target, labels, self.detector, trusting(self.config.landmarks.near))

    def camera(self, photo: Photo, target: Target) -> Camera:
        """The photo's camera, looking at the detector's region.

        The focal length is the configured one, the EXIF's, or that of a camera at the configured distance: a
        portrait is often cropped, so its width tells less of the lens than the face's size does.
        """
        known, side, region = self.known_focal(photo), target.mesh.region.side, target.region
        focal = side.new_tensor(known) if known else focal_for_distance(side, self.config.camera.distance_m)
        middle = torch.tensor([photo.width / 2, photo.height / 2])
        return Camera(focal, middle, region.crop_from_photo(), (region.size, region.size))

    def known_focal(self, photo: Photo) -> float | None:
        """In pixels, if the configuration or the photo's EXIF say."""
        return self.config.camera.focal_px or photo.focal_px

    def objective(self, target: Target, camera: Camera) -> LandmarkObjective:
        """The residuals of the full chain and of its stand-in for a face."""
        settings = self.config
        by_hand = target.reading is not None
        comparison = target.comparison
        if settings.landmarks.whiten and not by_hand and self.spread is not None:
            comparison = comparison.whitened(self.spread)
        bias = torch.zeros_like(target.points)
        if settings.landmarks.correct:
            bias = bias_in_view(self.errors, self.detector, self.rig, target, comparison)
        return LandmarkObjective(
            self.studio.chain(camera, self.detector),
            build_stand_in(self.rig, camera).double(),
            comparison,
            target.in_view,
            target.iod_in_view,
            settings.landmarks.label_percent if by_hand else settings.priors.residual_percent,
            # A person sees the face; the detector errs, on the photo and on the render alike.
            chain_offset=-bias if by_hand else 0.0,
            stand_in_offset=0.0 if by_hand else bias,
            terms=detection_terms(
                settings.landmarks,
                target.region.map_to_crop(target.landmarks),
                target.iod_in_view,
                settings.priors.residual_percent,
            ),
        )

    def first_guess(self, target: Target, camera: Camera) -> Tensor:
        """The rest face `(K,)` float64, facing the camera, its eyes where the photo's are."""
        mesh = target.mesh
        eyes = mesh.landmarks[[RIGHT_EYE, LEFT_EYE], :2].mean(0).double()
        focal = camera.focal_px.double()
        distance = float(focal / focal_for_distance(mesh.region.side.double(), 1.0))
        x, y = ((eyes - camera.principal_point_px) / focal * distance).tolist()
        pose = {"headRotationZ": -float(mesh.region.rotation)}
        pose |= {"headTranslationX": x, "headTranslationY": -y, "headTranslationZ": -distance}
        space = self.rig.controls
        return self.prior.project(space.pack(pose, space.rest.clone()))

    def warm_start(self, objective: LandmarkObjective, guess: Tensor) -> Tensor:
        """The controls whose embedded landmarks match the photo's best: first the pose, then all."""
        pose = self.rig.controls.groups["pose"]
        low, high = guess.clone(), guess.clone()
        low[pose], high[pose] = self.prior.low[pose], self.prior.high[pose]
        # Fixed points of the skin are not quite what a detector finds: they are trusted less than the chain.
        mild = self.prior.times(self.config.priors.approach**2)
        solver = LevenbergMarquardt(steps=15, tolerance=1e-4)
        x = guess
        for prior in (replace(mild, low=low, high=high), mild):
            x = solver.minimize(
                objective.without_pixels, prior, x, loss=robust_loss(self.config.fit, objective)
            ).x
        return x

    def solve(
        self,
        objective: LandmarkObjective,
        start: Tensor,
        on_step: Callable[[Tensor], None],
        between: Callable[[Tensor], Tensor] = lambda x: x,
    ) -> tuple[Solution, Prior]:
        """The full chain, in two stages; `fit.derivatives` says where backward passes enter.

        1. The priors count several times, identity is stiff: expressions explain what they can, and few of
           them do. Landmarks that are trusted at once lead into bad minima, see docs/accuracy.md.
        2. The priors count once. What is left goes to identity, the expressions staying near what was found;
           or, where identity is known, to expressions.

        Args:
            between: what is done with the controls before the last stage; it may change the objective.
        """
        settings, priors = self.config.fit, self.config.priors
        chain_only = settings.derivatives == "chain"

        def stage(prior: Prior, x: Tensor, steps: int, correction: Tensor | None = None) -> Solution:
            solver = AdjointBroyden(
                steps=steps,
                gradients=settings.derivatives != "embedding",
                refresh=not chain_only,
                correction=correction if chain_only else None,
            )
            return solver.minimize(
                objective,
                prior,
                x,
                loss=robust_loss(settings, objective),
                measure=objective.percent,
                on_step=on_step,
            )

        half = settings.iterations // 2
        found = stage(self.prior.times(priors.approach), start, half)
        found.x = between(found.x)
        prior = last_prior(self.prior, self.rig, priors, found.x)
        last = stage(prior, found.x, settings.iterations - half, found.correction)
        return found.then(last), prior

    def uncertainty(
        self, objective: LandmarkObjective, x: Tensor, residual: Tensor, spread: Tensor | None
    ) -> tuple[Tensor, tuple[str, ...]]:
        """± of every control `(K,)`, and the names of those that the photo cannot see; by the stand-in.

        Args:
            residual: `(M,)` of the chain at x.
            spread: of the landmarks, where these are a detector's.
        """
        space, weight = self.rig.controls, uncertainty.whitening(objective, spread, len(residual))
        prior = uncertainty.belief(self.prior, self.rig, self.config.priors)
        jacobian = uncertainty.cheap_jacobian(objective, self.rig, x) * weight[:, None]
        known = uncertainty.posterior(jacobian, residual * weight, prior, x)
        moved = uncertainty.full_range_px(objective, space, x)
        free = self.prior.low < self.prior.high
        return known.sd, uncertainty.unobservable(space.controls, torch.where(free, moved, torch.inf))

    def dress(
        self, photo: Photo, target: Target, camera: Camera, objective: LandmarkObjective, x: Tensor
    ) -> Look:
        """Puts the light and the colours of the photo into the chain, as they are found at controls `(K,)`.

        The detector answers to them: on renders of known controls, another light and skin move its landmarks
        by more than a fit leaves (docs/appearance.md). Where too little of the face is seen, or nothing is
        asked for, the default stays.
        """
        seen_as = self.studio.default
        if self.config.appearance.fit and self.studio.painted:
            with contextlib.suppress(ChainRigError):
                seen_as = self.studio.find_look(photo, target, camera, x)
        objective.chain = self.studio.chain(camera, self.detector, seen_as)
        return seen_as

    def become(self, subject: Subject, objective: LandmarkObjective, x: Tensor) -> None:
        """Moves the rig's points to where the person has them at rest, as seen at controls `(K,)`."""
        moved = objective.comparison.embedded(subject.shift(objective.stand_in_chain, x))
        objective.persons_offset = moved

    def better_camera(
        self, photo: Photo, camera: Camera, objective: LandmarkObjective, x: Tensor
    ) -> tuple[Camera, float | None, Tensor]:
        """The focal length that landmarks ask for where nothing tells it, and the controls with it.

        Gives the camera, the deviation of its logarithm (None where it was not asked for), and controls.
        """
        settings = self.config.camera
        if not settings.estimate or self.known_focal(photo) is not None:
            return camera, None, x
        away = self.rig.controls.index("headTranslationZ")
        focal, spread, x = estimate_focal(objective, self.prior, x, away, camera, settings.distance_spread)
        found = Camera(focal, camera.principal_point_px, camera.view, camera.size)
        objective.stand_in_chain = build_stand_in(self.rig, found).double()
        return found, spread, x
