"""One function per figure: ``f2f.figures.NAME(csv_path, out_stem)``; see `f2f.figures.style`.

Importing this package needs matplotlib and pandas (the `notebooks` extra).
"""

from f2f.figures.benchmarks import *
from f2f.figures.beyond import *
from f2f.figures.models import *
from f2f.figures.overview import *
from f2f.figures.spmv import *
from f2f.figures.style import REGISTER as REGISTER
from f2f.figures.style import redraw as redraw
from f2f.figures.style import save as save
from f2f.figures.synthetic import *
