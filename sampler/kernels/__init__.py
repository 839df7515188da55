"""The machine: one sweep of exchange Monte Carlo, in plain NumPy and compiled.

`problem` lowers a posterior to plain arrays.  `reference` is obviously right and slow; `cpu` is
the compiled twin that takes the same decisions.  A sweep is ``state -> state``; inside it the
compiled loop writes in place in buffers that it owns.
"""
