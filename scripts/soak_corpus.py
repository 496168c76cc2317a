"""The reviews of a soak: made up or of a corpus, in files that are whole or not."""

import csv
import gzip
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path

# Of each language: what the angry, the indifferent and the happy say.
PHRASES = {
    "en": (
        "it broke on the first day|very disappointed|terrible quality|a damaged box",
        "it is okay|nothing special|it does what it should|average for the price",
        "works great|excellent sound|fast delivery|I would buy it again",
    ),
    "de": (
        "leider kaputt|ich bin sehr enttäuscht|schlechte Verarbeitung|nie wieder",
        "ganz in Ordnung|mehr aber auch nicht|nichts Besonderes|es geht so",
        "sehr gute Qualität|alles bestens|jederzeit wieder|schnelle Lieferung",
    ),
    "fr": (
        "je suis déçu|ne fonctionne plus|mauvaise qualité|arrivé cassé",
        "correct pour le prix|rien de spécial|sans plus|moyen",
        "très bon produit|parfait|livraison rapide|facile à installer",
    ),
    "es": (
        "no funciona|se rompió|una decepción|no lo recomiendo",
        "por el precio está bien|nada especial|normal|cumple sin más",
        "muy buena calidad|excelente producto|son perfectos|llegó antes",
    ),
    "ja": (
        "二日で壊れました|とても残念です|おすすめしません|届くのが遅かった",
        "値段の割に良い|普通です|特に何もない|まあまあです",
        "とても良い商品です|また買いたい|気に入っています|使い方も簡単です",
    ),
}
STARS = (1, 3, 5)  # of the three columns above
UNSEEN = "fi"  # no model has met it
_UNSEEN = "ihan hyvä tuote|meni rikki heti|toimitus oli nopea|en osta uudestaan"
DAMAGED_LINES = (
    b'{"id": "broken", "text": "cut short',
    b'["no", "object"]',
    b'{"id": "no-text", "language": "en"}',
    b'{"id": "blank", "text": "  ", "language": "en"}',
    b"",  # no record at all
)
NO_UTF8 = b'{"id": "latin", "text": "schlecht f\xfcr den Preis", "language": "de"}'


class Reviews:
    """Draws reviews; each gets an id and, if it is made up, a number of its own."""

    def __init__(self, seed: int, corpus: str | None):
        """Opens a corpus: JSON Lines, perhaps gzip, of text, label (stars), language.

        Args:
          seed: of what is drawn.
          corpus: path; None: reviews are made up.
        """
        self._random = random.Random(seed)
        self._drawn = 0
        self._corpus = list(_records(corpus)) if corpus else []

    def take(self, count: int, language: str | None = None) -> list[dict]:
        """Draws reviews; with a language, made-up ones in it."""
        return [self._review(language) for _ in range(count)]

    def _review(self, language: str | None) -> dict:
        self._drawn += 1
        drawn = {"id": f"r{self._drawn}"}
        if self._corpus and language is None:
            return drawn | self._random.choice(self._corpus)
        label = self._random.choice(STARS)
        if language is None:
            language = self._random.choice(sorted(PHRASES))
            phrases = PHRASES[language][STARS.index(label)]
        else:
            phrases = _UNSEEN
        words = self._random.sample(phrases.split("|"), 2)
        text = f"{words[0]}, {words[1]}. {self._drawn}"
        return drawn | {"text": text, "language": language, "label": label}


def _records(path: str) -> Iterator[dict]:
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8", newline="\n") as file:
        for line in file:
            record = json.loads(line)
            yield {key: record[key] for key in ("text", "language", "label")}


def lines(reviews: list[dict]) -> list[bytes]:
    """Returns a line of JSON for each review."""
    return [json.dumps(r, ensure_ascii=False).encode() for r in reviews]


def with_damage(good: list[bytes], day: int) -> list[bytes]:
    """Puts lines that are no reviews among those that are: other ones each day."""
    bad = [NO_UTF8] if day % 2 else list(DAMAGED_LINES)
    place = day % len(good)
    return good[:place] + bad + good[place:]


def encoded(name: str, reviews: list[dict], day: int) -> bytes:
    """Returns the bytes of a file, by the end of its name."""
    if name.endswith(".csv"):
        text = io.StringIO()
        fields = ("id", "text", "language")
        writer = csv.DictWriter(text, fields, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(reviews)
        return text.getvalue().encode()
    data = b"\n".join(with_damage(lines(reviews), day)) + b"\n"
    return gzip.compress(data, mtime=0) if name.endswith(".gz") else data


def deliver(path: Path, data: bytes) -> None:
    """Writes a file as a careful sender does: whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.rename(path)
