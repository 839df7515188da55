"""Readers of measured files: recognised by what is in them first, by the ending of the name second.

``read_data`` makes `sampler.Data` of a file, ``read_table`` only its columns.

=================  ==============================================================
``delimited``      CSV, TSV, xy, dat, muon text, counts per channel, NIST StRD
``xafs``           XDI, the older ``#%`` headers (.xmu), KEK-PF 9809
``photoemission``  VAMAS (ISO 14976), Scienta text
``scattering``     canSAS 1D XML, PDH
``relaxation``     Bruker folders: ser + vdlist
``hdf5``           HDF5 and NeXus, by path (needs h5py)
``tables``         the columns, and how a refusal names a place in a file
``contents``       bytes, text and ``FILE:PART``
=================  ==============================================================

What is recognised is said (`Data.notes`); what cannot be read is refused with the line and the
first bad value.
"""

from sampler.files.contents import LARGEST_FILE, default_stem, short_name
from sampler.files.reading import read_data, read_table
from sampler.files.tables import Table

__all__ = ["LARGEST_FILE", "Table", "default_stem", "read_data", "read_table", "short_name"]
