"""An IR is text and bytes: what an attacker may write into them is refused."""

import os
import re

import pytest

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.inference import openvino_library
from reviewbeam.components.inference.safe_ir import check_ir

_LAYERS = """
<layer id="0" name="padding_mask" type="Parameter" version="opset1">
 <data shape="?,?" element_type="i32"/></layer>
<layer id="1" name="token_ids" type="Parameter" version="opset1">
 <data shape="?,?" element_type="i32"/></layer>
<layer id="2" name="c" type="Const" version="opset1">
 <data element_type="f32" shape="2" offset="8" size="8"/></layer>
<layer id="3" name="m" type="MatMul" version="opset1">
 <data transpose_a="false" transpose_b="false"/></layer>
<layer id="4" name="r" type="Result" version="opset1"/>
"""


def _write(folder, layers=_LAYERS, head='<?xml version="1.0"?>', size=16):
    text = f'{head}<net name="n" version="11"><layers>{layers}</layers></net>'
    (folder / "model.xml").write_text(text)
    (folder / "model.bin").write_bytes(bytes(size))
    return folder / "model.xml", folder / "model.bin"


def test_a_sound_one(tmp_path):
    check_ir(*_write(tmp_path))


def test_a_graph_far_too_large_is_not_read(tmp_path):
    xml, constants = _write(tmp_path)
    os.truncate(xml, 2**30)  # takes no room
    with pytest.raises(UserError, match="it has more than [0-9]+ MiB"):
        check_ir(xml, constants)


@pytest.mark.skipif(not openvino_library.is_installed(), reason="OpenVINO is an extra")
def test_what_openvino_writes(tmp_path):
    from tests.components.inference.saved_models import save_model

    openvino = openvino_library.import_openvino()
    model = openvino.Core().read_model(str(save_model(tmp_path) / "saved_model"))
    openvino.save_model(model, tmp_path / "model.xml")
    check_ir(tmp_path / "model.xml", tmp_path / "model.bin")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('type="MatMul"', 'type="Loop"', "holds 'Loop' of 'opset1'"),
        ('type="MatMul"', 'type="ReadValue"', "holds 'ReadValue'"),
        ('"MatMul" version="opset1"', '"MatMul" version="extension"', "'extension'"),
        ('"MatMul" version="opset1"', '"MatMul"', "of ''"),
        ('type="MatMul"', "", "holds '' of 'opset1'"),
        ('offset="8"', 'offset="9"', "lies outside"),
        ('offset="8"', 'offset="-8"', "without a place"),
        ('size="8"', 'size="18446744073709551615"', "without a place"),
        ('size="8"', "", "without a place"),
        ('name="token_ids"', 'name="ids"', "inputs 'ids', 'padding_mask' and 1"),
        ('type="Result"', 'type="Abs"', "and 0 results"),
        ("<data transpose", "<body/><data transpose", "a graph within a graph"),
        ("<data transpose", '<layer type="Abs"/><data transpose', "an unknown place"),
        ("<data transpose", "<a>" * 40 + "<data transpose", "too deep"),
        ("</layer>", "", "an unknown place"),
        ("<data transpose", "< data transpose", "no XML"),
    ],
)
def test_what_is_refused(tmp_path, before, after, message):
    assert before in _LAYERS
    with pytest.raises(UserError, match=re.escape(message)):
        check_ir(*_write(tmp_path, _LAYERS.replace(before, after, 1)))


def test_entities_are_refused(tmp_path):
    head = '<!DOCTYPE net [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    with pytest.raises(UserError, match="it has a document type"):
        check_ir(*_write(tmp_path, _LAYERS + "&a;", head))


def test_another_document(tmp_path):
    xml, constants = _write(tmp_path)
    for text, message in [
        ("<html></html>", "no IR, but 'html'"),
        ("", "no XML"),
        ("\0\1", "no XML"),
    ]:
        xml.write_text(text)
        with pytest.raises(UserError, match=f"model.xml was not opened: .*{message}"):
            check_ir(xml, constants)
