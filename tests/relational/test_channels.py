import pytest

from patchdistill.relational.channels import CHANNELS, CORE6, FULL12, check_channels


def test_sets_of_six_and_twelve():
    assert check_channels("core6") == CORE6 and len(set(CORE6)) == 6
    assert check_channels("full12") == FULL12 and len(set(FULL12)) == 12
    assert set(CORE6) < set(FULL12)


def test_tone_comes_before_optics_before_the_sensor_before_the_encoder():
    order = ["exposure", "contrast", "saturation", "sharpness", "noise", "blockiness"]
    assert list(CORE6) == order == sorted(order, key=FULL12.index)


def test_every_channel_has_a_word_for_less_and_one_for_more():
    words = [word for channel in CHANNELS.values() for word in channel.words]
    assert len(words) == len(set(words)) == 24 and all(words)
    assert {name for name, channel in CHANNELS.items() if not channel.signed} == {
        *("motion blur", "shot noise", "noise", "chroma noise", "banding", "blockiness")
    }


def test_names_keep_the_order_they_are_given_in():
    assert check_channels(["noise", "exposure"]) == ("noise", "exposure")


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ("core7", r"'core6', 'full12' or a sequence of names; got 'core7'"),
        (["noise", "rain"], r"no channel 'rain'; the names are exposure, contrast"),
        (["noise", "noise"], r"at least one channel, and each once; got \('noise', 'noise'\)"),
        ([], r"at least one channel"),
    ],
)
def test_refuses_other_channels(channels, message):
    with pytest.raises(ValueError, match=message):
        check_channels(channels)
