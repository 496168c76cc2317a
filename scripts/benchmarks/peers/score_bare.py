"""The bound of `reviewbeam score`: an engine run bare on the same batches.

TensorFlow or OpenVINO read the SavedModel. What counts is `inference`, the seconds in
the engine alone.

    python score_bare.py --engine openvino --model MODEL/saved_model \
        --vocabulary sentencepiece.bpe.model --input a.jsonl --output b.jsonl
"""

import numpy as np
import score_files


def main() -> None:
    parser = score_files.arguments(__doc__)
    parser.add_argument("--engine", choices=["tensorflow", "openvino"], required=True)
    parser.add_argument("--vocabulary", required=True, metavar="FILE")
    parser.add_argument("--batch-tokens", type=int, default=4096)
    options = parser.parse_args()
    engine = {"tensorflow": tensorflow, "openvino": openvino}[options.engine]
    run = engine(options.model, options.threads)

    def infer(rows, batch):
        ids = score_files.pad(rows, batch, np.int32)
        return run(ids, (ids != 1).astype(np.int32))

    score_files.score(options, infer)


def tensorflow(model: str, threads: int):
    """Loads the SavedModel's signature."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    loaded = tf.saved_model.load(model)
    serve = loaded.signatures["serving_default"]

    def run(ids, mask, _=loaded):  # the signature alone doesn't keep the variables
        found = serve(token_ids=tf.constant(ids), padding_mask=tf.constant(mask))
        return found["probabilities"].numpy()

    return run


def openvino(model: str, threads: int):
    """Compiles the SavedModel for exact float32."""
    import openvino as ov

    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    compiled = ov.Core().compile_model(ov.convert_model(model), "CPU", config)

    def run(ids, mask):
        return compiled({"token_ids": ids, "padding_mask": mask})["probabilities"]

    return run


if __name__ == "__main__":
    main()
