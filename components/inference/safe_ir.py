"""Looks through an OpenVINO IR before OpenVINO parses it in C++.

An IR is a graph in XML and the bytes of its constants. It names no other file and
runs no code, as long as its operations are OpenVINO's own and the constants lie
within their file.
"""

import os
import re
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from reviewbeam.components.common.errors import UserError, listing

_MOST_BYTES = 64 << 20  # of the XML; the constants are in the other file
_MOST_DEPTH = 32  # of its elements
_OPERATIONS = set(
    "Abs Add Broadcast Ceiling Clamp Concat Const Convert ConvertLike CumSum Divide "
    "Einsum Elu Equal Erf Exp Floor FloorMod Gather GatherND Gelu Greater "
    "GreaterEqual HSigmoid HSwish HardSigmoid Less LessEqual Log LogSoftmax LogicalAnd "
    "LogicalNot LogicalOr MVN MatMul Maximum Minimum Mod Multiply Negative NonZero "
    "NotEqual OneHot PRelu Pad Parameter Power ReLU Range ReduceMax ReduceMean "
    "ReduceMin ReduceProd ReduceSum Reshape Result ScatterNDUpdate Select Selu ShapeOf "
    "Sigmoid Sign Slice SoftMax SoftPlus SoftSign Softmax Split Sqrt "
    "SquaredDifference Squeeze StridedSlice Subtract Swish Tanh Tile TopK Transpose "
    "Unsqueeze VariadicSplit".split()
)
_INPUTS = {"token_ids", "padding_mask"}


def check_ir(xml: Path, constants: Path) -> None:
    """Checks that an IR holds operations on tensors alone, and fits its constants.

    Args:
      xml: the graph.
      constants: the file beside it.

    Raises:
      UserError: it is damaged, holds something else, or has other inputs than ours.
    """
    if xml.stat().st_size > _MOST_BYTES:
        _refuse(xml, f"it has more than {_MOST_BYTES >> 20} MiB")
    reader = _Reader(xml, constants.stat().st_size)
    parser = expat.ParserCreate()
    # Entities are declared in a document type, which no IR has.
    parser.StartDoctypeDeclHandler = lambda *_: _refuse(xml, "it has a document type")
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    try:
        parser.Parse(xml.read_bytes(), True)
    except expat.ExpatError as error:
        _refuse(xml, f"it is no XML, or was cut short ({error})")
    if reader.inputs != _INPUTS or reader.results != 1:
        _refuse(
            xml,
            f"it has the inputs {listing(sorted(reader.inputs))} and {reader.results} "
            "results; token_ids, padding_mask and one result were expected",
        )


class _Reader:
    """Follows the elements of an IR."""

    def __init__(self, xml: Path, constant_bytes: int):
        self.inputs: set[str] = set()
        self.results = 0
        self._xml = xml
        self._constant_bytes = constant_bytes
        self._path: list[str] = []
        self._type = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        if len(self._path) > _MOST_DEPTH:
            _refuse(self._xml, "its elements are too deep in each other")
        if len(self._path) == 1 and name != "net":
            _refuse(self._xml, f"it is no IR, but {name!r}")
        if name == "layer":
            self._layer(attributes)
        elif name == "body":
            _refuse(self._xml, "it holds a graph within a graph")
        elif name == "data" and self._type == "Const":
            self._constant(attributes)

    def end(self, name: str) -> None:
        self._path.pop()
        if name == "layer":
            self._type = ""

    def _layer(self, attributes: dict[str, str]) -> None:
        if self._path != ["net", "layers", "layer"]:
            _refuse(self._xml, "it holds a layer in an unknown place")
        self._type = attributes.get("type", "")
        version = attributes.get("version", "")
        if self._type not in _OPERATIONS or not re.fullmatch(r"opset\d+", version):
            _refuse(
                self._xml,
                f"it holds {self._type!r} of {version!r}, which is none of OpenVINO's "
                "operations on tensors",
            )
        if self._type == "Parameter":
            self.inputs.add(attributes.get("name", ""))
        self.results += self._type == "Result"

    def _constant(self, attributes: dict[str, str]) -> None:
        place = [attributes.get(key, "") for key in ("offset", "size")]
        if not all(re.fullmatch(r"\d{1,18}", value) for value in place):
            _refuse(self._xml, "it holds a constant without a place")
        if sum(map(int, place)) > self._constant_bytes:
            _refuse(self._xml, "a constant lies outside the file of the constants")


def _refuse(path: os.PathLike, reason: str) -> NoReturn:
    raise UserError(
        f"{path} was not opened: {reason}. Make it again with `reviewbeam quantize`, "
        "or use a model from where you trust it."
    )
