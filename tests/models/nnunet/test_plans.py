import pytest

from tests.nnunet_files import FLAT, REGIONS, Made, dataset_of, plans_of
from tomoseg.errors import ModelError
from tomoseg.models.nnunet.plans import read_json, training_of


def read(made, configuration="3d_fullres"):
    return training_of(plans_of(made), dataset_of(made), configuration, "made")


def test_old_and_new_plans_of_one_network_are_alike():
    of = {"features": (6, 12, 20)}
    assert read(Made(**of, old=True)) == read(Made(**of))
    residual = Made(kind="ResidualEncoderUNet", **of)
    assert read(residual).network == read(Made(kind="ResidualEncoderUNet", **of, old=True)).network


def test_what_plans_say_is_kept():
    found = read(Made(top={"transpose_forward": [2, 0, 1], "image_reader_writer": "NibabelIOWithReorient"}))
    assert (found.plan.patch, found.plan.spacing_mm, found.plan.transpose) == ((8, 16, 16), (3.0, 2.0, 2.0), (2, 0, 1))
    assert (found.plan.axes, found.plan.intensity.scheme, found.plan.intensity.high) == ("ras", "ct", 900.0)
    assert (found.network.channels, found.network.stride, found.heads) == ((6, 8, 10), (2, 4, 4), 4)
    assert found.labels.names == ("liver", "spleen", "kidney_left")
    assert found.labels["kidney_left"].snomed_meaning == "Kidney"
    assert read(Made(**FLAT)).network.dims == 2


def test_numbers_for_all_stages_may_be_given_once():
    made = Made()
    plans = plans_of(made)
    settings = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    settings |= {"n_conv_per_stage": 2, "n_conv_per_stage_decoder": 1, "kernel_sizes": 3, "features_per_stage": 4}
    network = training_of(plans, dataset_of(made), "3d_fullres", "made").network
    assert (network.blocks, network.decoder_convs, network.kernels) == ((2, 2, 2), (1, 1), ((3, 3, 3),) * 3)


def test_labels_keep_their_values_in_any_order_and_ignore_is_none():
    labels = {"background": 0, "b": 2, "a": 1, "ignore": 3}
    assert read(Made(labels=labels)).labels.ids == (1, 2)
    assert read(Made(labels=labels)).labels.names == ("a", "b")


def test_images_may_be_in_a_row_or_under_their_older_name():
    for given in ({"channel_names": ["CT"]}, {"channel_names": None, "modality": {"0": "CT"}}):
        assert read(Made(dataset=given)).described["image"] == "CT"


def test_a_setting_as_nnunet_has_it_anyway_is_taken():
    given = {"order": 3, "order_z": 0, "force_separate_z": None, "separate_z_anisotropy_threshold": 3}
    assert read(Made(changes={"resampling_fn_data_kwargs": given})).plan == read(Made()).plan


def test_settings_of_training_alone_are_passed_over():
    settings = {"deep_supervision": True, "dropout_op": "torch.nn.Dropout3d", "dropout_op_kwargs": {"p": 0.2}}
    norm = {"eps": 1e-5, "affine": True, "momentum": 0.1, "track_running_stats": False}
    assert read(Made(**architecture(arch_kwargs=settings | {"norm_op_kwargs": norm}))).network == read(Made()).network


def test_regions_are_in_the_order_of_the_file():
    found = read(Made(labels=REGIONS, dataset={"regions_class_order": [3, 1, 2]}))
    assert found.labels.names == ("whole", "core", "centre")
    assert (found.labels.ids, found.heads, found.plan.decision) == ((3, 1, 2), 3, "regions")


def test_a_configuration_may_inherit_from_others():
    plans = plans_of(Made())
    known = plans["configurations"]
    known["b"] = {"inherits_from": "3d_fullres", "patch_size": [16, 32, 32], "batch_size": 8}
    known["c"] = {"inherits_from": "b", "spacing": [1.0, 1.0, 1.0]}
    plan = training_of(plans, dataset_of(Made()), "c", "made").plan
    assert (plan.patch, plan.spacing_mm) == ((16, 32, 32), (1.0, 1.0, 1.0))
    known["3d_fullres"]["inherits_from"] = "c"
    with pytest.raises(ModelError, match="got c -> b -> 3d_fullres"):
        training_of(plans, dataset_of(Made()), "c", "made")


def architecture(**changes):
    found = plans_of(Made())["configurations"]["3d_fullres"]["architecture"]
    settings = found["arch_kwargs"] | changes.pop("arch_kwargs", {})
    return {"changes": {"architecture": found | changes | {"arch_kwargs": settings}}}


WRONG = {
    "network": (architecture(network_class_name="evil.Primus"), "network PlainConvUNet.*, got evil.Primus"),
    "conv": (architecture(arch_kwargs={"conv_op": "os.system"}), "conv_op Conv2d, Conv3d, got os.system"),
    "norm": (architecture(arch_kwargs={"norm_op": "torch.nn.BatchNorm3d"}), "got torch.nn.BatchNorm3d"),
    "nonlin": (architecture(arch_kwargs={"nonlin": "torch.nn.GELU"}), "nonlin LeakyReLU, got torch.nn.GELU"),
    "block": (architecture(arch_kwargs={"block": "x.BottleneckD"}), "block BasicBlockD, got x.BottleneckD"),
    "order": (architecture(arch_kwargs={"nonlin_first": True}), "no nonlin_first, got True"),
    "stages": (architecture(arch_kwargs={"n_stages": 10**9}), "as many widths as stages, got 3 and 1000000000"),
    "features": (architecture(arch_kwargs={"features_per_stage": [8, 8, 10**9]}), "at most 4096 channels"),
    "edges": (architecture(arch_kwargs={"kernel_sizes": [[1, 3, 3], [3, 3], [3, 3, 3]]}), "kernels and strides need"),
    "kernel": (architecture(arch_kwargs={"kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 99]]}), "odd edges up to 15"),
    "patch": ({"changes": {"patch_size": [2**20, 2**20, 2**20]}}, "patch of at most 67108864 voxels"),
    "stride": ({"changes": {"patch_size": [9, 16, 16]}}, r"patch in multiples of \(2, 4, 4\), got \(9, 16, 16\)"),
    "spacing": ({"changes": {"spacing": [0, 1, 1]}}, "spacing_mm"),
    "tiny voxels": ({"changes": {"spacing": [1e-9, 1, 1]}}, r"spacing_mm\.0: expected a value .*0\.01, got 1e-09"),
    "cascade": ({"changes": {"previous_stage": "3d_lowres"}}, "second stage of a cascade after 3d_lowres"),
    "preprocessor": ({"changes": {"preprocessor_name": "Mine"}}, "preprocessor_name DefaultPreprocessor, got Mine"),
    "resampling": ({"changes": {"resampling_fn_data": "resample_torch_fornnunet"}}, "got resample_torch_fornnunet"),
    "a setting of resampling": (
        {"changes": {"resampling_fn_data_kwargs": {"order": 3, "memefficient": True}}},
        r"resampling_fn_data with order, .* only, got memefficient",
    ),
    "order of logits": (
        {"changes": {"resampling_fn_probabilities_kwargs": {"order": 3, "order_z": 0, "force_separate_z": None}}},
        "expected order of resampling_fn_probabilities to be one of",
    ),
    "scheme": ({"changes": {"normalization_schemes": ["RGBTo01Normalization"]}}, "got RGBTo01Normalization"),
    "reader": ({"top": {"image_reader_writer": "Tiff3DIO"}}, "image_reader_writer SimpleITKIO.*, got Tiff3DIO"),
    "transpose": ({"top": {"transpose_forward": [0, 0, 1]}}, "permutation of three axes"),
    "intensities": ({"top": {"foreground_intensity_properties_per_channel": None}}, "expected plans of nnU-Net v2"),
    "a setting": (architecture(arch_kwargs={"pool": "max"}), "supported settings of the network, got pool"),
    "running statistics": (
        architecture(arch_kwargs={"norm_op_kwargs": {"affine": True, "track_running_stats": True}}),
        "supported settings of the network, got track_running_stats",
    ),
    "a rectifier's setting": (
        architecture(arch_kwargs={"nonlin_kwargs": {"slope": 0.2}}),
        "supported settings of the network, got slope",
    ),
    "first stride": (
        {"strides": ((2, 2, 2), (1, 2, 2), (2, 2, 2))},
        r"expected a first stage without strides, got \(2, 2, 2\)",
    ),
    "one voxel": ({"patch": (2, 4, 4)}, r"a patch of more than \(2, 4, 4\), which is one voxel in the last stage"),
    "half a label": ({"labels": {"background": 0, "a": 1, "b": 2.5}}, r"got: ValueError a label of 2\.5"),
    "no images": ({"dataset": {"channel_names": []}}, "a CT, got: none"),
    "a row of images": ({"dataset": {"channel_names": ["CT", "PET"]}}, "a CT, got: CT, PET"),
    "two images": ({"dataset": {"channel_names": {"0": "CT", "1": "PET"}}}, "a CT, got: CT, PET"),
    "gaps": ({"labels": {"background": 0, "a": 1, "b": 7}}, r"labels 0, 1, 2, \.\.\. in dataset.json, got \[0, 1, 7\]"),
    "no background": ({"labels": {"a": 1, "b": 2}}, "label background of 0"),
    "a name that climbs": ({"labels": {"background": 0, "../a": 1}}, "names that can be file names, got '../a'"),
    "capitals": ({"labels": {"background": 0, "a": 1, "A": 2}}, "differ in more than capital letters, got a and A"),
    "class order": ({"labels": REGIONS, "dataset": {"regions_class_order": [1, 1, 2]}}, "each of 3 regions"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_known_is_refused_by_its_name(name):
    changes, words = WRONG[name]
    with pytest.raises(ModelError, match=words) as caught:
        read(Made(**changes))
    assert "\n" not in str(caught.value)


def test_an_unknown_configuration_is_refused():
    with pytest.raises(ModelError, match=r"expected one of the plans' configurations \(3d_fullres\), got 2d; copy"):
        read(Made(), "2d")


@pytest.mark.parametrize(
    ("text", "words"), [("[1]", "got a list"), ("{", "expected JSON"), ("[" * 10**5, "expected JSON")]
)
def test_a_file_that_is_no_json_object_is_refused(tmp_path, text, words):
    (tmp_path / "plans.json").write_text(text)
    with pytest.raises(ModelError, match=words):
        read_json(tmp_path / "plans.json")


def test_a_missing_and_a_huge_file_are_refused(tmp_path):
    with pytest.raises(ModelError, match="found none; copy the whole training folder"):
        read_json(tmp_path / "plans.json")
    with (tmp_path / "plans.json").open("wb") as stream:
        stream.truncate(2**30)
    with pytest.raises(ModelError, match="at most 67108864 bytes, got 1073741824"):
        read_json(tmp_path / "plans.json")
