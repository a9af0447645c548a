import pytest

from f2f_study.run import parameters
from f2f_study.run.__main__ import main


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "sed=3",
            "parameter of 01_one must be one of run_dir, seed, rate, exact, levels, names, got",
        ),
        ("seed=1.5", "seed of 01_one must be int, got '1.5'"),
        ("seed=-1", "seed of 01_one must be int in 0..inf, got '-1'"),
        ("levels=[0.5, 4]", "levels of 01_one must be list[float] in 0..3, got '[0.5, 4]'"),
        ("names=[a, c 3]", "names of 01_one must be list[str] of a, b W, got '[a, c 3]'"),
        ("seed=[1", "seed of 01_one must be int, got '[1'"),
        ("rate=fast", "rate of 01_one must be float, got 'fast'"),
        ("rate=.nan", "rate of 01_one must be float, got '.nan'"),
        ("exact=maybe", "exact of 01_one must be bool, got 'maybe'"),
        ("levels=0.7,0.9", "levels of 01_one must be list[float], got '0.7,0.9'; write [0.7, 0.9]"),
        ("levels=1", "must be list[float], got '1'; write [1]"),
        ("rate=1" + 400 * "0", "rate of 01_one must be float"),
        ("levels=" + 5000 * "[", "levels of 01_one must be list[float]"),
        ("levels=[]", "levels of 01_one must be list[float] of at least one value, got '[]'"),
        ("levels=[a]", "levels of 01_one must be list[float], got '[a]'"),
        ("seed", "--set must be NAME=VALUE, got 'seed'"),
        ("run_dir=x", "run_dir must be given as --run-dir"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_runs(checkout, capsys, setting, message):
    assert main(["--set", setting, "--run-dir", "runs/a"]) == 2
    assert message in capsys.readouterr().err
    assert not (checkout / "runs").exists()


def test_values_get_the_declared_type(notebook):
    path = notebook("02_two")
    assert parameters.checked_parameters(path, {"names": "[b 12, a]"}) == {"names": ["b 12", "a"]}
    given = {"seed": "7", "rate": "1e-3", "exact": "true", "levels": "[1, 1e-3]"}
    checked = parameters.checked_parameters(path, given)
    assert checked == {"seed": 7, "rate": 0.001, "exact": True, "levels": [1.0, 0.001]}
    assert all(type(level) is float for level in checked["levels"])
    with pytest.raises(ValueError, match="seed of 02_two must be int, got True"):
        parameters.checked_parameters(path, {"seed": True})


LISTS = """
words: list = ["a", "b"]  # with a # in the comment
pairs: list[list[int]] = [[1, 0], [8, 2]]
open: list = []
text: str = "# no comment"
"""


def test_a_list_keeps_the_kind_of_its_default(notebook):
    path = notebook("02_lists", parameters=LISTS)
    known = parameters.known_parameters(path)
    assert [p.kind for p in known.values()] == ["list[str]", "list[list[int]]", "list", "str"]
    assert known["text"].default == "# no comment"
    given = {"words": "[x]", "pairs": [[2, 1]], "open": "[1, a]", "text": "012"}
    checked = parameters.checked_parameters(path, given)
    assert checked == {"words": ["x"], "pairs": [[2, 1]], "open": [1, "a"], "text": "012"}
    with pytest.raises(ValueError, match=r"got '\[2, 1\]'; write \[\[2, 1\]\]"):
        parameters.checked_parameters(path, {"pairs": "[2, 1]"})
    for wrong in ({"words": [1]}, {"pairs": [1, 0]}, {"open": [float("nan")]}, {"text": 12}):
        with pytest.raises(ValueError, match="of 02_lists must be"):
            parameters.checked_parameters(path, wrong)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("seed = 0", "must be lines like 'seed: int = 0', got 'seed = 0'"),
        ("seed: dict = {}", "seed of 02_two must be bool, int, float, str or list, got {}"),
        ("seed: int = 0.5", "seed of 02_two must be int, got 0.5"),
    ],
)
def test_a_parameters_cell_of_another_form_is_refused(notebook, cell, message):
    with pytest.raises(ValueError) as raised:
        parameters.known_parameters(notebook("02_two", parameters=cell))
    assert message in str(raised.value)


def test_an_unknown_notebook_or_profile_is_refused(notebook, capsys):
    assert main(["--notebook", "07"]) == 2
    assert "notebook must be one of 01_one, got '07'" in capsys.readouterr().err
    path = notebook("01_one")
    with pytest.raises(
        ValueError, match="profile must be one of default, tiny, paper, dlmc, file, got 'big'"
    ):
        parameters.profile_parameters(path, "big")
    path.unlink()
    assert main(["--notebook", "01"]) == 2
    assert "must hold notebooks, got none" in capsys.readouterr().err


def test_a_mistake_in_the_profiles_names_the_file(checkout, capsys):
    (checkout / "notebooks" / "profiles.yaml").write_text("01_one: [\n")
    assert main([]) == 2
    assert "profiles.yaml must be YAML" in capsys.readouterr().err
