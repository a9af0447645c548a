"""What decodes wrong is named plane by plane."""

import numpy as np

from f2f.decoder import Decoder
from f2f.encoder.beam import encode_beam
from f2f_study.experiments import planes


def test_wrong_planes_names_planes():
    decoder = Decoder(8, 20, 1, seed=0)
    care, target = planes.iid_planes(400, 0.6, seed=0)
    inputs = encode_beam(care, target, 400, decoder, 3, 4)
    wrong = planes.wrong_planes(inputs, care, target, 400, decoder)
    decoded = decoder.decode_plain(inputs, 400)[care]
    assert np.array_equal(wrong, (decoded ^ target) & 7)
