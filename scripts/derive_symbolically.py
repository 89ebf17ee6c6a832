"""Derives two of the Jacobians in pipeline/derivatives/closed_form.py from their formulas; simplifies them.

    python scripts/derive_symbolically.py

SymPy differentiates the formula as it stands; the result is compared, symbol by symbol, with the short form
that the library uses. The difference is exactly zero, and the operations counted say what it is worth.
"""

# SymPy's annotations do not know that the entries of its matrices are expressions.
# pyright: reportOperatorIssue=false, reportArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp


@dataclass(frozen=True)
class Derivation:
    """One Jacobian, twice.

    Attributes:
        title: what of, by what.
        arguments: the symbols it depends on.
        value: the formula.
        raw: the formula's derivative as SymPy's rules give it.
        short: the form that the library uses.
        difference: of the two, simplified: zero.
    """

    title: str
    arguments: tuple[sp.Symbol, ...]
    value: sp.Matrix
    raw: sp.Matrix
    short: sp.Matrix
    difference: sp.Matrix

    @property
    def operations(self) -> tuple[int, int]:
        """What the raw and the short form take beyond the value, common subexpressions counted once."""
        value = _operations(self.value)
        return _operations(self.value, self.raw) - value, _operations(self.value, self.short) - value


def derive_barycentrics() -> Derivation:
    """∂λ/∂q of λ_i = (q_j × q_k)/Σ, i, j, k around the triangle: −λ_k g_i, g_i = (q_j − q_k) turned, /Σ."""
    q = [sp.Matrix(sp.symbols(f"x{i} y{i}")) for i in range(3)]
    areas = [_cross(q[(i + 1) % 3], q[(i + 2) % 3]) for i in range(3)]
    total = sum(areas)
    weights = sp.Matrix([area / total for area in areas])
    arguments = tuple(symbol for corner in q for symbol in corner)
    raw = weights.jacobian(arguments)
    rows = []
    for i in range(3):
        side = q[(i + 1) % 3] - q[(i + 2) % 3]
        gradient = sp.Matrix([[side[1], -side[0]]]) / total
        rows.append(sp.Matrix.hstack(*(-weights[k] * gradient for k in range(3))))
    short = sp.Matrix.vstack(*rows)
    return Derivation(
        "barycentrics λ of a pixel by the corners q, relative to it",
        arguments,
        weights,
        raw,
        short,
        (raw - short).applyfunc(sp.cancel),
    )


def derive_rotation() -> Derivation:
    """∂(R(v) p)/∂v of Rodrigues' formula R p = p + a v × p + b v × (v × p): −[R p]× J_l(v).

    a = sin θ/θ, b = (1 − cos θ)/θ² and s = θ² are kept as symbols. Their derivatives by s are

        a′ = (cos θ − a)/2s = (1 − b s − a)/2s,    b′ = (a − 2b)/2s,

    and sin² + cos² = 1 reads a² = 2b − b² s: what is left of trigonometry is one polynomial relation.
    """
    v = sp.Matrix(sp.symbols("v_x v_y v_z"))
    p = sp.Matrix(sp.symbols("p_x p_y p_z"))
    a, b, s = sp.symbols("a b s")
    K, identity = _cross_matrix(v), sp.eye(3)
    rotated = p + a * K * p + b * K * K * p
    by_s = sp.diff(rotated, a) * (1 - b * s - a) / (2 * s) + sp.diff(rotated, b) * (a - 2 * b) / (2 * s)
    raw = rotated.jacobian(v) + by_s * (2 * v.T)
    c = (1 - a) / s
    short = -_cross_matrix(rotated) * (identity + b * K + c * K * K)
    square = v.dot(v)

    def reduced(entry: sp.Expr) -> sp.Expr:
        polynomial = sp.expand(sp.cancel(entry * s).subs(s, square))
        return sp.expand(sp.rem(polynomial, a**2 - 2 * b + b**2 * square, a))

    return Derivation(
        "a turned point R(v) p by the rotation vector v",
        (*v, *p, a, b, s),
        rotated,
        raw,
        short,
        (raw - short).applyfunc(reduced),
    )


def _cross(u: sp.Matrix, v: sp.Matrix) -> sp.Expr:
    return u[0] * v[1] - u[1] * v[0]


def _cross_matrix(v: Sequence[sp.Expr] | sp.Matrix) -> sp.Matrix:
    x, y, z = v
    return sp.Matrix([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def _operations(*matrices: sp.Matrix) -> int:
    shared, rest = sp.cse([entry for matrix in matrices for entry in matrix])
    return int(sum(sp.count_ops(e) for _, e in shared) + sum(sp.count_ops(e) for e in rest))


def main() -> None:
    for derivation in (derive_barycentrics(), derive_rotation()):
        before, after = derivation.operations
        zero = "zero" if derivation.difference.is_zero_matrix else "NOT ZERO"
        print(f"{derivation.title}\n  first entry as differentiated: {derivation.raw[0]}")
        print(f"  first entry in short:          {derivation.short[0]}")
        print(f"  {before} operations beyond the value's own become {after}; the difference is {zero}.")


if __name__ == "__main__":
    main()
