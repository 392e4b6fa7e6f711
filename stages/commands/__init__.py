"""Commands for people, apart from the stages."""
