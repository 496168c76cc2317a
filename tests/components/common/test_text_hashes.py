import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.text_hashes import (
    known_texts,
    text_hashes,
    write_hashes,
)


def test_a_hash_is_the_same_everywhere():
    # printf 'great!' | b2sum -l 64
    assert text_hashes(["GREAT! "]).tobytes().hex() == "30ee015a66054b80"


@given(st.lists(st.text(max_size=4), max_size=8))
def test_equal_texts_have_equal_hashes_and_a_file_has_each_once(
    tmp_path_factory, given
):
    path = tmp_path_factory.mktemp("hashes") / "training_texts.u64"
    hashes = text_hashes(f"{text} X" for text in given)
    assert (hashes == text_hashes(f" {text} x" for text in given)).all()

    write_hashes(path, hashes)
    write_hashes(path.with_name("validation_texts.u64"), hashes[:0])
    trained, validated = known_texts(path.parent)
    assert trained.tolist() == sorted(set(hashes.tolist()))
    assert trained.dtype == np.uint64 and not len(validated)


def test_a_model_that_doesn_t_tell(tmp_path):
    with pytest.raises(UserError, match="has no training_texts.u64: .*Train it again"):
        known_texts(tmp_path)
