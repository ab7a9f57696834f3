import matplotlib
import pytest
import torch


@pytest.fixture(autouse=True)
def as_it_was():
    """The notebooks set torch's default dtype and matplotlib's style: put both back."""
    dtype, style = torch.get_default_dtype(), dict(matplotlib.rcParams)
    yield
    torch.set_default_dtype(dtype)
    matplotlib.rcParams.update(style)
