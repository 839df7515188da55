"""Counter-based random numbers: Philox4x32-10 of Salmon et al. (SC 2011), the reference.

A number depends on *where* it is used and on nothing else: key = (seed, stream name, chain),
counter = (sweep low, sweep high, replica, draw).  So a run gives the same bits however it is cut
and on however many threads, and nothing of a generator needs to be saved.  `kernels.cpu` holds
the same function compiled; a test compares them and the published known answers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
LOW = 0xFFFFFFFF
# Stream names; the last entry of a block of draws that a parameter may use is DRAWS - 1.
START, PRIOR, WALK, SWAP, POLISH = range(1, 6)
DRAWS = 4096


def philox4x32(counter: tuple[Any, Any, Any, Any], key: tuple[int, int]) -> tuple[Words, ...]:
    """Ten rounds of Philox4x32 on arrays of 32-bit counters (held in 64-bit words).

    Parameters
    ----------
    counter : four arrays or integers below 2**32, broadcast together
    key : two integers below 2**32

    Returns
    -------
    four arrays of 32-bit words

    Examples
    --------
    >>> [hex(int(w)) for w in philox4x32((0, 0, 0, 0), (0, 0))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    c0, c1, c2, c3 = (np.asarray(c, dtype=np.uint64) for c in counter)
    k0, k1 = int(key[0]), int(key[1])
    low = np.uint64(LOW)
    for _ in range(10):
        first = np.uint64(MULTIPLIERS[0]) * c0
        second = np.uint64(MULTIPLIERS[1]) * c2
        c0, c1, c2, c3 = (
            (second >> np.uint64(32)) ^ c1 ^ np.uint64(k0), second & low,
            (first >> np.uint64(32)) ^ c3 ^ np.uint64(k1), first & low)
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
    sweep = np.asarray(sweep, dtype=np.uint64)
    low = np.uint64(LOW)
    a, b, c, d = philox4x32(
        (sweep & low, sweep >> np.uint64(32), replica, draw), (key & LOW, key >> 32))
    return _unit(a, b), _unit(c, d)


def _unit(high: Words, low: Words) -> Any:
    whole = ((high << np.uint64(32)) | low) >> np.uint64(12)
    return (whole.astype(np.float64) + 0.5) * 2.0**-52


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
