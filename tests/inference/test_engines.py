"""Engines: the record of each, that they agree, and that threads and processes may share them."""

import multiprocessing
import queue
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import numpy as np
import pytest
import torch

from tests.inference.test_predictor import GRIDS, make_model
from tests.training.tiny import make_scan
from tomoseg.inference.choose import choose_engine
from tomoseg.inference.engines import ENGINES
from tomoseg.inference.logits import LogitSource
from tomoseg.inference.openvino_engine import KEPT_SHAPES, OpenVinoEngine
from tomoseg.inference.predictor import Predictor, _usual_batch
from tomoseg.inference.segment import segment
from tomoseg.inference.stages import Stages
from tomoseg.inference.torch_engine import TorchEngine
from tomoseg.options import Compute, EngineName, Precision, Request
from tomoseg.volume import Volume

CPU = torch.device("cpu")
LABEL_MAP = Request(ml=True)


@pytest.fixture(scope="module")
def model():
    return make_model(GRIDS["native"])


def engines(model, precision="fp32"):
    return [choose_engine(model, name, "cpu", precision) for name in ("torch", "openvino")]


class TestRecords:
    def test_each_is_a_name_of_the_options_and_the_reverse(self):
        assert {"auto", *ENGINES} == set(get_args(EngineName))
        assert [kind.name for kind in ENGINES.values()] == list(ENGINES)

    def test_precisions_are_those_of_the_options(self):
        known = set(get_args(Precision)) - {"auto"}
        assert known == {precision for kind in ENGINES.values() for precision in kind.precisions}
        for kind in ENGINES.values():
            assert kind.precisions
            assert len(set(kind.precisions)) == len(kind.precisions)

    def test_files_of_exports_differ_in_suffix_and_are_of_a_precision_that_is_computed_in(self):
        conversions = [kind.conversion for kind in ENGINES.values() if kind.conversion is not None]
        suffixes = [conversion.suffix for conversion in conversions]
        assert sorted(suffixes) == [".onnx", ".xml"]
        for kind in ENGINES.values():
            if kind.conversion is not None:
                assert {kind.stores(precision) for precision in kind.precisions} == set(kind.conversion.stored)
                assert set(kind.conversion.stored) <= set(kind.precisions)

    def test_what_is_compared_is_computed_on_a_cpu(self, model):
        for kind in ENGINES.values():
            assert kind.is_installed
            assert kind.on("cpu")
            assert set(kind.compared(model)) <= set(kind.precisions)
        assert ENGINES["torch"].compared(model) == ("fp32",)
        assert ENGINES["onnx"].compared(model) == ()  # it has no export

    def test_on_a_gpu_only_pytorch_runs(self):
        assert [name for name, kind in ENGINES.items() if kind.on("cuda:1")] == ["torch"]

    def test_an_engine_that_is_opened_is_called_as_its_record_is(self, model):
        for engine in engines(model):
            assert ENGINES[engine.name].package in ("torch", "openvino")
            assert engine.precision in ENGINES[engine.name].precisions


def test_fp32_engines_agree(model):
    hu = make_scan(3)[0]
    by_torch, by_openvino = (np.stack(LogitSource(engine).slices(hu)) for engine in engines(model))
    np.testing.assert_allclose(by_torch, by_openvino, atol=1e-4 * np.abs(by_torch).max())
    differing = (by_torch > 0) != (by_openvino > 0)
    assert 0.1 < (by_torch > 0).mean() < 0.9
    assert differing.sum() <= ((by_torch > 0) | (by_openvino > 0)).sum() / 10_000


def test_logits_are_float32_with_structures_last_in_memory(model):
    images = np.random.default_rng(0).random((2, 2, 16, 12), np.float32)
    for engine in engines(model):
        logits = engine.run(images)
        assert (logits.shape, logits.dtype) == ((2, 11, 16, 12), np.float32)
        assert np.moveaxis(logits, 1, -1).flags.c_contiguous


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_slices_beside_each_other_are_those_one_by_one(model, count, monkeypatch):
    monkeypatch.setattr("tomoseg.inference.openvino_engine.thread_count", lambda: 4)
    images = np.random.default_rng(0).random((count, 2, 16, 12), np.float32)
    engine = choose_engine(model, "openvino", "cpu", "fp32")
    alone = np.concatenate([engine.run(image[None]) for image in images])
    assert engine.at_once == 4
    engine.prepare((16, 12), engine.at_once)
    for _ in range(3):
        assert np.array_equal(engine.run(images), alone)
    engine.release()
    assert np.array_equal(engine.run(images), alone)


def test_of_many_sizes_the_last_few_stay_compiled(model):
    engine = choose_engine(model, "openvino", "cpu", "fp32")
    images = [np.random.default_rng(k).random((2, 2, 8 + 4 * (k % 5), 12), np.float32) for k in range(11)]
    first = [engine.run(image) for image in images]
    assert len(engine._compiled) == KEPT_SHAPES
    engine.prepare((8, 12), 2)  # of the first and last size
    assert len(engine._compiled) == KEPT_SHAPES
    for image, logits in zip(images, first, strict=True):
        assert np.array_equal(engine.run(image), logits)


@pytest.mark.parametrize(("threads", "expected"), [(1, 1), (2, 2), (16, 4)])
def test_slices_at_once_are_one_per_thread_and_few(model, threads, expected, monkeypatch):
    monkeypatch.setattr("tomoseg.inference.openvino_engine.thread_count", lambda: threads)
    assert choose_engine(model, "openvino", "cpu", "fp32").at_once == expected
    assert choose_engine(model, "torch", "cpu", "fp32").at_once == 1


def test_large_slices_are_fewer_at_once_and_none_more_than_memory_holds(model, monkeypatch):
    monkeypatch.setattr("tomoseg.inference.openvino_engine.thread_count", lambda: 4)
    volume = Volume.from_array(make_scan(0)[0], np.diag([1.5, 1.5, 2.0, 1.0]))
    prepared = []
    monkeypatch.setattr(OpenVinoEngine, "prepare", lambda self, shape, images=1: prepared.append(images))

    def batch(**more):
        prepared.clear()
        predictor = Predictor(model, Compute(engine="openvino", device="cpu", precision="fp32", **more))
        scan, choices = predictor.on_grid(volume, Stages()), predictor.choices()
        return predictor._prepared(predictor.engines(), ["axial"], scan, choices)

    assert (batch(), prepared) == (4, [4])
    assert (batch(batch_size=3), prepared) == (3, [3])
    monkeypatch.setattr("tomoseg.inference.predictor.batch_that_fits", lambda limit, result, each, most: most // 2)
    assert (batch(max_memory=10**10), prepared) == (2, [4, 2])
    each = []
    monkeypatch.setattr("tomoseg.inference.predictor._usual_batch", lambda engine, size: each.append(size) or 1)
    batch()
    monkeypatch.undo()
    (size,) = each
    engine = choose_engine(model, "openvino", "cpu", "fp32")
    engine.at_once = 4
    for allowed, expected in ((size - 1, 1), (2 * size, 2), (3.5 * size, 3), (100 * size, 4)):
        monkeypatch.setattr("tomoseg.inference.predictor.BATCH_BYTES", int(allowed))
        assert _usual_batch(engine, size) == expected


def test_threads_may_share_a_predictor(model):
    sizes = [(24, 22, 8), (20, 26, 9)]
    scans = [make_scan(n, sizes[n % 2])[0] for n in range(4)]
    for hu in scans:
        hu[:, :, ::2] = -1000  # what is constant is computed once, for each size
    volumes = [Volume.from_array(hu, np.diag([1.5, 1.5, 2.0, 1.0])) for hu in scans]
    for name in ("torch", "openvino"):
        predictor = Predictor(model, Compute(engine=name, device="cpu", precision="fp32"))
        alone = [segment(v, predictor, LABEL_MAP).result.values for v in volumes]
        with ThreadPoolExecutor(4) as threads:
            together = list(threads.map(lambda v, p=predictor: segment(v, p, LABEL_MAP).result.values, volumes * 3))
        for k, values in enumerate(together):
            assert np.array_equal(values, alone[k % 4])


def test_threads_that_come_at_once_open_one_engine(model, monkeypatch):
    opened = []
    monkeypatch.setattr(
        "tomoseg.inference.predictor.choose_engine", lambda *asked: opened.append(asked) or choose_engine(*asked)
    )
    predictor = Predictor(model, Compute(device="cpu", precision="fp32"))
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: predictor.engines()[0], range(8)))
    assert len(opened) == 1
    assert all(engine is found[0] for engine in found)


def predict_in_a_process(answers):
    volume = Volume.from_array(make_scan(1)[0], np.diag([1.5, 1.5, 2.0, 1.0]))
    compute = Compute(device="cpu", precision="fp32")
    answers.put(segment(volume, make_model(GRIDS["native"]), LABEL_MAP, compute=compute).result.values)


def test_it_works_in_a_daemonic_process_and_says_the_same_there():
    processes = multiprocessing.get_context("spawn")
    answers, here = processes.Queue(), queue.Queue()
    process = processes.Process(target=predict_in_a_process, args=(answers,), daemon=True)
    process.start()
    predict_in_a_process(here)
    assert np.array_equal(answers.get(timeout=120), here.get())
    process.join()
    assert process.exitcode == 0


def test_a_lack_of_memory_of_a_device_is_one_of_memory(model, monkeypatch):
    def fail(images):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    engine = choose_engine(model, "torch", "cpu", "fp32")
    monkeypatch.setattr(engine, "network", fail)
    with pytest.raises(MemoryError, match="CUDA out of memory"):
        engine.run(np.zeros((1, 2, 16, 12), np.float32))


def test_engines_name_what_they_compute_in(model):
    assert [(e.name, e.device, e.precision) for e in engines(model)] == [
        ("torch", "cpu", "fp32"),
        ("openvino", "cpu", "fp32"),
    ]
    assert TorchEngine(model.network, model.record.input_spec, CPU, torch.bfloat16).precision == "bf16"
