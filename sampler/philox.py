"""Counter-based random numbers: Philox4x32-10 of Salmon et al. (SC 2011), the reference.

A number depends on *where* it is used and on nothing else: key = (seed, stream name, chain),
counter = (sweep low, sweep high, replica, draw).  So a run gives the same bits however it is cut
and on however many threads, and nothing of a generator needs to be saved.  `kernels.cpu` holds
the same function compiled; a test compares them and the published known answers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
LOW = 0xFFFFFFFF
# Stream names; the last entry of a block of draws that a parameter may use is DRAWS - 1.
START, PRIOR, WALK, SWAP, POLISH, JUMP, FIT, TRADE, AMPLITUDE = range(1, 10)
DRAWS = 4096


def philox4x32(counter: tuple[Any, Any, Any, Any], key: tuple[int, int]) -> tuple[Any, ...]:
    """Ten rounds of Philox4x32 on arrays of 32-bit counters (held in 64-bit words).

    Parameters
    ----------
    counter : four arrays or integers below 2**32, broadcast together
    key : two integers below 2**32

    Returns
    -------
    four arrays of 32-bit words, or four integers

    Examples
    --------
    >>> [hex(int(w)) for w in philox4x32((0, 0, 0, 0), (0, 0))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    # Plain integers stay plain: a single number costs a tenth of what arrays of size 1 do.
    c0, c1, c2, c3 = (_integers(c) for c in counter)
    k0, k1 = int(key[0]), int(key[1])
    for _ in range(10):
        first, second = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (second >> 32) ^ c1 ^ k0, second & LOW, (first >> 32) ^ c3 ^ k1, first & LOW)
        k0, k1 = (k0 + WEYL[0]) & LOW, (k1 + WEYL[1]) & LOW
    return c0, c1, c2, c3


def uniforms(sweep: Any, replica: Any, draw: Any, key: int) -> tuple[Any, Any]:
    """Two uniforms strictly inside (0, 1) with 52 bits each.

    Parameters
    ----------
    sweep, replica, draw : integers or arrays
    key : int
        64 bits from `stream_key`.
    """
    sweep = _integers(sweep)
    a, b, c, d = philox4x32((sweep & LOW, sweep >> 32, replica, draw), (key & LOW, key >> 32))
    return _unit(a, b), _unit(c, d)


def _integers(value: Any) -> Any:
    return value if isinstance(value, int) else np.asarray(value, dtype=np.uint64)


def _unit(high: Any, low: Any) -> Any:
    whole = ((high << 32) | low) >> 12
    return (whole + 0.5) * 2.0**-52


def stream_key(seed: int, stream: int, chain: int = 0) -> int:
    """64-bit key of one stream of one chain, mixed by two rounds of splitmix64.

    Examples
    --------
    >>> stream_key(0, WALK) != stream_key(0, SWAP) != stream_key(1, SWAP)
    True
    """
    return _mix(_mix(_mix(seed) ^ stream) ^ chain)


def _mix(z: int) -> int:
    mask = (1 << 64) - 1
    z = (z + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)
