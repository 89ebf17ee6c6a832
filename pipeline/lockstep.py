"""Fits side by side: what N of them ask of the chain at a time is done in one pass.

A fit is a program that asks the chain for landmarks, now and then for a derivative, and thinks in between.
Here N such programs take turns. Each runs until it asks; when all have asked, the chain runs once for all
askers of a kind, as a batch, and they go on. So a GPU sees batches, while a fit is written, and tested, for
one face: a `SharedChain` looks like any chain to it.

Only one program runs at a time. Turns are always the same, so results are too; and torch's forward mode,
which fits use on their own, is one for all threads.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from pipeline.chain import together
from pipeline.layer import Pipeline

T = TypeVar("T")
Join = Callable[[tuple[Pipeline, ...]], Pipeline]


@dataclass(eq=False)
class Forward:
    """Somebody asks for the landmarks of controls `(K,)`.

    Attributes:
        derived: whether a derivative may be asked for afterwards.
        answer: `(L, 2 or 3)`.
        shared: the pass that gave it.
    """

    chain: Pipeline
    x: Tensor
    derived: bool
    answer: Tensor | Exception = field(init=False)
    shared: "Pass" = field(init=False)


@dataclass(eq=False)
class Backward:
    """Somebody asks for Jᵀv `(K,)` at controls where it looked, v being `(L, 2 or 3)`."""

    at: Forward
    v: Tensor
    answer: Tensor | Exception = field(init=False)


class Pass:
    """One run of the chain for several askers, who all want derivatives afterwards, or none does."""

    def __init__(self, looks: Sequence[Forward], join: Join) -> None:
        self.looks = looks
        chain = join(tuple(look.chain for look in looks))
        x = torch.stack([look.x for look in looks]).to(next(chain.buffers()).device)
        with torch.set_grad_enabled(looks[0].derived):
            self.x = x.requires_grad_(looks[0].derived)
            self.landmarks = chain(self.x)
        for look, row in zip(looks, self.landmarks.detach().to(looks[0].x.device), strict=True):
            look.answer, look.shared = row, self

    def pull(self, pulls: Sequence[Backward]) -> None:
        """One backward pass: rows do not meet, so those of others have v = 0."""
        v = torch.zeros_like(self.landmarks)
        rows = [self.looks.index(pull.at) for pull in pulls]
        for row, pull in zip(rows, pulls, strict=True):
            v[row] = pull.v.to(v)
        (gradient,) = torch.autograd.grad(self.landmarks, self.x, v, retain_graph=True)
        for row, pull in zip(rows, pulls, strict=True):
            pull.answer = gradient[row].to(pull.v.device)


class SharedChain(Pipeline):
    """A chain that runs on the device where it is; in `run_together`, with those of the other programs."""

    def forward(self, x: Tensor) -> Tensor:
        program = threading.current_thread()
        if isinstance(program, _Program):
            return _Asked.apply(x, self, program)
        return super().forward(x.to(next(self.buffers()).device)).to(x.device)


def run_together(programs: Sequence[Callable[[], T]]) -> list[T]:
    """The results of programs that take turns, and whose `SharedChain`s run as one.

    Raises:
        Exception: what the first of them raised that did not end well, when all have ended.
    """
    # Kept, as the halvings of the textures cost more than a pass; two, as some want derivatives, some do not.
    join = lru_cache(maxsize=2)(together)
    running = members = [_Program(program) for program in programs]
    for member in members:
        member.start()
    while running:
        for member in running:
            member.take_turn()
        running = [member for member in running if not member.ended]
        _grant([member.wish for member in running], join)
    for member in members:
        if member.error is not None:
            raise member.error
    return [member.result for member in members]


def _grant(wishes: Sequence[Forward | Backward], join: Join) -> None:
    """Answers all; where a pass fails for somebody alone, with the error."""
    for derived in (False, True):
        looks = [wish for wish in wishes if isinstance(wish, Forward) and wish.derived is derived]
        if looks:
            _answer(looks, partial(Pass, join=join))
    pulls: dict[Pass, list[Backward]] = {}
    for wish in wishes:
        if isinstance(wish, Backward):
            pulls.setdefault(wish.at.shared, []).append(wish)
    for shared, asked in pulls.items():
        _answer(asked, shared.pull)


def _answer(wishes: Sequence[Any], run: Callable[[Sequence[Any]], object]) -> None:
    """All in one pass; each in its own where that fails, be it for one of them or for want of memory."""
    try:
        run(wishes)
    except Exception as error:
        if len(wishes) == 1:
            wishes[0].answer = error
            return
        for wish in wishes:
            _answer([wish], run)


class _Program(threading.Thread, Generic[T]):
    """A program in a thread that runs only in its turn, which ends when it asks or ends."""

    wish: Forward | Backward
    result: T

    def __init__(self, function: Callable[[], T]) -> None:
        super().__init__(daemon=True)
        self.function = function
        self.ended = False
        self.error: BaseException | None = None
        self._turn, self._turned = threading.Semaphore(0), threading.Semaphore(0)

    def run(self) -> None:
        self._turn.acquire()
        try:
            self.result = self.function()
        except BaseException as error:  # also SystemExit: whoever waits for this program must hear of it
            self.error = error
        self.ended = True
        self._turned.release()

    def take_turn(self) -> None:
        self._turn.release()
        self._turned.acquire()

    def ask(self, wish: Forward | Backward) -> Tensor:
        self.wish = wish
        self._turned.release()
        self._turn.acquire()
        if isinstance(wish.answer, Exception):
            raise wish.answer
        return wish.answer


class _Asked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, chain: Pipeline, program: _Program[Any]) -> Tensor:
        ctx.look, ctx.program = Forward(chain, x.detach(), ctx.needs_input_grad[0]), program
        return program.ask(ctx.look)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None, None]:
        return ctx.program.ask(Backward(ctx.look, v)), None, None
