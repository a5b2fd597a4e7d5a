"""OpenVINO: networks that are compiled once for all processes, files of other versions, what it may not do."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.inference.test_predictor import GRIDS, make_model
from tomoseg.errors import ConfigError, ModelError, OutputError
from tomoseg.inference.choose import choose_engine
from tomoseg.models import openvino
from tomoseg.models.conversion import convert_to_openvino
from tomoseg.models.exports import EXPORTS, add_export
from tomoseg.models.folder import load_model, restrict_structures, save_model, sha256
from tomoseg.models.openvino import (
    compile_openvino,
    computes_bf16,
    has_openvino,
    import_openvino,
    keep_channels,
    openvino_core,
    read_openvino,
    write_openvino,
)

SHAPE = (2, 24, 20)
FP32 = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
IMAGE = np.random.default_rng(0).random((1, *SHAPE), np.float32)


@pytest.fixture(scope="module")
def network():
    model = make_model(GRIDS["native"])
    return convert_to_openvino(model.network, model.record.input_spec)


def test_what_cannot_be_written_is_told(network, tmp_path, monkeypatch):
    """As of a full disk, of which OpenVINO says this."""

    def save_model(*given, **options):
        raise RuntimeError("Exception from src/core:\nbasic_ios::clear: iostream error\n")

    monkeypatch.setattr(import_openvino(), "save_model", save_model)
    with pytest.raises(OutputError, match=r"net.xml: expected a writable file, got: basic_ios::clear: iostream"):
        write_openvino(network, tmp_path / "net.xml")


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The folder of compiled networks."""
    monkeypatch.setattr("tomoseg.cache.platformdirs.user_cache_path", lambda name: tmp_path / name)
    return tmp_path / "tomoseg" / "openvino"


@pytest.fixture
def compiled(monkeypatch):
    """The shapes that are compiled from now on."""
    real, shapes = openvino_core(), []

    class Core:
        def compile_model(self, model, *rest):
            shapes.append(tuple(model.inputs[0].shape)[1:])
            return real.compile_model(model, *rest)

        def __getattr__(self, name):
            return getattr(real, name)

    monkeypatch.setattr(openvino, "openvino_core", Core)
    return shapes


def logits(network):
    return network(IMAGE[:, :, : network.inputs[0].shape[2]])[0]


class TestKept:
    @pytest.mark.parametrize("hint", ["f32", "bf16"])
    def test_what_was_kept_computes_the_same_bits(self, network, kept, compiled, hint):
        if hint == "bf16" and not computes_bf16():
            pytest.skip("needs a processor that computes in bf16")
        settings = FP32 | {"INFERENCE_PRECISION_HINT": hint}
        alone = logits(compile_openvino(network, SHAPE, settings, None))
        assert not kept.exists()
        first = logits(compile_openvino(network, SHAPE, settings, "a"))
        assert len(compiled) == 2
        second = compile_openvino(network, SHAPE, settings, "a")
        assert len(compiled) == 2
        assert second.get_property("INFERENCE_PRECISION_HINT").to_string() == hint
        assert np.array_equal(first, alone)
        assert np.array_equal(logits(second), alone)
        assert np.abs(alone).max() > 1

    def test_whatever_it_depends_on_is_another_entry(self, network, kept, compiled, monkeypatch):
        settings_of_two = FP32 | {"INFERENCE_NUM_THREADS": 2}
        for shape, settings, identity in (
            (SHAPE, FP32, "a"),
            ((2, 16, 20), FP32, "a"),
            (SHAPE, FP32, "b"),
            (SHAPE, settings_of_two, "a"),
            (SHAPE, FP32 | {"INFERENCE_PRECISION_HINT": "bf16"}, "a"),
        ):
            for _ in range(2):
                compile_openvino(network, shape, settings, identity)
        assert len(compiled) == len(list(kept.iterdir())) == 5
        monkeypatch.setattr(import_openvino(), "__version__", "2031.1")
        compile_openvino(network, SHAPE, FP32, "a")
        assert len(compiled) == len(list(kept.iterdir())) == 6

    def test_another_processor_is_another_entry(self, network, kept, compiled, monkeypatch):
        compile_openvino(network, SHAPE, FP32, "a")
        core = openvino.openvino_core

        class Other(core):
            def get_property(self, device, name):
                return "an abacus" if name == "FULL_DEVICE_NAME" else openvino_core().get_property(device, name)

        monkeypatch.setattr(openvino, "openvino_core", Other)
        compile_openvino(network, SHAPE, FP32, "a")
        assert len(compiled) == len(list(kept.iterdir())) == 2

    def test_the_network_is_left_as_it_is(self, network, kept):
        compile_openvino(network, SHAPE, FP32, "a")
        assert network.inputs[0].get_partial_shape()[2].is_dynamic

    def test_a_damaged_entry_is_made_again(self, network, kept, compiled):
        alone = logits(compile_openvino(network, SHAPE, FP32, "a"))
        (entry,) = kept.iterdir()
        whole = entry.read_bytes()
        for damaged in (b"", whole[:100], whole[:5000] + b"\0\0\0\0" + whole[5004:], b"\0" + whole):
            entry.write_bytes(damaged)
            compiled.clear()
            for _ in range(2):
                assert np.array_equal(logits(compile_openvino(network, SHAPE, FP32, "a")), alone)
            assert len(compiled) == 1

    @pytest.mark.parametrize("content", [b"", b"foreign", b"\x7fELF" + bytes(500)])
    def test_a_foreign_entry_is_made_again(self, network, kept, compiled, content):
        alone = logits(compile_openvino(network, SHAPE, FP32, "a"))
        (entry,) = kept.iterdir()
        openvino.COMPILED.put(entry.name, content)  # its digest is right
        assert np.array_equal(logits(compile_openvino(network, SHAPE, FP32, "a")), alone)
        assert len(compiled) == 2
        compile_openvino(network, SHAPE, FP32, "a")
        assert len(compiled) == 2

    def test_no_place_to_keep_it_works(self, network, tmp_path, compiled, monkeypatch):
        (tmp_path / "file").write_text("")
        monkeypatch.setattr("tomoseg.cache.platformdirs.user_cache_path", lambda name: tmp_path / "file" / name)
        for _ in range(2):
            assert logits(compile_openvino(network, SHAPE, FP32, "a")).shape == (1, 24, 20, 11)
        assert len(compiled) == 2
        assert (tmp_path / "file").read_text() == ""

    def test_two_processes_at_once(self, exported, tmp_path):
        code = f"""if True:
            import sys
            from pathlib import Path
            import numpy as np
            from tomoseg import cache
            cache.platformdirs.user_cache_path = lambda name: Path({str(tmp_path / "cache")!r}) / name
            from tomoseg.inference.choose import choose_engine
            from tomoseg.models.folder import load_model
            engine = choose_engine(load_model(Path({str(exported)!r})), "openvino", "cpu", "fp32")
            print("ready", flush=True)
            sys.stdin.readline()
            found = engine.run(np.random.default_rng(0).random((1, 2, 24, 20), np.float32))
            np.save(Path({str(tmp_path)!r}) / sys.argv[1], found)
        """
        both = [
            subprocess.Popen(
                [sys.executable, "-c", code, f"{number}.npy"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for number in range(2)
        ]
        for one in both:
            assert one.stdout.readline() == "ready\n"
        for one in both:  # now both compile
            one.stdin.write("go\n")
            one.stdin.flush()
        for one in both:
            one.communicate(timeout=120)
            assert one.returncode == 0
        first, second = (np.load(tmp_path / f"{number}.npy") for number in range(2))
        assert np.array_equal(first, second)
        assert len(list((tmp_path / "cache" / "tomoseg" / "openvino").iterdir())) == 1  # and nothing half written


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    """A model folder with an export in fp32."""
    folder = tmp_path_factory.mktemp("models") / "model"
    save_model(make_model(GRIDS["native"]), folder)
    add_export(load_model(folder), "openvino", "fp32", ".xml", {}, lambda path: write_openvino(network, path))
    return folder


class TestOfAnExport:
    def test_an_engine_takes_it_from_there(self, exported, kept, compiled):
        model = load_model(exported)
        first, second = (choose_engine(model, "openvino", "cpu", "fp32").run(IMAGE) for _ in range(2))
        assert len(compiled) == 1
        assert np.array_equal(first, second)
        by_torch = choose_engine(model, "torch", "cpu", "fp32").run(IMAGE)
        np.testing.assert_allclose(first, by_torch, atol=1e-4 * np.abs(by_torch).max())

    def test_some_structures_are_another_network(self, exported, kept, compiled):
        model = load_model(exported)
        whole = choose_engine(model, "openvino", "cpu", "fp32").run(IMAGE)
        for names in (("s2",), ("s9", "s2"), ("s2", "s9")):
            some = restrict_structures(model, names)
            found = choose_engine(some, "openvino", "cpu", "fp32").run(IMAGE)
            channels = [model.record.labels.channel(name) for name in some.record.labels.names]
            assert np.array_equal(found, whole[:, channels])
        assert len(compiled) == 3  # the last two are the same

    def test_another_file_of_that_name_is_another_network(self, exported, kept, compiled, tmp_path):
        """What was compiled of one export is not taken for another of the same model."""
        choose_engine(load_model(exported), "openvino", "cpu", "fp32").run(IMAGE)
        other = make_model(GRIDS["native"], seed=1)
        converted = convert_to_openvino(other.network, other.record.input_spec)
        folder = tmp_path / "model"
        save_model(make_model(GRIDS["native"]), folder)
        model = load_model(folder)
        assert model.sha256 == load_model(exported).sha256
        add_export(model, "openvino", "fp32", ".xml", {}, lambda path: write_openvino(converted, path))
        found = choose_engine(model, "openvino", "cpu", "fp32").run(IMAGE)
        assert len(compiled) == 2
        np.testing.assert_allclose(found, choose_engine(other, "torch", "cpu", "fp32").run(IMAGE), atol=1e-3)

    @pytest.mark.parametrize(
        ("was", "then"), [('version="11"', 'version="99"'), ('version="opset1"', 'version="opset99"'), ("<net", "net")]
    )
    def test_one_of_another_version_is_one_sentence(self, exported, tmp_path, capfd, was, then):
        folder = tmp_path / "model"
        save_model(make_model(GRIDS["native"]), folder)
        (folder / EXPORTS).write_bytes((exported / EXPORTS).read_bytes())
        (folder / "openvino" / "fp32").mkdir(parents=True)
        for name in ("model.xml", "model.bin"):
            (folder / "openvino" / "fp32" / name).write_bytes((exported / "openvino" / "fp32" / name).read_bytes())
        path = folder / "openvino" / "fp32" / "model.xml"
        text = path.read_text(encoding="utf-8")
        assert was in text
        path.write_text(text.replace(was, then, 1), encoding="utf-8")
        entries = json.loads((folder / EXPORTS).read_text())
        entries[0]["files"]["openvino/fp32/model.xml"] = sha256(path)
        (folder / EXPORTS).write_text(json.dumps(entries))
        sentence = (
            rf"model\.xml: expected a model that OpenVINO {re.escape(import_openvino().__version__)} reads, got: "
        )
        with pytest.raises(ModelError, match=sentence) as raised:
            choose_engine(load_model(folder), "openvino", "cpu", "fp32")
        assert "\n" not in str(raised.value)
        assert len(str(raised.value)) < 500 + len(str(path))
        assert capfd.readouterr() == ("", "")  # nor does a reader of another format say anything


def test_what_is_written_is_read(network, tmp_path):
    write_openvino(network, tmp_path / "model.xml")
    assert (tmp_path / "model.bin").exists()
    found = compile_openvino(read_openvino(tmp_path / "model.xml"), SHAPE, FP32, None)
    assert np.array_equal(logits(found), logits(compile_openvino(network, SHAPE, FP32, None)))


def test_channels_are_kept_in_the_order_asked_for(network):
    whole = logits(compile_openvino(network, SHAPE, FP32, None))
    some = keep_channels(network.clone(), (9, 0, 4))
    assert np.array_equal(logits(compile_openvino(some, SHAPE, FP32, None)), whole[..., [9, 0, 4]])


def test_without_it_one_is_told_what_to_do(monkeypatch):
    assert has_openvino()
    monkeypatch.setattr(openvino, "has_openvino", lambda: False)
    with pytest.raises(ConfigError, match=r"expected OpenVINO, found none; run: pip install openvino, or use engine t"):
        import_openvino()


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120).stdout


def test_it_is_not_allowed_to_report_its_use():
    code = (
        "from tomoseg.models.openvino import import_openvino; import_openvino();"
        "from openvino.tools.ovc import telemetry_utils; print(telemetry_utils.tm.__name__)"
    )
    assert run_python(code) == "openvino.tools.ovc.telemetry_stub\n"


def test_it_is_not_imported_before_it_is_needed():
    code = "import sys; from tomoseg.models import openvino; print('openvino' in sys.modules, 'torch' in sys.modules)"
    assert run_python(code) == "False False\n"


def test_a_signal_after_an_engine_went_in_another_thread_is_handled():
    code = """if True:
        import gc, signal, threading
        import numpy as np
        from tomoseg.config import NetworkConfig
        from tomoseg.inference.openvino_engine import OpenVinoEngine
        from tomoseg.models.conversion import convert_to_openvino
        from tomoseg.networks.build import build_network
        from tomoseg.networks.images import NetworkInput

        config = NetworkConfig(channels=(8, 16))
        reads = NetworkInput(((-200.0, 300.0),), config)
        engines = [OpenVinoEngine(convert_to_openvino(build_network(config, 1, 3), reads), reads, "fp32")]
        engines[0].run(np.zeros((1, 1, 4, 4), np.float32))
        thread = threading.Thread(target=lambda: (engines.clear(), gc.collect()))
        thread.start()
        thread.join()
        signal.signal(signal.SIGINT, lambda *_: print("handled"))
        signal.raise_signal(signal.SIGINT)
    """
    assert run_python(code) == "handled\n"
