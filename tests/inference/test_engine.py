"""Engines: padding, constant slices, agreement, thread safety, what cannot be had."""

import multiprocessing
import queue
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.inference.test_predictor import GRIDS, make_model
from tests.training.tiny import make_scan
from tomoseg.config import NetworkConfig
from tomoseg.errors import ConfigError
from tomoseg.grid import AIR_HU, apply_windows
from tomoseg.inference import choose, openvino_engine
from tomoseg.inference.choose import choose_engine
from tomoseg.inference.engine import TorchEngine
from tomoseg.inference.predictor import Predictor
from tomoseg.models import openvino as conversion
from tomoseg.models.folder import Model
from tomoseg.volume import Volume

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model():
    return make_model(GRIDS["native"])


def engines(model, precision="fp32"):
    return [choose_engine(model, name, "cpu", precision) for name in ("torch", "openvino")]


def test_slices_are_padded_with_air_and_cut_again(model):
    for engine in engines(model):
        hu = make_scan(1)[0][:13, :10, :2]
        padded = np.full((16, 12, 2), AIR_HU, np.int16)
        padded[:13, :10] = hu
        found = engine.logits(hu)
        assert [f.shape for f in found] == [(11, 13, 10)] * 2
        for mine, whole in zip(found, engine.logits(padded), strict=True):
            assert torch.allclose(mine, whole[:, :13, :10], atol=1e-5)


def test_fp32_engines_agree(model):
    by_torch, by_openvino = (torch.stack(engine.logits(make_scan(3)[0])) for engine in engines(model))
    assert torch.allclose(by_torch, by_openvino, atol=1e-4 * by_torch.abs().max().item())
    differing = (by_torch > 0) != (by_openvino > 0)
    assert 0.1 < (by_torch > 0).float().mean() < 0.9
    assert differing.sum() <= ((by_torch > 0) | (by_openvino > 0)).sum() / 10_000


def test_a_constant_slice_is_computed_once_and_is_the_same_to_the_bit(model, monkeypatch):
    hu = make_scan(1)[0][:16, :12, :5].copy()
    hu[:, :, [0, 3]] = AIR_HU
    hu[:, :, 4] = 2000  # above both windows, as constant as air
    hu[0, :, 0] = -1500  # below both windows, the same air
    for engine in engines(model):
        whole = [engine.run(image) for image in images(engine, hu)]
        sizes = []
        run = engine.run
        monkeypatch.setattr(engine, "run", lambda batch, run=run, sizes=sizes: sizes.append(len(batch)) or run(batch))
        found = engine.logits(hu)
        assert sizes == [2, 1, 1]
        for mine, alone in zip([found[0], found[3], found[4]], [whole[0], whole[3], whole[4]], strict=True):
            assert torch.equal(mine, alone[0][:, : hu.shape[0], : hu.shape[1]])


def images(engine, hu):
    """Each slice's network input, made slice by slice."""
    for k in range(hu.shape[2]):
        padded = np.full(engine.reads.padded(hu.shape[:2]), AIR_HU, np.int16)
        padded[: hu.shape[0], : hu.shape[1]] = hu[:, :, k]
        yield apply_windows(padded, engine.reads.windows_hu)[None]


def test_threads_may_share_a_predictor(model):
    sizes = [(24, 22, 8), (20, 26, 9)]
    scans = [make_scan(n, sizes[n % 2])[0] for n in range(4)]
    for hu in scans:
        hu[:, :, ::2] = -1000  # what is constant is computed once, for each size
    volumes = [Volume.from_array(hu, np.diag([1.5, 1.5, 2.0, 1.0])) for hu in scans]
    for name in ("torch", "openvino"):
        predictor = Predictor(model, engine=name, device="cpu", precision="fp32")
        alone = [predictor.predict_label_map(v).values for v in volumes]
        with ThreadPoolExecutor(4) as threads:
            together = list(threads.map(lambda v, p=predictor: p.predict_label_map(v).values, volumes * 3))
        for k, values in enumerate(together):
            assert np.array_equal(values, alone[k % 4])


def predict_in_a_process(answers):
    volume = Volume.from_array(make_scan(1)[0], np.diag([1.5, 1.5, 2.0, 1.0]))
    predictor = Predictor(make_model(GRIDS["native"]), device="cpu", precision="fp32")
    answers.put(predictor.predict_label_map(volume).values)


def test_it_works_in_a_daemonic_process_and_says_the_same_there():
    processes = multiprocessing.get_context("spawn")
    answers, here = processes.Queue(), queue.Queue()
    process = processes.Process(target=predict_in_a_process, args=(answers,), daemon=True)
    process.start()
    predict_in_a_process(here)
    assert np.array_equal(answers.get(timeout=120), here.get())
    process.join()
    assert process.exitcode == 0


def test_auto_is_openvino_on_a_cpu_where_it_is_installed(model, monkeypatch):
    assert choose_engine(model, "auto", "cpu", "fp32").name == "openvino"
    assert choose_engine(model, "auto", "cpu", "fp16").name == "torch"
    monkeypatch.setattr(choose, "has_openvino", lambda: False)
    assert choose_engine(model, "auto", "cpu", "fp32").name == "torch"


def test_auto_is_torch_where_there_is_another_device():
    engine = choose_engine(make_model(GRIDS["native"]), "auto", "meta", "fp32")  # stands for a GPU
    assert (engine.name, engine.device) == ("torch", "meta")


@pytest.mark.parametrize(("tile", "engine"), [((), "torch"), ((64, 32), "openvino")])
def test_auto_is_torch_where_no_trace_of_the_network_serves_every_size(tile, engine):
    network = NetworkConfig(kind="swin_unetr", channels=(12, 12), tile=tile)
    record = replace(make_model(GRIDS["native"]).record, network=network)
    assert choose_engine(Model(record, record.build()), "auto", "cpu", "fp32").name == engine


def test_precision_auto_is_bf16_where_the_processor_has_it(model, monkeypatch):
    for has, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(openvino_engine, "computes_bf16", lambda has=has: has)
        if not has or conversion.computes_bf16():
            assert choose_engine(model, "openvino", "cpu", "auto").precision == precision


def test_what_cannot_be_had_is_refused(model, monkeypatch):
    with pytest.raises(ConfigError, match=r"expected device cpu for engine openvino, got meta; use engine torch"):
        choose_engine(model, "openvino", "meta")
    with pytest.raises(ConfigError, match=r"expected precision fp32, bf16, int8 for engine openvino, got fp16"):
        choose_engine(model, "openvino", "cpu", "fp16")
    monkeypatch.setattr("tomoseg.inference.openvino_engine.computes_bf16", lambda: False)
    with pytest.raises(ConfigError, match=r"expected a processor that computes in bf16, .* use precision fp32"):
        choose_engine(model, "openvino", "cpu", "bf16")
    monkeypatch.setattr(conversion, "has_openvino", lambda: False)
    with pytest.raises(ConfigError, match=r'expected OpenVINO, found none; run: pip install "tomoseg\[openvino\]"'):
        choose_engine(model, "openvino", "cpu", "fp32")


def test_openvino_is_not_allowed_to_report_its_use():
    code = (
        "from tomoseg.models.openvino import import_openvino; import_openvino();"
        "from openvino.tools.ovc import telemetry_utils; print(telemetry_utils.tm.__name__)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "openvino.tools.ovc.telemetry_stub"


def test_a_signal_after_an_engine_went_in_another_thread_is_handled():
    code = """if True:
        import gc, signal, threading
        import numpy as np
        from tomoseg.config import NetworkConfig
        from tomoseg.inference.openvino_engine import OpenVinoEngine
        from tomoseg.models.openvino import convert_network
        from tomoseg.networks.build import build_network
        from tomoseg.networks.images import NetworkInput

        config = NetworkConfig(channels=(8, 16))
        reads = NetworkInput(((-200.0, 300.0),), config)
        engines = [OpenVinoEngine(convert_network(build_network(config, 1, 3), reads), reads, "fp32")]
        engines[0].run(np.zeros((1, 1, 4, 4), np.float32))
        thread = threading.Thread(target=lambda: (engines.clear(), gc.collect()))
        thread.start()
        thread.join()
        signal.signal(signal.SIGINT, lambda *_: print("handled"))
        signal.raise_signal(signal.SIGINT)
    """
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "handled\n"


def test_engines_name_what_they_compute_in(model):
    assert [(e.name, e.device, e.precision) for e in engines(model)] == [
        ("torch", "cpu", "fp32"),
        ("openvino", "cpu", "fp32"),
    ]
    assert TorchEngine(model.network, model.record.reads, CPU, torch.bfloat16).precision == "bf16"
