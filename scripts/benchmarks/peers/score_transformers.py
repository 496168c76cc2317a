"""What a notebook does instead of `reviewbeam score`: a transformers pipeline.

Texts go in one by one, 32 at a time as they come, or 32 at a time sorted by length.

    python score_transformers.py --model MODEL/hf --input a.jsonl --output b.jsonl
"""

import numpy as np
import score_files
import torch
from transformers import pipeline


def main() -> None:
    parser = score_files.arguments(__doc__)
    parser.add_argument("--batch", type=int, default=32, metavar="ROWS")
    parser.add_argument("--sorted", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    classify = pipeline(
        "text-classification", model=options.model, device="cpu", top_k=None
    )
    place = classify.model.config.label2id
    job = score_files.Job()
    ids, texts = score_files.read(options.input)
    order = list(range(len(texts)))
    if options.sorted:
        order.sort(key=lambda row: -len(texts[row]))
    found = classify(
        [texts[row] for row in order],
        batch_size=options.batch,
        truncation=True,
        max_length=options.max_tokens,
    )
    probabilities = np.empty((len(texts), len(place)), np.float32)
    for row, scores in zip(order, found, strict=True):
        for each in scores:
            probabilities[row, place[each["label"]]] = each["score"]
    job.finish(options, ids, probabilities)


if __name__ == "__main__":
    main()
