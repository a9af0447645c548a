"""One function per figure: ``f2f_study.figures.NAME(csv_path)``; see `f2f_study.figures.style`.

Figures know CSV files only: neither the library nor what measured. Importing this package needs
seaborn (the extra `study`).
"""

from f2f_study.figures.beyond import *
from f2f_study.figures.formats import *
from f2f_study.figures.hardware import *
from f2f_study.figures.models import *
from f2f_study.figures.spmv import *
from f2f_study.figures.style import REGISTER as REGISTER
from f2f_study.figures.style import redraw as redraw
from f2f_study.figures.synthetic import *
