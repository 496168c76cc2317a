"""CTranslate2 int8 instead of `reviewbeam score`, with batches sorted by length.

Its encoder gives hidden states; the head of two dense layers is NumPy's.

    python score_ctranslate2.py --model MODEL/hf --convert FOLDER
    python score_ctranslate2.py --model FOLDER --vocabulary sentencepiece.bpe.model \
        --input a.jsonl --output b.jsonl
"""

from pathlib import Path

import ctranslate2
import numpy as np
import score_files

_HEAD = "head.npz"
_PIECES = 250_002  # of XLM-R's vocabulary


def main() -> None:
    parser = score_files.arguments(__doc__)
    parser.add_argument("--convert", metavar="FOLDER", help="convert the model to this")
    parser.add_argument("--vocabulary", metavar="FILE")
    parser.add_argument("--batch-tokens", type=int, default=4096)
    options = parser.parse_args()
    if options.convert:
        convert(options.model, options.convert)
        return
    encoder = ctranslate2.Encoder(
        options.model, compute_type="int8", intra_threads=options.threads
    )
    with np.load(Path(options.model, _HEAD)) as arrays:
        head = dict(arrays)

    def infer(rows, batch):
        output = encoder.forward_batch([rows[row] for row in batch])
        first = np.array(output.last_hidden_state)[:, 0]
        hidden = np.tanh(first @ head["dense.weight"].T + head["dense.bias"])
        logits = hidden @ head["out_proj.weight"].T + head["out_proj.bias"]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    score_files.score(options, infer)


class _Converter(ctranslate2.converters.TransformersConverter):
    def load_model(self, *arguments, **options):
        model = super().load_model(*arguments, **options)
        model.config.position_embedding_type = "absolute"  # not named by transformers 5
        model.resize_token_embeddings(_PIECES)  # some have rows that no token has
        return model


def convert(model: str, folder: str) -> None:
    """Writes a Hugging Face directory in CTranslate2's format, weights in int8."""
    import safetensors.numpy

    _Converter(model).convert(folder, quantization="int8", force=True)
    weights = safetensors.numpy.load_file(Path(model, "model.safetensors"))
    head = {
        name.removeprefix("classifier."): value
        for name, value in weights.items()
        if name.startswith("classifier.")
    }
    np.savez(Path(folder, _HEAD), **head)


if __name__ == "__main__":
    main()
