import numba

from f2f_study.experiments.timing import settled


def test_a_call_that_compiles_is_lost_and_made_again():
    kernel = numba.njit(lambda x: x + 1)
    calls = []

    def measure():
        calls.append(kernel(len(calls)))
        return len(calls)

    assert settled(measure) == 2
    assert settled(measure) == 3


def test_forms_that_appear_late_are_waited_for():
    kernel = numba.njit(lambda x: x + 1)
    arguments = iter([1, 1.0, 1j, 1, 1.0])
    assert settled(lambda: kernel(next(arguments))) == 2
    assert next(arguments) == 1.0
