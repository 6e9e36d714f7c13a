"""Shared fixtures: the digits, a tiny trained model, the same model exported, a finished
audit, and stores."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from torch import nn

from cluster.seaweed import Seaweed, make_bucket
from tests.support.left_out import KINDS, LeftOut, add_option
from tests.support.makers import FAST, trained_spec
from zooaudit.data import large
from zooaudit.data.images import Dataset
from zooaudit.data.resolve import load_digits
from zooaudit.storage import cache
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.cache import CachedStore
from zooaudit.storage.local import LocalStore
from zooaudit.storage.opening import open_store
from zooaudit.training.token import guard_token
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.build import BuiltModel, build

pytest_plugins = [
    f"tests.support.{name}"
    for name in (
        "collecting",
        "finished",
        "cases",
        "reports",
        "service",
        "auditors",
        "console",
        "caches",
        "disks",
        "owner_recipes",
        "sweeps",
        "calls",
        "twin_tests",
        "http_suspects",
        "foreign",
        "studied",
        "downloads",
        "published_nets",
        "s3_faults",
    )
]
"""Modules with fixtures; each before those that import it, so that pytest explains its assertions too."""

OUTSIDE = set(KINDS) - {"long", "shells"}
"""Markers of tests that start more than their own process."""
ALONE = {"ray", "serve", "chaos", "soak", "gpu"}
"""Markers of tests of which a machine runs one at a time."""

settings.register_profile(
    "zooaudit",
    derandomize=True,
    deadline=None,
    max_examples=50,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("zooaudit")


def pytest_addoption(parser: pytest.Parser) -> None:
    add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(LeftOut())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever runs a folder starts what it says, and no more. Of pytest-xdist's workers one runs all that
    starts Ray, kills or counts time; files stay together, whose tests share what they set up, and so do
    files that name one group."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        marks = {mark.name for mark in item.iter_markers()}
        if "xdist_group" not in marks:
            item.add_marker(pytest.mark.xdist_group("alone" if marks & ALONE else item.path.stem))
        if (folder == "unit" and marks & OUTSIDE) or (folder != "chaos" and "chaos" in marks):
            raise pytest.UsageError(
                f"{item.nodeid} is marked {', '.join(sorted(marks))}: CONTRIBUTING.md says where it lies"
            )


def pytest_collection_finish(session: pytest.Session) -> None:
    if getattr(session.config.option, "loadgroup", False) and any("@" not in i.nodeid for i in session.items):
        raise pytest.UsageError("pytest-xdist does not see the groups of tests: pip install 'pytest<9.2'")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is read from S3 is kept in a folder of the tests' own, by Ray's workers too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.FOLDER, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def own_token() -> None:
    """Ray made its token readable for all where a test, or this user, started it before zooaudit did."""
    if (token := Path.home() / ".ray" / "auth_token").exists():
        token.chmod(0o600)
    guard_token()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The suite shares its machine; one thread also keeps sums in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def same_global_rng() -> Iterator[None]:
    """Fails the test if it leaves torch's global generator in another state."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(before, torch.get_rng_state()), "torch's global random state was changed"


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_digits()


@pytest.fixture(scope="session")
def built(digits: Dataset) -> BuiltModel:
    """A small model of architecture A that learnt the digits."""
    training = type(FAST)(epochs=6, precision="float32")
    model = build(trained_spec(digits, architecture="A", training=training, floor=0.8, seed=3), digits, None)
    assert not model.record.reason, model.record
    return model


@pytest.fixture(scope="session")
def learnt(built: BuiltModel) -> nn.Module:
    """The module of ``built``, in evaluation mode."""
    module = build_architecture(built.spec.architecture, built.spec.shape)
    module.load_state_dict(built.weights)
    return module.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def exported(learnt: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``learnt`` as a .pt2 file with a dynamic batch dimension, as a user would make it."""
    path = tmp_path_factory.mktemp("exported") / "model.pt2"
    program = torch.export.export(
        learnt, (torch.zeros(2, 1, 8, 8),), dynamic_shapes=({0: torch.export.Dim("n")},)
    )
    torch.export.save(program, path)
    return path


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """A real S3 server with a bucket named zoo."""
    server = Seaweed(tmp_path_factory.mktemp("s3")).start()
    make_bucket(server, "zoo")
    yield server
    server.kill()  # asked to end, it takes a quarter of a minute, and nobody wants its data


@pytest.fixture
def bucket(seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty prefix on the S3 server, with the environment that reaches it."""
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ZOOAUDIT_S3_DEADLINE_S", "20")
    return f"s3://zoo/{uuid.uuid4().hex}"


@pytest.fixture
def own_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Seaweed]:
    """A server of this test's own, which it may kill."""
    server = Seaweed(tmp_path / "weed").start()
    make_bucket(server, "zoo")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ZOOAUDIT_S3_DEADLINE_S", "60")
    yield server
    server.kill()


S3 = pytest.mark.s3
STORES = ["memory", "local", "cached", pytest.param("s3", marks=S3), pytest.param("s3, cached", marks=S3)]


@pytest.fixture(params=STORES)
def artifacts(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifacts:
    """Artifacts on each kind of store, behind a cache and not."""
    if request.param == "cached":
        return Artifacts(CachedStore(LocalStore(tmp_path / "store"), tmp_path / "cache", 2**30))
    if request.param in ("memory", "local"):
        return open_store("memory:" if request.param == "memory" else str(tmp_path / "store"))
    monkeypatch.setenv(cache.SIZE, "0" if request.param == "s3" else "1")
    return open_store(request.getfixturevalue("bucket"))


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing fits; and the cache is the test's own."""
    monkeypatch.setattr(large, "IN_MEMORY", 100)
    monkeypatch.setenv("ZOOAUDIT_CACHE", str(tmp_path / "cache"))
