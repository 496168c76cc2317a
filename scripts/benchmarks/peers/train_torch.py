"""What a notebook does instead of `reviewbeam train`: a PyTorch loop, but a tuned one.

The encoder of transformers with the same pooling, freezing, dropout, loss, optimizer
and schedule, on the token ids that `reviewbeam prepare` made. Batches are cut from
rows of near-one length under a token budget (`bucketed`), or are shuffled rows padded
to their longest, as transformers' `Trainer` makes them (`padded`). Prints one line of
JSON: metrics of the test rows by language, speed, padding and peak memory.

    python train_torch.py --encoder DIR --train train.npz --test test.npz
"""

import argparse
import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import accuracy_score, f1_score, recall_score
from transformers import XLMRobertaModel

_PAD = 1
_CLASSES = 3
_WITHOUT_DECAY = ("bias", "LayerNorm.weight")


class Rows:
    """Token ids, labels and languages of a file that the benchmark wrote."""

    def __init__(self, path: str, chosen: np.ndarray | None = None):
        with np.load(path) as arrays:
            splits = arrays["row_splits"]
            self.tokens = np.split(arrays["token_ids"], splits[1:-1])
            self.labels, self.languages = arrays["labels"], arrays["languages"]
        if chosen is not None:
            self.tokens = [self.tokens[row] for row in chosen]
            self.labels, self.languages = self.labels[chosen], self.languages[chosen]
        self.lengths = np.array([len(tokens) for tokens in self.tokens])

    def __len__(self):
        return len(self.tokens)

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns token ids, padded to the longest row, and labels."""
        tokens = np.full((len(rows), self.lengths[rows].max()), _PAD)
        for line, row in enumerate(rows):
            tokens[line, : self.lengths[row]] = self.tokens[row]
        return torch.from_numpy(tokens), torch.from_numpy(self.labels[rows]).long()


class Classifier(torch.nn.Module):
    """The encoder, the mean of the real tokens, dropout and a linear layer."""

    def __init__(self, encoder: str, trained: str, attention: str):
        super().__init__()
        self.encoder = XLMRobertaModel.from_pretrained(
            encoder,
            add_pooling_layer=False,
            attn_implementation=attention,
            dtype=torch.float32,
        )
        self.dropout = torch.nn.Dropout(0.1)
        self.logits = torch.nn.Linear(self.encoder.config.hidden_size, _CLASSES)
        torch.nn.init.trunc_normal_(self.logits.weight, std=0.02)
        torch.nn.init.zeros_(self.logits.bias)
        if trained == "half":
            layers = self.encoder.encoder.layer
            for part in (self.encoder.embeddings, *layers[: len(layers) // 2]):
                part.requires_grad_(False)

    def forward(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Returns logits, float32 [rows, classes]."""
        mask = token_ids != _PAD
        hidden = self.encoder(token_ids, attention_mask=mask.long())[0]
        real = mask.unsqueeze(-1).to(hidden.dtype)
        return self.logits(self.dropout((hidden * real).sum(1) / real.sum(1)))


def bucketed(lengths, budget: int, random, jitter: float) -> list[np.ndarray]:
    """Cuts rows, sorted by length with some jitter, into shuffled batches."""
    keys = lengths * random.uniform(1, 1 + jitter, len(lengths))
    batches, batch, longest = [], [], 0
    for row in np.argsort(keys, kind="stable"):
        longest = max(longest, lengths[row])
        if batch and longest * (len(batch) + 1) > budget:
            batches.append(np.array(batch))
            batch, longest = [], lengths[row]
        batch.append(row)
    batches.append(np.array(batch))
    return [batches[index] for index in random.permutation(len(batches))]


def padded(lengths, rows: int, random) -> list[np.ndarray]:
    """Cuts shuffled rows into batches of one number of rows."""
    order = random.permutation(len(lengths))
    return [order[start : start + rows] for start in range(0, len(order), rows)]


def plans(options: argparse.Namespace, train: Rows) -> Iterator[list[np.ndarray]]:
    """Yields the batches of each epoch."""
    for epoch in range(options.epochs):
        random = np.random.default_rng([options.seed, epoch])
        if options.batches == "bucketed":
            yield bucketed(train.lengths, options.batch_tokens, random, 0.05)
        else:
            yield padded(train.lengths, options.batch_rows, random)


def optimizer_of(model: torch.nn.Module, rate: float) -> torch.optim.Optimizer:
    """Returns AdamW that spares biases and norms from weight decay."""
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    decayed = [p for name, p in trained if not name.endswith(_WITHOUT_DECAY)]
    spared = [p for name, p in trained if name.endswith(_WITHOUT_DECAY)]
    groups = [
        {"params": decayed, "weight_decay": 0.01},
        {"params": spared, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, eps=1e-6, fused=True)


def train_model(model: Classifier, train: Rows, options: argparse.Namespace) -> dict:
    """Trains in place; returns speed and padding, without the first steps."""
    counts = np.bincount(train.labels, minlength=_CLASSES).astype(float)
    weights = counts**-options.class_weights
    weights = torch.tensor(weights * counts.sum() / (weights @ counts)).float()
    steps = [batch for epoch in plans(options, train) for batch in epoch]
    total = len(steps)
    warm_up = round(0.1 * total)
    optimizer = optimizer_of(model, options.rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            (step + 1) / warm_up
            if step < warm_up
            else (total - step) / max(total - warm_up, 1)
        ),
    )
    if options.steps:
        steps = steps[: options.skip + options.steps]
    parameters = [p for p in model.parameters() if p.requires_grad]
    model.train()
    tokens = cells = 0
    begun = time.perf_counter()
    for number, rows in enumerate(steps):
        if number == options.skip:
            begun, tokens, cells = time.perf_counter(), 0, 0
        token_ids, labels = train.batch(rows)
        losses = torch.nn.functional.cross_entropy(
            model(token_ids), labels, weight=weights, reduction="sum"
        )
        loss = losses / len(rows)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        tokens += int(train.lengths[rows].sum())
        cells += token_ids.numel()
    seconds = time.perf_counter() - begun
    return {
        "steps": len(steps),
        "loss": float(loss.detach()),
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "padding": 1 - tokens / cells,
    }


@torch.inference_mode()
def predict(model: Classifier, rows: Rows) -> np.ndarray:
    """Returns the class of each row."""
    model.eval()
    classes = np.empty(len(rows), np.int64)
    random = np.random.default_rng(0)
    for batch in bucketed(rows.lengths, 4096, random, 0.0):
        classes[batch] = model(rows.batch(batch)[0]).argmax(-1).numpy()
    return classes


def scores_by_language(test: Rows, predicted: np.ndarray) -> dict[str, dict]:
    """Returns rows, accuracy, macro F1 and recalls of each language."""
    scores = {}
    for language in sorted(set(test.languages)):
        chosen = test.languages == language
        true, guessed = test.labels[chosen], predicted[chosen]
        recalls = recall_score(true, guessed, average=None, zero_division=0)
        scores[str(language)] = {
            "rows": len(true),
            "accuracy": accuracy_score(true, guessed),
            "macro_f1": f1_score(true, guessed, average="macro", zero_division=0),
            "recalls": recalls.tolist(),
        }
    return scores


def main() -> None:
    options = _arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    if options.fold:
        order = np.random.default_rng(0).permutation(len(Rows(options.train)))
        size = round(options.fold * len(order))
        train = Rows(options.train, order[size:])
        test = Rows(options.train, order[:size])
    else:
        train = Rows(options.train)
        test = Rows(options.test) if options.test else None
    model = Classifier(options.encoder, options.trained, options.attention)
    facts = vars(options) | train_model(model, train, options)
    if test:
        facts["languages"] = scores_by_language(test, predict(model, test))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    facts["peak_memory_bytes"] = peak
    line = json.dumps(facts)
    if options.output:
        Path(options.output).write_text(line + "\n")
    print(line)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--encoder", required=True, help="a Hugging Face directory")
    add("--train", required=True, metavar="NPZ")
    add("--test", metavar="NPZ")
    add("--fold", type=float, default=0.0, help="test on this share of --train instead")
    add("--output", metavar="JSON", help="write the line there too")
    add("--trained", choices=["half", "all"], default="half", help="what is trained")
    add("--batches", choices=["bucketed", "padded"], default="bucketed")
    add("--batch-tokens", type=int, default=2048, help="of bucketed batches")
    add("--batch-rows", type=int, default=32, help="of padded batches")
    add("--epochs", type=int, default=3)
    add("--rate", type=float, default=3e-4)
    add("--class-weights", type=float, default=0.75, help="power of balanced weights")
    add("--seed", type=int, default=1)
    add("--steps", type=int, help="stop early, to measure the speed")
    add("--skip", type=int, default=0, help="first steps, not measured")
    add("--attention", choices=["sdpa", "eager"], default="sdpa")
    add("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


if __name__ == "__main__":
    main()
