import re

import pytest

from tomoseg.errors import ConfigError
from tomoseg.options import Compute, Decisions, EvaluateOptions, PredictOptions, thresholds_of
from tomoseg.settings import Role, deciding, load_together


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "options.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


class TestMemory:
    @pytest.mark.parametrize("text", ["", "GB", "-1GB", "0GB", "two GB", "1e9", "2GBB", "I", "1bit", 0, -1, 1.5, None])
    def test_an_amount_that_is_none_is_refused(self, text):
        if text is None:
            assert Compute(max_memory=None).max_memory is None
            return
        message = f"max_memory: expected an amount of memory such as 2GB or 1500MB, got {text!r}; correct the value"
        with pytest.raises(ConfigError, match=re.escape(message)):
            Compute(max_memory=text)

    @pytest.mark.parametrize(
        ("text", "size"),
        [
            ("7", 7),
            (7, 7),
            ("2kb", 2000),
            ("1.5 GB", 1_500_000_000),
            ("3MiB", 3 * 2**20),
            ("3Mi", 3 * 2**20),
            ("1gi ", 2**30),
            ("4G", 4_000_000_000),
            ("1 b", 1),
            ("2TB", 2_000_000_000_000),
        ],
    )
    def test_amounts(self, text, size):
        assert Compute(max_memory=text).max_memory == size


class TestErrors:
    @pytest.mark.parametrize(
        ("kind", "values", "message"),
        [
            (Compute, {"batch_size": 0}, "batch_size: expected a value greater than or equal to 1, got 0; correct"),
            (Compute, {"engine": "touch"}, "engine: .* 4 known names, got 'touch'; did you mean 'torch'\\?$"),
            (Compute, {"presicion": "fp32"}, "presicion: expected one of 5 known names, .*did you mean 'precision'"),
            (Decisions, {"smoothing": -1}, "smoothing: expected a value greater than or equal to 0, got -1"),
            (PredictOptions, {"roi_subest": ()}, "roi_subest: .*did you mean 'roi_subset'"),
            (PredictOptions, {"roi_subset": "liver"}, "roi_subset: expected a list, got 'liver'"),
            (PredictOptions, {"format": ("nifty",)}, "format.0: expected .*, got 'nifty'; did you mean 'nifti'"),
            (PredictOptions, {"smoothing": float("nan")}, "smoothing: expected a finite number, got nan"),
            (
                EvaluateOptions,
                {"tolerance_mm": -1},
                "tolerance_mm: expected a value greater than or equal to 0, got -1",
            ),
            (
                EvaluateOptions,
                {"success_at": (0.5, 1.5)},
                "success_at.1: expected a value less than or equal to 1, got 1.5",
            ),
            (EvaluateOptions, {"lang": "de"}, "lang: expected one of 2 known names, got 'de'; choose from en, fr"),
        ],
    )
    def test_a_wrong_value_is_one_sentence(self, kind, values, message):
        with pytest.raises(ConfigError, match=message) as raised:
            kind(**values)
        assert "\n" not in str(raised.value)

    def test_thresholds_that_are_none_are_refused(self):
        for text in ("high", "liver=", "liver=high", "=", "1.4", "liver=0", "1", "-0.5", "nan"):
            with pytest.raises(ConfigError, match=rf"expected a threshold between 0 and 1 such as .*, got '{text}'; "):
                thresholds_of([text], ["liver"])
        with pytest.raises(ConfigError, match=r"threshold livr=0\.3: expected 'liver', got 'livr'; correct it"):
            thresholds_of(["livr=0.3"], ["liver"])
        for value in (0.0, 1.0, -1.0, float("nan")):
            with pytest.raises(ConfigError, match=rf"thresholds.liver: expected .*(0|1|finite number), got {value};"):
                Decisions(thresholds={"liver": value})


class TestFile:
    def test_one_file_for_what_is_computed_and_what_computes_it(self, file):
        path = file("roi_subset: [liver]\nthreshold: [0.4, liver=0.3]\nmax_memory: 2GB\nml: true\n")
        given = [PredictOptions(preview=True), Compute(device="cpu")]
        options, compute = load_together(given, path)
        assert options == PredictOptions(preview=True, ml=True, roi_subset=("liver",), threshold=("0.4", "liver=0.3"))
        assert compute == Compute(device="cpu", max_memory=2_000_000_000)

    def test_an_empty_file_changes_nothing(self, file):
        given = [PredictOptions(preview=True), Compute(device="cpu")]
        assert load_together(given, file("# nothing yet\n")) == given

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("roi-subset: [liver]", r"options.yaml: roi-subset: .* got 'roi-subset'; did you mean 'roi_subset'\?"),
            ("max_memry: 2GB", r"options.yaml: max_memry: expected one of 33 known names.*did you mean 'max_memory'\?"),
            (
                "max_memory: much",
                r"options.yaml: max_memory: expected an amount of memory such as .*, got 'much'; corr",
            ),
            ("batch_size: 0", "options.yaml: batch_size: expected a value greater than or equal to 1, got 0"),
        ],
    )
    def test_a_file_that_is_wrong(self, file, text, message):
        with pytest.raises(ConfigError, match=message):
            load_together([PredictOptions(), Compute()], file(text))


class TestDeciding:
    def test_what_a_prediction_depends_on(self):
        options = PredictOptions(roi_subset=("liver",), part="2/8", preview=True, lang="fr", smoothing=0.5)
        compute = Compute(device="cpu", batch_size=2, max_memory="2GB")
        found = deciding(options, compute)
        assert found == {"device": "cpu", "roi_subset": ["liver"], "smoothing": 0.5}
        shown = deciding(options, compute, decides={Role.RESULT, Role.PRESENTATION})
        assert shown == found | {"preview": True, "lang": "fr"}

    def test_a_default_that_is_given_decides_nothing(self):
        assert deciding(PredictOptions(format=("nifti",), tuned=True)) == {}
