"""One file per measurement: formulas and priors, with units that follow from the data's range.

The bounds of a prior are part of the question: they say which values were thought possible
before the measurement, and F depends on them.  Defaults here follow the range of the data and are
printed in words with every fit.
"""
