"""Linear tetrahedra of stable neo-Hookean flesh: energy, forces and Hessians, compiled.

With p_a the corners of a tetrahedron and b_a the gradients of their hat functions in the rest shape,

    F = Σ_a p_a b_aᵀ,     E = V Ψ(F),     ∂E/∂p_a = V P(F) b_a,

and, as Ψ is a function of F:F and of J alone, the 3 × 3 blocks of the Hessian need no 9 × 9 matrix:

    K_ab = V [ c₁ (b_a·b_b) 1 + c₂ (F b_a)(F b_b)ᵀ + λ (G b_a)(G b_b)ᵀ − p [F (b_a × b_b)]ₓ ],

    c₁ = μ (1 − 1/(I_C + 1)),  c₂ = 2μ/(I_C + 1)²,  G = cof F = ∂J/∂F,  p = λ (J − α);

the last term is p ∂²J/∂F², from cof(u b_aᵀ + v b_bᵀ) = (u × v)(b_a × b_b)ᵀ. Where a positive
semidefinite matrix is wanted, ∂²Ψ/∂F² is built of its nine eigenvectors (section 4 of the paper that
`neo_hookean.py` cites) without those of negative eigenvalues.
"""

from typing import Any

import numba
import numpy as np


@numba.njit(cache=True)
def hat_gradients(corners: np.ndarray, tets: np.ndarray) -> tuple:
    """b (T, 4, 3) in 1/m and volumes (T,) in m³, of rest positions (N, 3) and indices (T, 4).

    Where a rest shape is inside out (an extreme identity folds thin flesh) its volume counts as positive: the
    energy of such an element is least in that shape, as any other's in its own.
    """
    b, volume = np.empty((len(tets), 4, 3)), np.empty(len(tets))
    for t in range(len(tets)):
        p0 = corners[tets[t, 0]]
        e1, e2, e3 = corners[tets[t, 1]] - p0, corners[tets[t, 2]] - p0, corners[tets[t, 3]] - p0
        six = _dot(e1, _cross(e2, e3))
        volume[t] = abs(six) / 6
        faces = _cross(e2, e3), _cross(e3, e1), _cross(e1, e2)
        for i in range(3):
            b[t, 0, i] = 0.0
            for a in range(3):
                b[t, a + 1, i] = faces[a][i] / six
                b[t, 0, i] -= b[t, a + 1, i]
    return b, volume


@numba.njit(cache=True)
def energy(
    p: np.ndarray, tets: np.ndarray, b: np.ndarray, volume: np.ndarray, mu: float, lam: float, alpha: float
) -> float:
    """Σ V Ψ in joules (zero at rest)."""
    at_rest = -0.5 * mu * np.log(4.0) + 0.5 * lam * (1 - alpha) ** 2
    total = 0.0
    F = np.empty((3, 3))
    for t in range(len(tets)):
        _gradient_of_map(p, tets[t], b[t], F)
        squares = (F * F).sum()
        J = _dot(F[:, 0], _cross(F[:, 1], F[:, 2]))
        psi = 0.5 * mu * (squares - 3) - 0.5 * mu * np.log(squares + 1) + 0.5 * lam * (J - alpha) ** 2
        total += volume[t] * (psi - at_rest)
    return total


@numba.njit(cache=True)
def gradient(
    p: np.ndarray, tets: np.ndarray, b: np.ndarray, volume: np.ndarray, mu: float, lam: float, alpha: float
) -> np.ndarray:
    """∂E/∂p (N, 3), newtons."""
    out = np.zeros_like(p)
    F, G = np.empty((3, 3)), np.empty((3, 3))
    for t in range(len(tets)):
        _gradient_of_map(p, tets[t], b[t], F)
        J = _cofactor(F, G)
        c1, pressure = mu * (1 - 1 / ((F * F).sum() + 1)), lam * (J - alpha)
        for a in range(4):
            for i in range(3):
                force = 0.0
                for j in range(3):
                    force += (c1 * F[i, j] + pressure * G[i, j]) * b[t, a, j]
                out[tets[t, a], i] += volume[t] * force
    return out


@numba.njit(cache=True)
def add_hessian(
    p: np.ndarray,
    tets: np.ndarray,
    b: np.ndarray,
    volume: np.ndarray,
    mu: float,
    lam: float,
    alpha: float,
    projected: bool,
    places: np.ndarray,
    data: np.ndarray,
) -> None:
    """Adds ∂²E/∂p² to the entries `data` of a sparse matrix.

    Args:
        projected: every element's contribution without its negative eigenvalues.
        places: (T, 4, 4) where in `data` the 3 × 3 block of two corners starts, −1 if it has no place there.
        data: (n, 3, 3) blocks, added to.
    """
    F, G, K = np.empty((3, 3)), np.empty((3, 3)), np.empty((4, 4, 3, 3))
    for t in range(len(tets)):
        _gradient_of_map(p, tets[t], b[t], F)
        J = _cofactor(F, G)
        squares = (F * F).sum() + 1
        c1, c2, pressure = mu * (1 - 1 / squares), 2 * mu / squares**2, lam * (J - alpha)
        if projected:
            _projected_blocks(F, b[t], c1, c2, lam, J, pressure, K)
        else:
            _blocks(F, G, b[t], c1, c2, lam, pressure, K)
        for i in range(4):
            for j in range(4):
                place = places[t, i, j]
                if place >= 0:
                    for m in range(3):
                        for n in range(3):
                            data[place, m, n] += volume[t] * K[i, j, m, n]


@numba.njit(cache=True)
def _blocks(
    F: np.ndarray,
    G: np.ndarray,
    b: np.ndarray,
    c1: float,
    c2: float,
    lam: float,
    pressure: float,
    K: np.ndarray,
) -> None:
    Fb, Gb = np.empty((4, 3)), np.empty((4, 3))
    for a in range(4):
        for i in range(3):
            Fb[a, i] = F[i, 0] * b[a, 0] + F[i, 1] * b[a, 1] + F[i, 2] * b[a, 2]
            Gb[a, i] = G[i, 0] * b[a, 0] + G[i, 1] * b[a, 1] + G[i, 2] * b[a, 2]
    for a in range(4):
        for c in range(a, 4):
            cross = _cross(b[a], b[c])
            along = c1 * _dot(b[a], b[c])
            w0 = pressure * (F[0, 0] * cross[0] + F[0, 1] * cross[1] + F[0, 2] * cross[2])
            w1 = pressure * (F[1, 0] * cross[0] + F[1, 1] * cross[1] + F[1, 2] * cross[2])
            w2 = pressure * (F[2, 0] * cross[0] + F[2, 1] * cross[1] + F[2, 2] * cross[2])
            for i in range(3):
                for j in range(3):
                    K[a, c, i, j] = c2 * Fb[a, i] * Fb[c, j] + lam * Gb[a, i] * Gb[c, j]
                K[a, c, i, i] += along
            K[a, c, 0, 1] += w2
            K[a, c, 0, 2] -= w1
            K[a, c, 1, 0] -= w2
            K[a, c, 1, 2] += w0
            K[a, c, 2, 0] += w1
            K[a, c, 2, 1] -= w0
            if c > a:
                for i in range(3):
                    for j in range(3):
                        K[c, a, j, i] = K[a, c, i, j]


@numba.njit(cache=True)
def _projected_blocks(
    F: np.ndarray, b: np.ndarray, c1: float, c2: float, lam: float, J: float, pressure: float, K: np.ndarray
) -> None:
    """In the frames of F = U diag(σ) Vᵀ: three twists, three flips, three scalings."""
    U, s, Vt = np.linalg.svd(F)
    if np.linalg.det(U) * np.linalg.det(Vt) < 0:  # σ₃ takes the sign, so that U and V are rotations
        U[:, 2] *= -1.0
        s[2] *= -1.0
    if np.linalg.det(U) < 0:
        U *= -1.0
        Vt *= -1.0
    K[:] = 0.0
    vb = np.empty((4, 3))  # b in the frame of V
    for a in range(4):
        for k in range(3):
            vb[a, k] = _dot(Vt[k], b[a])
    h = np.sqrt(0.5)
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        for sign in (1.0, -1.0):  # the pair of axes i, j: sign −1 twists them, sign 1 flips them
            value = c1 - sign * pressure * s[k]
            if value > 0:
                for a in range(4):
                    for c in range(4):
                        for m in range(3):
                            left = h * (U[m, i] * vb[a, j] + sign * U[m, j] * vb[a, i])
                            for n in range(3):
                                right = h * (U[n, i] * vb[c, j] + sign * U[n, j] * vb[c, i])
                                K[a, c, m, n] += value * left * right
    A = np.empty((3, 3))
    for i in range(3):
        g_i = s[(i + 1) % 3] * s[(i + 2) % 3]
        A[i, i] = c1 + c2 * s[i] * s[i] + lam * g_i * g_i
        j, k = (i + 1) % 3, (i + 2) % 3
        g_j = s[k] * s[i]
        A[i, j] = c2 * s[i] * s[j] + lam * g_i * g_j + pressure * s[k]
        A[j, i] = A[i, j]
    values, vectors = np.linalg.eigh(A)
    for e in range(3):
        if values[e] > 0:
            for a in range(4):
                for c in range(4):
                    for m in range(3):
                        left = 0.0
                        for k in range(3):
                            left += vectors[k, e] * U[m, k] * vb[a, k]
                        for n in range(3):
                            right = 0.0
                            for k in range(3):
                                right += vectors[k, e] * U[n, k] * vb[c, k]
                            K[a, c, m, n] += values[e] * left * right


@numba.njit(cache=True)
def _gradient_of_map(p: np.ndarray, corners: np.ndarray, b: np.ndarray, F: np.ndarray) -> None:
    F[:] = 0.0
    for a in range(4):
        for i in range(3):
            for j in range(3):
                F[i, j] += p[corners[a], i] * b[a, j]


@numba.njit(cache=True)
def _cofactor(F: np.ndarray, G: np.ndarray) -> float:
    """Fills G = cof F; the determinant."""
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        for m in range(3):
            n, o = (m + 1) % 3, (m + 2) % 3
            G[i, m] = F[j, n] * F[k, o] - F[j, o] * F[k, n]
    return F[0, 0] * G[0, 0] + F[0, 1] * G[0, 1] + F[0, 2] * G[0, 2]


@numba.njit(cache=True)
def _cross(a: np.ndarray, b: np.ndarray) -> tuple:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@numba.njit(cache=True)
def _dot(a: Any, b: Any) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
