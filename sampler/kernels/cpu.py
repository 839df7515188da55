"""The compiled sweep: all numba code of the CPU sampler in one file, compiled once.

One file, because numba's disk cache does not see edits in imported files.  The model reaches it
as tables (`problem.Problem`) plus machine addresses of column functions; so a new formula
compiles only itself.  `reference` takes the same decisions in plain NumPy.

Vectorisation depends on four rules that cost a factor 5-15 each when broken: the magic-number
rounding of `vexp2` must not be reassociated, reductions must be; loops start at 0 on slices;
``out`` never overlaps an input.  A NaN must come out as NaN (no ``nnan``) and is stored as +inf
energy, so that a crash is a rejection.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# Kinds of prior, moves and noise laws; numba freezes them as constants at compile time, and a
# test compares them with their definitions in priors, problem and data.
UNIFORM, LOG_UNIFORM, NORMAL, GAMMA, INVERSE_GAMMA, BETA, BERNOULLI = range(7)
WALK, LINEAR, FLIP = range(3)
GAUSSIAN, GAUSSIAN_SCALED, POISSON, STUDENT = range(4)
DRAWS = 4096
FREEDOM = 6.0  # degrees of freedom of a fitted part, as in mixture
REBUILD = 64  # columns and states are rebuilt at sweep numbers that are multiples of this

LOG2E = 1.4426950408889634
LN2 = 0.6931471805599453
MAGIC = 1.5 * 2.0**52
SCALAR = {"error_model": "numpy", "nogil": True, "cache": True, "_nrt": False}
ROUNDED: dict[str, Any] = {"error_model": "numpy", "_nrt": False, "fastmath": {"nsz", "contract"}}
SUMMED: dict[str, Any] = {"error_model": "numpy", "_nrt": False,
                          "fastmath": {"reassoc", "nsz", "contract"}}
# Called from compiled code only: no wrappers for Python, which would cost a third of the compile.
INSIDE: dict[str, Any] = {"error_model": "numpy", "_nrt": False, "no_cpython_wrapper": True,
                          "no_cfunc_wrapper": True}


class Chain(NamedTuple):
    """State of one chain; the sweep writes in place."""

    theta: Any    # (R, P) free parameters of each replica
    columns: Any  # (R, C) columns of all summands
    state: Any    # (R, N) model minus data, or model (Poisson)
    quad: Any     # (R, B) half the weighted sum of squares, or the Poisson or Student energy
    energy: Any   # (R,) U
    rung: Any     # (L,) which replica sits at each rung


class Work(NamedTuple):
    """Scratch of one thread."""

    columns: Any  # (C,)
    state: Any    # (N,)
    quad: Any     # (B,)
    values: Any   # (P + F,) parameters of the current replica
    shape: Any    # (64,) arguments of a column function
    u: Any        # (P,)
    log_u: Any    # (P,)


# ---- bits, exp2, log2 -------------------------------------------------------------------------


@intrinsic  # type: ignore[untyped-decorator]
def _bits(typing: Any, value: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), emit


@intrinsic  # type: ignore[untyped-decorator]
def _double(typing: Any, value: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), emit


@intrinsic  # type: ignore[untyped-decorator]
def _call_column(typing: Any, address: Any, p: Any, cols: Any, ncols: Any, n: Any,
                 out: Any) -> Any:
    """Call ``int64 column(p, cols, ncols, n, out)`` at a machine address."""
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def data(k: int) -> Any:
            return context.make_array(signature.args[k])(context, builder, args[k]).data

        pointers = [data(1), data(2), data(5)]
        i64 = ir.IntType(64)
        kind = ir.FunctionType(i64, [pointers[0].type, pointers[1].type, i64, i64,
                                     pointers[2].type])
        function = builder.inttoptr(args[0], kind.as_pointer())
        return builder.call(function, [pointers[0], pointers[1], args[3], args[4], pointers[2]])

    return types.int64(address, p, cols, ncols, n, out), emit


@intrinsic  # type: ignore[untyped-decorator]
def _call_sweeps(typing: Any, address: Any, arguments: Any) -> Any:
    """Call `sweeps` with a tuple of arguments at its machine address: called by name, LLVM would
    optimise all of it once more."""
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = tuple(arguments)
        kind = context.call_conv.get_function_type(types.none, kinds)
        function = builder.inttoptr(args[0], kind.as_pointer())
        values = [builder.extract_value(args[1], k) for k in range(len(kinds))]
        context.call_conv.call_function(builder, function, types.none, kinds, values)
        return context.get_dummy_value()

    return types.none(address, arguments), emit


@intrinsic  # type: ignore[untyped-decorator]
def wide(typing: Any) -> Any:
    """Ask LLVM for 512-bit vectors in the function that calls this, where the processor has them.

    Numba prefers 256 bits on such processors, for the whole process; this asks for one loop.  The
    function must stay a function, or the wish is lost with it.
    """
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        attributes = builder.function.attributes
        attributes.add("noinline")
        set.add(attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), emit


@intrinsic  # type: ignore[untyped-decorator]
def _inlined(typing: Any) -> Any:
    """Have LLVM inline the function that calls this.  Numba's own inlining copies and types the
    code anew at every place of call, which costs half of the compile."""
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.function.attributes.add("alwaysinline")
        return context.get_dummy_value()

    return types.none(), emit


@njit(**ROUNDED)
def vexp2(u):
    """2**u by a degree-11 polynomial on [-1/2, 1/2] (relative error 4e-18 before rounding)."""
    clamped = -1020.0 if u < -1020.0 else u
    clamped = 1024.0 if clamped > 1024.0 else clamped
    shifted = clamped + MAGIC
    f = clamped - (shifted - MAGIC)
    p = 4.455817908336064493e-10
    p = p * f + 7.0741942972885210056e-9
    p = p * f + 1.0178057087733941105e-7
    p = p * f + 1.3215432535912376166e-6
    p = p * f + 1.5252733841556772589e-5
    p = p * f + 0.00015403530463724354209
    p = p * f + 0.0013333558146406470697
    p = p * f + 0.0096181291075872566681
    p = p * f + 0.055504108664821627039
    p = p * f + 0.24022650695910159567
    p = p * f + 0.69314718055994530925
    p = p * f + 1.0
    # At 1024 the polynomial is 1 and the exponent field is full: that is +inf itself.
    return _double(_bits(p) + (_bits(shifted) << 52))


@njit(**ROUNDED)
def _log2_share(z):
    """log2((1+s)/(1-s)) / s as a series of degree 8 in z = s**2, |s| < 0.172."""
    p = 0.19133171202266565708
    p = p * z + 0.19113924798420680804
    p = p * z + 0.22198980761494066452
    p = p * z + 0.26230754806401315372
    p = p * z + 0.3205989045353651296
    p = p * z + 0.41219858307348607593
    p = p * z + 0.57707801635569347752
    p = p * z + 0.96179669392597548546
    return p * z + 2.8853900817779268147


@njit(**ROUNDED)
def vlog2(v):
    """log2 v by exponent and a series in ((m-1)/(m+1))**2; -inf at 0, NaN below."""
    # Adding (1 - sqrt(1/2)) in units of the mantissa puts m in [sqrt(1/2), sqrt(2)).
    b = _bits(v) + 0x00095F619980C433
    e = (b >> 52) - 1023
    m = _double(_bits(v) - (e << 52))
    s = (m - 1.0) / (m + 1.0)
    value = e + s * _log2_share(s * s)
    value = -np.inf if v < 2.2250738585072014e-308 else value
    value = np.nan if v < 0.0 else value
    return v if v == np.inf or v != v else value


@njit(**ROUNDED)
def vlog1p(z):
    """ln(1 + z) for z >= 0, good to rounding however small z is."""
    v = 1.0 + z
    lost = z - (v - 1.0)    # what rounding took
    e = ((_bits(v) + 0x00095F619980C433) >> 52) - 1023
    m = _double(_bits(v) - (e << 52))
    s = ((m - 1.0) + lost * _double((1023 - e) << 52)) / (m + 1.0)
    return LN2 * (e + s * _log2_share(s * s))


# ---- random numbers ---------------------------------------------------------------------------

_LOW = np.uint64(0xFFFFFFFF)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_32, _12 = np.uint64(32), np.uint64(12)


@njit(error_model="numpy", _nrt=False)
def _round(c0, c1, c2, c3, k0, k1):
    first, second = _M0 * c0, _M1 * c2
    return (second >> _32) ^ c1 ^ k0, second & _LOW, (first >> _32) ^ c3 ^ k1, first & _LOW


@njit(error_model="numpy", _nrt=False)
def pair(sweep, replica, draw, key):
    """Two uniforms in (0, 1) for one counter; the compiled `philox.uniforms`."""
    t = np.uint64(sweep)
    c0, c1, c2, c3 = t & _LOW, t >> _32, np.uint64(replica), np.uint64(draw)
    k0, k1 = key & _LOW, key >> _32
    for _ in range(10):
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return (((c0 << _32) | c1) >> _12) * 2.0**-52 + 2.0**-53, (
        ((c2 << _32) | c3) >> _12) * 2.0**-52 + 2.0**-53


@njit(error_model="numpy", _nrt=False, fastmath={"nsz", "contract"})
def _block(sweep, replica, key, u, log_u):
    """The first pair of every parameter: a step and the log of a threshold, vectorised."""
    t = np.uint64(sweep)
    low, high, who = t & _LOW, t >> _32, np.uint64(replica)
    key0, key1 = key & _LOW, key >> _32
    for i in range(u.shape[0]):
        c0, c1, c2, c3 = low, high, who, np.uint64(i) * np.uint64(DRAWS)
        k0, k1 = key0, key1
        for _ in range(10):
            first, second = _M0 * c0, _M1 * c2
            c0, c1, c2, c3 = (second >> _32) ^ c1 ^ k0, second & _LOW, (
                first >> _32) ^ c3 ^ k1, first & _LOW
            k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
        u[i] = (((c0 << _32) | c1) >> _12) * 2.0**-52 + 2.0**-53
        log_u[i] = vlog2((((c2 << _32) | c3) >> _12) * 2.0**-52 + 2.0**-53) * LN2


@njit(**ROUNDED)
def _log(v):
    """Natural logarithm of a positive number, three times as fast as the C library's."""
    return LN2 * vlog2(v)


@njit(error_model="numpy", _nrt=False)
def truncated_normal(mean, sd, lo, hi, sweep, replica, draw, key, now):
    """Exact draw of a normal cut to [lo, hi] by rejection (Robert 1995); ``now`` if it fails."""
    alpha, omega = (lo - mean) / sd, (hi - mean) / sd
    inside = alpha <= 0.0 <= omega
    near = alpha if alpha > 0.0 else (-omega if omega < 0.0 else 0.0)
    width = omega - alpha
    rate = 0.5 * (near + math.sqrt(near * near + 4.0))
    flat = width < 2.0 if inside else width * rate < 2.0
    for j in range(DRAWS):
        u, v = pair(sweep, replica, draw + j, key)
        if flat:
            value = lo + (hi - lo) * u
            z = alpha + width * u
            accept = v < math.exp(0.5 * (near * near - z * z))
        elif inside:
            value = mean + sd * math.sqrt(-2.0 * _log(u)) * math.cos(2.0 * math.pi * v)
            accept = True
        else:
            # Exponential from the nearer bound, cut at the farther one.
            z = -math.log1p(u * math.expm1(-rate * width)) / rate
            accept = v < math.exp(-0.5 * (near + z - rate) ** 2)
            value = lo + sd * z if alpha > 0.0 else hi - sd * z
        if accept and lo <= value <= hi:
            return value
    return now


@njit(error_model="numpy", _nrt=False)
def log_concave_gamma(shape, slope, precision, sweep, replica, draw, key, now):
    """Exact draw of v**(shape-1) exp(slope v - precision v**2/2), v > 0, shape > 1.

    Rejection from an envelope of two tangents and a flat top, valid because the log density is
    concave; about nine tries in ten are accepted.
    """
    k = shape - 1.0
    root = math.sqrt(slope * slope + 4.0 * precision * k)
    mode = 2.0 * k / (root - slope) if slope < 0.0 else (slope + root) / (2.0 * precision)
    if not 0.0 < mode < np.inf:
        return now
    width = 1.0 / math.sqrt(precision + k / (mode * mode))
    left = max(mode - 1.4142 * width, 0.25 * mode)
    right = mode + 1.4142 * width
    top = k * _log(mode) + (slope - 0.5 * precision * mode) * mode
    rise = k / left + slope - precision * left
    fall = -(k / right + slope - precision * right)
    h_left = k * _log(left) + (slope - 0.5 * precision * left) * left - top
    h_right = k * _log(right) + (slope - 0.5 * precision * right) * right - top
    a, b = left - h_left / rise, right + h_right / fall  # where the tangents reach the top
    area_left = -math.expm1(-rise * a) / rise
    area_top, area_right = b - a, 1.0 / fall
    total = area_left + area_top + area_right
    if not total < np.inf:
        return now
    for j in range(DRAWS // 2):
        u, v = pair(sweep, replica, draw + 2 * j, key)
        w, _ = pair(sweep, replica, draw + 2 * j + 1, key)
        area = u * total
        if area < area_left:
            value = a + math.log1p(v * math.expm1(-rise * a)) / rise
            bound = rise * (value - a)
        elif area < area_left + area_top:
            value = a + v * area_top
            bound = 0.0
        else:
            value = b - _log(v) / fall
            bound = -fall * (value - b)
        if value > 0.0:
            height = k * _log(value) + (slope - 0.5 * precision * value) * value - top
            if _log(w) < height - bound:
                return value
    return now


@njit(error_model="numpy", _nrt=False)
def _gamma(shape, sweep, replica, draw, key):
    """Gamma(shape, rate 1) by Marsaglia and Tsang (2000)."""
    boost = 1.0
    if shape < 1.0:
        u, _ = pair(sweep, replica, draw, key)
        boost = u ** (1.0 / shape)
        shape += 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    for j in range(500):
        u, v = pair(sweep, replica, draw + 1 + 2 * j, key)
        w, _ = pair(sweep, replica, draw + 2 + 2 * j, key)
        z = math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * math.pi * v)
        cube = (1.0 + c * z) ** 3
        if cube > 0.0 and math.log(w) < 0.5 * z * z + d - d * cube + d * math.log(cube):
            return boost * d * cube
    return np.nan


@njit(**SCALAR)
def draw_prior(kind, prior, below, above, sweep, replica, key, theta):
    """One independent draw of every parameter from its prior; ordered groups are sorted."""
    for p in range(theta.shape[0]):
        one, two, lo, hi = prior[p, 0], prior[p, 1], prior[p, 2], prior[p, 3]
        draw = p * DRAWS
        u, _ = pair(sweep, replica, draw, key)
        if kind[p] == UNIFORM:
            theta[p] = lo + (hi - lo) * u
        elif kind[p] == LOG_UNIFORM:
            theta[p] = min(max(lo * math.exp(u * math.log(hi / lo)), lo), hi)
        elif kind[p] == NORMAL:
            theta[p] = truncated_normal(one, two, lo, hi, sweep, replica, draw, key, np.nan)
        elif kind[p] == GAMMA:
            theta[p] = _gamma(one, sweep, replica, draw, key) / two
        elif kind[p] == INVERSE_GAMMA:
            theta[p] = two / _gamma(one, sweep, replica, draw, key)
        elif kind[p] == BETA:
            a = _gamma(one, sweep, replica, draw, key)
            theta[p] = a / (a + _gamma(two, sweep, replica, draw + DRAWS // 2, key))
        else:
            theta[p] = 1.0 if math.log(u) < one else 0.0
    for p in range(theta.shape[0]):
        if below[p] < 0 and above[p] >= 0:
            _sort(theta, above, p)


@njit(**INSIDE)
def _sort(theta, above, first):
    """Selection sort along one linked group."""
    p = first
    while above[p] >= 0:
        smallest, q = p, above[p]
        while q >= 0:
            if theta[q] < theta[smallest]:
                smallest = q
            q = above[q]
        theta[p], theta[smallest] = theta[smallest], theta[p]
        p = above[p]


# ---- loops over points ------------------------------------------------------------------------


@njit(**SUMMED)
def _squares(s, weight):
    total = 0.0
    for i in range(s.shape[0]):
        total += weight[i] * s[i] * s[i]
    return 0.5 * total


@njit(**SUMMED)
def _poisson(mu, y, weight):
    total = 0.0
    for i in range(mu.shape[0]):
        m = mu[i]
        counted = y[i] * LN2 * vlog2(m) if y[i] > 0.0 else 0.0
        total += weight[i] * (m - counted) + (np.inf if m < 0.0 else 0.0)
    return total


@njit(**ROUNDED)
def _both(a, b):
    """(1 + a)(1 + b) - 1, good to rounding where neither is negative."""
    return a + (b + a * b)


@njit(**SUMMED)
def _student(s, weight, nu, scale):
    """Four points share a logarithm, which is dear; each has its own where the product of four
    is too large a number (or is none)."""
    wide()
    share = 1.0 / (nu * scale * scale)
    n = s.shape[0] // 4
    s0, s1, s2, s3 = s[:n], s[n:2 * n], s[2 * n:3 * n], s[3 * n:]
    w0, w1, w2, w3 = weight[:n], weight[n:2 * n], weight[2 * n:3 * n], weight[3 * n:]
    total = 0.0
    for i in range(n):
        total += vlog1p(_both(_both(share * (w0[i] * s0[i] * s0[i]),
                                    share * (w1[i] * s1[i] * s1[i])),
                              _both(share * (w2[i] * s2[i] * s2[i]),
                                    share * (w3[i] * s3[i] * s3[i]))))
    if not total < np.inf:
        total = 0.0
        for i in range(s.shape[0]):
            total += vlog1p(share * (weight[i] * s[i] * s[i]))
    return 0.5 * (nu + 1.0) * total


@njit(**SUMMED)
def _replaced_squares(out, base, new_amplitude, new, old_amplitude, old, weight):
    """out = base with one summand replaced, and its energy, in one pass."""
    total = 0.0
    for i in range(out.shape[0]):
        value = base[i] + (new_amplitude * new[i] - old_amplitude * old[i])
        out[i] = value
        total += weight[i] * value * value
    return 0.5 * total


@njit(**ROUNDED)
def _replace(out, base, new_amplitude, new, old_amplitude, old):
    for i in range(out.shape[0]):
        out[i] = base[i] + (new_amplitude * new[i] - old_amplitude * old[i])


@njit(**ROUNDED)
def _replace_again(out, new_amplitude, new, old_amplitude, old):
    for i in range(out.shape[0]):
        out[i] += new_amplitude * new[i] - old_amplitude * old[i]


@njit(**ROUNDED)
def _copy(out, values):
    for i in range(out.shape[0]):
        out[i] = values[i]


@njit(**ROUNDED)
def _scaled(out, factor, values):
    for i in range(out.shape[0]):
        out[i] = factor * values[i]


@njit(**ROUNDED)
def _add(out, factor, values):
    for i in range(out.shape[0]):
        out[i] += factor * values[i]


@njit(**SUMMED)
def _products(g, s, weight):
    """Weighted <g, g> and <g, s>."""
    gg = 0.0
    gs = 0.0
    for i in range(g.shape[0]):
        wg = weight[i] * g[i]
        gg += wg * g[i]
        gs += wg * s[i]
    return gg, gs


@njit(**SUMMED)
def _added_squares(out, factor, g, weight):
    """out += factor * g, and its energy, in one pass."""
    total = 0.0
    for i in range(out.shape[0]):
        value = out[i] + factor * g[i]
        out[i] = value
        total += weight[i] * value * value
    return 0.5 * total


# ---- energy -----------------------------------------------------------------------------------


@njit(**INSIDE)
def _finite(value):
    """NaN is stored as +inf: outside the support."""
    return value if value == value else np.inf


@njit(**INSIDE)
def _scale(problem, b, values, p, value):
    """The noise parameter of a data set with parameter p at ``value``; 1 if it has none."""
    _inlined()
    k = problem.scale[b]
    if k < 0:
        return 1.0
    return value if k == p else values[k]


@njit(**INSIDE)
def _quad(problem, b, s, scale):
    first = problem.start[b]
    n = problem.padded[b]
    weight = problem.weight[first:first + n]
    if problem.law[b] == POISSON:
        return _poisson(s, problem.y[first:first + n], weight)
    if problem.law[b] == STUDENT:
        return _student(s, weight, problem.tails[b], scale)
    return _squares(s, weight)


@njit(**INSIDE)
def _energy(problem, quad, values, p, value):
    """Total U from the quads, with parameter p at ``value`` (p = -1: as it is)."""
    _inlined()
    total = 0.0
    for b in range(problem.law.shape[0]):
        if problem.scale[b] < 0:
            total += quad[b]
            continue
        s = _scale(problem, b, values, p, value)
        total += problem.points[b] * math.log(s) + (
            quad[b] / (s * s) if problem.law[b] == GAUSSIAN_SCALED else quad[b])
    return _finite(total)


@njit(**INSIDE)
def _amplitude(problem, s, values, p, value):
    _inlined()
    a = 1.0
    for j in range(2):
        k = problem.factor[s, j]
        if k >= 0:
            a *= value if k == p else values[k]
    return a


@njit(**INSIDE)
def _column(problem, s, values, p, value, work, out):
    """Evaluate one summand's column with parameter p at ``value``; 0 if it could not."""
    _inlined()
    for j in range(problem.where.shape[1]):
        k = problem.where[s, j]
        if k < 0:
            break
        work.shape[j] = value if k == p else values[k]
    n = out.shape[0]
    t = problem.table[s]
    cols = problem.columns[t:t + problem.tables[s] * n]
    return _call_column(problem.address[s], work.shape, cols, problem.tables[s], n, out)


@njit(**INSIDE)
def _load(problem, theta, values):
    for p in range(theta.shape[0]):
        values[p] = theta[p]
    for f in range(problem.fixed.shape[0]):
        values[theta.shape[0] + f] = problem.fixed[f]


@njit(**SCALAR)
def rebuild(problem, chain, work, r):
    """Columns, state and energy of replica r from its parameters alone."""
    _load(problem, chain.theta[r], work.values)
    for b in range(problem.law.shape[0]):
        first, n = problem.start[b], problem.padded[b]
        s = chain.state[r, first:first + n]
        if problem.law[b] == POISSON:
            _scaled(s, 0.0, problem.y[first:first + n])
        else:
            _scaled(s, -1.0, problem.y[first:first + n])
    for k in range(problem.block.shape[0]):
        b = problem.block[k]
        first, n = problem.start[b], problem.padded[b]
        column = chain.columns[r, problem.out[k]:problem.out[k] + n]
        if _column(problem, k, work.values, -1, 0.0, work, column) == 0:
            _scaled(column, np.nan, column)
        _add(chain.state[r, first:first + n], _amplitude(problem, k, work.values, -1, 0.0), column)
    for b in range(problem.law.shape[0]):
        first, n = problem.start[b], problem.padded[b]
        chain.quad[r, b] = _quad(problem, b, chain.state[r, first:first + n],
                                 _scale(problem, b, work.values, -1, 0.0))
    chain.energy[r] = _energy(problem, chain.quad[r], work.values, -1, 0.0)


@njit(**SCALAR)
def energies(problem, chain, work, theta, out):
    """U of each row of theta (N, P), out (N,); uses replica 0 of the chain as scratch."""
    r = np.int64(0)     # not the literal 0, for which numba would compile `rebuild` anew
    for i in range(theta.shape[0]):
        for p in range(theta.shape[1]):
            chain.theta[r, p] = theta[i, p]
        rebuild(problem, chain, work, r)
        out[i] = chain.energy[r]


@njit(**SUMMED)
def _dot(a, b, weight):
    total = 0.0
    for i in range(a.shape[0]):
        total += weight[i] * a[i] * b[i]
    return total


@njit(**SCALAR)
def quadratics(problem, chain, work, linear, theta, directions, offset, pull, precision):
    """U as a quadratic form of its amplitudes h: offset - pull h + h precision h / 2.

    linear (K,) the amplitudes' places; theta (N, P), their values ignored; directions (K, N)
    scratch; offset (N,), pull (N, K) and precision (N, K, K) are written.
    """
    amplitudes = linear.shape[0]
    r = np.int64(0)
    for i in range(theta.shape[0]):
        for p in range(theta.shape[1]):
            chain.theta[r, p] = theta[i, p]
        for k in range(amplitudes):
            chain.theta[r, linear[k]] = 0.0
        rebuild(problem, chain, work, r)
        offset[i] = chain.energy[r]
        for k in range(amplitudes):
            pull[i, k] = 0.0
            for m in range(amplitudes):
                precision[i, k, m] = 0.0
        for b in range(problem.law.shape[0]):
            first, n = problem.start[b], problem.padded[b]
            weight = problem.weight[first:first + n]
            state = chain.state[r, first:first + n]
            scale = 1.0
            if problem.scale[b] >= 0:
                scale = 1.0 / work.values[problem.scale[b]] ** 2
            for k in range(amplitudes):
                g = directions[k, :n]
                _scaled(g, 0.0, weight)
                p = linear[k]
                for row in range(problem.first[p], problem.first[p + 1]):
                    s = problem.touched[row, 0]
                    if problem.block[s] == b:
                        o = problem.out[s]
                        _add(g, _amplitude(problem, s, work.values, p, 1.0),
                             chain.columns[r, o:o + n])
                pull[i, k] -= scale * _dot(g, state, weight)
                for m in range(k + 1):
                    value = scale * _dot(g, directions[m, :n], weight)
                    precision[i, k, m] += value
                    if m < k:
                        precision[i, m, k] += value


# ---- moves ------------------------------------------------------------------------------------


@njit(**INSIDE)
def _walk_density(kind, one, two, value):
    """Log prior in the coordinate of the walk (the log for LogUniform and InverseGamma)."""
    if kind == NORMAL:
        z = (value - one) / two
        return -0.5 * z * z
    if kind == GAMMA:
        return (one - 1.0) * _log(value) - two * value
    if kind == INVERSE_GAMMA:
        return -one * _log(value) - two / value
    if kind == BETA:
        return (one - 1.0) * math.log(value) + (two - 1.0) * math.log1p(-value)
    if kind == BERNOULLI:
        return one if value == 1.0 else two
    return 0.0


@njit(**INSIDE)
def _inside(problem, p, values, value):
    """Is the value inside the support, and between its neighbours of an ordered group?"""
    _inlined()
    lo, hi = problem.prior[p, 2], problem.prior[p, 3]
    if not lo <= value <= hi:
        return False
    if lo == 0.0 and value == 0.0 and (problem.kind[p] == GAMMA
                                       or problem.kind[p] == INVERSE_GAMMA):
        return False
    if problem.below[p] >= 0 and not values[problem.below[p]] < value:
        return False
    return not (problem.above[p] >= 0 and not value < values[problem.above[p]])


@njit(**INSIDE)
def _propose(problem, chain, work, r, p, value):
    """Energy of replica r with parameter p at ``value``; new columns and states stay in work."""
    _inlined()
    for b in range(problem.law.shape[0]):
        work.quad[b] = chain.quad[r, b]
    begin, end = problem.first[p], problem.first[p + 1]
    last = -1
    for row in range(begin, end):
        k, changes = problem.touched[row, 0], problem.touched[row, 1]
        b = problem.block[k]
        first, n, o = problem.start[b], problem.padded[b], problem.out[k]
        old = chain.columns[r, o:o + n]
        new = old
        if changes == 1:
            new = work.columns[o:o + n]
            if _column(problem, k, work.values, p, value, work, new) == 0:
                return np.inf
        a1 = _amplitude(problem, k, work.values, p, value)
        a0 = _amplitude(problem, k, work.values, p, work.values[p])
        out = work.state[first:first + n]
        only = row + 1 == end or problem.block[problem.touched[row + 1, 0]] != b
        if b != last:
            base = chain.state[r, first:first + n]
            if only and (problem.law[b] == GAUSSIAN or problem.law[b] == GAUSSIAN_SCALED):
                work.quad[b] = _replaced_squares(
                    out, base, a1, new, a0, old, problem.weight[first:first + n])
                last = b
                continue
            _replace(out, base, a1, new, a0, old)
        else:
            _replace_again(out, a1, new, a0, old)
        if only:
            work.quad[b] = _quad(problem, b, out, _scale(problem, b, work.values, p, value))
        last = b
    # Of data with Student's noise the scale stands inside the sum; it moves nothing else of them.
    for row in range(problem.noisy_first[p], problem.noisy_first[p + 1]):
        b = problem.noisy[row]
        if problem.law[b] == STUDENT:
            first, n = problem.start[b], problem.padded[b]
            work.quad[b] = _quad(problem, b, chain.state[r, first:first + n], value)
    return _energy(problem, work.quad, work.values, p, value)


@njit(**INSIDE)
def _commit(problem, chain, work, r, p, value, energy):
    _inlined()
    last = -1
    for row in range(problem.first[p], problem.first[p + 1]):
        k, b = problem.touched[row, 0], problem.block[problem.touched[row, 0]]
        first, n, o = problem.start[b], problem.padded[b], problem.out[k]
        if problem.touched[row, 1] == 1:
            _copy(chain.columns[r, o:o + n], work.columns[o:o + n])
        if b != last:
            _copy(chain.state[r, first:first + n], work.state[first:first + n])
            chain.quad[r, b] = work.quad[b]
        last = b
    for row in range(problem.noisy_first[p], problem.noisy_first[p + 1]):
        chain.quad[r, problem.noisy[row]] = work.quad[problem.noisy[row]]
    chain.theta[r, p] = value
    work.values[p] = value
    chain.energy[r] = energy


@njit(**INSIDE)
def _metropolis(problem, chain, work, r, p, beta, step, u, log_u):
    """One random-walk (or flip) proposal; returns 1 if accepted."""
    _inlined()
    old = work.values[p]
    kind = problem.kind[p]
    if problem.move[p] == FLIP:
        value = 1.0 - old
    elif kind == LOG_UNIFORM or kind == INVERSE_GAMMA:
        value = old * vexp2(LOG2E * step * (2.0 * u - 1.0))
    else:
        value = old + step * (2.0 * u - 1.0)
    if not _inside(problem, p, work.values, value):
        return 0
    energy = _propose(problem, chain, work, r, p, value)
    one, two = problem.prior[p, 0], problem.prior[p, 1]
    gain = (_walk_density(kind, one, two, value) - _walk_density(kind, one, two, old)
            - beta * (energy - chain.energy[r]))
    if log_u < gain:
        _commit(problem, chain, work, r, p, value, energy)
        return 1
    return 0


@njit(**INSIDE)
def _direction(problem, chain, work, r, p, row):
    """Derivative of the model with respect to a linear parameter on one data set, and the row
    after the last one of that data set: one column as it lies there and its factor, or the sum
    of several in work.state."""
    _inlined()
    b = problem.block[problem.touched[row, 0]]
    first, n = problem.start[b], problem.padded[b]
    k = problem.touched[row, 0]
    o = problem.out[k]
    column = chain.columns[r, o:o + n]
    factor = _amplitude(problem, k, work.values, p, 1.0)
    row += 1
    if row == problem.first[p + 1] or problem.block[problem.touched[row, 0]] != b:
        return column, factor, row
    g = work.state[first:first + n]
    _scaled(g, factor, column)
    while row < problem.first[p + 1] and problem.block[problem.touched[row, 0]] == b:
        k = problem.touched[row, 0]
        o = problem.out[k]
        _add(g, _amplitude(problem, k, work.values, p, 1.0), chain.columns[r, o:o + n])
        row += 1
    return g, 1.0, row


@njit(**INSIDE)
def _linear_draw(problem, chain, work, r, p, beta, sweep, key):
    """Exact draw of a parameter that enters linearly, given all others."""
    _inlined()
    precision = 0.0
    slope = 0.0
    row = problem.first[p]
    while row < problem.first[p + 1]:
        b = problem.block[problem.touched[row, 0]]
        first, n = problem.start[b], problem.padded[b]
        g, f, row = _direction(problem, chain, work, r, p, row)
        gg, gs = _products(g, chain.state[r, first:first + n], problem.weight[first:first + n])
        k = problem.scale[b]
        factor = beta if k < 0 else beta / (work.values[k] * work.values[k])
        precision += factor * (f * f * gg)
        slope += factor * (f * gs)
    old = work.values[p]
    value = _conditional(problem, p, precision, precision * old - slope, old, sweep, r, key)
    if not (value == value) or value == old:
        return
    row = problem.first[p]
    while row < problem.first[p + 1]:
        b = problem.block[problem.touched[row, 0]]
        first, n = problem.start[b], problem.padded[b]
        g, f, row = _direction(problem, chain, work, r, p, row)
        chain.quad[r, b] = _added_squares(chain.state[r, first:first + n], f * (value - old), g,
                                          problem.weight[first:first + n])
    chain.theta[r, p] = value
    work.values[p] = value
    chain.energy[r] = _energy(problem, chain.quad[r], work.values, -1, 0.0)


@njit(**INSIDE)
def _conditional(problem, p, precision, linear, now, sweep, replica, key):
    """Draw from prior(v) exp(linear * v - precision * v**2 / 2)."""
    _inlined()
    one, two, lo, hi = (problem.prior[p, 0], problem.prior[p, 1], problem.prior[p, 2],
                        problem.prior[p, 3])
    draw = p * DRAWS
    kind = problem.kind[p]
    if not (0.0 <= precision < np.inf and -np.inf < linear < np.inf):
        return now
    if kind == NORMAL:
        precision += 1.0 / (two * two)
        linear += one / (two * two)
    elif kind == GAMMA:
        linear -= two
        if one > 1.0:
            return log_concave_gamma(one, linear, precision, sweep, replica, draw, key, now)
    # Where the likelihood says nothing to rounding, the prior alone is drawn from.
    if kind == UNIFORM and precision * (hi - lo) ** 2 + abs(linear) * (hi - lo) < 1e-16:
        u, _ = pair(sweep, replica, draw, key)
        return lo + (hi - lo) * u
    if kind == GAMMA and linear < 0.0 and precision < 1e-16 * linear * linear:
        u, _ = pair(sweep, replica, draw, key)
        return math.log(u) / linear
    return truncated_normal(linear / precision, 1.0 / math.sqrt(precision), lo, hi, sweep,
                            replica, draw, key, now)


@njit(**SCALAR)
def sweeps(problem, chain, work, betas, steps, keys, start, energies, replicas, draws, accepted,
           proposed):
    """Sweeps start, start + 1, ...: every replica moves, is recorded, then neighbours exchange.

    energies, replicas (sweeps, L) and draws (sweeps, P) are written for each sweep; accepted
    and proposed (L, P) are added to.
    """
    rungs, free = betas.shape[0], chain.theta.shape[1]
    for t in range(energies.shape[0]):
        sweep = start + t
        for level in range(rungs):
            r = chain.rung[level]
            if betas[level] == 0.0:
                draw_prior(problem.kind, problem.prior, problem.below, problem.above, sweep, r,
                           keys[1], chain.theta[r])
                rebuild(problem, chain, work, r)
            else:
                if sweep % REBUILD == 0:
                    rebuild(problem, chain, work, r)
                _load(problem, chain.theta[r], work.values)
                _block(sweep, r, keys[2], work.u, work.log_u)
                for p in range(free):
                    if problem.move[p] == LINEAR:
                        _linear_draw(problem, chain, work, r, p, betas[level], sweep, keys[2])
                    else:
                        proposed[level, p] += 1
                        accepted[level, p] += _metropolis(
                            problem, chain, work, r, p, betas[level], steps[level, p],
                            work.u[p], work.log_u[p])
        for level in range(rungs):
            energies[t, level] = chain.energy[chain.rung[level]]
            replicas[t, level] = chain.rung[level]
        _copy(draws[t], chain.theta[chain.rung[rungs - 1]])
        for level in range(sweep % 2, rungs - 1, 2):
            hot, cold = chain.rung[level], chain.rung[level + 1]
            u, _ = pair(sweep, level, 0, keys[3])
            gain = (betas[level + 1] - betas[level]) * (chain.energy[cold] - chain.energy[hot])
            if math.log(u) < gain:
                chain.rung[level], chain.rung[level + 1] = cold, hot


# ---- jumps between fitted modes -----------------------------------------------------------------


class Jumping(NamedTuple):
    """What the jumps of one chain write."""

    spare: Any     # Chain of one replica: the proposal
    scratch: Any   # (5, 3 + 2 P) two rows of uniforms, coordinates, steps, parameters
    accepted: Any  # (L,) added to
    proposed: Any  # (L,) added to
    thetas: Any    # (n, L, P) parameters of all rungs after every thin-th sweep


@njit(**INSIDE)
def _exchange_components(jumps, g, theta, k, m):
    size, first = jumps.groups[g, 0], jumps.groups[g, 2]
    for j in range(jumps.groups[g, 1]):
        a, b = jumps.members[first + j * size + k], jumps.members[first + j * size + m]
        theta[a], theta[b] = theta[b], theta[a]


@njit(**INSIDE)
def _fold(jumps, theta):
    """Put the components of every group in increasing order of their keys (insertion sort)."""
    for g in range(jumps.groups.shape[0]):
        first = jumps.groups[g, 2]
        for i in range(1, jumps.groups[g, 0]):
            k = i
            while k > 0 and (theta[jumps.members[first + k]]
                             < theta[jumps.members[first + k - 1]]):
                _exchange_components(jumps, g, theta, k, k - 1)
                k -= 1


@njit(**INSIDE)
def _shuffle(jumps, theta, u):
    """Number the components of every group at random (Fisher and Yates)."""
    draw = 3 + theta.shape[0]
    for g in range(jumps.groups.shape[0]):
        for k in range(jumps.groups[g, 0] - 1, 0, -1):
            _exchange_components(jumps, g, theta, k, int(u[draw] * (k + 1)))
            draw += 1


@njit(**INSIDE)
def _log_share(kinds, prior, jumps, level, theta, t, z):
    """ln of prior over fitted density at folded parameters; NaN on the edge of the support."""
    total = 0.0
    free = theta.shape[0]
    for p in range(free):
        lo, hi = jumps.bounds[p, 0], jumps.bounds[p, 1]
        x = math.log(theta[p]) if jumps.logarithmic[p] == 1 else theta[p]
        total += _walk_density(kinds[p], prior[p, 0], prior[p, 1], theta[p])
        # Beside the coordinate t, ln |dx/dt|.
        below = math.log(x - lo) if lo > -np.inf else 0.0
        above = math.log(hi - x) if hi < np.inf else 0.0
        t[p] = below - above if lo > -np.inf or hi < np.inf else x
        total += below + above
    best, share, half = -np.inf, 0.0, 0.5 * (FREEDOM + free)
    for k in range(jumps.height.shape[1]):
        if jumps.height[level, k] == -np.inf:     # fewer parts than places
            break
        distance = 0.0
        for i in range(free):
            gap = t[i] - jumps.mean[level, k, i]
            for j in range(i):
                gap -= jumps.root[level, k, i, j] * z[j]
            z[i] = gap / jumps.root[level, k, i, i]
            distance += z[i] * z[i]
        part = jumps.height[level, k] - half * math.log(1.0 + distance / FREEDOM)
        top = max(best, part)
        share = share * math.exp(best - top) + math.exp(part - top)
        best = top
    return total - best - math.log(share)


@njit(**INSIDE)
def _draw_jump(jumps, level, theta, u, v, z):
    """A draw of the fitted density."""
    free = theta.shape[0]
    k = 0
    while k < jumps.edge.shape[1] - 1 and u[0] >= jumps.edge[level, k]:
        k += 1
    # The chi-square of six degrees of freedom is a sum of three exponentials.
    scale = math.sqrt(FREEDOM / (-2.0 * math.log(u[1] * v[1] * u[2])))
    for i in range(free):
        z[i] = scale * math.sqrt(-2.0 * math.log(u[3 + i])) * math.cos(2.0 * math.pi * v[3 + i])
        t = jumps.mean[level, k, i]
        for j in range(i + 1):
            t += jumps.root[level, k, i, j] * z[j]
        lo, hi = jumps.bounds[i, 0], jumps.bounds[i, 1]
        x = t
        if lo > -np.inf:
            x = lo + ((hi - lo) / (1.0 + math.exp(-t)) if hi < np.inf else math.exp(t))
        elif hi < np.inf:
            x = hi - math.exp(-t)
        theta[i] = math.exp(x) if jumps.logarithmic[i] == 1 else x


@njit(**INSIDE)
def _allowed(problem, jumps, theta):
    """Strictly inside the support, and all that has an order in it."""
    for p in range(theta.shape[0]):
        if not problem.prior[p, 2] < theta[p] < problem.prior[p, 3]:
            return False
        if problem.below[p] >= 0 and not theta[problem.below[p]] < theta[p]:
            return False
    for g in range(jumps.groups.shape[0]):
        first = jumps.groups[g, 2]
        for k in range(1, jumps.groups[g, 0]):
            if not theta[jumps.members[first + k - 1]] < theta[jumps.members[first + k]]:
                return False
    return True


@njit(**SCALAR)
def jumping_sweeps(address, problem, jumps, jumping, chain, work, betas, steps, keys, start,
                   energies, replicas, draws, accepted, proposed, thin):
    """`sweeps`, at its machine address, and before each sweep a try of every rung that jumps: a
    draw of its fitted density (`sampler.jumps.Jumps`) for all parameters at once.

    The density of a state is that of its folded parameters, so that components are numbered anew
    in what is proposed.
    """
    kept = 0
    free = chain.theta.shape[1]
    new = jumping.spare.theta[0]
    u, v, t, z = (jumping.scratch[0], jumping.scratch[1], jumping.scratch[2], jumping.scratch[3])
    old = jumping.scratch[4, :free]
    for s in range(energies.shape[0]):
        sweep = start + s
        for level in range(betas.shape[0]):
            if jumps.on[level] == 0:
                continue
            r = chain.rung[level]
            jumping.proposed[level] += 1
            for j in range(u.shape[0]):
                u[j], v[j] = pair(sweep, r, j, keys[4])
            _draw_jump(jumps, level, new, u, v, z)
            if not _allowed(problem, jumps, new):
                continue
            _copy(old, chain.theta[r])
            _fold(jumps, old)
            gain = 0.0
            for sign in range(-1, 2, 2):
                gain += sign * _log_share(problem.kind, problem.prior, jumps, level,
                                          new if sign > 0 else old, t, z)
            _shuffle(jumps, new, u)
            rebuild(problem, jumping.spare, work, np.int64(0))
            gain -= betas[level] * (jumping.spare.energy[0] - chain.energy[r])
            if math.log(v[0]) < gain:
                _copy(chain.theta[r], new)
                _copy(chain.columns[r], jumping.spare.columns[0])
                _copy(chain.state[r], jumping.spare.state[0])
                _copy(chain.quad[r], jumping.spare.quad[0])
                chain.energy[r] = jumping.spare.energy[0]
                jumping.accepted[level] += 1
        _call_sweeps(address, (problem, chain, work, betas, steps, keys, sweep,
                               energies[s:s + 1], replicas[s:s + 1], draws[s:s + 1], accepted,
                               proposed))
        if sweep % thin == 0:
            for level in range(betas.shape[0]):
                _copy(jumping.thetas[kept, level], chain.theta[chain.rung[level]])
            kept += 1


def address_of_sweeps(*arguments: Any) -> int:
    """Machine address of `sweeps` for arguments of these types; compiles it, or reads the cache."""
    from numba import typeof

    kinds = tuple(typeof(a) for a in arguments)
    sweeps.compile(kinds)
    made = sweeps.overloads[kinds]
    return int(made.library.get_pointer_to_function(made.fndesc.llvm_func_name))
