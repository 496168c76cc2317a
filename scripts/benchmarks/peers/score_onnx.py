"""ONNX Runtime instead of `reviewbeam score`, with batches sorted by length.

    python score_onnx.py --model MODEL/hf --export model.onnx
    python score_onnx.py --model model.onnx --vocabulary sentencepiece.bpe.model \
        --input a.jsonl --output b.jsonl

The first command exports the model, the second one runs it.
"""

import numpy as np
import score_files


def main() -> None:
    parser = score_files.arguments(__doc__)
    parser.add_argument("--export", metavar="FILE", help="convert the model to this")
    parser.add_argument("--vocabulary", metavar="FILE")
    parser.add_argument("--batch-tokens", type=int, default=4096)
    options = parser.parse_args()
    if options.export:
        export(options.model, options.export)
        return
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    session = onnxruntime.InferenceSession(
        options.model, settings, providers=["CPUExecutionProvider"]
    )

    def infer(rows, batch):
        ids = score_files.pad(rows, batch, np.int64)
        inputs = {"input_ids": ids, "attention_mask": (ids != 1).astype(np.int64)}
        (logits,) = session.run(None, inputs)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    score_files.score(options, infer)


def export(model: str, path: str) -> None:
    """Writes a Hugging Face directory as ONNX, of any batch and length."""
    import torch
    from transformers import AutoModelForSequenceClassification

    classifier = AutoModelForSequenceClassification.from_pretrained(model).eval()
    example = torch.tensor([[0, 5, 6, 2], [0, 7, 2, 1], [0, 2, 1, 1]])
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=512)}
    torch.onnx.export(
        classifier,
        (example, (example != 1).long()),
        path,
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_shapes=(axes, axes),
        dynamo=True,
    )


if __name__ == "__main__":
    main()
