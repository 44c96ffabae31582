import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """The networks of the tests are small: on a busy machine more threads make them many times slower."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
