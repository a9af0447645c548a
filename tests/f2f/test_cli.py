"""The command line: whole models through every file kind, one clear line for every mistake."""

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch

import f2f
from f2f import parallel
from f2f.__main__ import COMMANDS, main
from f2f.base.errors import FormatError
from f2f.parallel import decompress_model
from f2f.tensorfile import read_tensors, write_tensors


def weights(seed=0):
    rng = np.random.default_rng(seed)
    dense = rng.integers(-127, 128, (48, 80)).astype(np.int8)
    conv = (rng.standard_normal((16, 8, 3, 3))).astype(np.float32)
    conv[rng.random(conv.shape) < 0.8] = 0
    dense[rng.random(dense.shape) < 0.9] = 0
    conv[0, 0, 0] = [-0.0, np.nan, np.inf]
    return {
        "fc.weight": dense,
        "conv.weight": conv,
        "fc.bias": rng.standard_normal(48).astype(np.float32),
        "steps": np.array(12, np.int64),
        "flags": np.array([True, False]),
    }


def assert_same(a, b):
    assert sorted(a) == sorted(b)
    for name in a:
        assert (a[name].dtype, a[name].shape) == (b[name].dtype, b[name].shape), name
        assert a[name].tobytes() == b[name].tobytes(), name


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *arguments):
    """(exit code, standard output, standard error)."""
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    out = capsys.readouterr()
    return code, out.out, out.err


SUFFIXES = [".safetensors", ".npz", ".pt", ".pth"]


@pytest.mark.parametrize("source", SUFFIXES)
@pytest.mark.parametrize("target", SUFFIXES)
def test_round_trip_through_every_kind(folder, capsys, source, target):
    tensors = weights()
    write_tensors(f"in{source}", tensors)
    code, out, err = run(capsys, "compress", f"in{source}", "packed.safetensors")
    assert (code, err) == (0, "") and "5 tensors" in out and "times smaller" in out
    code, out, err = run(capsys, "decompress", "packed.safetensors", f"out{target}")
    assert (code, err) == (0, "")
    assert_same(read_tensors(f"out{target}"), tensors)
    code, out, _ = run(capsys, "verify", "packed.safetensors", "--against", f"in{source}")
    assert code == 0 and "equal to the original" in out


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_small_floats_of_ml_dtypes(folder, suffix):
    values = np.arange(256, dtype=np.uint8)
    tensors = {
        "bf16": values.astype(np.uint16).view(ml_dtypes.bfloat16),
        "e4m3": values.view(ml_dtypes.float8_e4m3fn),
        "e5m2": values.view(ml_dtypes.float8_e5m2).reshape(16, 16),
    }
    write_tensors(f"m{suffix}", tensors)
    assert_same(read_tensors(f"m{suffix}"), tensors)
    with pytest.raises(ValueError, match=r"\.npz cannot hold dtype bfloat16"):
        write_tensors("m.npz", tensors)


def test_options_and_jobs_reach_the_encoder(folder, capsys):
    write_tensors("in.npz", weights())
    options = ["--n-s", "2", "--n-out", "60", "--beam", "4", "--order", "diagonal", "--seed", "5",
               "--mask-codec", "bitmap"]  # fmt: skip
    for jobs in ("1", "2"):
        assert (
            run(capsys, "compress", "in.npz", f"{jobs}.safetensors", "--jobs", jobs, *options)[0]
            == 0
        )
    assert Path("1.safetensors").read_bytes() == Path("2.safetensors").read_bytes()
    tensor = f2f.load("1.safetensors")["fc.weight"]
    found = (tensor.n_s, tensor.n_out, tensor.order, tensor.seed, tensor.mask.codec)
    assert found == (2, 60, "diagonal", 5, "bitmap")
    assert run(capsys, "verify", "1.safetensors", "--against", "in.npz", "--jobs", "2")[0] == 0


def test_tied_tensors_of_a_checkpoint(folder, capsys):
    layer = torch.nn.Linear(64, 64)
    torch.nn.init.sparse_(layer.weight, 0.9)
    both = torch.nn.Sequential(layer, layer)
    torch.save({"state_dict": both.state_dict(), "epoch": 3}, "in.pth")
    assert run(capsys, "compress", "in.pth", "packed.safetensors")[0] == 0
    out = run(capsys, "inspect", "packed.safetensors")[1]
    assert "= 0.weight" in out and "= 0.bias" in out
    assert run(capsys, "decompress", "packed.safetensors", "out.pt")[0] == 0
    back = torch.load("out.pt", weights_only=True)
    assert back["0.weight"].data_ptr() == back["1.weight"].data_ptr()
    assert torch.equal(back["0.weight"], layer.weight)


def test_inspect_compares_with_other_formats(folder, capsys):
    write_tensors("in.npz", weights())
    run(capsys, "compress", "in.npz", "packed.safetensors")
    code, out, _ = run(capsys, "inspect", "packed.safetensors")
    assert code == 0
    table = {line.split()[0]: line.split() for line in out.splitlines() if line}
    head = table["tensor"]
    for column in ("S", "bits/w", "floor", "ratio", "bitmap", "csr"):
        assert column in head
    row = table["fc.weight"]
    assert row[1:4] == ["48x80", "int8", "encoded"]
    stored, floor, ratio, bitmap, csr = map(float, row[6:11])
    share = np.count_nonzero(weights()["fc.weight"]) / (48 * 80)
    assert bitmap == pytest.approx(1 + 8 * share, abs=1e-3)
    assert csr == pytest.approx(40 * share + 32 * 49 / 3840, abs=1e-3)
    assert floor < stored and ratio == pytest.approx(stored / floor, abs=2e-3)
    assert table["fc.bias"][3] == "dense" and "all" in table


def test_a_tensor_stored_without_its_mask(folder, capsys):
    weight = weights()["fc.weight"]
    f2f.save("m.safetensors", {"fc.weight": f2f.compress(weight, mask_codec="none")})
    code, out, _ = run(capsys, "inspect", "m.safetensors")
    assert code == 0 and "nan" in out
    code, _, err = run(capsys, "decompress", "m.safetensors", "x.npz")
    assert code == 2 and err.startswith("f2f: tensor 'fc.weight': mask must be given")
    (back,) = decompress_model(f2f.load("m.safetensors"), masks={"fc.weight": weight != 0}).values()
    assert np.array_equal(back, weight)


def test_verify_names_what_differs(folder, capsys):
    tensors = weights()
    write_tensors("in.npz", tensors)
    run(capsys, "compress", "in.npz", "packed.safetensors")
    other = {name: array.copy() for name, array in tensors.items()}
    other["conv.weight"][0, 0, 0, 0] = 0.0  # was -0.0: equal as a number, not in bits
    other["fc.bias"] = other["fc.bias"][:5]
    del other["steps"]
    other["new"] = np.zeros(3)
    write_tensors("other.npz", other)
    code, out, _ = run(capsys, "verify", "packed.safetensors", "--against", "other.npz")
    assert code == 1
    assert "'conv.weight' differs in 1 of 1152 elements" in out
    assert "'fc.bias' is float32 (48,), original float32 (5,)" in out
    assert "'steps' is not in the original" in out and "'new' is missing" in out
    assert run(capsys, "verify", "packed.safetensors")[1].endswith("checksums match\n")


def damaged(path):
    with open(path, "r+b") as file:
        file.seek(-3, os.SEEK_END)
        byte = file.read(1)
        file.seek(-3, os.SEEK_END)
        file.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compress", "absent.npz", "x.safetensors"], "No such file.*absent.npz"),
        (["compress", "in.npz", "x.npz"], r"OUT must end in \.safetensors"),
        (["compress", "in.txt", "x.safetensors"], "path must end in one of"),
        (["compress", "in.npz", "no/folder.safetensors"], "No such file.*folder"),
        (["compress", "packed.safetensors", "packed.safetensors"], "another file than IN"),
        (["compress", "packed.safetensors", "x.safetensors"], "is a compressed file already"),
        (["compress", "in.npz", "x.safetensors", "--n-s", "99"], "n_s must be"),
        (["compress", "in.npz", "x.safetensors", "--mask-codec", "none"], "must store the mask"),
        (["compress", "broken.npz", "x.safetensors"], r"broken\.npz: cannot be read as \.npz"),
        (["compress", "broken.pt", "x.safetensors"], r"broken\.pt: cannot be read as weights only"),
        (["compress", "broken.safetensors", "x.safetensors"], "cannot be read as safetensors"),
        (["compress", "pickle.npz", "x.safetensors"], r"pickle\.npz: .*pickle"),
        (["compress", "code.pt", "x.safetensors"], r"code\.pt: cannot be read as weights only"),
        (["compress", "list.pt", "x.safetensors"], "holds a list, not a dict"),
        (["compress", "mixed.pt", "x.safetensors"], "entry 'epoch' is a int, not a tensor"),
        (["decompress", "in.npz", "x.npz"], r"in\.npz: .*not an f2f file"),
        (["decompress", "packed.safetensors", "x.txt"], "path must end in one of"),
        (["decompress", "damaged.safetensors", "x.npz"], r"damaged\.safetensors: tensor 'steps'"),
        (["inspect", "damaged.safetensors"], r"damaged\.safetensors: tensor 'steps'"),
        (["verify", "damaged.safetensors"], r"damaged\.safetensors: tensor 'steps': checksum"),
        (["inspect", "absent.safetensors"], "No such file"),
    ],
)
def test_mistakes_give_one_line_and_exit_code_2(folder, capsys, arguments, message):
    write_tensors("in.npz", weights())
    run(capsys, "compress", "in.npz", "packed.safetensors", "--quiet")
    with open("packed.safetensors", "rb") as good, open("damaged.safetensors", "wb") as bad:
        bad.write(good.read())
    damaged("damaged.safetensors")
    for name in ("broken.npz", "broken.pt", "broken.safetensors"):
        with open(name, "wb") as file:
            file.write(b"PK\x03\x04 and then nonsense" * 9)
    np.savez("pickle.npz", a=np.array([{}], dtype=object))
    torch.save({"a": os.system}, "code.pt")
    torch.save([torch.ones(2)], "list.pt")
    torch.save({"a": torch.ones(2), "epoch": 3}, "mixed.pt")
    before = sorted(os.listdir())
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == ""
    assert err.startswith("f2f: ") and err.count("\n") == 1
    assert re.search(message, err)
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    "arguments", [[], ["pack"], ["compress", "a"], ["inspect", "a", "--order"]]
)
def test_wrong_usage(capsys, arguments):
    assert run(capsys, *arguments)[0] == 2


def test_every_truncation_of_a_model_file_is_a_format_error(folder):
    tensors = {"w": np.eye(4, dtype=np.float32)}
    for suffix in (".npz", ".safetensors", ".pt"):
        write_tensors(f"m{suffix}", tensors)
        with open(f"m{suffix}", "rb") as file:
            raw = file.read()
        for length in range(0, len(raw), 1 if len(raw) < 600 else 23):
            with open(f"short{suffix}", "wb") as file:
                file.write(raw[:length])
            with pytest.raises(FormatError, match="short"):
                read_tensors(f"short{suffix}")


def test_an_interrupt_leaves_no_file(folder, capsys, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    write_tensors("in.npz", weights())
    monkeypatch.setattr(parallel, "compress", interrupt)
    code, _, err = run(capsys, "compress", "in.npz", "x.safetensors")
    assert code == 130 and err == "f2f: interrupted, no file half written\n"
    assert os.listdir() == ["in.npz"]


def test_ctrl_c_on_the_real_process(folder):
    write_tensors("in.npz", {f"w{i}": weights(i)["fc.weight"] for i in range(1000)})
    # Not before all is imported: extension modules may lose an interrupt.
    program = "import sys, f2f.commands; from f2f.__main__ import main; print('go', flush=True)"
    command = [sys.executable, "-c", f"{program}; sys.exit(main())", "compress", "in.npz"]
    command += ["x.safetensors", "--method", "viterbi", "--n-s", "2"]  # slow: met at work
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, **pipes)
    assert process.stdout.readline() == "go\n"
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.strip().endswith("no file half written")
    assert os.listdir() == ["in.npz"]


def test_the_text_of_a_model_file_comes_back(folder, capsys):
    write_tensors("in.safetensors", weights(), {"format": "pt"})
    assert run(capsys, "compress", "in.safetensors", "packed.safetensors")[0] == 0
    assert run(capsys, "decompress", "packed.safetensors", "out.safetensors")[0] == 0
    assert read_tensors("out.safetensors").metadata == {"format": "pt"}


def test_what_is_left_out_of_a_checkpoint_is_said(folder, capsys):
    torch.save({"model": {"w": torch.eye(40)}, "epoch": 3}, "in.pth")
    code, _, err = run(capsys, "compress", "in.pth", "packed.safetensors")
    assert code == 0 and "only 'model' is read, left out: 'epoch'" in err
    assert err.count("\n") == 1 and err.startswith("f2f: ")
    code, out, _ = run(capsys, "verify", "packed.safetensors", "--against", "in.pth")
    assert code == 0 and "equal to the original's bit for bit, which also has 'epoch'" in out


def test_negative_zeros_are_said_and_pruned_on_request(folder, capsys):
    mask = np.random.default_rng(0).random((60, 60)) < 0.1
    write_tensors("in.npz", {"w": (-np.ones((60, 60), np.float32) * mask)})
    code, _, err = run(capsys, "compress", "in.npz", "kept.safetensors")
    assert code == 0 and err.startswith("f2f: ") and "-0.0" in err
    arguments = ("compress", "in.npz", "pruned.safetensors", "--negative-zero", "prune")
    assert run(capsys, *arguments)[::2] == (0, "")
    assert f2f.load("pruned.safetensors")["w"].k == mask.sum()
    for file, said in (("kept", True), ("pruned", False)):
        out = run(capsys, "inspect", f"{file}.safetensors")[1]
        assert ("common: 90 % of w (tensors so: 1)" in out) == said
        assert ("--negative-zero prune" in out) == said


def test_without_options_the_command_codes_as_the_function_does(folder):
    weight = np.random.default_rng(3).integers(-9, 10, (64, 96)).astype(np.int8)
    weight[::3] = 0
    np.savez(folder / "m.npz", w=weight)
    assert main(["compress", str(folder / "m.npz"), str(folder / "a.safetensors"), "--quiet"]) == 0
    f2f.save(folder / "b.safetensors", parallel.compress_model({"w": weight}))
    assert (folder / "a.safetensors").read_bytes() == (folder / "b.safetensors").read_bytes()


def test_the_other_byte_order_is_no_difference(folder, capsys):
    np.savez(folder / "big.npz", w=np.eye(64, dtype=">f4"), bias=np.arange(3, dtype=">i8"))
    assert main(["compress", str(folder / "big.npz"), str(folder / "b.safetensors")]) == 0
    arguments = ["verify", str(folder / "b.safetensors"), "--against", str(folder / "big.npz")]
    assert main(arguments) == 0
    np.savez(folder / "big.npz", w=np.eye(64, dtype=">f4"), bias=np.arange(1, 4, dtype=">i8"))
    assert main(arguments) == 1
    assert "tensor 'bias' differs in 3 of 3 elements" in capsys.readouterr().out


def test_arrays_of_no_numbers_leave_no_file(folder, capsys):
    np.savez("in.npz", w=np.eye(3), names=np.array(["cat"]))
    code, _, err = run(capsys, "compress", "in.npz", "packed.safetensors")
    assert code == 2 and "array 'names' must hold numbers" in err
    assert not os.path.exists("packed.safetensors")


def test_inspect_says_where_every_byte_of_the_file_is(folder, capsys):
    tensors = {name: f2f.compress(array) for name, array in weights().items()}
    f2f.save("m.safetensors", tensors)
    out = " ".join(run(capsys, "inspect", "m.safetensors")[1].split())
    found = re.search(r"(\d+) bytes on disk, (\d+) of them in .* \(dense\) and (\d+) beside", out)
    size, dense, beside = map(int, found.groups())
    assert size == Path("m.safetensors").stat().st_size
    kinds = {kind: sum(t.nbytes for t in tensors.values() if t.kind == kind)
             for kind in ("dense", "encoded")}  # fmt: skip
    assert dense == kinds["dense"] and size == dense + kinds["encoded"] + beside


STEERING = "a\x1b[2J\x1b]0;title\x07\nb"


def test_names_cannot_steer_a_terminal(folder, capsys):
    """Tensor names with terminal sequences and line ends are shown escaped, wherever they are."""
    weight = np.arange(64, dtype=np.int8).reshape(8, 8)
    write_tensors("named.safetensors", {STEERING: weight, "c": weight + 1})
    write_tensors("other.safetensors", {"c": weight})
    assert main(["compress", "named.safetensors", "small.safetensors"]) == 0
    assert main(["inspect", "small.safetensors"]) == 0
    assert main(["verify", "small.safetensors", "--against", "other.safetensors"]) == 1
    assert main(["verilog", "small.safetensors", "d", "--out", "out"]) == 2
    assert main(["compress", f"{STEERING}.safetensors", "out.safetensors"]) == 2
    said = "".join(capsys.readouterr())
    assert said.count(r"a\x1b[2J") == 4
    assert all(c.isprintable() or c == "\n" for c in said)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_any_encoding_of_the_output_will_do(folder, encoding):
    name = "Gewicht \N{CJK UNIFIED IDEOGRAPH-91CD}"
    write_tensors("model.safetensors", {name: np.eye(64, dtype=np.int8)})
    program = (
        "import sys; from f2f.__main__ import main\n"
        "for words in sys.argv[1:]:\n"
        "    try: status = main(words.split())\n"
        "    except SystemExit as end: status = end.code\n"
        "    assert status == 0, (words, status)"
    )
    commands = [f"{name} --help" for name in COMMANDS]
    commands += ["compress model.safetensors small.safetensors", "inspect small.safetensors"]
    commands += ["verify small.safetensors --against model.safetensors"]
    environment = os.environ | {"PYTHONIOENCODING": encoding, "LC_ALL": "C", "PYTHONUTF8": "0"}
    ran = subprocess.run(
        [sys.executable, "-c", program, *commands], env=environment, capture_output=True
    )
    assert ran.returncode == 0, ran.stderr
    assert rb"Gewicht \u91cd" in ran.stdout


# Of a command with its streams: exit code, whether it prints something, and its one line of error.
STREAMS = {
    "verify m.safetensors > /dev/full": (2, False, "No space left on device: 'standard output'"),
    "verify none.safetensors 2> /dev/full": (2, False, ""),  # 1 would be a difference
    "verify none.safetensors 2>&-": (2, False, ""),
    "verify m.safetensors 2>&-": (0, True, ""),
    "inspect m.safetensors >&-": (0, False, ""),
    "inspect m.safetensors | true": (0, False, ""),
    "decompress m.safetensors gone.npz": (2, False, "Broken pipe: 'gone.npz'"),
}


def test_streams_that_are_full_or_closed(folder):
    f2f.save("m.safetensors", {"w": f2f.compress(np.eye(512, dtype=np.int8), beam=1)})
    environment = os.environ | {"PYTHONUNBUFFERED": "", "F2F_QUIET": "1"}
    command = f"{shlex.quote(sys.executable)} -m f2f"
    os.mkfifo("gone.npz")
    threading.Thread(target=lambda: open("gone.npz", "rb").close()).start()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = {
        line: subprocess.Popen(f"{command} {line}", shell=True, env=environment, **pipes)
        for line in STREAMS
    }
    for line, process in running.items():
        out, err = process.communicate()
        code, prints, message = STREAMS[line]
        assert (process.returncode, bool(out)) == (code, prints), (line, out, err)
        assert message in err and err.count("\n") == bool(message), (line, err)


def test_pipes_and_devices(folder, capsys):
    write_tensors("m.npz", weights())
    for command, *rest in (["inspect"], ["verify"], ["compress", "n.safetensors"]):
        os.mkfifo(f"{command}.safetensors")
        code, _, err = run(capsys, command, f"{command}.safetensors", *rest)
        assert code == 2 and "must be a file, is a pipe or a device" in err
    os.symlink("/dev/null", "to.safetensors")
    code, out, _ = run(capsys, "compress", "m.npz", "to.safetensors", "--beam", "1")
    assert code == 0 and "5 tensors" in out and "smaller" not in out  # nothing lies there


def test_numbers_of_jobs(folder, capsys):
    write_tensors("m.npz", {"w": weights()["fc.weight"]})
    code, _, err = run(capsys, "compress", "m.npz", "n.safetensors", "--jobs", "0")
    assert code == 2 and "n_jobs must be an integer other than 0" in err
    code, _, err = run(capsys, "compress", "m.npz", "n.safetensors", "--jobs", str(10**30))
    assert code == 0


def test_a_long_name_leaves_the_table_readable(folder, capsys):
    tensor = f2f.compress(np.eye(64, dtype=np.int8), beam=1)
    f2f.save("m.safetensors", {"x" * 3000: tensor, "b": tensor})
    code, out, _ = run(capsys, "inspect", "m.safetensors")
    lines = {line[0]: line for line in out.splitlines() if line}
    assert code == 0 and "x" * 3000 in lines["x"] and len(lines["b"]) < 200


def test_help_loads_no_kernels():
    """So that it answers at once."""
    program = (
        "import sys; from f2f.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: sys.exit('numba' in sys.modules or 'numpy' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], stdout=subprocess.DEVNULL).returncode == 0
    )
