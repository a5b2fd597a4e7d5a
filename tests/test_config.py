import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tomoseg.config import (
    PREPROCESS_PRESETS,
    TRAIN_PRESETS,
    GridConfig,
    NetworkConfig,
    OptimizerConfig,
    PreprocessConfig,
    TrainConfig,
)
from tomoseg.errors import ConfigError
from tomoseg.settings import config_yaml, load_config, save_config, validate_config

DEFAULT = TRAIN_PRESETS["default"]


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("presets", [PREPROCESS_PRESETS, TRAIN_PRESETS], ids=["preprocess", "train"])
@pytest.mark.parametrize("name", ["default", "guide"])
def test_presets_come_back_from_yaml(tmp_path, presets, name):
    path = tmp_path / "config.yaml"
    save_config(presets[name], path)
    other = presets["guide" if name == "default" else "default"]
    assert load_config(other, path) == presets[name]


@given(
    st.floats(1e-12, 1e3),
    st.floats(0, 1e3),
    st.lists(st.tuples(st.floats(-2000, 0), st.floats(1, 4000)), min_size=1, max_size=3),
)
def test_numbers_come_back_from_yaml_to_the_last_bit(learning_rate, weight_decay, windows):
    config = TrainConfig(
        optimizer=OptimizerConfig(learning_rate=learning_rate, weight_decay=weight_decay), windows_hu=tuple(windows)
    )
    assert validate_config(TrainConfig, yaml.safe_load(config_yaml(config)), "text") == config


def test_the_default_presets_are_the_fields_own_defaults():
    assert PREPROCESS_PRESETS["default"] == PreprocessConfig()
    assert TRAIN_PRESETS["default"] == TrainConfig()


def test_the_guide_preset_has_the_guides_numbers():
    train, preprocess = TRAIN_PRESETS["guide"], PREPROCESS_PRESETS["guide"]
    assert train.network.dims == 2
    assert train.network.channels == (32, 64, 128, 256, 512)
    assert train.network.normalisation == "batch"
    assert train.network.stride == 16  # four poolings
    assert train.windows_hu == ((-200, 300),)
    assert train.loss.kind == "bce"
    optimizer = train.optimizer
    assert (optimizer.kind, optimizer.learning_rate, optimizer.betas) == ("adam", 1e-3, (0.9, 0.999))
    assert (optimizer.eps, optimizer.weight_decay, optimizer.clip_norm) == (1e-8, 1e-5, 1.0)
    assert (train.schedule.kind, train.schedule.factor, train.schedule.patience) == ("plateau", 0.5, 3)
    assert (train.batch_size, train.workers, train.prefetch_factor, train.pin_memory) == (8, 4, 2, True)
    assert not train.augmentation.enabled
    assert (preprocess.grid.mode, preprocess.grid.size, preprocess.grid.crop) == ("size", (256, 256), "none")


def test_a_file_changes_only_what_it_names(file):
    guide = TRAIN_PRESETS["guide"]
    changed = load_config(guide, file("batch_size: 2\noptimizer:\n  learning_rate: 3e-4\n"))
    optimizer = guide.optimizer.model_copy(update={"learning_rate": 3e-4})
    assert changed == guide.model_copy(update={"batch_size": 2, "optimizer": optimizer})


def test_no_file_and_an_empty_file_are_the_preset(file):
    assert load_config(DEFAULT, None) == DEFAULT
    assert load_config(DEFAULT, file("# nothing yet\n")) == DEFAULT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch_sise: 2", r"run.yaml: batch_sise: .* got 'batch_sise'; did you mean 'batch_size'\?$"),
        ("optimizer:\n  momentun: 0.5", r"optimizer.momentun: .*; did you mean 'momentum'\?$"),
        ("network:\n  qqqq: 1", "network.qqqq: expected one of 11 known names, got 'qqqq'; choose from kind, dims"),
        ("batch_size: 0", "batch_size: .*greater than or equal to 1, got 0; correct the value"),
        ("batch_size: many", "batch_size: .*valid integer.*, got 'many'"),
        ("optimizer:\n  learning_rate: 0", "optimizer.learning_rate: .*greater than 0, got 0"),
        ("optimizer:\n  learning_rate: .nan", "optimizer.learning_rate: .*finite number, got nan"),
        ("optimizer:\n  learning_rate: .inf", "optimizer.learning_rate: .*finite number, got inf"),
        ("optimizer:\n  kind: adma", r"optimizer.kind: .*4 known names, got 'adma'; did you mean 'adam'\?$"),
        ("network:\n  kind: swim_unetr", r"network.kind: .*, got 'swim_unetr'; did you mean 'swin_unetr'\?$"),
        ("loss:\n  kind: tverski", r"loss.kind: .*, got 'tverski'; did you mean 'tversky'\?$"),
        ("network:\n  dims: 4", "network.dims: .*2 or 3, got 4; correct the value$"),
        ("schedule: 3", "schedule: .*got 3"),
        ("windows_hu: [[300, -200]]", r"windows_hu needs one window or more, each from low to high HU.*300.0, -200.0"),
        ("windows_hu: []", r"windows_hu needs one window or more.*got \(\)"),
        ("windows_hu: [[.nan, 300]]", "windows_hu.0.0: .*finite number, got nan"),
        ("windows_hu: [[1, 2, 3]]", "windows_hu.0: .*at most 2 items"),
        ("network:\n  channels: [32]", r"network: .*channels needs two levels or more.*\(32,\)"),
        ("network:\n  channels: [32, 0]", r"network: .*each of 1 channel or more.*\(32, 0\)"),
        ("network:\n  channels: [12, 24]\n  normalisation: group", r"network: .*multiples of 8, got \(12, 24\)"),
        ("augmentation:\n  contrast: 0.1", r"augmentation.contrast: expected one of 22 known names, got 'contrast'; "),
        ("augmentation:\n  brightness: 0.05", "augmentation.brightness: expected one of .* got 'brightness'; "),
        ("augmentation:\n  hu_scale: 1", "augmentation.hu_scale: .*less than 1, got 1"),
        ("augmentation:\n  hu_shift: -1", "augmentation.hu_shift: .*greater than or equal to 0, got -1"),
        ("augmentation:\n  noise_hu: .nan", "augmentation.noise_hu: .*finite number, got nan"),
        ("augmentation:\n  elastic_pixels: -1", "augmentation.elastic_pixels: .*greater than or equal to 0, got -1"),
        ("augmentation:\n  elastic_points: 3", "augmentation.elastic_points: .*greater than or equal to 4, got 3"),
        ("augmentation:\n  elastic_probability: 1.1", "augmentation.elastic_probability: .*or equal to 1, got 1.1"),
        ("augmentation:\n  blur_pixels: 17", "augmentation.blur_pixels: .*less than or equal to 16, got 17"),
        ("augmentation:\n  low_resolution: 1", "augmentation.low_resolution: .*less than 1, got 1"),
        ("augmentation:\n  cut: 1", "augmentation.cut: .*less than 1, got 1"),
        ("augmentation:\n  cut_probability: -0.1", "augmentation.cut_probability: .*or equal to 0, got -0.1"),
        ("augmentation:\n  gamma: -0.5", "augmentation.gamma: .*greater than or equal to 0, got -0.5"),
        ("- 1\n- 2", "expected `key: value` lines, got a list; correct the file"),
        ("a: [1", "run.yaml: expected a YAML file of settings, got a mistake in line 1, column 6; correct"),
        (
            "!!python/object/apply:os.getcwd []",
            "expected a YAML file of settings, got a mistake in line 1, column 1; correct",
        ),
    ],
)
def test_files_that_are_wrong(file, text, message):
    with pytest.raises(ConfigError, match=message):
        load_config(DEFAULT, file(text))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: expected a YAML file of settings, got no such file"):
        load_config(DEFAULT, tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"device: \xe9")
    with pytest.raises(ConfigError, match=r"latin\.yaml: expected a YAML file of settings, got characters that"):
        load_config(DEFAULT, tmp_path / "latin.yaml")


def test_a_size_below_one_pixel_is_refused():
    with pytest.raises(ConfigError, match=r"preprocess: grid.size.1: expected a value greater than 0, got 0"):
        validate_config(PreprocessConfig, {"grid": {"size": [256, 0]}}, "preprocess")


def test_python_is_told_in_the_same_way():
    with pytest.raises(ConfigError, match=r"^optimizer.kind: .*, got 'adma'; did you mean 'adam'\?$"):
        TrainConfig(optimizer={"kind": "adma"})
    with pytest.raises(
        ConfigError, match=r"^grid.moed: expected one of 7 known names, got 'moed'; did you mean 'mode'\?$"
    ):
        PreprocessConfig(grid={"moed": "size"})
    with pytest.raises(ConfigError, match=r"^spacing_mm: expected a value greater than 0, got -1; correct the value$"):
        GridConfig(spacing_mm=-1)


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        GridConfig().spacing_mm = 2.0


@pytest.mark.parametrize(("channels", "stride"), [((8, 16), 2), ((8, 16, 32), 4), ((1,) * 6, 32)])
def test_stride_is_one_pooling_between_levels(channels, stride):
    assert NetworkConfig(channels=channels).stride == stride
