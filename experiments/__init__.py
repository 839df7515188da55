"""One module for each figure or table of a paper: what is the paper's, what is ours, does it hold?

Every module has a docstring, ``Settings``, ``SETTINGS`` (the full run), ``QUICK`` (a wiring check,
never a result), ``SECONDS`` (about, on two cores), ``Result``, ``compute(settings, progress)``,
``draw(result)`` (figures by name) and ``check(result)`` (`claims.Claims`).
"""

EXPERIMENTS = (
    "straight_line",
    "law_of_the_choice",
    "estimated_noise",
    "posterior_of_the_line",
    "integration",
    "learning_coefficient",
    "criteria_biases",
    "nagata2012_number_of_peaks",
    "tokuda2017_noise_and_peaks",
    "noise_sweep",
    "peak_resolution",
    "design_by_simulation",
    "trapped_metropolis",
    "gauss1_two_peaks",
    "t1_inversion_recovery",
    "ueda2023_nmr_relaxation",
    "certified_fits",
    "crystal_phases",
    "crystal_phases_measured",
    "xanes_pre_edge",
    "aot_three_contrasts",
    "sphere_populations",
    "measuring_time",
    "mossbauer_hamiltonian",
    "two_spectra",
    "muon_relaxation",
    "time_resolved_xrd",
    "sequential_design",
)
# Hours, or guests in an environment of their own: `reproduce` prints what is stored of them.
STORED = ("guest_samplers", "peers", "reliability")
