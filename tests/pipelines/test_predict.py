"""A few texts, one of which the model can't take."""

from reviewbeam.components.inference import handler
from reviewbeam.pipelines.predict import predict


def test_a_text_that_the_model_fails_on_is_rejected_alone(model, monkeypatch):
    load = handler.load_engine

    class Fragile:
        def __init__(self, *arguments, **options):
            self._engine = load(*arguments, **options)
            self.concurrency = self._engine.concurrency

        def probabilities(self, token_ids, mask):
            if token_ids.shape[1] > 20:
                raise ValueError("too long for me")
            return self._engine.probabilities(token_ids, mask)

    texts = ["good", "very " * 40, "", "bad"]
    sound = predict(model, texts)
    monkeypatch.setattr(handler, "load_engine", Fragile)
    answers = predict(model, texts)

    assert [answer.reject for answer in answers] == [
        None,
        "model_failed",
        "text_empty",
        None,
    ]
    assert [answer.text for answer in answers] == texts
    for place in (0, 3):
        assert answers[place].label == sound[place].label
