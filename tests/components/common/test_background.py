import time

import pytest

from reviewbeam.components.common.background import in_background


def test_works_while_the_block_runs_and_no_longer():
    beats = []

    def beat(ended):
        while not ended.wait(0.001):
            beats.append("beat")
        beats.append("ended")

    with in_background(beat):
        while len(beats) < 3:
            time.sleep(0.001)
    assert beats.count("ended") == 1
    assert beats[-1] == "ended"


def test_a_block_that_fails_ends_it_too():
    ends = []

    def wait(ended):
        ends.append(ended.wait(60))

    with pytest.raises(KeyError), in_background(wait):
        raise KeyError
    assert ends == [True]
