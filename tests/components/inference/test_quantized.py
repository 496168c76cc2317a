"""What is asked of int8 files and of the processor before they are used."""

from pathlib import Path

import pytest

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.inference.quantized import check_agreement, check_processor


def test_processors_without_int8_dot_products_are_refused(tmp_path):
    path = tmp_path / "cpuinfo"
    check_processor(str(path))  # unknown
    for sound in (
        "flags\t\t: avx2 avx512_vnni",
        "flags : avx_vnni",
        "Features : asimd",
    ):
        path.write_text(f"processor\t: 0\n{sound}\nvmx flags\t: vnmi\n")
        check_processor(str(path))
    for wrong in ("flags\t\t: fpu avx2", "flags : avx_vnni\n\nflags : avx512_vnnix"):
        path.write_text(f"processor\t: 0\n{wrong}\n")
        with pytest.raises(UserError, match="VNNI .* inference.engine: auto"):
            check_processor(str(path))


def test_files_that_agree_too_rarely_are_refused():
    languages = {"all": {"agreement": 0.5, "rows": 9}}  # not what is asked
    told = {"all": {"agreement": 0.985, "rows": 200}, "languages": languages}
    check_agreement({"agreement": told}, 0.985, Path("m"))
    with pytest.raises(UserError) as error:
        check_agreement({"agreement": told}, 0.99, Path("m"))
    message = str(error.value)
    assert "on 98.50% of 200 rows" in message and "asks for 99.00%" in message
    assert message.endswith("or set inference.min_agreement to 0.9850 or less.")
    told["all"]["agreement"] = float("nan")
    with pytest.raises(UserError, match="inference.min_agreement"):
        check_agreement({"agreement": told}, 0.0, Path("m"))


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"agreement": None},
        {"agreement": {"languages": {}}},
        {"agreement": {"all": {"agreement": 1.0}}},
        {"agreement": {"all": {"agreement": "x", "rows": 1}}},
    ],
)
def test_a_manifest_without_an_agreement_is_refused(manifest):
    with pytest.raises(UserError, match="is not a manifest that reviewbeam wrote"):
        check_agreement(manifest, 0.0, Path("m"))
