"""Makes a tiny random encoder in Hugging Face's XLM-R layout, in a second.

    python tests/testdata/make_tiny_encoder.py DIRECTORY

The same arguments give the same bytes.
"""

import argparse
import io
import json
from pathlib import Path

import numpy as np
import sentencepiece
from safetensors.numpy import save_file

POSITIONS = 512  # tokens of the longest text

# Reviews made up for this file; the vocabulary is learned from them.
SENTENCES = (
    "This phone case is great and it fits perfectly.",
    "The battery died after two days, very disappointed with this product.",
    "Good quality for the price, fast delivery, I would buy it again.",
    "It is okay, nothing special, it does what it should.",
    "Terrible quality! It broke on the first day and nobody answered my mail.",
    "My daughter loves the colour, and the size was exactly right.",
    "I can't recommend this seller: late delivery and a damaged box.",
    "Excellent sound, easy to set up, works with all of our devices.",
    "Die Qualität ist sehr gut und die Lieferung war schnell.",
    "Leider nach einer Woche kaputt, ich bin sehr enttäuscht.",
    "Für den Preis ganz in Ordnung, mehr aber auch nicht.",
    "Die Farbe ist schöner als auf dem Bild, meine Tochter freut sich.",
    "Schlechte Verarbeitung, das Gerät lässt sich nicht einschalten.",
    "Alles bestens, würde ich jederzeit wieder kaufen!",
    "Très bon produit, la livraison était rapide et soignée.",
    "Je suis déçu, l'appareil ne fonctionne plus après deux jours.",
    "Correct pour le prix, mais la couleur n'est pas celle de la photo.",
    "Parfait, ma fille l'adore et la taille est exacte.",
    "Mauvaise qualité, je ne recommande pas ce vendeur.",
    "Facile à installer, le son est excellent.",
    "Muy buena calidad y llegó antes de lo esperado.",
    "No funciona, se rompió el primer día y nadie responde.",
    "Por el precio está bien, pero nada especial.",
    "A mi hija le encanta, el tamaño y el color son perfectos.",
    "Una decepción: la batería dura muy poco, no lo recomiendo.",
    "Excelente producto, lo volvería a comprar sin dudar.",
    "とても良い商品です。また買いたいと思います。",
    "二日で壊れました。とても残念です。",
    "値段の割に良いですが、色が写真と違います。",
    "娘が気に入っています。サイズもぴったりでした。",
    "音がとても良く、使い方も簡単です。",
    "この店はおすすめしません。届くのが遅かったです。",
    "质量很好，发货很快，非常满意。",
    "用了两天就坏了，非常失望，不推荐。",
    "这个价格还可以，没有什么特别的。",
    "女儿很喜欢，颜色和大小都很合适。",
    "声音很好，安装简单，还会再买。",
    "质量太差，第一天就坏了，客服没有回复。",
    "منتج ممتاز وسعر جيد، أنصح به.",
    "यह बहुत अच्छा है, मुझे पसंद आया।",
    "Очень хорошее качество, рекомендую! 5/5",
    "10/10 👍 love it 😍 0123456789 :-) ... !!! ???",
)


def make_tiny_encoder(
    directory: str | Path, *, seed: int = 0, hidden: int = 16, layers: int = 2
) -> Path:
    """Writes the encoder into a directory, which is made if need be.

    Args:
      directory: where the files go.
      seed: of the random weights.
      hidden: width of the model, even; it has 2 heads and an FFN of twice the width.
      layers: number of transformer layers.

    Returns:
      The directory.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    vocabulary = train_vocabulary(SENTENCES)
    (directory / "sentencepiece.bpe.model").write_bytes(vocabulary)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=vocabulary)
    config = {
        "architectures": ["XLMRobertaModel"],
        "model_type": "xlm-roberta",
        # <pad> and <mask> have no piece.
        "vocab_size": pieces.get_piece_size() + 2,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "intermediate_size": 2 * hidden,
        "max_position_embeddings": POSITIONS + 2,
        "type_vocab_size": 1,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    }
    (directory / "config.json").write_text(
        json.dumps(config, indent=2, sort_keys=True) + "\n"
    )
    save_file(
        random_weights(config, seed),
        directory / "model.safetensors",
        metadata={"format": "pt"},
    )
    return directory


def train_vocabulary(sentences: tuple[str, ...], pieces: int = 600) -> bytes:
    """Trains a SentencePiece unigram model with XLM-R's text normalisation."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=written,
        model_type="unigram",
        vocab_size=pieces,
        hard_vocab_limit=False,
        character_coverage=1.0,
        byte_fallback=False,
        normalization_rule_name="nmt_nfkc",
        num_threads=1,
        minloglevel=2,
    )
    return written.getvalue()


def random_weights(config: dict, seed: int) -> dict[str, np.ndarray]:
    """Draws float32 weights under PyTorch's names; matrices are [out, in]."""
    hidden, ffn = config["hidden_size"], config["intermediate_size"]
    random = np.random.default_rng(seed)
    weights = {}

    def dense(name, rows, columns):
        values = random.normal(0, columns**-0.5, (rows, columns))
        weights[f"{name}.weight"] = values.astype(np.float32)
        weights[f"{name}.bias"] = random.normal(0, 0.1, rows).astype(np.float32)

    def layer_norm(name):
        weights[f"{name}.weight"] = np.ones(hidden, np.float32)
        weights[f"{name}.bias"] = np.zeros(hidden, np.float32)

    for name, rows in (
        ("word_embeddings", config["vocab_size"]),
        ("position_embeddings", config["max_position_embeddings"]),
        ("token_type_embeddings", 1),
    ):
        # Words count for more than places, as in a trained encoder.
        scale = 1.0 if name == "word_embeddings" else 0.1
        values = random.normal(0, scale, (rows, hidden))
        weights[f"embeddings.{name}.weight"] = values.astype(np.float32)
    layer_norm("embeddings.LayerNorm")
    for layer in range(config["num_hidden_layers"]):
        prefix = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            dense(f"{prefix}.attention.self.{part}", hidden, hidden)
        dense(f"{prefix}.attention.output.dense", hidden, hidden)
        layer_norm(f"{prefix}.attention.output.LayerNorm")
        dense(f"{prefix}.intermediate.dense", ffn, hidden)
        dense(f"{prefix}.output.dense", hidden, ffn)
        layer_norm(f"{prefix}.output.LayerNorm")
    return weights


def main() -> None:
    """Makes the encoder in the directory named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hidden", type=int, default=16)
    parser.add_argument("--layers", type=int, default=2)
    arguments = parser.parse_args()
    make_tiny_encoder(**vars(arguments))


if __name__ == "__main__":
    main()
