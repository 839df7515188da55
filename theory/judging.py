r"""Any sampler's answers against the exact ones: exact, found, error, z.

`judge` scores one run, `judge_many` the runs of many seeds: is it biased, and does its error bar
mean what it says?  What a sampler does not give is said and not scored.  A z is
(found - exact) / error; about one in twenty honest ones exceeds 2, one in 16,000 exceeds 4.  The
verdict of `judge_many` accuses an honest sampler in at most 1 % of all cases, however many numbers
a case has.

Ten lines judge anything; here a sampler that draws from the prior and weighs:

>>> import numpy as np
>>> from theory import cases, judge
>>> case = cases.straight_line()
>>> theta = case.prior_samples(200_000, seed=1)
>>> log_w = case.log_likelihood(theta)
>>> w = np.exp(log_w - log_w.max())
>>> log_z = log_w.max() + np.log(w.mean())
>>> verdict = judge(case, "prior", samples=theta, weights=w, log_evidence=log_z,
...                 log_evidence_error=w.std() / w.mean() / len(w) ** 0.5)
>>> max(abs(line.z) for line in verdict.lines if line.z is not None) < 4
True
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from theory.cases import Case
from theory.errors import DomainError, finite

_Row = TypeVar("_Row", "Line", "Record")
LEVELS = (0.05, 0.5, 0.95)
FEW = "too few effective draws"
FEWEST = 25       # draws that an error made here must rest on to be scored


@dataclass(frozen=True)
class Line:
    """One quantity: what is exact, what was found, its error, and the score `z`.

    Parameters
    ----------
    quantity : str
    exact : float
    found, error : float or None
        None where the sampler does not give it.
    why : str
        Why there is no error, where something was found.
    """

    quantity: str
    exact: float
    found: float | None = None
    error: float | None = None
    why: str = "no error given"

    @property
    def z(self) -> float | None:
        """(found - exact) / error, where both are given.  An error of 0 claims to be exact: z is
        infinite, unless found and exact agree but for rounding; then there is nothing to score."""
        if self.found is None or self.error is None:
            return None
        gap = self.found - self.exact
        if self.error > 0.0:
            return gap / self.error
        return None if _rounding(gap, self.exact) else math.copysign(math.inf, gap)

    @property
    def unscored(self) -> str:
        """Why there is no z of what was found; empty where there is one."""
        if self.found is None or self.z is not None:
            return ""
        return self.why if self.error is None else "claimed to be exact, and is"

    def __str__(self) -> str:
        head = f"{self.quantity:<22} exact {self.exact:>12.5g}"
        if self.found is None:
            return f"{head}  not given by this sampler"
        if self.z is None:
            return f"{head}  found {self.found:>12.5g}  {self.unscored}: not scored"
        return f"{head}  found {self.found:>12.5g} +- {self.error:<9.2g} z {self.z:+.1f}"


@dataclass(frozen=True)
class Verdict:
    """One run of one sampler on one case; printing it gives the table.

    ``verdict["log evidence"]`` is the line of that quantity; the others are called ``mean of a``,
    ``sd of a``, ``a below 5%`` and ``weight of left``.  `to_json` and `to_html` give the same table
    to programs and notebooks.

    Parameters
    ----------
    sampler, case : str
    lines : tuple of Line
    """

    sampler: str
    case: str
    lines: tuple[Line, ...]

    def __str__(self) -> str:
        return "\n".join(f"{self.sampler:<10} {line}" for line in self.lines)

    def __getitem__(self, quantity: str) -> Line:
        return _called(quantity, self.lines)

    def to_json(self) -> str:
        """The table as JSON; a number that is infinite or not given is null."""
        return json.dumps({"sampler": self.sampler, "case": self.case, "lines": [
            _finite({**asdict(line), "z": line.z}) for line in self.lines]}, allow_nan=False)

    def to_html(self) -> str:
        """The table as an HTML fragment."""
        return _html(("quantity", "exact", "found", "error", "z"), (
            (line.quantity, _short(line.exact), _short(line.found), _short(line.error),
             "not scored" if line.z is None else f"{line.z:+.1f}") for line in self.lines))


# How the errors of means, sds and shares come about; stored with verdicts, so that those of another
# rule are known as such.
RULE = "weighted draws by the delta method; errors that rest on 25 draws or more"


def judge(case: Case, name: str, *, samples: ArrayLike | None = None,
          weights: ArrayLike | None = None, n_effective: ArrayLike | None = None,
          log_evidence: float | None = None,
          log_evidence_error: float | None = None) -> Verdict:
    """Score one run of any sampler on a case whose answers are known.

    Give what the sampler gives; the rest of the table says "not given by this sampler".

    Parameters
    ----------
    case : Case
        ``theory.cases.named("two_modes")``; `theory.cases.BUILDERS` lists the names.
    name : str
        The sampler's, for the table.
    samples : array (n, parameters), optional
        Draws from the posterior, all chains one below the other, in the order of ``case.names``
        (not of the unit cube).
    weights : array (n,), optional
        Of the draws, on any scale (linear, not logarithms); equal if not given.
    n_effective : float or array (parameters,), optional
        How many independent draws they are worth, for each parameter where that is known (n
        divided by the autocorrelation time of a Markov chain; `arviz.ess` and
        `sampler.diagnostics.effective_sample_size` count them).  It makes the errors of means, sds
        and shares; the smallest counts for mode weights.  Without it weighted draws count as
        independent ones (self-normalised importance sampling); equally weighted ones are compared
        and not scored, because their correlation is unknown here.  Nor is a number scored whose
        error rests on fewer than 25 draws: it is no normal deviate, however honest the sampler.
        (Of a normal posterior that takes some 450 draws for the share below 5 %, 375 for a
        standard deviation, 75 for a mean.)
    log_evidence, log_evidence_error : float, optional
        ln Z (natural logarithm, every constant of prior and likelihood included) and the standard
        error that the sampler claims for it.  Without the error it is compared and not scored; an
        error of 0 claims that it is exact.

    Returns
    -------
    Verdict

    Raises
    ------
    DomainError
        For arrays that do not fit the case, NaN, a negative error or weight, or weights,
        n_effective or an error without what they belong to.

    Examples
    --------
    >>> from theory import cases
    >>> case = cases.poisson_gamma()
    >>> draws = np.random.default_rng(0).gamma(42.0, 1 / 8.5, size=(1000, 1))
    >>> print(judge(case, "exact", samples=draws, n_effective=1000)["mean of rate"])
    mean of rate           exact       4.9412  found       4.9357 +- 0.024     z -0.2
    """
    if not isinstance(name, str):
        raise DomainError("name", repr(name)[:60], "the sampler's name, for the table")
    if not isinstance(case, Case):
        raise DomainError("case", repr(case)[:60], "a Case", "theory.cases.named finds one by name")
    lines = [_evidence(case, log_evidence, log_evidence_error)]
    if samples is None:
        for field, given in (("weights", weights), ("n_effective", n_effective)):
            if given is not None:
                raise DomainError("samples", f"nothing, but {field}", "the draws they belong to")
        lines += [Line(q, exact) for q, exact in _exact(case)]
        return Verdict(name, case.name, tuple(lines))
    draws = finite("samples", samples, 2)
    if draws.shape[1] != case.dimension or len(draws) < 2:
        raise DomainError("samples", f"an array of shape {draws.shape}",
                          f"(n, {case.dimension}): {', '.join(case.names)}")
    w = _weights(weights, len(draws))
    n = _sizes(w, n_effective, weights is not None, case.dimension)

    importance = weights is not None and n_effective is None

    def line(quantity: str, exact: float, found: float, spread: float, size: float | None,
             pull: Any) -> None:
        """``pull``: how far each draw moves the answer, per share of the weight."""
        if size is None:
            lines.append(Line(quantity, exact, found))
            return
        # Weights that go with the quantity: Kish's number is wrong, the delta method is not.
        share = w**2 if importance else w
        second, fourth = float(share @ pull**2), float(share**2 @ pull**4 if importance
                                                       else share @ pull**4)
        resting = 0.0 if not fourth > 0.0 else second**2 / fourth * (1.0 if importance else size)
        error = math.sqrt(second) if importance else spread / size**0.5
        lines.append(Line(quantity, exact, found, error) if resting >= FEWEST and error > 0.0
                     else Line(quantity, exact, found, None, FEW))

    mean = w @ draws
    variance = w @ (draws - mean) ** 2
    fourth = w @ (draws - mean) ** 4
    sd = np.sqrt(np.diag(case.covariance))
    for i, parameter in enumerate(case.names):
        line(f"mean of {parameter}", float(case.mean[i]), float(mean[i]), float(sd[i]), n[i],
             draws[:, i] - float(case.mean[i]))
    for i, parameter in enumerate(case.names):
        found = math.sqrt(float(variance[i]))
        spread = math.sqrt(max(float(fourth[i] - variance[i] ** 2), 0.0)) / (2 * found) \
            if found > 0.0 else 0.0
        line(f"sd of {parameter}", float(sd[i]), found, spread, n[i],
             ((draws[:, i] - mean[i]) ** 2 - variance[i]) / (2 * found or 1.0))
    smallest = None if n[0] is None else min(n)     # type: ignore[type-var]
    for quantity, exact, inside, of in _shares(case, draws):
        line(quantity, exact, float(w @ inside), math.sqrt(exact * (1 - exact)),
             smallest if of is None else n[of], inside - exact)
    return Verdict(name, case.name, tuple(lines))


def _exact(case: Case) -> Iterable[tuple[str, float]]:
    sd = np.sqrt(np.diag(case.covariance))
    for i, parameter in enumerate(case.names):
        yield f"mean of {parameter}", float(case.mean[i])
    for i, parameter in enumerate(case.names):
        yield f"sd of {parameter}", float(sd[i])
    if case.quantile is not None:
        yield from ((f"{parameter} below {p:.0%}", p) for p in LEVELS for parameter in case.names)
    for mode in case.modes:
        yield f"weight of {mode.name}", mode.weight


def _shares(case: Case, draws: Any) -> Iterable[tuple[str, float, Any, int | None]]:
    """Shares of the draws whose exact value is known: below quantiles (of which parameter), and
    in modes."""
    if case.quantile is not None:
        for p in LEVELS:
            limit = case.quantile(p)
            for i, parameter in enumerate(case.names):
                yield f"{parameter} below {p:.0%}", p, (draws[:, i] <= limit[i]).astype(float), i
    for mode in case.modes:
        yield f"weight of {mode.name}", mode.weight, mode.contains(draws).astype(float), None


def _evidence(case: Case, value: float | None, error: float | None) -> Line:
    if value is None:
        if error is not None:
            raise DomainError("log_evidence", "only its error", "the value too")
        return Line("log evidence", case.log_evidence)
    found = float(finite("log_evidence", value, 0))
    if error is None:
        return Line("log evidence", case.log_evidence, found)
    claimed = float(finite("log_evidence_error", error, 0))
    if claimed < 0.0:
        raise DomainError("log_evidence_error", str(claimed), "a standard error >= 0")
    return Line("log evidence", case.log_evidence, found, claimed)


def _weights(weights: ArrayLike | None, n: int) -> Any:
    if weights is None:
        return np.full(n, 1 / n)
    w = finite("weights", weights, 1)
    if len(w) != n:
        raise DomainError("weights", f"{len(w)} numbers", f"{n}, one for each draw")
    if np.any(w < 0):
        i = int(np.argmax(w < 0))
        raise DomainError(f"weights[{i}]", f"{w[i]:g}", "a number >= 0",
                          "of logarithms take exp(log_w - log_w.max())")
    if not w.max() > 0:
        raise DomainError("weights", "nothing but zeros", "at least one number > 0")
    w = w / w.max()         # the sum of the largest floats is infinite
    return w / w.sum()


def _sizes(w: Any, n_effective: ArrayLike | None, weighted: bool, dimension: int
           ) -> list[float | None]:
    """Independent draws for each parameter; None where nothing is known of them."""
    if n_effective is None:
        return [float(1 / np.sum(w**2)) if weighted else None] * dimension
    n = finite("n_effective", n_effective, np.ndim(n_effective))
    if n.shape not in ((), (dimension,)) or not np.all(n > 0.0):
        raise DomainError("n_effective", str(n_effective),
                          f"a positive number, or {dimension} of them, one for each parameter")
    return [float(v) for v in np.broadcast_to(n, dimension)]


@dataclass(frozen=True)
class Record:
    """One quantity over many runs.

    Parameters
    ----------
    quantity : str
    exact : float
    runs : int
        Runs that gave it.
    bias, bias_error : float
        Mean of found - exact, and its standard error over the runs.
    bias_p : float
        Probability of a bias at least as large by chance (Student's t), whatever errors were
        claimed; 0 where all runs found the same wrong number.
    scatter : float
        Standard deviation over the runs.
    claimed : float or None
        Root mean square of the claimed errors.
    score_sd : float or None
        Root mean square of the z: 1 if the error bars are right, 2 if they are half as large as
        they should be.
    calibration : float or None
        Probability of a sum of squared z at least as unlikely, if the errors were right.
    level : float
        Probability below which `words` call it wrong.
    unscored : str
        Why the error bars are not judged; empty where they are.
    """

    quantity: str
    exact: float
    runs: int
    bias: float
    bias_error: float
    bias_p: float
    scatter: float
    claimed: float | None
    score_sd: float | None
    calibration: float | None
    level: float
    unscored: str = ""

    @property
    def biased(self) -> bool:
        """True if the runs miss the exact value on one side by more than chance."""
        return self.bias_p < self.level

    @property
    def dishonest(self) -> bool:
        """True if the error bar is wrong and the sampler to blame.

        An error bar of the evidence that is too large counts as wrong.  Those of the other
        quantities come from n_effective, which the slowest of them sets: too large is no lie there.
        """
        return self.words == "error too small" or (
            self.words == "error too large" and self.quantity == "log evidence")

    @property
    def words(self) -> str:
        """The verdict on the error bar in one word or two."""
        if self.calibration is None:
            return self.unscored
        if self.calibration >= self.level:
            return "honest"
        assert self.score_sd is not None
        return "error too small" if self.score_sd > 1.0 else "error too large"

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong, each with its number; empty where nothing was found."""
        bias = f"bias {self.bias:+.2g} +- {self.bias_error:.2g}"
        error = f"{self.words} (z rms {_ratio(self.score_sd or 0.0)})"
        return (*([bias] if self.biased else []), *([error] if self.dishonest else []))

    def __str__(self) -> str:
        honesty = "" if self.score_sd is None else (
            f"  claimed {self.claimed:.2g}  z rms {_ratio(self.score_sd)}  "
            f"p {self.calibration:.3f}")
        return (f"{self.quantity:<22} exact {self.exact:>12.5g}  bias {self.bias:+.2g} +- "
                f"{self.bias_error:.2g}  scatter {self.scatter:.2g}{honesty}  {self.words}")


@dataclass(frozen=True)
class Judgement:
    """Many runs of one sampler on one case; printing it gives the verdict and the table.

    Parameters
    ----------
    sampler, case : str
    records : tuple of Record
    """

    sampler: str
    case: str
    records: tuple[Record, ...]

    def __getitem__(self, quantity: str) -> Record:
        return _called(quantity, self.records)

    @property
    def verdict(self) -> str:
        """One line: what is wrong (three numbers at most, the evidence first), or nothing."""
        head = f"{self.sampler} on {self.case}"
        wrong = [f"{r.quantity}: {', '.join(r.faults)}" for r in self.records if r.faults]
        if not wrong:
            scored = sum(r.calibration is not None for r in self.records)
            return (f"{head}: nothing found against it ({scored} error bars judged, "
                    f"{len(self.records)} numbers for bias)" if self.records else
                    f"{head}: it gives nothing that could be judged")
        more = f"; {len(wrong) - 3} more numbers wrong" if len(wrong) > 3 else ""
        return f"{head}: {'; '.join(wrong[:3])}{more}"

    @property
    def power(self) -> str:
        """What so many runs can find at all, in a sentence."""
        from scipy.special import chdtri

        runs = max((record.runs for record in self.records), default=0)
        if not runs:
            return ""
        factor = math.sqrt(chdtri(runs, self.records[0].level / 2) / chdtri(runs, 0.9))
        return (f"{runs} runs find an error bar that is too small by a factor {factor:.2g} or more "
                "nine times out of ten")

    def __str__(self) -> str:
        return "\n".join([self.verdict, *(f"  {record}" for record in self.records)])

    def to_json(self) -> str:
        """The records as JSON; a number that is infinite or not given is null."""
        return json.dumps({"sampler": self.sampler, "case": self.case, "verdict": self.verdict,
                           "records": [_finite({**asdict(r), "words": r.words})
                                       for r in self.records]}, allow_nan=False)

    def to_html(self) -> str:
        """The records as an HTML fragment."""
        return _html(("quantity", "exact", "bias", "scatter", "claimed", "z rms", "p", "verdict"), (
            (r.quantity, _short(r.exact), _short(r.bias), _short(r.scatter), _short(r.claimed),
             _short(r.score_sd), _short(r.calibration), r.words) for r in self.records))


def _ratio(value: float) -> str:
    """Errors that are wrong beyond measure have no digits to tell."""
    return f"{value:.2f}" if value < 1000.0 else "over 1000"


def judge_many(verdicts: Iterable[Verdict], false_alarm: float = 0.01) -> Judgement:
    """Score the runs of many seeds together: bias, scatter, and the honesty of the errors.

    Parameters
    ----------
    verdicts : iterable of Verdict
        Of one sampler on one case, from independent seeds; two or more, better twenty: these find
        error bars that are too small by a factor 2 nine times out of ten, five runs a factor 4.
        A quantity whose error rests on too few draws in one of them is not scored for honesty.
    false_alarm : float
        Probability that the verdict accuses a sampler whose answers are unbiased and whose error
        bars are right, for all quantities together (Bonferroni's bound, so at most this).

    Returns
    -------
    Judgement
        Printing it gives the one-line verdict and the table.

    Raises
    ------
    DomainError
        For fewer than two runs, runs of different samplers or cases, or a false_alarm that is no
        probability.

    Examples
    --------
    >>> from theory import cases
    >>> case, g = cases.wall(), np.random.default_rng(0)
    >>> runs = [judge(case, "guess", log_evidence=case.log_evidence + g.normal(),
    ...               log_evidence_error=0.3) for _ in range(20)]
    >>> judge_many(runs)["log evidence"].words
    'error too small'
    """
    if isinstance(verdicts, Verdict):
        raise DomainError("verdicts", "one Verdict", "a list of them, one for each seed")
    verdicts = tuple(verdicts)
    if not all(isinstance(v, Verdict) for v in verdicts):
        raise DomainError("verdicts", repr(verdicts)[:60], "what judge returns, run by run")
    if len(verdicts) < 2 or len({(v.sampler, v.case) for v in verdicts}) != 1:
        raise DomainError("verdicts", f"{len(verdicts)} runs of "
                          f"{sorted({(v.sampler, v.case) for v in verdicts})}",
                          "two runs or more of one sampler on one case")
    if not 0.0 < finite("false_alarm", false_alarm, 0) < 1.0:
        raise DomainError("false_alarm", str(false_alarm), "a probability between 0 and 1")
    lines: dict[str, list[Line]] = {}
    for line in (line for verdict in verdicts for line in verdict.lines if line.found is not None):
        lines.setdefault(line.quantity, []).append(line)
    enough = [given for given in lines.values() if len(given) >= 2]
    level = false_alarm / (2 * max(len(enough), 1))         # each is asked for bias and honesty
    return Judgement(verdicts[0].sampler, verdicts[0].case,
                     tuple(_record(given, level) for given in enough))


def _record(lines: list[Line], level: float) -> Record:
    from scipy.special import chdtr, chdtrc, stdtr

    gap = np.array([line.found - line.exact for line in lines])      # type: ignore[operator]
    scatter = float(gap.std(ddof=1))
    bias, bias_error = float(gap.mean()), scatter / math.sqrt(len(gap))
    if scatter > 1e-12 * max(1.0, abs(lines[0].exact)):
        bias_p = float(2 * stdtr(len(gap) - 1, -abs(bias) / bias_error))
    else:                       # every run the same: right but for rounding, or wrong for certain
        bias_p = float(_rounding(bias, lines[0].exact))
    z = np.array([line.z for line in lines if line.z is not None])
    claimed = score = p = None
    # Not of the runs alone whose few draws happened to look like enough.
    if len(z) >= 2 and not any(line.why == FEW for line in lines):
        claimed = float(np.sqrt(np.mean([line.error**2 for line in lines   # type: ignore[operator]
                                         if line.z is not None])))
        total = float(z @ z)
        score = math.sqrt(total / len(z))
        # Two-sided: errors that are too large are as wrong as errors that are too small.
        p = float(min(1.0, 2 * min(chdtr(len(z), total), chdtrc(len(z), total))))
    few = any(line.why == FEW for line in lines)
    why = "" if p is not None else FEW if few else lines[0].unscored or "an error in one run only"
    return Record(lines[0].quantity, lines[0].exact, len(lines), bias, bias_error, bias_p, scatter,
                  claimed, score, p, level, why)


def _rounding(gap: float, exact: float) -> bool:
    """Is a difference from the exact value no more than rounding?"""
    return abs(gap) <= 1e-9 * max(1.0, abs(exact))


def _called(quantity: str, of: Sequence[_Row]) -> _Row:
    for one in of:
        if one.quantity == quantity:
            return one
    raise DomainError("quantity", repr(quantity), ", ".join(one.quantity for one in of))


def _short(value: float | None) -> str:
    return "not given" if value is None else f"{value:.5g}"


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in record.items()}


def _html(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    return "<table>" + row(head, "th") + "".join(row(r, "td") for r in rows) + "</table>"
