"""Projects for tests of the extras: those of tests/pipeline."""

from tests.pipeline.tiny import tiny, tiny_named, tiny_origin  # noqa: F401  # fixtures
