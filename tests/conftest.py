"""Tests see no settings of the user's Git, and run in a hook they never touch its repository."""

import os
from pathlib import Path

for name in [each for each in os.environ if each.startswith("GIT_")]:
    del os.environ[name]
os.environ["GIT_CONFIG_GLOBAL"] = str(Path(__file__).with_name("gitconfig"))
os.environ["GIT_CONFIG_NOSYSTEM"] = "1"
for role in ("AUTHOR", "COMMITTER"):  # not in the file, as libgit2 of DVC does not read that
    os.environ[f"GIT_{role}_NAME"] = "Test"
    os.environ[f"GIT_{role}_EMAIL"] = "test@example.invalid"
