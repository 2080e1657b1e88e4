import numpy as np
import pytest

from compressvqa.scoring.greed.filters import HIGH, LOW, filter_bank


def test_the_bands_are_those_of_pywavelets_packet() -> None:
    """Every eighth coefficient of the undecimated bank is the decimated packet's, in the order of frequency."""
    pywt = pytest.importorskip("pywt")
    wavelet = pywt.Wavelet("bior2.2")
    assert np.allclose(LOW, wavelet.dec_lo) and np.allclose(HIGH, wavelet.dec_hi)
    signal = np.random.default_rng(0).standard_normal(96)
    packet = pywt.WaveletPacket(signal, "bior2.2", mode="zero", maxlevel=3)
    wanted = [node.data for node in packet.get_level(3, order="freq")][1:]
    for taps, coefficients in zip(filter_bank(), wanted, strict=True):
        assert np.allclose(np.convolve(signal, taps)[7::8][: len(coefficients)], coefficients)


def test_bands_rise_in_frequency_and_pass_no_constant() -> None:
    spectrum = np.abs(np.fft.rfft(filter_bank(), 512, axis=1)) ** 2
    centres = (spectrum * np.arange(257)).sum(axis=1) / spectrum.sum(axis=1)
    assert (np.diff(centres) > 0).all()
    assert np.allclose(filter_bank().sum(axis=1), 0)


def test_one_level_is_the_high_pass() -> None:
    assert np.allclose(filter_bank(1), HIGH[None])
