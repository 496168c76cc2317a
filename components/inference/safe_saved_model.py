"""Looks through a SavedModel before TensorFlow loads it, which may run what it holds.

A SavedModel is a program: its graphs can read and write files and call into Python.
Here only operations on tensors and variables may occur. What saves and restores
checkpoints is in every SavedModel, for loaders other than TensorFlow 2's own: no
function that is loaded or called may lead to it.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from google.protobuf.message import DecodeError
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

from reviewbeam.components.common.errors import UserError, listing

_SIGNATURE = "serving_default"
_INIT = "__saved_model_init_op"
_MOST_BYTES = 256 << 20  # of the program; its variables are in other files
_OPERATIONS = set(
    "Abs Acos Acosh Add AddN AddV2 All Any ArgMax ArgMin Asin Asinh Assert Atan Atan2 "
    "Atanh AvgPool BatchMatMul BatchMatMulV2 BatchMatMulV3 BiasAdd Bincount Bitcast "
    "BroadcastArgs BroadcastTo Bucketize Cast Ceil CheckNumerics ClipByValue Concat "
    "ConcatOffset ConcatV2 Const Conv1D Conv2D Cos Cosh Cumprod Cumsum "
    "CumulativeLogsumexp DenseBincount DepthwiseConv2dNative Diag DiagPart "
    "DisableCopyOnRead Div DivNoNan DynamicPartition DynamicStitch Einsum Elu "
    "EnsureShape Equal Erf Erfc Erfinv EuclideanNorm Exp ExpandDims Expm1 Fill Floor "
    "FloorDiv FloorMod FusedBatchNormV3 Gather GatherNd GatherV2 Greater GreaterEqual "
    "Identity IdentityN If InTopKV2 InvertPermutation IsFinite IsInf IsNan L2Loss "
    "LeakyRelu Less LessEqual Lgamma LinSpace Log Log1p LogSoftmax LogicalAnd "
    "LogicalNot LogicalOr MatMul MatrixBandPart MatrixDiag MatrixDiagPart "
    "MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixSetDiagV3 Max "
    "MaxPool Maximum Mean Min Minimum MirrorPad Mul MulNoNan Neg NoOp NotEqual OneHot "
    "OnesLike Pack Pad PadV2 PartitionedCall Placeholder PlaceholderWithDefault Pow "
    "PreventGradient Prod Range Rank RealDiv Reciprocal Relu Relu6 Reshape "
    "ResourceGather Reverse ReverseSequence ReverseV2 Rint Roll Round Rsqrt ScatterNd "
    "SegmentMax SegmentMean SegmentMin SegmentSum Select SelectV2 Selu Shape ShapeN "
    "Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign Split SplitV Sqrt "
    "Square SquaredDifference Squeeze StatefulPartitionedCall StatelessIf "
    "StatelessWhile StopGradient StridedSlice Sub Sum Switch Merge Tan Tanh "
    "TensorListElementShape TensorListFromTensor TensorListGetItem TensorListLength "
    "TensorListReserve TensorListSetItem TensorListStack TensorScatterAdd "
    "TensorScatterMax TensorScatterUpdate Tile TopKV2 Transpose TruncateDiv "
    "TruncateMod Unique UniqueV2 Unpack UnsortedSegmentMax UnsortedSegmentMin "
    "UnsortedSegmentSum Where While Xdivy Xlogy ZerosLike "
    # variables
    "AssignVariableOp ReadVariableOp VarHandleOp VarIsInitializedOp "
    "VariableShape".split()
)
_CHECKPOINTS = {
    "MergeV2Checkpoints",
    "RestoreV2",
    "SaveV2",
    "ShardedFilename",
    "StaticRegexFullMatch",  # on the path of the checkpoint, as is the next one
    "StringJoin",
}
_OBJECTS = {"user_object", "variable", "function", "bare_concrete_function", "constant"}
_USER_OBJECTS = {
    "_generic_user_object",
    "signature_map",
    "trackable_dict_wrapper",
    "trackable_list_wrapper",
    "trackable_tuple_wrapper",
}


def check_saved_model(directory: str | os.PathLike, classes: int) -> None:
    """Checks what a SavedModel may do, and that its output fits the labels.

    Args:
      directory: of the SavedModel.
      classes: how many labels the model's metadata names.

    Raises:
      UserError: it is damaged, could run code or touch files, or has another
        signature than one from token ids to a probability for each label.
    """
    path = Path(directory) / "saved_model.pb"
    graph = _read(path)
    functions = _functions(path, graph)
    nodes = [graph.graph_def.node, *(f.node_def for f in functions.values())]
    unknown = {
        node.op
        for node in (node for some in nodes for node in some)
        if node.op not in _OPERATIONS | _CHECKPOINTS
    }
    if unknown:
        _refuse(
            path,
            f"it holds {listing(sorted(unknown))}, which is not among the operations "
            "on tensors and variables that can neither run code nor touch files",
        )
    _check_objects(path, graph)
    _check_checkpoints(path, graph, _touching_files(functions))
    _check_signature(path, graph, classes)


def _read(path: Path):
    """Returns the only graph of a SavedModel."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            _refuse(path, f"it has more than {_MOST_BYTES >> 20} MiB")
        saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"There is no {path}. Copy the whole model again.") from None
    except DecodeError:
        _refuse(path, "it is no SavedModel, or was cut short")
    if len(saved.meta_graphs) != 1 or not saved.meta_graphs[0].object_graph_def.nodes:
        _refuse(path, "it is no SavedModel that TensorFlow 2 wrote, or was cut short")
    return saved.meta_graphs[0]


def _functions(path: Path, graph) -> dict:
    """Returns the functions by name, of which TensorFlow must read none otherwise."""
    functions: dict = {}
    for function in graph.graph_def.library.function:
        name = function.signature.name
        if name in functions:
            _refuse(path, f"it holds two functions of the name {name!r}")
        if name in _OPERATIONS | _CHECKPOINTS:  # it would run in the operation's place
            _refuse(path, f"it holds a function with the operation's name {name!r}")
        functions[name] = function
    return functions


def _check_objects(path: Path, graph) -> None:
    for node in graph.object_graph_def.nodes:
        kind = node.WhichOneof("kind")
        identifier = node.user_object.identifier
        if kind not in _OBJECTS or (
            kind == "user_object" and identifier not in _USER_OBJECTS
        ):
            _refuse(path, f"it holds an object of the kind {identifier or kind!r}")
        if node.registered_name or node.registered_saver or node.saveable_objects:
            _refuse(path, "it holds an object that is restored by a function")
    if graph.asset_file_def:
        _refuse(path, "it holds other files")
    if not set(graph.signature_def) <= {_SIGNATURE, _INIT}:
        _refuse(path, f"it has the signatures {listing(sorted(graph.signature_def))}")


def _touching_files(functions: dict) -> set[str]:
    """Returns the functions that save or restore, or call one that does."""
    touching: set[str] = set()
    while True:
        more = {
            name
            for name, function in functions.items()
            if name not in touching
            and any(_touches(node, touching) for node in function.node_def)
        }
        if not more:
            return touching
        touching |= more


def _touches(node, functions: set[str]) -> bool:
    called = {node.op} | {value.func.name for value in node.attr.values()}
    return node.op in _CHECKPOINTS or not functions.isdisjoint(called)


def _check_checkpoints(path: Path, graph, touching: set[str]) -> None:
    """Only the nodes of the saver may save and restore, and nothing leads to them."""
    saver = graph.saver_def
    own = {_node_name(saver.save_tensor_name), _node_name(saver.restore_op_name)}
    loaded: Iterable[str] = graph.object_graph_def.concrete_functions
    outside = touching.intersection(loaded)
    for node in graph.graph_def.node:
        needed = {_node_name(name) for name in node.input}
        if (node.name not in own and _touches(node, touching)) or needed & own:
            outside.add(node.name)
    for signature in graph.signature_def.values():
        outside |= own & {_node_name(out.name) for out in signature.outputs.values()}
    if outside:
        _refuse(path, f"{min(outside)!r} reads or writes files")


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").split(":")[0]


def _check_signature(path: Path, graph, classes: int) -> None:
    signature = graph.signature_def[_SIGNATURE]  # protobuf: empty if there is none
    found = {name: _describe(info) for name, info in signature.inputs.items()}
    found |= {name: _describe(info) for name, info in signature.outputs.items()}
    rectangle = (types_pb2.DT_INT32, [-1, -1])
    expected = {"token_ids": rectangle, "padding_mask": rectangle}
    if {name: value for name, value in found.items() if name != "probabilities"} != (
        expected
    ) or "probabilities" not in signature.outputs:
        _refuse(
            path,
            f"its signature {_SIGNATURE!r} has {listing(sorted(found))}; token_ids and "
            "padding_mask, int32 [batch, length], and probabilities were expected",
        )
    if found["probabilities"] != (types_pb2.DT_FLOAT, [-1, classes]):
        width = found["probabilities"][1][-1:]
        _refuse(
            path,
            f"it gives {width[0] if width else 'no'} probabilities for a text, and the "
            f"model's metadata names {classes} labels",
        )


def _describe(info) -> tuple[int, list[int]]:
    return info.dtype, [axis.size for axis in info.tensor_shape.dim]


def _refuse(path: Path, reason: str) -> NoReturn:
    raise UserError(
        f"{path} was not opened: {reason}. Use a model from where you trust it."
    )
