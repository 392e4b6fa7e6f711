"""DVC, Git and params.yaml: what is declared, recorded and legal, and whether it fits together."""
