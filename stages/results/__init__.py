"""Results for people: reading them, verdicts and the gate; terminal, Markdown, HTML, JSON."""
