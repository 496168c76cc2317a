"""Einsum with constant weights as the matrix multiplication that it is."""

import numpy as np

from reviewbeam.components.inference.openvino_library import import_openvino


def einsum_to_matmul(model) -> int:
    """Rewrites the projections of Keras' attention layers, in place.

    OpenVINO does so too when it compiles; but NNCF looks at the model before, and
    leaves what is no MatMul in float32: one half of an encoder's projections.

    Args:
      model: an `openvino.Model`.

    Returns:
      How many were rewritten.
    """
    import_openvino()
    rewritten = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Einsum":
            continue
        new = _as_matmul(node)
        if new is not None:
            new.set_friendly_name(node.get_friendly_name())
            node.output(0).replace(new.output(0))
            rewritten += 1
    model.validate_nodes_and_infer_types()
    return rewritten


def _as_matmul(node):
    """Returns what gives the same as an Einsum node; None: it is of another form."""
    from openvino import opset13 as opset

    inputs, _, output = node.get_attributes()["equation"].partition("->")
    left, comma, right = inputs.partition(",")
    if not comma or node.input_value(1).get_node().get_type_name() != "Constant":
        return None
    values, weights = node.input_value(0), node.input_value(1).get_node().data
    heads, size = weights.shape[-2:]
    # Queries, keys and values: the hidden axis becomes heads x size.
    if _alike("abc,cde->abde", f"{left},{right}->{output}"):
        matrix = opset.constant(weights.reshape(-1, heads * size))
        product = opset.matmul(values, matrix, False, False)
        return opset.reshape(product, np.array([0, 0, heads, size]), True)
    # The output: heads x size become the hidden axis.
    if _alike("abcd,cde->abe", f"{left},{right}->{output}"):
        matrix = opset.constant(weights.reshape(-1, size))
        rows = opset.reshape(values, np.array([0, 0, len(matrix.data)]), True)
        return opset.matmul(rows, matrix, False, False)
    return None


def _alike(form: str, equation: str) -> bool:
    """Tells whether two equations differ in the names of their axes alone."""
    names = dict(zip(form, equation, strict=False))
    return (
        len(form) == len(equation)
        and "".join(names[letter] for letter in form) == equation
        and len(set(names.values())) == len(names)
    )
