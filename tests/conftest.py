"""Tests depend on no settings of whoever runs them; run in a hook, they keep off its repository."""

import os
from pathlib import Path

from stages.workflow import settings

settings.put_aside()
for name in [each for each in os.environ if each.startswith("GIT_")]:
    del os.environ[name]
os.environ["GIT_CONFIG_GLOBAL"] = str(Path(__file__).with_name("gitconfig"))
os.environ["GIT_CONFIG_NOSYSTEM"] = "1"
for role in ("AUTHOR", "COMMITTER"):  # not in the file, as libgit2 of DVC does not read that
    os.environ[f"GIT_{role}_NAME"] = "Test"
    os.environ[f"GIT_{role}_EMAIL"] = "test@example.invalid"
